"""COPY from objects that were put through S3."""

from __future__ import annotations

import gzip
import io
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROLE = "iam_role 'arn:aws:iam::123456789012:role/redshift'"


def parquet(**columns: pa.Array) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


@pytest.fixture
def t(api, request):
    api.run("create table t (id varchar(4) not null, n int, at timestamp, ok boolean, price decimal(6, 2))")
    api.prefix = f"copy/{request.node.name}"
    return api


def rows_file(ids=("a", "b"), n=None, at=None, price=None, ok=None) -> bytes:
    return parquet(
        id=pa.array(ids),
        n=pa.array([1, None]) if n is None else n,
        at=pa.array([1357016400000000, None], pa.timestamp("us")) if at is None else at,
        ok=pa.array([True, False]) if ok is None else ok,
        price=pa.array([Decimal("125.00"), None], pa.decimal128(6, 2)) if price is None else price,
    )


INT32 = pa.array([1, None], pa.int32())


def load(api, where: str, options: str = "format as parquet", columns: str = "") -> str:
    return f"copy t {columns} from 's3://redshift-tests/{where}' {ROLE} {options}"


def test_parquet_of_a_prefix_by_position(t):
    t.put(f"{t.prefix}/ds=2013-01-01/part-0.parquet", rows_file(n=INT32))
    t.put(f"{t.prefix}/ds=2013-01-02/part-0.parquet", rows_file(ids=("c", "d"), n=INT32))
    t.put(f"{t.prefix}/_SUCCESS", b"")
    found = t.run(load(t, f"{t.prefix}/ds="))
    assert (found["Status"], found["ResultRows"], found["HasResultSet"]) == ("FINISHED", 4, False)
    assert t.rows("select * from t where id = 'a'") == [["a", 1, "2013-01-01 05:00:00", True, "125.00"]]
    assert t.rows("select count(*), count(n) from t") == [[4, 2]]


def test_parquet_with_a_list_of_columns_and_a_manifest(t):
    body = parquet(n=INT32, id=pa.array(["a", "b"]))
    t.put(f"{t.prefix}/f.parquet", body)
    entry = {"url": f"s3://redshift-tests/{t.prefix}/f.parquet", "mandatory": True}
    t.put(f"{t.prefix}.manifest", json.dumps({"entries": [entry]}))
    assert "lacks meta.content_length" in t.error(load(t, f"{t.prefix}.manifest", "parquet manifest", "(n, id)"))
    t.put(f"{t.prefix}.manifest", json.dumps({"entries": [entry | {"meta": {"content_length": len(body)}}]}))
    assert t.run(load(t, f"{t.prefix}.manifest", "parquet manifest", "(n, id)"))["ResultRows"] == 2
    missing = {"url": f"s3://redshift-tests/{t.prefix}/gone.parquet", "mandatory": True, "meta": {"content_length": 1}}
    t.put(f"{t.prefix}.manifest", json.dumps({"entries": [missing]}))
    assert "Problem reading manifest file" in t.error(load(t, f"{t.prefix}.manifest", "parquet manifest", "(n, id)"))


def test_a_manifest_that_names_no_file_that_is_there_is_an_error(t):
    gone = {"url": f"s3://redshift-tests/{t.prefix}/gone.parquet", "mandatory": False, "meta": {"content_length": 1}}
    for entries in ([], [gone]):
        t.put(f"{t.prefix}.manifest", json.dumps({"entries": entries}))
        assert f"names no file that is there: {len(entries)} entries" in t.error(
            load(t, f"{t.prefix}.manifest", "parquet manifest")
        )


def test_a_file_without_rows_loads_nothing(t):
    empty = rows_file(ids=pa.array([], pa.string()), n=pa.array([], pa.int32()), at=pa.array([], pa.timestamp("us")),
                      price=pa.array([], pa.decimal128(6, 2)), ok=pa.array([], pa.bool_()))  # fmt: skip
    entry = {"url": f"s3://redshift-tests/{t.prefix}/f.parquet", "mandatory": True, "meta": {"content_length": len(empty)}}
    t.put(f"{t.prefix}/f.parquet", empty)
    t.put(f"{t.prefix}.manifest", json.dumps({"entries": [entry]}))
    assert t.run(load(t, f"{t.prefix}.manifest", "parquet manifest"))["ResultRows"] == 0
    t.put(f"{t.prefix}.csv", b"")
    assert t.run(load(t, f"{t.prefix}.csv", "csv"))["ResultRows"] == 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (rows_file(n=pa.array([1, 2], pa.int64())), "incompatible Parquet schema for column 'n'. Column type: INTEGER"),
        (rows_file(n=pa.array([1.0, 2.0])), "incompatible Parquet schema for column 'n'"),
        (rows_file(n=INT32, price=pa.array([1.0, 2.0])), "incompatible Parquet schema for column 'price'"),
        (rows_file(n=INT32, price=pa.array([Decimal(1), Decimal(2)], pa.decimal128(6, 1))),
         "incompatible Parquet schema for column 'price'"),
        (rows_file(n=INT32, at=pa.array(["x", "y"])), "incompatible Parquet schema for column 'at'"),
        (parquet(id=pa.array(["a"])), "Unmatched number of columns between table and file. Table columns: 5, Data columns: 1"),
        (rows_file(n=INT32, ids=("a", "toolong")), "The length of the data column id is longer than the length defined in the "
         "table. Table: 4, Data: 7"),
        (rows_file(n=INT32, ids=("a", None)), "Column id is NOT NULL and has 1 nulls"),
        (rows_file(n=INT32)[:-20], "is not a valid Parquet file"),
        (b"id,n\n1,2\n", "is not a valid Parquet file"),
    ],
)  # fmt: skip
def test_parquet_that_does_not_fit_loads_nothing(t, request, body, message):
    prefix = f"copy/{abs(hash(request.node.name))}"
    t.put(f"{prefix}/1.parquet", rows_file(n=INT32))
    t.put(f"{prefix}/2.parquet", body)
    error = t.error(load(t, prefix))
    assert "Spectrum Scan Error" in error
    assert message in error
    assert f"s3://redshift-tests/{prefix}/2.parquet" in error
    assert t.rows("select count(*) from t") == [[0]]


