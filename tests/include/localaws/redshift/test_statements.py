"""Parameters, INSERT, MERGE and what is taken without an effect."""

from __future__ import annotations

import pytest

from localaws.redshift.errors import RedshiftError


@pytest.fixture
def t(sql):
    sql("create table t (id int, name varchar(10), day date)")
    sql("insert into t values (1, 'one', '2013-01-01'), (2, 'two', '2013-01-02')")
    return sql


def test_parameters_take_the_type_of_where_they_stand(t):
    assert t("select id from t where id = :id", id="2") == [(2,)]
    assert t("select id from t where day between :start and :end", start="2013-01-02", end="2013-02-01") == [(2,)]
    assert t("select id from t where id in (:a, :b) order by id limit :n", a="1", b="2", n="1") == [(1,)]
    assert t("select :n::int + 1, :s", n="41", s="it's; drop table t --") == [(42, "it's; drop table t --")]
    assert t("update t set name = :name, day = :day where id = :id", name="uno", day="2013-05-05", id="1") == 1
    assert t("insert into t values (:a, :b, :c)", a="3", b="three", c="2013-01-03") == 1
    assert t("select count(*) from t where name = ':id'") == [(0,)]


@pytest.mark.parametrize(
    ("statement", "parameters", "message"),
    [
        ("select id from t where id = :id", {"id": "abc"}, 'invalid input syntax for integer: "abc"'),
        ("select :n::int", {"n": "2.5"}, 'invalid input syntax for integer: "2.5"'),
        ("select id from t where id = :id", {}, "no value specified for parameter :id"),
        ("select id + :n from t", {"n": "1"}, "add an explicit cast"),
        ("create table u as select :n as n", {"n": "1"}, "bind parameters"),
        ("delete from t where id = ?", {}, "syntax error"),
    ],
)
def test_wrong_parameters(t, statement, parameters, message):
    with pytest.raises(RedshiftError, match=message):
        t(statement, **parameters)


def test_delete_using_update_from_and_delete_without_from(t):
    t("create table u as select 1 as id, 'neu' as name")
    assert t("update t set name = u.name from u where t.id = u.id") == 1
    assert t.one("select name from t where id = 1") == "neu"
    assert t("delete from t using u where t.id = u.id") == 1
    assert t("delete t where id = 2") == 1


def test_merge(t):
    t("create table s (id int, name varchar(10))")
    t("insert into s values (2, 'zwei'), (3, 'drei')")
    merge = ("merge into t using s on t.id = s.id when matched then update set name = s.name "
             "when not matched then insert (id, name) values (s.id, s.name)")  # fmt: skip
    assert t(merge) == 2
    assert t("select id, name from t order by id") == [(1, "one"), (2, "zwei"), (3, "drei")]
    t("insert into s values (3, 'trois')")
    with pytest.raises(RedshiftError, match="Found multiple matches to update the same tuple"):
        t(merge)
    with pytest.raises(RedshiftError, match="one WHEN MATCHED THEN and one WHEN NOT MATCHED"):
        t("merge into t using s on t.id = s.id when matched then delete")


def test_merge_inserts_all_columns_when_none_are_named(t):
    t("create table s (id int, name varchar(10), day date)")
    t("insert into s values (9, 'nine', null)")
    t("merge into t using s on t.id = s.id when matched then delete when not matched then insert values (s.id, s.name, s.day)")
    assert t.one("select name from t where id = 9") == "nine"


def test_select_into_and_hash_tables(t):
    t("select id * 2 as twice into temp u from t")
    assert t.one("select sum(twice) from u") == 6
    t("create table #v (x int)")
    t("insert into #v select id from t")
    assert t.one("select count(*) from #v") == 2


@pytest.mark.parametrize(
    "statement",
    ["vacuum", "vacuum full t", "analyze t", "grant select on t to public", "comment on table t is 'x'", "lock t",
     "set query_group to 'x'", "set timezone to 'UTC'", "revoke all on t from public"],
)  # fmt: skip
def test_without_effect(t, statement):
    assert t(statement) == 0
    assert t.one("select count(*) from t") == 2


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("analyze nope", 'relation "nope" does not exist'),
        ("grant select on nope to public", 'relation "nope" does not exist'),
        ("set timezone to 'America/New_York'", "does not serve SET timezone"),
        ("set nope to 1", "does not serve SET nope"),
        ("insert into t (id) values (1) on conflict do nothing", "."),
        ("insert into t values (1, 'toolongname', null)", r"value too long for type character varying\(10\)"),
        ("insert into t values (1, 'éééééé', null)", r"value too long for type character varying\(10\)"),
        ("insert into t (nope) values (1)", 'column "nope" of relation "t" does not exist'),
        ("insert into t values (1, 'a', null, 4)", "INSERT has more expressions than target columns"),
        ("insert into t values (99999999999, 'a', null)", "integer out of range"),
        ("insert into t values (1, 'a', '2013-13-01')", "out of range"),
        ("update nope set x = 1", 'relation "nope" does not exist'),
    ],
)
def test_refused(t, statement, message):
    with pytest.raises(RedshiftError, match=message):
        t(statement)


def test_search_path(sql):
    sql("create schema if not exists other_place")
    sql("create table if not exists other_place.there as select 1 as x")
    with pytest.raises(RedshiftError, match='relation "there" does not exist'):
        sql("select * from there")
    sql("set search_path to other_place, public")
    assert sql("select x / 2 from there") == [(0,)]
    assert sql("show search_path") == [("other_place, public",)]


def test_statement_timeout(sql):
    sql("create table t as select 1 as x union all select 2")
    sql("set statement_timeout to 100")
    crossed = ", ".join(f"t t{n}" for n in range(34))
    with pytest.raises(RedshiftError, match="statement_timeout"):
        sql(f"select count(*) from (select row_number() over () as n from {crossed})")
    sql("reset statement_timeout")
    assert sql.one("select count(*) from t") == 2
