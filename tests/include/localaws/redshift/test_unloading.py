"""UNLOAD into S3, read back through S3."""

from __future__ import annotations

import gzip
import io
import json

import pyarrow.parquet as pq
import pytest

ROLE = "iam_role 'arn:aws:iam::123456789012:role/redshift'"


@pytest.fixture
def t(api, request):
    api.run([
        "create table t (id int, name varchar(20), score float8, ok boolean, day date, price decimal(6, 2))",
        "insert into t values (1, 'one', 0.1, true, '2013-01-01', 1.5), (2, 'a,\"b\"', 2, false, '2013-01-02', null), "
        "(3, null, null, null, '2013-01-02', 3), (4, '', 1e-7, true, '2013-01-03', 0)",
    ])  # fmt: skip
    api.prefix = f"unload/{request.node.name}/"
    return api


def unload(api, query: str, options: str) -> str:
    quoted = query.replace("'", "''")
    return f"unload ('{quoted}') to 's3://redshift-tests/{api.prefix}' {ROLE} {options}"


def test_parquet_keeps_the_types_and_copies_back(t):
    found = t.run(unload(t, "select * from t where name is null or name <> 'x' order by id", "format as parquet"))
    assert (found["Status"], found["ResultRows"]) == ("FINISHED", 4)
    assert t.keys(t.prefix) == [f"{t.prefix}0000_part_00.parquet", f"{t.prefix}0001_part_00.parquet"]
    table = pq.read_table(io.BytesIO(t.read(t.keys(t.prefix)[0])))
    assert [str(field.type) for field in table.schema] == [
        "int32", "string", "double", "bool", "date32[day]", "decimal128(6, 2)",
    ]  # fmt: skip
    t.run(["create table u (like t)", f"copy u from 's3://redshift-tests/{t.prefix}' {ROLE} format as parquet"])
    assert t.rows("select count(*) from u") == [[4]]
    assert t.rows("select * from t minus select * from u") == []


def test_csv_without_a_header_and_with_one(t):
    t.run(unload(t, "select * from t order by id", "format as csv parallel off"))
    assert t.keys(t.prefix) == [f"{t.prefix}000"]
    assert t.read(f"{t.prefix}000").decode() == (
        '1,one,0.1,t,2013-01-01,1.50\n2,"a,""b""",2,f,2013-01-02,\n3,,,,2013-01-02,3.00\n4,"",1e-07,t,2013-01-03,0.00\n'
    )
    t.run(unload(t, "select id, ok from t where id < 3 order by id", "csv header delimiter '|' gzip parallel off cleanpath"))
    assert t.keys(t.prefix) == [f"{t.prefix}000.gz"]
    assert gzip.decompress(t.read(f"{t.prefix}000.gz")) == b"id|ok\n1|t\n2|f\n"


def test_dollar_quotes_and_doubled_quotes_mean_the_same(t):
    t.run(unload(t, "select id from t where name = 'one'", "csv"))
    same = f"unload ($$select id from t where name = 'one'$$) to 's3://redshift-tests/{t.prefix}' {ROLE} csv allowoverwrite"
    assert t.run(same)["ResultRows"] == 1
    assert [t.read(key) for key in t.keys(t.prefix)] == [b"1\n"]


def test_partitions_are_folders(t):
    t.run(unload(t, "select id, day, ok from t", "parquet partition by (ok, day)"))
    assert t.keys(t.prefix) == [
        f"{t.prefix}ok={ok}/day={day}/0000_part_00.parquet"
        for ok, day in [("__HIVE_DEFAULT_PARTITION__", "2013-01-02"), ("false", "2013-01-02"), ("true", "2013-01-01"),
                        ("true", "2013-01-03")]
    ]  # fmt: skip
    table = pq.read_table(io.BytesIO(t.read(f"{t.prefix}ok=true/day=2013-01-03/0000_part_00.parquet")))
    assert table.to_pydict() == {"id": [4]}
    t.run(unload(t, "select id, day from t where id = 4", "csv partition by (day) include cleanpath parallel off"))
    assert t.read(f"{t.prefix}day=2013-01-03/000") == b"4,2013-01-03\n"


def test_cleanpath_of_partitions_keeps_the_others(t):
    t.put(f"{t.prefix}day=2013-01-03/old", b"x")
    t.put(f"{t.prefix}day=1999-01-01/old", b"x")
    t.run(unload(t, "select id, day from t where id = 4", "csv partition by (day) cleanpath parallel off"))
    assert t.keys(t.prefix) == [f"{t.prefix}day=1999-01-01/old", f"{t.prefix}day=2013-01-03/000"]


def test_manifest(t):
    t.run(unload(t, "select id, name from t", "parquet manifest verbose"))
    manifest = json.loads(t.read(f"{t.prefix}manifest"))
    assert [entry["url"] for entry in manifest["entries"]] == [
        f"s3://redshift-tests/{t.prefix}{n:04d}_part_00.parquet" for n in (0, 1)
    ]
    assert manifest["meta"]["record_count"] == 4
    t.run("create table u (id int, name varchar(20))")
    assert t.run(f"copy u from 's3://redshift-tests/{t.prefix}manifest' {ROLE} parquet manifest")["ResultRows"] == 4


def test_large_results_are_split(t):
    t.run("create table big as select md5(a.id::varchar || b.id || c.id || d.id || e.id || f.id || g.id || h.id || i.id) as h "
          "from t a, t b, t c, t d, t e, t f, t g, t h, t i")  # fmt: skip
    t.run(unload(t, "select h from big", "csv parallel off maxfilesize 5 mb"))
    listed = t.s3.list_objects_v2(Bucket="redshift-tests", Prefix=t.prefix)["Contents"]
    assert len(listed) == 2
    assert max(item["Size"] for item in listed) <= 5 << 20
    assert sum(item["Size"] for item in listed) == 33 * 4**9


def test_no_rows_no_objects(t):
    assert t.run(unload(t, "select * from t where false", "csv header"))["Status"] == "FINISHED"
    assert t.keys(t.prefix) == []


def test_refused(t):
    t.put(f"{t.prefix}there", b"x")
    assert "Specified unload destination on S3 is not empty" in t.error(unload(t, "select 1 as x", "csv"))
    assert t.keys(t.prefix) == [f"{t.prefix}there"]
    assert "Limit clause is not supported" in t.error(unload(t, "select 1 as x limit 1", "csv allowoverwrite"))
    assert 'column "nope" in PARTITION BY' in t.error(unload(t, "select 1 as x", "csv allowoverwrite partition by (nope)"))
    assert "at least one column" in t.error(unload(t, "select 1 as x", "csv allowoverwrite partition by (x)"))
    assert 'relation "nope" does not exist' in t.error(unload(t, "select * from nope", "csv allowoverwrite"))
    assert "cannot be used together" in t.error(unload(t, "select 1 as x", "csv allowoverwrite cleanpath"))
    assert "does not serve UNLOAD of delimited text" in t.error(unload(t, "select 1 as x", "allowoverwrite"))
    assert "HEADER is not supported" in t.error(unload(t, "select 1 as x", "parquet header allowoverwrite"))
    assert "NoSuchBucket" in t.error(unload(t, "select 1 as x", "csv").replace("redshift-tests", "no-such-bucket"))
    assert "needs an authorization" in t.error(unload(t, "select 1 as x", "csv allowoverwrite").replace(ROLE, ""))
    assert "without bind parameters" in t.error(unload(t, "select :x as x", "csv allowoverwrite"))
    assert t.keys(t.prefix) == [f"{t.prefix}there"]
