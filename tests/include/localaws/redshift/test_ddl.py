"""CREATE, DROP and TRUNCATE."""

from __future__ import annotations

import pytest

from localaws.redshift.ddl import without_storage
from localaws.redshift.errors import RedshiftError


def test_storage_means_nothing_and_types_are_redshifts(sql):
    sql(
        "create table if not exists t (id bigint identity(1, 1) distkey, name varchar(5) encode zstd not null default 'ab', "
        "code char(2), amount numeric, anything super, text varchar, at timestamp default getdate() sortkey, "
        "primary key (id), unique (name), foreign key (code) references other (code)) "
        "diststyle key compound sortkey (id, name) encode auto backup no"
    )
    rows = sql("select column_name, data_type, character_maximum_length, is_nullable from information_schema.columns "
               f"where table_name = 't' and table_schema = '{sql.session.search_path[0]}' order by ordinal_position")  # fmt: skip
    assert rows == [
        ("id", "bigint", None, "NO"),
        ("name", "character varying", 5, "NO"),
        ("code", "character", 2, "YES"),
        ("amount", "numeric", None, "YES"),
        ("anything", "super", None, "YES"),
        ("text", "character varying", 256, "YES"),
        ("at", "timestamp without time zone", None, "YES"),
    ]
    sql("insert into t (amount) values (1.5), (2.4)")
    assert sql("select id, name, amount::int, at is not null from t order by id") == [(1, "ab", 2, True), (2, "ab", 2, True)]
    sql("create temp table like_t (like t including defaults)")
    sql("insert into like_t (id) values (5)")
    assert sql("select name from like_t") == [("ab",)]
    with pytest.raises(RedshiftError, match="value too long"):
        sql("insert into like_t (id, name) values (6, 'toolong')")


def test_without_storage_leaves_columns_and_queries_alone():
    assert without_storage("create table t (distkey int, encode varchar(3))") == "create table t (distkey int, encode varchar(3))"
    scrubbed = without_storage("create table t distkey(a) sortkey auto as select 1 as a, 2 as sortkey")
    assert " ".join(scrubbed.split()) == "create table t as select 1 as a, 2 as sortkey"
    assert len(scrubbed) == len("create table t distkey(a) sortkey auto as select 1 as a, 2 as sortkey")


def test_primary_keys_are_not_enforced_but_not_null(sql):
    sql("create table t (id int primary key, x int unique)")
    sql("insert into t values (1, 1), (1, 1)")
    with pytest.raises(RedshiftError, match="Cannot insert a NULL value into column id"):
        sql("insert into t values (null, 1)")


def test_create_as_keeps_redshifts_types(sql):
    sql("create table t (i int, b bigint)")
    sql("insert into t values (1, 1), (2, 2)")
    sql("create table u distkey(i) as select avg(i) as i, sum(b) as b, 1 / 2.0 as d from t")
    rows = sql("select \"column\", type from pg_table_def where tablename = 'u'")
    assert rows == [("i", "bigint"), ("b", "numeric(38,0)"), ("d", "numeric(15,4)")]
    assert sql.one("select tbl_rows from svv_table_info where \"table\" = 'u'") == 1


def test_views_and_what_depends_on_them(sql):
    sql("create table t (x int)")
    sql("create view bound as select x / 2 as half from t")
    sql("insert into t values (3)")
    assert sql("select half from bound") == [(1,)]
    with pytest.raises(RedshiftError, match="because other objects depend on it"):
        sql("drop table t")
    with pytest.raises(RedshiftError, match="WITH NO SCHEMA BINDING"):
        sql("alter table t rename to u")
    sql("drop view bound")
    sql("create or replace view loose as select x from t with no schema binding")
    sql("drop table t")
    with pytest.raises(RedshiftError, match='relation "t" does not exist'):
        sql("select * from loose")


def test_cascade_drops_views(sql):
    sql("create table t (x int)")
    sql("create view v as select x from t")
    sql("drop table t cascade")
    with pytest.raises(RedshiftError, match='relation "v" does not exist'):
        sql("select * from v")


def test_truncate_commits_what_came_before_it(sql):
    sql("create table t (x int)")
    sql("create table log (x int)")
    sql("insert into t values (1)")
    sql("begin")
    sql("insert into log values (1)")
    sql("truncate t")
    sql("rollback")
    assert sql.one("select count(*) from t") == 0
    assert sql.one("select count(*) from log") == 1


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("create or replace table t (x int)", "no CREATE OR REPLACE TABLE"),
        ("create table t (x int, x int)", 'column "x" specified more than once'),
        ("create table t (x int check (x > 1))", "CHECK constraints are not supported"),
        ("create table t (x int[])", "syntax error|does not serve"),
        ("create table t (x decimal(39, 1))", "precision 39"),
        ("create table t (x varchar(70000))", "between 1 and 65535"),
        ("create table nope.t (x int)", 'schema "nope" does not exist'),
        ("create temp table public.t (x int)", "temporary tables cannot specify a schema name"),
        ("create schema pg_mine", "unacceptable schema name"),
        ("create function f() returns int as $$ select 1 $$ language sql", "does not serve CREATE FUNCTION"),
        ("create index i on t (x)", "does not serve CREATE INDEX"),
        ("drop table nope", 'relation "nope" does not exist'),
        ("truncate nope", 'relation "nope" does not exist'),
    ],
)
def test_refused(sql, statement, message):
    with pytest.raises(RedshiftError, match=message):
        sql(statement)


def test_exists_clauses(sql):
    sql("create table t (x int)")
    sql("create table if not exists t (y int)")
    assert sql("select x from t") == []
    with pytest.raises(RedshiftError, match='relation "t" already exists'):
        sql("create table t (x int)")
    sql("drop table if exists t, nope")
    sql("drop table if exists t")


def test_one_drop_of_several_tables_drops_all_of_them(sql):
    sql("create table a (x int)")
    sql("create table b (x int)")
    sql("create table c (x int)")
    sql("drop table if exists a, nothing, b")
    rows = sql(f"select table_name from information_schema.tables where table_schema = '{sql.session.search_path[0]}'")
    assert rows == [("c",)]
