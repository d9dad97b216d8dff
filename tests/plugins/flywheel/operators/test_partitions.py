"""Publishing on a real local S3, Data Catalog and SNS."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from flywheel.core.commits import Commit, DataFile, Report, commit_key, report_key
from flywheel.hooks import zones as zones_module
from flywheel.operators.partitions import PublishedZone, PublishPartitionsOperator
from flywheel.settings import settings

BUCKET, DATABASE = "flywheel-tests", "flywheel"
ASSET = Asset(name="published", uri="test://published")
COLUMNS = {"n": "bigint", "text": "string", "at": "timestamp_ntz"}


class Published:
    """A zone of the test's own, the reports of its run, and what the world is told of it."""

    def __init__(self, aws: Any, name: str):
        self.aws, self.zone, self.run_key = aws, f"processed/{name}", f"run-{name}"
        self.s3, self.glue = aws.client("s3"), aws.client("glue")
        if DATABASE not in [database["Name"] for database in self.glue.get_databases()["DatabaseList"]]:
            self.glue.create_database(DatabaseInput={"Name": DATABASE})
        self.table = self.zone.replace("/", "_")
        sqs, sns = aws.client("sqs"), aws.client("sns")
        self.queue = sqs.create_queue(QueueName=f"alerts-{name}"[:80])["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topic = settings().alerts_topic_arn
        self.subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True)

    def commit(self, day: str, write: str, columns: Mapping[str, str] = COLUMNS) -> None:
        commit = Commit(self.zone, date.fromisoformat(day), write, (DataFile("part-0.parquet", 7),), 1, columns)
        self.s3.put_object(Bucket=BUCKET, Key=commit.key, Body=commit.to_json().encode())

    def report(self, start: str, end: str, *notes: Mapping[str, Any]) -> None:
        key = report_key(self.run_key, "ingest", date.fromisoformat(start), date.fromisoformat(end))
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=Report({}, (), notes).to_json().encode())

    def publish(self, first: str, last: str, *chunks: tuple[str, str], zone: PublishedZone | None = None) -> dict[str, Any]:
        """One task. Returns its value; ``event`` is what its asset's event carries."""
        operator = PublishPartitionsOperator(
            task_id="publish_partitions", job="ingest", zones=[zone or PublishedZone(self.zone)], outlets=[ASSET],
            first_day=first, last_day=last, run_key=self.run_key,
            chunks=json.dumps([{"start": start, "end": end} for start, end in chunks]),
        )  # fmt: skip
        event = SimpleNamespace(extra=None)
        context: Any = {"ti": SimpleNamespace(dag_id="ingest_test"), "outlet_events": {ASSET: event}}
        value = operator.execute(context)
        self.event = event.extra
        return value["registered"][self.zone]

    def locations(self) -> dict[str, str]:
        pages = self.glue.get_paginator("get_partitions").paginate(DatabaseName=DATABASE, TableName=self.table)
        found = [partition for page in pages for partition in page["Partitions"]]
        return {partition["Values"][0]: partition["StorageDescriptor"]["Location"] for partition in found}

    def columns(self) -> dict[str, str]:
        table = self.glue.get_table(DatabaseName=DATABASE, Name=self.table)["Table"]
        return {column["Name"]: column["Type"] for column in table["StorageDescriptor"]["Columns"]}

    def alerts(self) -> list[dict[str, Any]]:
        answer = self.aws.client("sqs").receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]


@pytest.fixture
def published(aws: Any, request: pytest.FixtureRequest) -> Any:
    """A zone of the test's own."""
    name = "".join(c if c.isalnum() else "_" for c in request.node.name)[5:60].lower()
    published = Published(aws, name)
    yield published
    aws.client("sns").unsubscribe(SubscriptionArn=published.subscription["SubscriptionArn"])


def note(kind: str, column: str, day: str, text: str = "is new") -> dict[str, str]:
    return {"kind": kind, "dataset": "flights", "partition": f"ds={day}", "column": column, "text": text}


