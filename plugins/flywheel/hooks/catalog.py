"""The zones' tables in the Glue Data Catalog, by which Athena, Spark and others find what is committed.

A table is named after its zone (``processed/flights`` is ``processed_flights``) and partitioned by ``ds``, a date. The Location
of each partition is the folder that its commit names; ``flywheel.commit`` among its parameters is the commit's ETag, so that it
takes two lists and no reading to tell which partitions are not registered as they are committed.

The Location of the table is the zone's folder: awswrangler refuses partitions that lie elsewhere. Athena and Spark never list it
where there are partitions; awswrangler does unless it is given a ``partition_filter``, and then ends with an error at the first
commit, which is no Parquet file. It must not be talked out of that with ``filename_suffix``: the folder holds every write, also
those that no commit names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from botocore.exceptions import ClientError

from flywheel.core.commits import Commit

#: Glue's own limit of partitions in one batch.
BATCH = 100
#: Among a partition's parameters: the ETag of its commit. Among a table's: the day whose columns it has.
COMMIT, COLUMNS_OF = "flywheel.commit", "flywheel.columns_of"

_PARQUET = {
    "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "SerdeInfo": {
        "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
        "Parameters": {"serialization.format": "1"},
    },
}
_HIVE_TYPES = {"byte": "tinyint", "short": "smallint", "integer": "int", "long": "bigint", "real": "float",
               "timestamp_ntz": "timestamp", "timestamp_ltz": "timestamp"}  # fmt: skip
_SAME_IN_HIVE = re.compile(
    r"tinyint|smallint|int|bigint|float|double|string|boolean|timestamp|date|binary|decimal\(\d+,\d+\)|varchar\(\d+\)|char\(\d+\)"
)


def table_name(zone: str) -> str:
    """The table of a zone."""
    return zone.replace("/", "_")


def hive_type(spark_type: str) -> str:
    """Hive's name of a Spark type.

    :raises ValueError: it has none here
    """
    name = spark_type.lower().replace(" ", "")
    name = _HIVE_TYPES.get(name, name)
    if not _SAME_IN_HIVE.fullmatch(name):
        raise ValueError(f"type {spark_type!r}: expected a simple Spark type, for the Data Catalog")
    return name


def columns_of(commit: Commit) -> list[dict[str, str]]:
    """A commit's columns as the catalog wants them."""
    return [{"Name": name, "Type": hive_type(kind)} for name, kind in commit.columns.items()]


