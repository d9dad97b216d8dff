"""ALTER TABLE."""

from __future__ import annotations

import pytest

from localaws.redshift.errors import RedshiftError


@pytest.fixture
def t(sql):
    sql("create table t (id int not null, name varchar(3) default 'x')")
    sql("insert into t values (1, 'one')")
    return sql


def test_columns_come_go_and_change_and_keep_their_limits(t):
    t("alter table t add column code varchar(2) default 'zz'")
    assert t("select * from t") == [(1, "one", "zz")]
    t("alter table t rename column code to kind")
    t("alter table t drop column name")
    assert t("select id, kind from t") == [(1, "zz")]
    with pytest.raises(RedshiftError, match=r"value too long for type character varying\(2\)"):
        t("insert into t values (2, 'abc')")
    t("alter table t alter column kind type varchar(3)")
    t("insert into t values (2, 'abc')")
    with pytest.raises(RedshiftError, match="Cannot insert a NULL value into column id"):
        t("insert into t (kind) values ('a')")


def test_swap_by_renaming_in_one_transaction(t):
    t("begin")
    t("create table new (like t)")
    t("insert into new values (2, 'two')")
    t("alter table t rename to old")
    t("alter table new rename to t")
    t("drop table old")
    t("commit")
    assert t("select * from t") == [(2, "two")]
    with pytest.raises(RedshiftError, match='relation "old" does not exist'):
        t("select * from old")


def test_append_moves_the_rows(t):
    t("create table s (like t including defaults)")
    t("insert into s values (2, 'two')")
    assert t("alter table t append from s") == 1
    assert t("select id from t order by id") == [(1,), (2,)]
    assert t.one("select count(*) from s") == 0


def test_append_wants_the_same_columns(t):
    t("create table s (id int, more int)")
    with pytest.raises(RedshiftError, match="t lacks the columns more"):
        t("alter table t append from s")
    t("create table u (id bigint, name varchar(3))")
    with pytest.raises(RedshiftError, match=r"column id is bigint in .* and integer in"):
        t("alter table t append from u")
    t("begin")
    with pytest.raises(RedshiftError, match="cannot run inside a transaction block"):
        t("alter table t append from s")


@pytest.mark.parametrize(
    "statement", ["alter table t owner to someone", "alter table t alter distkey id", "alter table t add primary key (id)"]
)
def test_without_effect(t, statement):
    assert t(statement) == 0
    assert t("select * from t") == [(1, "one")]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("alter table nope add column x int", 'relation "nope" does not exist'),
        ("alter table t add column id int", 'column "id" of relation "t" already exists'),
        ("alter table t add column x int not null", "must have a non-null default"),
        ("alter table t drop column nope", 'column "nope" of relation "t" does not exist'),
        ("alter table t alter column id type bigint", "only the length of a VARCHAR"),
        ("alter table t rename to t", 'relation "t" already exists'),
    ],
)
def test_refused(t, statement, message):
    with pytest.raises(RedshiftError, match=message):
        t(statement)
