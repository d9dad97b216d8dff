"""Functions and clauses against what Redshift's documentation says of them."""

from __future__ import annotations

import datetime

import pytest

from localaws.redshift.errors import RedshiftError

DAY = datetime.date
MOMENT = datetime.datetime

FACTS = [
    # dates: DATEADD and DATE_TRUNC of a date are timestamps, DATEDIFF counts boundaries
    ("dateadd(month, 1, '2008-01-31')", MOMENT(2008, 2, 29)),
    ("dateadd(day, -1, date '2013-01-01')", MOMENT(2012, 12, 31)),
    ("dateadd(qtr, 1, '2013-01-01')", MOMENT(2013, 4, 1)),
    ("datediff(day, '2013-01-01', '2013-03-01')", 59),
    ("datediff(year, '2013-12-31', '2014-01-01')", 1),
    ("datediff(qtr, '1998-07-01', '2008-07-01')", 40),
    ("datediff(hour, date '2013-01-01', timestamp '2013-01-02 05:00')", 29),
    ("add_months('2008-02-29', 1)", MOMENT(2008, 3, 31)),
    ("add_months('2008-03-31', -1)", MOMENT(2008, 2, 29)),
    ("months_between('1969-01-18', '1969-03-18')", -2.0),
    ("last_day('2008-02-03')", DAY(2008, 2, 29)),
    ("date_trunc('week', date '2013-01-03')", MOMENT(2012, 12, 31)),
    ("date_trunc('month', '2013-02-14 05:06:07')", MOMENT(2013, 2, 1)),
    ("date_part(dow, timestamp '2013-01-01')", 2.0),
    ("extract(hour from timestamp '2013-01-01 05:59')", 5),
    ("extract(epoch from timestamp '2013-01-01 00:00:00.9')", 1356998400),
    ("trunc(timestamp '2013-01-01 23:59')", DAY(2013, 1, 1)),
    ("convert_timezone('America/New_York', 'UTC', '2013-01-01 00:00')", MOMENT(2013, 1, 1, 5)),
    ("convert_timezone('America/New_York', timestamp '2013-07-01 00:00')", MOMENT(2013, 6, 30, 20)),
    ("to_char(timestamp '2013-01-05 16:07:08', 'YYYY-MM-DD HH24:MI:SS')", "2013-01-05 16:07:08"),
    ("to_char(date '2013-01-05', 'DD Mon YY')", "05 Jan 13"),
    ("to_date('05 Jan 2013', 'DD Mon YYYY')", DAY(2013, 1, 5)),
    ("date '2013-01-01' + 1", DAY(2013, 1, 2)),
    ("date '2013-02-01' - date '2013-01-01'", 31),
    ("getdate() <= sysdate", True),
    # texts
    ("len('é')", 1),
    ("octet_length('é')", 2),
    ("substring('caterpillar', 6, 4)", "pill"),
    ("substring('caterpillar', 0, 4)", "cat"),
    ("substring('caterpillar' from 6)", "pillar"),
    ("charindex('dog', 'fish')", 0),
    ("strpos('abc', 'b')", 2),
    ("position('c' in 'abc')", 3),
    ("lpad('7', 3, '0')", "007"),
    ("rpad('cat', 2)", "ca"),
    ("btrim('  a ') || '|'", "a|"),
    ("trim(both 'x' from 'xax')", "a"),
    ("ltrim('xxa', 'x')", "a"),
    ("initcap('hello wORLD, élan')", "Hello World, Élan"),
    ("concat('a', null)", None),
    ("'a' || null", None),
    ("replace('abc', 'b', 'x')", "axc"),
    ("split_part('a,b,c', ',', 2)", "b"),
    ("translate('mint tea', 'inea', 'osin')", "most tin"),
    ("regexp_substr('a1b22', '[0-9]+')", "1"),
    ("regexp_substr('a1b22', '[0-9]+', 1, 2)", "22"),
    ("regexp_substr('a', '[0-9]')", ""),
    ("regexp_replace('a1b2', '[0-9]', 'x')", "axbx"),
    ("regexp_count('a1b2', '[0-9]')", 2),
    ("regexp_instr('ab1', '[0-9]')", 3),
    ("'abc' ~ 'b'", True),
    ("'a_b' like 'a\\\\_b'", True),
    ("'axb' like 'a\\\\_b'", False),
    ("md5('a')", "0cc175b9c0f1b6a831c399e269772661"),
    ("func_sha1('a')", "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"),
    ("reverse('abc')", "cba"),
    ("chr(65)", "A"),
    # casts: an explicit one cuts a text to its length in bytes
    ("'toolong'::varchar(3)", "too"),
    ("'éé'::varchar(3)", "é"),
    ("len(repeat('a', 300)::varchar)", 256),
    ("'abc'::char", "a"),
    ("1.5::float8::varchar", "1.5"),
    ("1::float8::varchar", "1"),
    ("1::float8 || 'x'", "1x"),
    ("cast(2.5 as int)", 3),
    ("' 7 '::int", 7),
    # conditions
    ("nvl(null, 2)", 2),
    ("nvl2(null, 1, 2)", 2),
    ("decode(null, 1, 'one', null, 'none', 'other')", "none"),
    ("greatest(1, null, 3)", 3),
    ("nullif(1, 1)", None),
    ("case when null then 1 end", None),
    # numbers
    ("mod(-7, 2)", -1),
    ("log(100)", 2.0),
    ("dexp(0)", 1.0),
    ("2 ^ 10", 1024.0),
    ("round(2.567, 1)::varchar", "2.6"),
    ("trunc(-2.567, 1)::varchar", "-2.5"),
    ("sign(-3)", -1),
]


