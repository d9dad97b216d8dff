"""The Data Catalog as Spark, Athena and awswrangler ask for it: pages, segments, expressions, and what they read by it.

awswrangler itself cannot be installed beside these pins (3.17.1 wants pyarrow below 26). What is sent and read here is what its
``read_parquet_table`` sends and reads.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from datetime import date
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from flywheel.core.commits import Commit, DataFile
from flywheel.hooks.catalog import ZoneTable
from flywheel.hooks.zones import read_commits

DAYS = [date(2013, 1, number) for number in range(1, 8)]


@pytest.fixture
def glue(aws: Any) -> Any:
    return aws.client("glue")


@pytest.fixture
def table(glue: Any) -> dict[str, str]:
    """A table partitioned by a date, with seven partitions."""
    database = f"catalog_{uuid.uuid4().hex[:8]}"
    glue.create_database(DatabaseInput={"Name": database})
    storage = {"Columns": [{"Name": "n", "Type": "int"}], "Location": "s3://nowhere/t/"}
    glue.create_table(
        DatabaseName=database,
        TableInput={"Name": "t", "PartitionKeys": [{"Name": "ds", "Type": "date"}], "StorageDescriptor": storage},
    )
    inputs = [{"Values": [str(day)], "StorageDescriptor": storage | {"Location": f"s3://nowhere/t/ds={day}/"}} for day in DAYS]
    assert "Errors" not in glue.batch_create_partition(DatabaseName=database, TableName="t", PartitionInputList=inputs)
    return {"DatabaseName": database, "TableName": "t"}


def found(glue: Any, table: dict[str, str], **asked: Any) -> list[str]:
    pages = glue.get_paginator("get_partitions").paginate(**table, **asked)
    return [partition["Values"][0] for page in pages for partition in page["Partitions"]]


@pytest.mark.parametrize(
    ("expression", "days"),
    [
        ("ds = '2013-01-03'", [3]),
        ("ds >= '2013-01-02' AND ds <= '2013-01-03'", [2, 3]),
        ("((ds >= '2013-01-02') and (ds < '2013-01-04'))", [2, 3]),
        ("ds between '2013-01-06' and '2013-02-28'", [6, 7]),
        ("ds in ('2013-01-01', '2013-01-07')", [1, 7]),
        ("(ds = '2013-01-01' or ds > '2013-01-06')", [1, 7]),
        ("", [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_partitions_are_found_by_expression(glue: Any, table: dict[str, str], expression: str, days: list[int]) -> None:
    assert found(glue, table, Expression=expression) == [str(date(2013, 1, day)) for day in days]


@pytest.mark.parametrize("expression", ["ds >= 2013-01-02", "month = '1'", "ds >= 'soon'"])
def test_an_expression_that_glue_refuses_is_refused(glue: Any, table: dict[str, str], expression: str) -> None:
    """A bare date is what Spark's open-source Glue client sends for a partition key of type date."""
    with pytest.raises(ClientError) as refused:
        found(glue, table, Expression=expression)
    assert refused.value.response["Error"]["Code"] == "InvalidInputException"


def test_segments_share_the_partitions_and_give_none_twice(glue: Any, table: dict[str, str]) -> None:
    """Spark's Glue client asks for all segments at once and puts the answers together."""
    segments = [found(glue, table, Segment={"SegmentNumber": number, "TotalSegments": 3}) for number in range(3)]
    assert sorted(chain.from_iterable(segments)) == [str(day) for day in DAYS]
    assert found(glue, table, Segment={"SegmentNumber": 0, "TotalSegments": 1}) == [str(day) for day in DAYS]
    with pytest.raises(ClientError, match="SegmentNumber"):
        found(glue, table, Segment={"SegmentNumber": 3, "TotalSegments": 3})


def test_pages_are_as_long_as_asked(glue: Any, table: dict[str, str]) -> None:
    first = glue.get_partitions(**table, MaxResults=5, ExcludeColumnSchema=True)
    assert [partition["Values"][0] for partition in first["Partitions"]] == [str(day) for day in DAYS[:5]]
    assert all("Columns" not in partition["StorageDescriptor"] for partition in first["Partitions"])
    rest = glue.get_partitions(**table, MaxResults=5, NextToken=first["NextToken"])
    assert len(rest["Partitions"]) == 2
    assert "NextToken" not in rest
    with pytest.raises(ClientError, match="NextToken"):
        glue.get_partitions(**table, NextToken="made up")


