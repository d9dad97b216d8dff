"""COPY of CSV and delimited text: every field is read as text, then turned into the column's type or told as an error."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from localaws.redshift.catalog import Column, TableName, quote
from localaws.redshift.engine import Session
from localaws.redshift.errors import RedshiftError
from localaws.redshift.formats import strftime_text

if TYPE_CHECKING:
    from localaws.redshift.copying import CopyOptions, Source

STAGE = "temp.main.__copy_stage"
_INTEGERS = {"SMALLINT": "Short", "INTEGER": "Integer", "BIGINT": "Long"}


def load(session: Session, table: TableName, columns: list[Column], sources: list[Source], options: CopyOptions) -> int:
    """Load the files and return the number of rows.

    :raises RedshiftError: more fields than MAXERROR allows cannot be loaded; they are in ``stl_load_errors``.
    """
    session.execute(f"DROP TABLE IF EXISTS {STAGE}")
    names = [f"c{index}" for index in range(len(columns))]
    fields = ", ".join(f"{name} VARCHAR" for name in names)
    session.execute(f"CREATE TEMP TABLE {STAGE} (uri VARCHAR, line BIGINT, {fields})")
    for source in sources:
        _read(session, table, source, names, options)
    checks = [_check(name, column, options) for name, column in zip(names, columns, strict=True)]
    bad = " OR ".join(f"({check.bad})" for check in checks) or "false"
    errors = _errors(session, columns, checks, bad, options.max_errors + 1)
    if errors:
        _record(session, table, errors)
    if len(errors) > options.max_errors:
        raise failed(table, errors)
    target = ", ".join(quote(column.name) for column in columns)
    values = ", ".join(check.value for check in checks)
    where = f" WHERE NOT coalesce({bad}, false)" if errors else ""
    if "NOLOAD" in options.flags:
        return 0
    session.execute(f"INSERT INTO {table.sql} ({target}) SELECT {values} FROM {STAGE}{where} ORDER BY rowid")
    rows = session.changed().rows
    session.execute(f"DROP TABLE {STAGE}")
    return rows


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _read(session: Session, table: TableName, source: Source, names: list[str], options: CopyOptions) -> None:
    csv = options.format == "CSV"
    delimiter = options.delimiter or ("," if csv else "|")
    quoting = f"quote = {_text(options.quote)}, escape = {_text(options.quote)}" if csv else "quote = '', escape = ''"
    fields = ", ".join(f"'{name}': 'VARCHAR'" for name in names)
    compression = "gzip" if "GZIP" in options.flags else "none"
    read = (
        f"read_csv({_text(source.path)}, columns = {{{fields}}}, auto_detect = false, header = false, "
        f"skip = {options.header}, delim = {_text(delimiter)}, {quoting}, nullstr = {_text(options.null)}, "
        f"compression = '{compression}', parallel = false)"
    )
    try:
        session.connection.execute(
            f"INSERT INTO {STAGE} SELECT {_text(source.uri)}, row_number() OVER () + {options.header}, * FROM {read}"
        )
    except duckdb.Error as error:
        text = str(error)
        line = re.search(r"Line: (\d+)", text)
        raw = re.search(r"Original Line: (.*)", text)
        count = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text)
        if not line:
            raise RedshiftError(f"{source.uri} cannot be read: {text.splitlines()[0]}") from error
        code, reason = 1214, "Delimited value missing end quote"
        if count:
            more = int(count.group(2)) > int(count.group(1))
            code, reason = (1202, "Extra column(s) found") if more else (1201, "Delimiter not found")
        entry = (source.uri, int(line.group(1)), "", "", raw.group(1) if raw else "", "", code, reason)
        session.after_end = lambda: _store(session, table, [entry])
        raise failed(table, [entry]) from error


@dataclass(frozen=True)
class FieldCheck:
    """How a field becomes a column's value: SQL expressions, and what to tell when it cannot.

    :param value: gives the value. :param wrong: whether the text is none of the column's.
    :param missing: whether there is no value though the column must have one.
    """

    value: str
    wrong: str
    missing: str
    code: int
    reason: str

    @property
    def bad(self) -> str:
        """Whether the field cannot be loaded."""
        return f"({self.wrong}) OR ({self.missing})"


def _check(name: str, column: Column, options: CopyOptions) -> FieldCheck:
    value, wrong, code, reason = _conversion(name, column, options)
    given = value
    if column.duckdb_type not in ("VARCHAR", "JSON"):
        given = f"nullif(trim({name}), '')"
        wrong = f"{given} IS NOT NULL AND {value} IS NULL"
    missing = "false" if column.nullable else f"{given} IS NULL"
    return FieldCheck(value, wrong or "false", missing, code, reason)


def _conversion(name: str, column: Column, options: CopyOptions) -> tuple[str, str, int, str]:
    kind, flags = column.duckdb_type, options.flags
    field = f"nullif(trim({name}), '')"
    if kind in ("VARCHAR", "JSON"):
        value = f"rtrim({name}, ' ')" if "TRIMBLANKS" in flags else name
        if "BLANKSASNULL" in flags:
            value = f"CASE WHEN trim({value}) <> '' THEN {value} END"
        if "EMPTYASNULL" in flags:
            value = f"nullif({value}, '')"
        if kind == "JSON":
            return value, "", 1224, "Invalid JSON"
        if column.length is None:
            return value, "", 1204, ""
        if "TRUNCATECOLUMNS" in flags:
            return f"rs.main.cut({value}, {column.length})", "", 1204, ""
        return value, f"strlen({value}) > {column.length}", 1204, "String length exceeds DDL length"
    if kind in _INTEGERS:
        value = f"CASE WHEN regexp_full_match({field}, '[+-]?\\d+') THEN TRY_CAST({field} AS {kind}) END"
        return value, "", 1207, f"Invalid digit, Value '{{first}}', Pos 0, Type: {_INTEGERS[kind]}"
    if kind.startswith("DECIMAL"):
        scale = int(kind[8:-1].partition(",")[2])
        exact = field if "ROUNDEC" in flags else rf"regexp_replace({field}, '(\.\d{{{scale}}})\d+$', '\1')"
        return f"TRY_CAST({exact} AS {kind})", "", 1207, "Invalid digit, Value '{first}', Pos 0, Type: Decimal"
    if kind in ("DOUBLE", "FLOAT"):
        return f"TRY_CAST({field} AS {kind})", "", 1207, "Invalid digit, Value '{first}', Pos 0, Type: Double"
    if kind == "BOOLEAN":
        truth = f"CASE WHEN lower({field}) IN ('t','true','y','yes','1') THEN true " \
                f"WHEN lower({field}) IN ('f','false','n','no','0') THEN false END"  # fmt: skip
        return truth, "", 1210, "Invalid boolean value"
    if kind == "DATE":
        model = options.date_format or "YYYY-MM-DD"
        if model.lower() == "auto":
            return f"TRY_CAST({field} AS DATE)", "", 1206, "Invalid Date Format (auto)"
        form = _text(strftime_text(model, "DATEFORMAT"))
        return f"CAST(try_strptime({field}, {form}) AS DATE)", "", 1206, f"Invalid Date Format [{model}]"
    if kind.startswith("TIMESTAMP"):
        model = options.time_format or "auto"
        reason = f"Invalid timestamp format or value [{model if model != 'auto' else 'YYYY-MM-DD HH24:MI:SS'}]"
        if model.lower() == "auto":
            return f"TRY_CAST({field} AS {kind})", "", 1206, reason
        if model.lower() in ("epochsecs", "epochmillisecs"):
            unit = 1 if model.lower() == "epochsecs" else 1000
            seconds = f"TRY_CAST({field} AS DECIMAL(38,6)) / {unit}"
            return f"CAST(to_timestamp({seconds}) AS {kind})", "", 1206, reason
        form = _text(strftime_text(model, "TIMEFORMAT", hour24=True))
        return f"CAST(try_strptime({field}, {form}) AS {kind})", "", 1206, reason
    return f"TRY_CAST({field} AS {kind})", "", 1207, f"Invalid value for {column.redshift_type}"


Entry = tuple[str, int, str, str, str, str, int, str]
"""(uri, line, column, type, raw line, raw value, code, reason) of a field that cannot be loaded."""


def _errors(session: Session, columns: list[Column], checks: list[FieldCheck], bad: str, limit: int) -> list[Entry]:
    rows = session.execute(f"SELECT * FROM {STAGE} WHERE {bad} ORDER BY rowid LIMIT {limit}").fetchall()
    entries: list[Entry] = []
    for row in rows:
        for index, (column, check) in enumerate(zip(columns, checks, strict=True)):
            told = session.connection.execute(
                f"SELECT coalesce({check.wrong}, false), {check.missing} FROM {STAGE} WHERE uri = $uri AND line = $line",
                {"uri": row[0], "line": row[1]},
            ).fetchone()
            if told is None or not any(told):
                continue
            value = row[2 + index] or ""
            code, reason = (1213, "Missing data for not-null field") if told[1] else (check.code, check.reason)
            raw = "|".join("" if part is None else str(part) for part in row[2:])
            reason = reason.replace("{first}", value[:1])
            entries.append((row[0], row[1], column.name, column.redshift_type, raw, value, code, reason))
            break
    return entries


def _record(session: Session, table: TableName, errors: list[Entry]) -> None:
    """Keep the errors for stl_load_errors, also when the load fails and is rolled back."""
    session.after_end = lambda: _store(session, table, errors)


def _store(session: Session, table: TableName, errors: list[Entry]) -> None:
    cursor = session.database.cursor()
    try:
        for uri, line, column, kind, raw, value, code, reason in errors:
            cursor.execute(
                "INSERT INTO pg_internal.stl_load_errors (userid, tbl, starttime, session, query, filename, line_number, "
                "colname, type, raw_line, raw_field_value, err_code, err_reason) "
                "VALUES (100, 0, now() AT TIME ZONE 'UTC', ?, 0, ?, ?, ?, ?, ?, ?, ?, ?)",
                [session.pid, uri, line, column, kind, raw[:1024], value[:1024], code, reason],
            )
    finally:
        cursor.close()


def failed(table: TableName, errors: list[Entry]) -> RedshiftError:
    """Redshift's error of a load, with the first field that could not be loaded."""
    uri, line, column, kind, _, value, code, reason = errors[0]
    where = f"file {uri}, line {line}" + (f", column {column} ({kind}), value {value!r}" if column else "")
    return RedshiftError(
        f"Load into table '{table.name}' failed.  Check 'stl_load_errors' system table for details.\n"
        f"  Detail: {reason} (code {code}): {where}"
    )