def test_committed_partitions_are_registered_where_their_files_are(published: Published) -> None:
    published.commit("2013-01-01", "w1")
    published.commit("2013-01-02", "w1")
    published.report("2013-01-01", "2013-01-02")
    assert published.publish("2013-01-01", "2013-01-02", ("2013-01-01", "2013-01-02")) == ["2013-01-01", "2013-01-02"]
    folder = f"s3://{BUCKET}/{published.zone}/write=w1"
    assert published.locations() == {"2013-01-01": f"{folder}/ds=2013-01-01/", "2013-01-02": f"{folder}/ds=2013-01-02/"}
    table = published.glue.get_table(DatabaseName=DATABASE, Name=published.table)["Table"]
    assert table["PartitionKeys"] == [{"Name": "ds", "Type": "date"}]
    assert published.columns() == {"n": "bigint", "text": "string", "at": "timestamp"}
    assert "parquet" in table["StorageDescriptor"]["SerdeInfo"]["SerializationLibrary"]


def test_a_partition_that_is_committed_anew_is_registered_anew_and_no_other(aws: Any, published: Published) -> None:
    for day in ("2013-01-01", "2013-01-02", "2013-01-03"):
        published.commit(day, "w1")
    published.publish("2013-01-01", "2013-01-03")
    published.commit("2013-01-02", "w2")
    read = len(aws.calls("GetObject"))
    assert published.publish("2013-01-01", "2013-01-03") == ["2013-01-02"]
    assert len(aws.calls("GetObject")) == read + 1, "only what differs is read"
    assert {day: "w2" in location for day, location in published.locations().items()} == {
        "2013-01-01": False, "2013-01-02": True, "2013-01-03": False
    }  # fmt: skip
    assert published.publish("2013-01-01", "2013-01-03") == []


def test_what_a_dead_task_has_left_unregistered_is_registered_by_the_next(published: Published) -> None:
    """It goes by commits: those of a run whose publishing died are found by the next run of these days, without chunks even."""
    published.commit("2013-01-01", "w1")
    assert published.publish("2013-01-01", "2013-01-05") == ["2013-01-01"]
    assert published.event == {"start": "2013-01-01", "end": "2013-01-05", "notes": []}


class Died(BaseException):
    """The task's process is gone; nothing catches this."""


@pytest.mark.parametrize("answered", [False, True], ids=["before AWS gets it", "before its answer comes"])
def test_a_task_may_die_at_any_of_its_calls(published: Published, monkeypatch: pytest.MonkeyPatch, answered: bool) -> None:
    """Each death in turn, over a catalog with one partition to come, one to change and a column to come; then it is run again."""
    call = BaseClient._make_api_call
    numbers = itertools.count(1)
    deadly = 0

    def counted(client: Any, operation: str, arguments: Any) -> Any:
        number = next(numbers)  # several threads read commits
        answer = None if number == deadly and not answered else call(client, operation, arguments)
        if number == deadly:
            raise Died(operation)
        return answer

    days = ("2013-01-01", "2013-01-02")
    published.report(*days)
    deaths: list[str] = []
    while True:
        with suppress(ClientError):
            published.glue.delete_table(DatabaseName=DATABASE, Name=published.table)
        published.commit(days[0], "w1")
        published.s3.delete_object(Bucket=BUCKET, Key=commit_key(published.zone, date.fromisoformat(days[1])))
        published.publish(*days)
        published.commit(days[0], "w2", COLUMNS | {"more": "int"})
        published.commit(days[1], "w2", COLUMNS | {"more": "int"})
        numbers, deadly = itertools.count(1), deadly + 1
        with monkeypatch.context() as patched:
            patched.setattr(BaseClient, "_make_api_call", counted)
            try:
                published.publish(*days, days)
                break
            except Died as death:
                deaths.append(str(death))
        published.publish(*days, days)
        assert all("write=w2" in location for location in published.locations().values()), deaths[-1]
        assert set(published.locations()) == set(days) and "more" in published.columns(), deaths[-1]
    assert {"GetPartitions", "GetObject", "UpdateTable", "BatchCreatePartition", "BatchUpdatePartition"} <= set(deaths)


def test_more_partitions_than_a_batch_takes(published: Published) -> None:
    days = [str(date(2013, 1, 1) + timedelta(days=i)) for i in range(205)]
    for day in days:
        published.commit(day, "w1")
    assert published.publish(days[0], days[-1]) == days
    for day in days[:150]:
        published.commit(day, "w2")
    assert published.publish(days[0], days[-1]) == days[:150]
    assert sum("write=w2" in location for location in published.locations().values()) == 150
    assert len(published.locations()) == 205