@pytest.mark.parametrize(("expression", "expected"), FACTS, ids=[fact[0] for fact in FACTS])
def test_expression(sql, expression, expected):
    found = sql.one(f"select {expression}")
    assert found == expected
    assert type(found) is type(expected)


@pytest.fixture
def numbers(sql):
    sql("create table n (g varchar(5), x int)")
    sql("insert into n values ('a', 1), ('a', 2), ('b', 4), ('b', null)")
    return sql


def test_nulls_come_last_ascending_and_first_descending(numbers):
    assert [x for (x,) in numbers("select x from n order by x")] == [1, 2, 4, None]
    assert [x for (x,) in numbers("select x from n order by x desc")] == [None, 4, 2, 1]


def test_listagg_has_no_separator_of_its_own_and_leaves_nulls_out(numbers):
    assert numbers.one("select listagg(x) within group (order by x desc) from n") == "421"
    assert numbers.one("select listagg(distinct g, '-') within group (order by g) from n") == "a-b"


def test_ratio_to_report(numbers):
    assert numbers("select x, ratio_to_report(x) over (partition by g) from n where g = 'a' order by 1") == [
        (1, pytest.approx(1 / 3)),
        (2, pytest.approx(2 / 3)),
    ]


def test_approximate_count_is_a_count(numbers):
    assert numbers.one("select approximate count(distinct g) from n") == 2


def test_window_functions(numbers):
    rows = numbers(
        "select x, lag(x) ignore nulls over (order by x), sum(x) over (order by x rows unbounded preceding), "
        "row_number() over (partition by g order by x desc) from n where x is not null order by x"
    )
    assert rows == [(1, None, 1, 2), (2, 1, 3, 1), (4, 2, 7, 1)]


def test_qualify_top_minus_and_lateral_aliases(numbers):
    assert numbers("select g, x from n qualify row_number() over (partition by g order by x) = 1 order by 1") == [
        ("a", 1),
        ("b", 4),
    ]
    assert numbers("select top 1 x from n order by x") == [(1,)]
    assert numbers("select x from n where x is not null minus select 1 order by 1") == [(2,), (4,)]
    assert numbers("select x * 2 as d, d + 1 from n where x = 4") == [(8, 9)]


