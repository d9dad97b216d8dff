"""Functions that Redshift has and DuckDB lacks or does otherwise, as macros in a database of their own."""

from __future__ import annotations

import duckdb

# Redshift's DATEADD of a date is a timestamp; DATEDIFF counts the boundaries crossed, as DuckDB's does. A text that is no number
# is told by who casts it: the leader node a constant, in PostgreSQL's words (see rewrite), the compute nodes a column, by error
# 1207, which shows the whole text as its context.
_MACROS = r"""
getdate() AS date_trunc('second', now() AT TIME ZONE 'UTC')
sysdate() AS (now() AT TIME ZONE 'UTC')
current_date() AS CAST(now() AT TIME ZONE 'UTC' AS DATE)
dateadd(i, d TIMESTAMP) AS d + i, (i, d TIMESTAMPTZ) AS d + i, (i, d TIME) AS d + i
datediff(u, a TIMESTAMP, b TIMESTAMP) AS date_diff(u, a, b), (u, a TIMESTAMPTZ, b TIMESTAMPTZ) AS date_diff(u, a, b)
add_months(d TIMESTAMP, n INTEGER) AS CASE WHEN CAST(d AS DATE) = last_day(d) THEN CAST(last_day(date_trunc('month', d) + to_months(n)) AS TIMESTAMP) + (d - date_trunc('day', d)) ELSE d + to_months(n) END
months_between(a TIMESTAMP, b TIMESTAMP) AS CAST((year(a) - year(b)) * 12 + month(a) - month(b) AS DOUBLE) + CASE WHEN day(a) = day(b) OR (CAST(a AS DATE) = last_day(a) AND CAST(b AS DATE) = last_day(b)) THEN 0.0 ELSE ((day(a) - day(b)) + (epoch(a - date_trunc('day', a)) - epoch(b - date_trunc('day', b))) / 86400.0) / 31.0 END
initcap(s) AS array_to_string(list_transform(regexp_extract_all(lower(s), '[\pL\pN]+|[^\pL\pN]+'), lambda w: upper(w[1]) || w[2:]), '')
substring(s, n) AS substr(CAST(s AS VARCHAR), greatest(CAST(n AS BIGINT), 1)), (s, n, k) AS substr(CAST(s AS VARCHAR), greatest(CAST(n AS BIGINT), 1), greatest(CAST(k AS BIGINT) + least(CAST(n AS BIGINT) - 1, 0), 0))
regexp_substr(s, p) AS regexp_extract(s, p), (s, p, n) AS regexp_extract(substr(s, n), p), (s, p, n, k) AS CASE WHEN s IS NOT NULL AND p IS NOT NULL THEN coalesce(regexp_extract_all(substr(s, n), p)[k], '') END
regexp_count(s, p) AS len(regexp_extract_all(s, p))
regexp_instr(s, p) AS CASE WHEN regexp_matches(s, p) THEN length(string_split_regex(s, p)[1]) + 1 WHEN s IS NOT NULL AND p IS NOT NULL THEN 0 END
cut(s, n) AS CASE WHEN strlen(s) <= n THEN s WHEN strlen(s) = length(s) THEN left(s, n) ELSE left(s, coalesce(list_max(list_filter(range(0, n + 1), lambda k: strlen(left(s, k)) <= n)), 0)) END
float_text(x) AS CASE WHEN isnan(x) THEN 'NaN' WHEN isinf(x) THEN CASE WHEN x > 0 THEN 'Infinity' ELSE '-Infinity' END ELSE printf('%.15g', CAST(x AS DOUBLE)) END
real_text(x) AS CASE WHEN isnan(x) THEN 'NaN' WHEN isinf(x) THEN CASE WHEN x > 0 THEN 'Infinity' ELSE '-Infinity' END ELSE printf('%.6g', CAST(x AS DOUBLE)) END
failed_cast(why, s) AS why || chr(10) || '  Detail: ' || chr(10) || '  -----------------------------------------------' || chr(10) || '  error:  ' || why || chr(10) || '  code:      1207' || chr(10) || '  context:   ' || s || chr(10) || '  -----------------------------------------------'
invalid_digit(s, n, kind) AS rs.main.failed_cast('Invalid digit, Value ''' || substr(s, n + 1, 1) || ''', Pos ' || n || ', Type: ' || kind, s)
text_to_int(s, kind) AS CASE WHEN s IS NULL OR regexp_full_match(s, '\s*[+-]?\d+\s*') THEN s ELSE error('FLYWHEEL ' || rs.main.invalid_digit(s, length(regexp_extract(s, '^\s*[+-]?\d*')), kind)) END
decimal_div(n, d, m, u) AS CAST((CAST(n AS HUGEINT) * m) // CAST(d AS HUGEINT) AS DECIMAL(38,0)) * u
listagg_limit(s) AS CASE WHEN strlen(s) > 65535 THEN error('FLYWHEEL Result size exceeds LISTAGG limit') ELSE s END
"""  # noqa: E501


def install(connection: duckdb.DuckDBPyConnection) -> None:
    """Attach the macros' database as ``rs``; every cursor of the connection sees it."""
    connection.execute("ATTACH ':memory:' AS rs")
    for line in _MACROS.strip().splitlines():
        connection.execute(f"CREATE MACRO rs.main.{line}")