def test_csv(t):
    t.put(f"{t.prefix}.csv", 'id,n,at,ok,price\na,1,2013-01-01 05:00:00,t,1.259\n"b,""",,,false,\n')
    assert t.run(load(t, f"{t.prefix}.csv", "format as csv ignoreheader 1"))["ResultRows"] == 2
    assert t.rows("select id, n, at, ok, price from t order by id") == [
        ["a", 1, "2013-01-01 05:00:00", True, "1.25"],
        ['b,"', None, None, False, None],
    ]


def test_delimited_text_and_its_options(t):
    t.put(f"{t.prefix}.gz", gzip.compress(b"toolong|7|01/02/2013 03:04|1|2\n  |NA|||\n"))
    options = "gzip delimiter '|' truncatecolumns null as 'NA' timeformat 'MM/DD/YYYY HH:MI' blanksasnull"
    assert "Missing data for not-null field" in t.error(load(t, f"{t.prefix}.gz", options))
    options = options.replace("blanksasnull", "trimblanks")
    assert t.run(load(t, f"{t.prefix}.gz", options))["ResultRows"] == 2
    assert t.rows("select id, n, at from t order by n") == [["tool", 7, "2013-01-02 03:04:00"], ["", None, None]]


def test_fields_that_cannot_be_loaded_are_told(t):
    t.put(f"{t.prefix}.csv", "a,1,2013-01-01 05:00:00,t,1\nb,x,,,\nc,2,,,\n")
    error = t.error(load(t, f"{t.prefix}.csv", "csv"))
    assert "Load into table 't' failed.  Check 'stl_load_errors' system table for details." in error
    assert "line 2, column n (integer), value 'x'" in error
    assert t.rows("select count(*) from t") == [[0]]
    assert t.rows(
        "select line_number, colname, raw_field_value, err_code, err_reason from stl_load_errors "
        f"where filename = 's3://redshift-tests/{t.prefix}.csv'"
    ) == [[2, "n", "x", 1207, "Invalid digit, Value 'x', Pos 0, Type: Integer"]]
    assert t.run(load(t, f"{t.prefix}.csv", "csv maxerror 1"))["ResultRows"] == 2
    assert t.rows("select id from t order by id") == [["a"], ["c"]]
    assert t.rows(f"select count(*) from sys_load_error_detail where file_name like '%{t.prefix}.csv'") == [[2]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,1", "Delimiter not found"),
        ("a,1,,,,9", "Extra column(s) found"),
        ("toolong,1,,,", "String length exceeds DDL length"),
        ("a,2.5,,,", "Invalid digit"),
        ("a,99999999999,,,", "Invalid digit"),
        ("a,1,yesterday,,", "Invalid timestamp format or value"),
        ("a,1,,perhaps,", "Invalid boolean value"),
        ("a,1,,,12345.6", "Invalid digit"),
    ],
)
def test_lines_that_do_not_fit(t, line, message):
    t.put(f"{t.prefix}.csv".replace("[", "_"), f"ok,1,,,\n{line}\n")
    error = t.error(load(t, f"{t.prefix}.csv".replace("[", "_"), "csv"))
    assert message in error
    assert "line 2" in error


def test_refused(t):
    assert "The specified S3 prefix 'copy/nothing' does not exist" in t.error(load(t, "copy/nothing"))
    t.put(f"{t.prefix}/f", b"x")
    bucket = load(t, "x").replace("redshift-tests", "no-such-bucket")
    assert "NoSuchBucket" in t.error(bucket)
    assert "IAM role ARN 'me' is not valid" in t.error(load(t, t.prefix).replace("arn:aws:iam::123456789012:role/redshift", "me"))
    assert "needs an authorization" in t.error(load(t, t.prefix).replace(ROLE, ""))
    assert "MAXERROR argument is not supported for PARQUET based COPY" in t.error(load(t, t.prefix, "parquet maxerror 1"))
    assert "does not serve COPY with JSON" in t.error(load(t, t.prefix, "json 'auto'"))
    assert 'relation "nope" does not exist' in t.error(load(t, t.prefix).replace("copy t", "copy nope"))
    assert 'column "nope" of relation "t" does not exist' in t.error(load(t, t.prefix, columns="(nope)"))
    assert 'syntax error at or near "sideways"' in t.error(load(t, t.prefix, "csv sideways"))


def test_a_batch_rolls_its_copy_back(t):
    t.put(f"{t.prefix}.csv", "a,1,,,\n")
    found = t.run([load(t, f"{t.prefix}.csv", "csv"), "select pg_last_copy_count()", "select 1 / 0"])
    assert found["Status"] == "FAILED"
    assert t.rows("select count(*) from t") == [[0]]
