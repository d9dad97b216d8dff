"""A warehouse for the project's SQL: the local Redshift, set up as a deployment is, and files as the feature job leaves them."""

from __future__ import annotations

import io
import itertools
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aws_process import LocalAwsProcess
from infra.provision import run_setup_sql

from flywheel.core.specs import ModelSpec, load_model_specs

INCLUDE = Path(__file__).parents[3] / "include"
BUCKET = "sql-tests"
ROLE = "arn:aws:iam::123456789012:role/flywheel-jobs"
TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(INCLUDE / "sql"), undefined=jinja2.StrictUndefined)  # noqa: S701
ARROW = {"int": pa.int32(), "bigint": pa.int64(), "double": pa.float64(), "category": pa.string()}
LOAD = """
features/lock_tables
features/stage_features features/copy_features features/expect_features features/copy_expected_features
features/delete_features features/insert_features
features/stage_labels features/copy_labels features/expect_labels features/copy_expected_labels
features/delete_labels features/insert_labels
features/check_tables checks/require_checks checks/record_checks
""".split()
PUBLISH = """
scoring/lock_predictions scoring/stage_predictions scoring/copy_predictions
scoring/delete_predictions scoring/insert_predictions
scoring/check_predictions checks/require_checks checks/record_checks
""".split()
NUMBERS = itertools.count(1)


@dataclass
class Days:
    """What the feature job has written for some days of one zone: a day's entities, each with a value of its own.

    :param days: day to entity to value; the value goes into the row's columns and its checksum
    :param told: lines of the csv in place of the truth, day to (rows, checksum)
    """

    days: Mapping[str, Mapping[str, int]]
    told: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    twice: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, datetime, int, int]]:
        """entity_id, event_time, value, checksum."""
        return [
            (entity, datetime.fromisoformat(f"{day}T12:00:00"), value, _checksum(entity, value))
            for day, entities in self.days.items()
            for entity, value in entities.items()
            for _ in range(2 if entity in self.twice else 1)
        ]

    def csv(self) -> str:
        """``ds,row_count,checksum``."""
        true = {day: (len(entities), sum(_checksum(*item) for item in entities.items())) for day, entities in self.days.items()}
        return "".join(f"{day},{rows},{checksum}\n" for day, (rows, checksum) in {**true, **self.told}.items())


def _checksum(entity: str, value: int) -> int:
    """Sums outgrow 64 bits, as those of a real hash do."""
    return 2**62 + zlib.crc32(f"{entity}/{value}".encode())