def merged_columns(newer: Sequence[Mapping[str, str]], older: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The columns of a table that has both: the newer ones as they are, behind them those that only older partitions have."""
    known = {column["Name"] for column in newer}
    return [dict(column) for column in [*newer, *(column for column in older if column["Name"] not in known)]]


class ZoneTable:
    """One zone's table.

    :param glue: a boto3 client
    :param database: the catalog's database, which has to exist
    :param bucket: the bucket that the zone lies in
    """

    def __init__(self, glue: Any, database: str, bucket: str, zone: str):
        self.glue, self.database, self.bucket, self.zone = glue, database, bucket, zone
        self.name = table_name(zone)

    def registered(self, first: date, last: date) -> dict[date, str]:
        """The ETag of the commit that each partition from ``first`` to ``last`` is registered by; none without a table."""
        pages = self.glue.get_paginator("get_partitions").paginate(
            DatabaseName=self.database,
            TableName=self.name,
            Expression=f"ds >= '{first}' AND ds <= '{last}'",
            ExcludeColumnSchema=True,
        )
        try:
            partitions = [partition for page in pages for partition in page["Partitions"]]
        except ClientError as error:
            if _code(error) != "EntityNotFoundException":
                raise
            return {}
        return {date.fromisoformat(found["Values"][0]): found.get("Parameters", {}).get(COMMIT, "") for found in partitions}

    def register(self, commits: Mapping[date, tuple[Commit, str]]) -> None:
        """Makes the catalog say what these commits say, whatever it said before.

        :param commits: each with its ETag
        :raises ClientError: AWS refuses one, e.g. because there is no such database
        """
        self._ensure_table(commits[max(commits)][0])
        inputs = [self._partition(commit, etag) for commit, etag in commits.values()]
        for some in (inputs[first : first + BATCH] for first in range(0, len(inputs), BATCH)):
            answer = self.glue.batch_create_partition(DatabaseName=self.database, TableName=self.name, PartitionInputList=some)
            there = set(_refused(answer, "PartitionValues", but="AlreadyExistsException"))
            entries = [
                {"PartitionValueList": partition["Values"], "PartitionInput": partition}
                for partition in some
                if partition["Values"][0] in there
            ]
            if entries:
                answer = self.glue.batch_update_partition(DatabaseName=self.database, TableName=self.name, Entries=entries)
                # A partition that somebody has removed in between is missing in the next list, and made again.
                list(_refused(answer, "PartitionValueList", but="EntityNotFoundException"))

    def drop(self) -> bool:
        """Removes the table with its partitions, and no file. Returns whether it was there."""
        try:
            self.glue.delete_table(DatabaseName=self.database, Name=self.name)
        except ClientError as error:
            if _code(error) != "EntityNotFoundException":
                raise
            return False
        return True

    def _ensure_table(self, newest: Commit) -> None:
        """The table with at least the columns of this commit; in its order, if none newer has told the columns before."""
        while True:
            try:
                table = self.glue.get_table(DatabaseName=self.database, Name=self.name)["Table"]
            except ClientError as error:
                if _code(error) != "EntityNotFoundException":
                    raise
                try:
                    self.glue.create_table(DatabaseName=self.database, TableInput=self._table(columns_of(newest), newest.ds))
                    return
                except ClientError as refused:
                    if _code(refused) != "AlreadyExistsException":
                        raise
                    continue
            told_by = date.fromisoformat(table.get("Parameters", {}).get(COLUMNS_OF, date.min.isoformat()))
            both = [columns_of(newest), table["StorageDescriptor"]["Columns"]]
            columns = merged_columns(*both) if newest.ds >= told_by else merged_columns(*reversed(both))
            if columns != both[1] or newest.ds > told_by:
                update = self._table(columns, max(newest.ds, told_by))
                self.glue.update_table(DatabaseName=self.database, TableInput=update, SkipArchive=True)
            return

    def _table(self, columns: list[dict[str, str]], told_by: date) -> dict[str, Any]:
        return {
            "Name": self.name,
            "Description": f"The committed partitions of {self.zone}. Read these, not the Location",
            "TableType": "EXTERNAL_TABLE",
            "PartitionKeys": [{"Name": "ds", "Type": "date"}],
            "Parameters": {"EXTERNAL": "TRUE", "classification": "parquet", COLUMNS_OF: told_by.isoformat()},
            "StorageDescriptor": {"Columns": columns, "Location": f"s3://{self.bucket}/{self.zone}/", **_PARQUET},
        }

    def _partition(self, commit: Commit, etag: str) -> dict[str, Any]:
        location = f"s3://{self.bucket}/{commit.folder}/"
        return {
            "Values": [commit.ds.isoformat()],
            "Parameters": {COMMIT: etag, "flywheel.write": commit.write, "numRows": str(commit.rows)},
            "StorageDescriptor": {"Columns": columns_of(commit), "Location": location, **_PARQUET},
        }


def _code(error: ClientError) -> str:
    return error.response["Error"]["Code"]


def _refused(answer: Mapping[str, Any], values: str, but: str) -> Iterator[str]:
    """The days that a batch has refused for the reason ``but``.

    :raises ValueError: it has refused one for another reason
    """
    errors: Iterable[Mapping[str, Any]] = answer.get("Errors", [])
    for error in errors:
        if error["ErrorDetail"]["ErrorCode"] != but:
            raise ValueError(f"partition {error[values]} of the Data Catalog: {error['ErrorDetail']}")
        yield error[values][0]