def test_names_of_columns_are_redshifts(numbers):
    numbers('select COUNT(*), SUM(x), 1, "x" AS Foo, x::bigint, max(X), case when true then 1 end from N group by x')
    names = [name for name, _ in numbers.columns]
    assert names == ["count", "sum", "?column?", "foo", "x", "max", "case"]


REFUSED = [
    ("select sum(x) over (order by x) from n", "Aggregate window functions with an ORDER BY clause require a frame clause"),
    ("select sum(x) over (order by x range unbounded preceding) from n", "does not serve RANGE"),
    ("select count(*) filter (where x > 1) from n", "does not serve FILTER"),
    ("select * from (values (1), (2)) v(x)", "does not serve a VALUES list outside INSERT"),
    ("select distinct on (g) g, x from n", "does not serve DISTINCT ON"),
    ("select nope(1)", r"function nope\(\) does not exist"),
    ("select x from n where y = 1", 'column "y" does not exist'),
    ("select x as y from n where y = 1", 'column "y" does not exist'),
    ("select g, count(*) as c from n group by g having c > 1", 'column "c" does not exist'),
    ("select g, x from n group by g", 'column "x" must appear in the GROUP BY clause'),
    ("select * from nope", 'relation "nope" does not exist'),
    ("select * from nope.n", 'schema "nope" does not exist|relation "nope.n" does not exist'),
    ("select * from read_csv('/etc/passwd')", "does not serve the table function"),
    ('select * from "/etc/passwd"', "does not exist"),
    ("select * from duckdb_tables", "does not exist"),
    ("select * from pg_internal.committed", "does not exist"),
    ("select * from pg_class", "does not serve the system table pg_class"),
    ("select list_sort([1])", "does not serve"),
    ("select to_char(1.5, '9.99')", "does not serve the format '9.99'"),
    ("select convert_timezone('PST', 'UTC', sysdate)", "does not serve the time zone 'PST'"),
    ("select datediff(week, '2013-01-01', '2013-02-01')", "does not serve DATEDIFF by weeks"),
    ("select dateadd(fortnight, 1, sysdate)", 'date/time field "fortnight" is not recognized'),
    ("select 'x' similar to 'y'", "does not serve SIMILAR TO"),
    ("select '2.5'::int", 'invalid input syntax for integer: "2.5"'),
    ("select g::int from n", "Invalid digit, Value '\\w', Pos 0, Type: Integer\\n(.|\\n)*  code:      1207\\n  context:   \\w"),
    ("select ('1' || g || ' is no number')::bigint from n", "Pos 1, Type: Long\\n(.|\\n)*context:   1. is no number\\n"),
    ("select (x = 1)::varchar from n", "cannot cast type boolean to character varying"),
    ("select 1 / 0", "division by zero"),
    ("select x / 0.0 from n", "division by zero"),
    ("select 9223372036854775807 + 1", "bigint out of range"),
    ("select (select x from n)", "single-row subquery returns more than one row"),
    ("select count(*) from n where sum(x) > 1", "aggregates not allowed in WHERE clause"),
    ("select a.x from n a, n b where x = 1", 'column reference "x" is ambiguous'),
    ("select * frm n", 'syntax error at or near "n"\n  Position: 14'),
    ("explain select 1", "does not serve EXPLAIN"),
    ("selec 1", "syntax error"),
    ("select 1; select 2", "cannot insert multiple commands into a prepared statement"),
    ("-- nothing", "Query cannot be empty"),
]


@pytest.mark.parametrize(("statement", "message"), REFUSED, ids=[case[0] for case in REFUSED])
def test_refused(numbers, statement, message):
    with pytest.raises(RedshiftError, match=f"ERROR: .*({message})"):
        numbers(statement)