class Warehouse:
    """A database of a test's own: ``deliver`` files, ``load`` and ``publish`` them, look at what is there."""

    def __init__(self, aws: LocalAwsProcess, model: ModelSpec):
        self.aws, self.model = aws, model
        self.features = model.features  # those of the champion
        self.database = f"sql{next(NUMBERS)}"
        self.target = {"WorkgroupName": "tests", "Database": self.database}
        self.client, self.s3 = aws.client("redshift-data"), aws.client("s3")
        self.s3.create_bucket(Bucket=BUCKET)
        run_setup_sql("tests", self.database)
        columns = ("entity_id", "event_time", *model.features.columns)
        self.feature_types = [pa.string(), pa.timestamp("us"), *(ARROW[c.type] for c in model.features.columns.values())]
        self.feature_schema = pa.schema([*zip(columns, self.feature_types, strict=True), ("checksum", pa.int64())])
        self.label_schema = pa.schema(
            [("entity_id", pa.string()), ("event_time", pa.timestamp("us")), ("label", pa.int32()), ("checksum", pa.int64())]
        )

    # What jobs leave on S3

    def deliver(self, run_key: str, features: Days, labels: Days | None = None) -> str:
        """Files, manifest and csv of both zones; returns the run key."""
        width = len(self.feature_schema) - 3
        wide = [
            (entity, at, *(self._value(value, kind) for kind in self.feature_types[2 : 2 + width]), checksum)
            for entity, at, value, checksum in features.rows()
        ]
        self._write("features", run_key, wide, self.feature_schema, features.csv())
        labels = labels or Days({})
        narrow = [(entity, at, value % 2, checksum) for entity, at, value, checksum in labels.rows()]
        self._write("labels", run_key, narrow, self.label_schema, labels.csv())
        return run_key

    @staticmethod
    def _value(value: int, kind: pa.DataType) -> Any:
        return f"c{value}" if kind == pa.string() else value / 2 if kind == pa.float64() else value

    def _write(self, zone: str, run_key: str, rows: Sequence[tuple], schema: pa.Schema, csv: str) -> None:
        file = io.BytesIO()
        pq.write_table(pa.Table.from_arrays([pa.array(c, t) for c, t in _columns(rows, schema)], schema=schema), file)
        body = file.getvalue()
        folder = f"{self.database}/{zone}/{run_key}"
        entry = {"url": f"s3://{BUCKET}/{folder}.parquet", "mandatory": True, "meta": {"content_length": len(body)}}
        for name, content in (("parquet", body), ("json", json.dumps({"entries": [entry]})), ("csv", csv)):
            self.s3.put_object(Bucket=BUCKET, Key=f"{folder}.{name}", Body=content)

    # Batches

    def render(self, names: Sequence[str], run_key: str, start: str = "", end: str = "", version: int = 1) -> list[str]:
        """The statements as the DAGs' tasks render them."""
        settings = SimpleNamespace(bucket=BUCKET, redshift_role_arn=ROLE)
        context: dict[str, Any] = {
            "model": self.model,
            "features": lambda: self.features,
            "settings": settings,
            "run_key": lambda: run_key,
            "manifest": lambda zone: f"s3://{BUCKET}/{self.database}/{zone}/{run_key}.json",
            "expected": lambda zone: f"s3://{BUCKET}/{self.database}/{zone}/{run_key}.csv",
            "window": lambda: SimpleNamespace(start=start, end=end),
            "training": lambda: SimpleNamespace(start=start, end=start),
            "holdout": lambda: SimpleNamespace(start=end, end=end),
            "champion": {"version": version}.__getitem__,
        }
        return [TEMPLATES.get_template(f"{name}.sql").render(context) for name in names]

    def load_batch(self, run_key: str) -> list[str]:
        """The statements of a load."""
        return self.render(LOAD, run_key)

    def load(self, run_key: str) -> dict[str, Any]:
        """Runs a load to its end; DescribeStatement's answer."""
        return self.run(self.load_batch(run_key))

    def publish_batch(
        self, run_key: str, scores: Sequence[tuple[str, float]], days: tuple[str, str], version: int = 1
    ) -> list[str]:
        """What a transform job has left, and the statements that publish it."""
        body = "".join(f"{entity},{score}\n" for entity, score in scores)
        self.s3.put_object(Bucket=BUCKET, Key=f"predictions/{self.model.name}/{run_key}/output/part-0.csv.out", Body=body)
        return self.render(PUBLISH, run_key, *days, version=version)

    def publish(self, *what: Any, **more: Any) -> dict[str, Any]:
        """Publishes to the end; as :meth:`publish_batch`."""
        return self.run(self.publish_batch(*what, **more))

    def start(self, statements: Sequence[str], **more: Any) -> str:
        """Sends a batch; its Id."""
        return str(self.client.batch_execute_statement(Sqls=list(statements), **self.target, **more)["Id"])

    def ended(self, statement: str) -> dict[str, Any]:
        """DescribeStatement, once it has ended."""
        for _ in range(4):
            found = self.client.describe_statement(Id=statement, WaitTimeSeconds=30)
            if found["Status"] in ("FINISHED", "FAILED", "ABORTED"):
                return dict(found)
        raise AssertionError(f"{statement} has not ended: {found}")

    def run(self, statements: Sequence[str], **more: Any) -> dict[str, Any]:
        """Runs a batch to its end."""
        return self.ended(self.start(statements, **more))

    def rows(self, sql: str) -> list[list[Any]]:
        """The rows of a query, as plain values."""
        found = self.run([sql])
        assert found["Status"] == "FINISHED", found
        pages = self.client.get_paginator("get_statement_result").paginate(Id=f"{found['Id']}:1")
        return [
            [None if "isNull" in value else next(iter(value.values())) for value in record]
            for page in pages
            for record in page["Records"]
        ]

    def tables(self) -> tuple[list[list[Any]], list[list[Any]]]:
        """All rows of the model's features and labels."""
        names = (f"features.{self.model.features.table}", f"labels.{self.model.features.table}")
        features, labels = (self.rows(f"SELECT * FROM {name} ORDER BY entity_id, checksum") for name in names)
        return features, labels


def _columns(rows: Sequence[tuple], schema: pa.Schema) -> Iterator[tuple[list[Any], pa.DataType]]:
    for index, column in enumerate(schema):
        yield [row[index] for row in rows], column.type


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAwsProcess]:
    """One local AWS for all tests of the SQL."""
    running = LocalAwsProcess(tmp_path_factory.mktemp("localaws"))
    yield running
    assert running.stop() == 0, "the local AWS did not end cleanly"


@pytest.fixture
def model() -> ModelSpec:
    """The model of the example."""
    return next(iter(load_model_specs(INCLUDE / "models")))


@pytest.fixture
def warehouse(aws: LocalAwsProcess, model: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """A database that was just set up."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return Warehouse(aws, model)


@pytest.fixture
def days() -> type[Days]:
    """Makes deliveries."""
    return Days
