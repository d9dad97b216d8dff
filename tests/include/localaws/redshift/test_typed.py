"""Division, SUM and AVG: the values and the types that Redshift's documentation gives."""

from __future__ import annotations

from decimal import Decimal

import pytest

from localaws.redshift.errors import RedshiftError


@pytest.fixture
def t(sql):
    sql("create table t (g varchar(2), s smallint, i int, b bigint, d decimal(10, 2), f float8)")
    sql("insert into t values ('x', 1, 1, 1, 1.25, 1.5), ('x', 2, 2, 2, 2.50, 0.1), ('y', 2, 4, 4, 3.50, 1)")
    return sql


FACTS = [
    ("7 / 2", 3, "INTEGER"),
    ("-7 / 2", -3, "INTEGER"),
    ("7.0 / 2", Decimal("3.5"), "DECIMAL(13,12)"),
    ("2.0 / 3", Decimal("0.666666666666"), "DECIMAL(13,12)"),
    ("7 / 2.0::float", 3.5, "DOUBLE"),
    ("avg(i)", 2, "BIGINT"),
    ("avg(d)", Decimal("2.41"), "DECIMAL(19,2)"),
    ("avg(f)", pytest.approx(2.6 / 3), "DOUBLE"),
    ("avg(distinct s)", 1, "BIGINT"),
    ("sum(s)", 5, "BIGINT"),
    ("sum(b)", Decimal(7), "DECIMAL(38,0)"),
    ("sum(d)", Decimal("7.25"), "DECIMAL(38,2)"),
    ("sum(i) / count(*)", 2, "BIGINT"),
    ("sum(b) / count(*)", Decimal("2.3333"), "DECIMAL(38,4)"),
    ("1.0 * sum(b) / count(*)", Decimal("2.3333"), "DECIMAL(38,4)"),
    ("sum(i)::float / count(*)", pytest.approx(7 / 3), "DOUBLE"),
    ("floor(max(i)) / 3", 1, "INTEGER"),
    ("count(*) / 2", 1, "BIGINT"),
]


@pytest.mark.parametrize(("expression", "expected", "kind"), FACTS, ids=[fact[0] for fact in FACTS])
def test_value_and_type(t, expression, expected, kind):
    assert t.one(f"select {expression} from t") == expected if "(" in expression else t.one(f"select {expression}") == expected
    assert t.type_of(f"select {expression} from t") == kind


def test_in_groups_windows_ctes_subqueries_and_correlation(t):
    assert t("select g, avg(i), sum(i) / sum(sum(i)) over () from t group by 1 having avg(i) > 0 order by avg(d) / 2") == [
        ("x", 1, Decimal("0.4285714285714285714")),
        ("y", 4, Decimal("0.5714285714285714285")),
    ]
    assert t("select i, avg(i) over (partition by g) from t order by i") == [(1, 1), (2, 1), (4, 4)]
    assert t("with a as (select g, avg(d) as m from t group by g), b as (select g, m / 2 as h from a) "
             "select round(h, 3) from b order by g") == [(Decimal("0.935"),), (Decimal("1.750"),)]  # fmt: skip
    assert t("select i from t where d / i > (select avg(o.d) / t.i from t o where o.g = t.g)") == [(2,)]
    assert t.one("select count(*) from t where g in (select g from t group by g having sum(i) / 2 > 1)") == 1


def test_in_statements_that_change(t):
    t("update t set f = i / 2")
    assert t("select f from t order by i") == [(0.0,), (1.0,), (2.0,)]
    assert t("delete from t where i / 2 = 1") == 1
    t("insert into t (i) values (7 / 2)")
    assert t.one("select max(i) from t where g is null") == 3


def test_an_unknown_column_is_told_as_such(t):
    with pytest.raises(RedshiftError, match='column "nope" does not exist'):
        t("select nope / 2 from t")
    with pytest.raises(RedshiftError, match='relation "nope" does not exist'):
        t("select sum(x) / 2 from nope")