def test_batches_are_as_large_as_aws_takes_them(glue: Any, table: dict[str, str]) -> None:
    too_many = [{"Values": [f"2014-{1 + n // 28:02}-{1 + n % 28:02}"]} for n in range(101)]
    with pytest.raises(ClientError) as refused:
        glue.batch_create_partition(**table, PartitionInputList=too_many)
    assert refused.value.response["Error"]["Code"] in ("ValidationException", "InvalidInputException")
    there = glue.batch_create_partition(**table, PartitionInputList=[{"Values": [str(DAYS[0])]}])
    assert there["Errors"][0]["ErrorDetail"]["ErrorCode"] == "AlreadyExistsException"
    absent = {"PartitionValueList": ["2015-01-01"], "PartitionInput": {"Values": ["2015-01-01"]}}
    errors = glue.batch_update_partition(**table, Entries=[absent])["Errors"]
    assert errors[0]["ErrorDetail"]["ErrorCode"] == "EntityNotFoundException"


class Reader:
    """What awswrangler's ``read_parquet_table`` does (3.17.1, ``_get_paths_for_glue_table``)."""

    def __init__(self, aws: Any, database: str, table: str):
        self.s3, self.glue, self.database, self.table = aws.client("s3"), aws.client("glue"), database, table

    def rows(self, partition_filter: Callable[[dict[str, str]], bool] | None = None) -> list[int]:
        location = self.glue.get_table(DatabaseName=self.database, Name=self.table)["Table"]["StorageDescriptor"]["Location"]
        if partition_filter is None:
            return self._read(location)
        pages = self.glue.get_paginator("get_partitions").paginate(
            DatabaseName=self.database,
            TableName=self.table,
            Segment={"SegmentNumber": 0, "TotalSegments": 1},
            ExcludeColumnSchema=True,
            PaginationConfig={"PageSize": 1000},
        )
        paths = [partition["StorageDescriptor"]["Location"] for page in pages for partition in page["Partitions"]]
        assert all(location in path for path in paths), "Object is not under the root path"
        folders = {path: dict(part.split("=", 1) for part in path.split("/") if "=" in part) for path in paths}
        wanted = [path for path, values in folders.items() if partition_filter(values)]
        return sorted(chain.from_iterable(map(self._read, wanted)))

    def _read(self, location: str) -> list[int]:
        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        keys = [entry["Key"] for entry in self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]]
        files = [pq.read_table(io.BytesIO(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())) for key in keys]
        return [value for file in files for value in file["n"].to_pylist()]


@pytest.fixture
def reader(aws: Any) -> Reader:
    """A zone with two days: one written three times and committed twice, one written and committed once."""
    s3, glue, bucket, database = aws.client("s3"), aws.client("glue"), f"zone-{uuid.uuid4().hex[:8]}", f"z{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    glue.create_database(DatabaseInput={"Name": database})

    def write(write: str, day: date, *values: int, commit: bool) -> None:
        body = io.BytesIO()
        pq.write_table(pa.table({"n": pa.array(values, pa.int64())}), body)
        key = f"processed/x/write={write}/ds={day}/part-0.parquet"
        s3.put_object(Bucket=bucket, Key=key, Body=body.getvalue())
        if commit:
            files = (DataFile("part-0.parquet", len(body.getvalue())),)
            made = Commit("processed/x", day, write, files, len(values), {"n": "bigint"})
            s3.put_object(Bucket=bucket, Key=made.key, Body=made.to_json().encode())

    table = ZoneTable(glue, database, bucket, "processed/x")
    for values, name in (((1, 2, 3), "old"), ((1, 2), "new")):
        write(name, DAYS[0], *values, commit=True)
        table.register(read_commits(s3, bucket, "processed/x", DAYS[:1]))
    write("old", DAYS[1], 7, commit=True)
    table.register(read_commits(s3, bucket, "processed/x", DAYS[1:2]))
    write("dead", DAYS[0], 99, commit=False)
    return Reader(aws, database, "processed_x")


def test_by_the_partitions_exactly_the_committed_rows_are_read(reader: Reader) -> None:
    assert reader.rows(lambda values: True) == [1, 2, 7]
    assert reader.rows(lambda values: values["ds"] == "2013-01-01") == [1, 2]


def test_without_the_partitions_reading_fails_before_it_mixes(reader: Reader) -> None:
    with pytest.raises(pa.ArrowInvalid, match="not a parquet file"):
        reader.rows()