def test_a_commit_that_moves_while_it_is_registered_is_registered_last(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between reading the commit and writing the catalog another job commits: the catalog must end with the newest."""
    published.commit("2013-01-01", "w1")
    real, moved = zones_module.read_commits, []

    def overtaken(*arguments: Any) -> Any:
        commits = real(*arguments)
        if not moved:
            published.commit("2013-01-01", "w2")
            moved.append(True)
        return commits

    monkeypatch.setattr("flywheel.operators.partitions.read_commits", overtaken)
    published.publish("2013-01-01", "2013-01-01")
    assert "write=w2" in published.locations()["2013-01-01"]


def test_the_table_gets_new_columns_and_keeps_those_of_old_partitions(published: Published) -> None:
    published.commit("2013-01-02", "w1", {"n": "int", "old": "string"})
    published.publish("2013-01-02", "2013-01-02")
    published.commit("2013-01-03", "w1", {"n": "bigint", "new": "decimal(38,0)"})
    published.publish("2013-01-03", "2013-01-03")
    assert published.columns() == {"n": "bigint", "new": "decimal(38,0)", "old": "string"}
    published.commit("2013-01-01", "w1", {"n": "int", "older": "date"})
    published.publish("2013-01-01", "2013-01-01")
    assert published.columns() == {"n": "bigint", "new": "decimal(38,0)", "old": "string", "older": "date"}, "n stays wide"


def test_late_datasets_and_snapshots_lie_before_the_runs_days(published: Published) -> None:
    for day in ("2012-06-01", "2013-01-01", "2013-01-02"):
        published.commit(day, "w1")
    assert published.publish("2013-01-02", "2013-01-02", zone=PublishedZone(published.zone, lag_days=1)) == ["2013-01-01"]
    assert published.publish("2013-01-02", "2013-01-02", zone=PublishedZone(published.zone, snapshots=True)) == [
        "2012-06-01", "2013-01-02"
    ]  # fmt: skip


def test_the_event_covers_corrected_days_and_tells_the_notes(published: Published) -> None:
    published.report("2013-01-03", "2013-01-03", note("tolerated", "temp", "2013-01-03", "2 of 800 rows have no value"))
    published.report("2013-01-10", "2013-01-10")
    published.publish("2013-01-10", "2013-01-10", ("2013-01-03", "2013-01-03"), ("2013-01-10", "2013-01-10"))
    assert published.event == {
        "start": "2013-01-03",
        "end": "2013-01-10",
        "notes": ["flights, column temp (tolerated): 2 of 800 rows have no value [2013-01-03]"],
    }
    assert published.alerts() == [], "nothing that wants a person"


def test_people_get_one_message_of_what_has_changed_and_a_retry_sends_none(published: Published) -> None:
    published.report(
        "2013-01-01", "2013-01-31", *(note("unknown_column", "gate", f"2013-01-{day:02}") for day in range(1, 32)),
        note("widened", "flight", "2013-01-31", "is of type bigint instead of int"),
    )  # fmt: skip
    published.report("2013-02-01", "2013-02-01", note("unknown_column", "gate", "2013-02-01"))
    chunks = [("2013-01-01", "2013-01-31"), ("2013-02-01", "2013-02-01")]
    published.publish("2013-01-01", "2013-02-01", *chunks)
    (message,) = published.alerts()
    assert message["Subject"] == "ingest_test: deliveries have changed"
    assert message["Message"].splitlines()[:2] == [
        "flights, column flight (widened): is of type bigint instead of int [2013-01-31]",
        "flights, column gate (unknown column): is new [32 partitions from 2013-01-01 to 2013-02-01]",
    ]
    published.publish("2013-01-01", "2013-02-01", *chunks)
    assert published.alerts() == []


def test_a_job_that_ended_well_without_a_report_is_an_error(published: Published) -> None:
    with pytest.raises(ValueError, match=r"reports/ingest/run-.*/2013-01-01_2013-01-02.json: expected the report of a job"):
        published.publish("2013-01-01", "2013-01-02", ("2013-01-01", "2013-01-02"))
