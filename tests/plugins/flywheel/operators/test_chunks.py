"""Planning against real lists of a local S3 and a local Redshift."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest

from flywheel.core.commits import Commit, delivery_stamp, partition_source
from flywheel.core.contract_files import load_contracts
from flywheel.core.contracts import Contract
from flywheel.core.features import Features, load_features
from flywheel.operators.chunks import PlanFeaturesOperator, PlanIngestOperator
from flywheel.operators.redshift import RedshiftStatementsOperator

INCLUDE = Path(__file__).parents[4] / "include"
CONTRACTS = load_contracts(INCLUDE / "datasets")
DEFINITION = load_features(INCLUDE / "features" / "flight_delay_v1.yaml")
TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(INCLUDE / "sql"), undefined=jinja2.StrictUndefined)  # noqa: S701
BUCKET = "flywheel-tests"
CHECKSUM = "4611686018427387905"


class Lake:
    """Landed files and commits of a test's own datasets."""

    def __init__(self, aws: Any, prefix: str):
        self.s3, self.prefix = aws.client("s3"), prefix
        self._deliveries = itertools.count(1)

    def contract(self, name: str, **changes: Any) -> Contract:
        return replace(CONTRACTS[name], name=f"{self.prefix}_{name}", **changes)

    def land(self, name: str, *days: str) -> None:
        """Deliveries of different lengths: S3's lists tell two of one length and one second apart by nothing."""
        for day in days:
            body = b"r" * next(self._deliveries)
            self.s3.put_object(Bucket=BUCKET, Key=f"landing/{self.prefix}_{name}/ds={day}/delivery.parquet", Body=body)

    def read(self, name: str, *days: str) -> dict[str, dict[str, str]]:
        """What a job notes of the deliveries that it reads, with the milliseconds that its file system may know."""
        found = {}
        for day in days:
            key = f"landing/{self.prefix}_{name}/ds={day}/delivery.parquet"
            head = self.s3.head_object(Bucket=BUCKET, Key=key)
            modified = int(head["LastModified"].timestamp()) * 1000 + 123
            found[day] = {key: delivery_stamp(modified, head["ContentLength"])}
        return found

    def commit(self, zone: str, day: str, sources: Mapping[str, str], write: str = "w1") -> None:
        commit = Commit(zone, date.fromisoformat(day), write, (), 1, {"n": "int"}, checksum=CHECKSUM, sources=sources)
        self.s3.put_object(Bucket=BUCKET, Key=commit.key, Body=commit.to_json().encode())

    def ingested(self, name: str, read: Mapping[str, Mapping[str, str]]) -> None:
        for day, sources in read.items():
            self.commit(f"processed/{self.prefix}_{name}", day, sources)


@pytest.fixture
def lake(aws: Any, request: pytest.FixtureRequest) -> Lake:
    """Datasets of the test's own."""
    return Lake(aws, "".join(c if c.isalnum() else "_" for c in request.node.name)[5:35].lower().strip("_"))


def days(first: str, last: str) -> list[str]:
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    return [str(start + timedelta(days=i)) for i in range((end - start).days + 1)]


def plan_ingest(
    contracts: list[Contract], first: str, last: str, run_type: str = "manual", overwrite: bool = False
) -> list[tuple[str, str]]:
    operator = PlanIngestOperator(task_id="plan_chunks", datasets=contracts, first_day=first, last_day=last)
    context: Any = {"params": {"overwrite": overwrite}, "dag_run": SimpleNamespace(run_type=run_type)}
    return [(chunk["start"], chunk["end"]) for chunk in operator.execute(context)]


def test_what_was_ingested_is_skipped_unless_overwrite_is_asked(lake: Lake) -> None:
    contracts = [lake.contract("flights", chunk_days=4), lake.contract("arrivals")]
    assert plan_ingest(contracts, "2013-02-01", "2013-02-06") == [("2013-02-01", "2013-02-03"), ("2013-02-04", "2013-02-06")]
    lake.land("flights", *days("2013-01-30", "2013-02-06"))
    lake.land("arrivals", *days("2013-01-30", "2013-02-06"))
    lake.ingested("flights", lake.read("flights", *days("2013-02-01", "2013-02-06")))
    lake.ingested("arrivals", lake.read("arrivals", *days("2013-01-31", "2013-02-05")))
    assert plan_ingest(contracts, "2013-02-01", "2013-02-06") == []
    assert plan_ingest(contracts, "2013-02-01", "2013-02-06", overwrite=True) == [
        ("2013-02-01", "2013-02-03"), ("2013-02-04", "2013-02-06")
    ]  # fmt: skip


def test_a_day_that_is_delivered_again_is_taken_again(lake: Lake) -> None:
    contracts = [lake.contract("flights"), lake.contract("arrivals")]
    lake.land("flights", *days("2013-02-01", "2013-02-03"))
    lake.land("arrivals", *days("2013-01-31", "2013-02-02"))
    lake.ingested("flights", lake.read("flights", *days("2013-02-01", "2013-02-03")))
    lake.ingested("arrivals", lake.read("arrivals", *days("2013-01-31", "2013-02-02")))
    assert plan_ingest(contracts, "2013-02-01", "2013-02-03") == []
    lake.land("arrivals", "2013-02-01")
    assert plan_ingest(contracts, "2013-02-01", "2013-02-03") == [("2013-02-02", "2013-02-02")]


def test_a_delivery_that_came_between_reading_and_commit_is_not_taken_for_ingested(lake: Lake) -> None:
    """The driver died before it could look at its sources once more."""
    contracts = [lake.contract("flights")]
    lake.land("flights", "2013-02-01")
    read = lake.read("flights", "2013-02-01")
    lake.land("flights", "2013-02-01")
    lake.ingested("flights", read)
    assert plan_ingest(contracts, "2013-02-01", "2013-02-01") == [("2013-02-01", "2013-02-01")]


def test_only_a_scheduled_run_looks_back_for_corrections(lake: Lake) -> None:
    contracts = [lake.contract("flights", corrected_within_days=3)]
    lake.land("flights", *days("2013-02-01", "2013-02-10"))
    lake.ingested("flights", lake.read("flights", *days("2013-02-01", "2013-02-08")))
    lake.land("flights", "2013-02-05", "2013-02-07", "2013-02-08")
    assert plan_ingest(contracts, "2013-02-10", "2013-02-10") == [("2013-02-10", "2013-02-10")]
    assert plan_ingest(contracts, "2013-02-10", "2013-02-10", run_type="backfill") == [("2013-02-10", "2013-02-10")]
    assert plan_ingest(contracts, "2013-02-10", "2013-02-10", run_type="scheduled") == [
        ("2013-02-07", "2013-02-08"), ("2013-02-10", "2013-02-10"),
    ]  # fmt: skip


def test_the_number_of_lists_does_not_grow_with_the_days(aws: Any, lake: Lake) -> None:
    lake.land("flights", *days("2013-02-01", "2013-03-31"))
    before = len(aws.calls("ListObjectsV2"))
    assert plan_ingest([lake.contract("flights", chunk_days=31)], "2013-02-01", "2013-03-31") == [
        ("2013-02-01", "2013-03-01"), ("2013-03-02", "2013-03-31"),
    ]  # fmt: skip
    assert len(aws.calls("ListObjectsV2")) - before == 2


class Group:
    """A feature group of the test's own, and what has become of its days."""

    def __init__(self, lake: Lake, runner: Any):
        self.lake, self.runner = lake, runner
        self.inputs = [f"{lake.prefix}_{name}" for name in ("flights", "weather", "planes", "arrivals")]
        self.definition: Features = DEFINITION.model_copy(
            update={"group": lake.prefix, "inputs": tuple(self.inputs[:3]), "label_inputs": (self.inputs[3],)}
        )
        self.contracts = {name: lake.contract(name.removeprefix(f"{lake.prefix}_")) for name in self.inputs}

    def planner(self, first: str, last: str) -> PlanFeaturesOperator:
        sql = TEMPLATES.get_template("features/select_loaded.sql").render(features=lambda: self.definition)
        return PlanFeaturesOperator(
            task_id=f"plan_{time.monotonic_ns()}", definition=self.definition, datasets=self.contracts, sql=sql,
            first_day=first, last_day=last,
        )  # fmt: skip

    def plan(self, first: str, last: str, overwrite: bool = False) -> list[tuple[str, str]]:
        operator = self.planner(first, last)
        context = self.runner.begin(operator) | {"params": {"overwrite": overwrite}}
        return [(chunk["start"], chunk["end"]) for chunk in operator.execute(context)]

    def run(self, *statements: str) -> None:
        self.runner.run(RedshiftStatementsOperator(task_id=f"run_{time.monotonic_ns()}", sql=statements))

    def ingested(self, name: str, *days: str, write: str = "w1") -> None:
        for day in days:
            self.lake.commit(f"processed/{self.lake.prefix}_{name}", day, {}, write)

    def built(self, first: str, last: str, write: str = "w1") -> None:
        """Features of these days, and the labels that became known on them, of what was ingested by a write."""
        spec, lag = self.definition, timedelta(days=self.definition.label.lag_days)
        for day in map(date.fromisoformat, days(first, last)):
            daily = [day - timedelta(days=back) for back in range(spec.lookback_days + 1)]
            sources = {partition_source(name, of): write for name in spec.inputs[:2] for of in daily if of >= spec.start_date}
            sources[partition_source(spec.inputs[2], spec.start_date)] = "w1"
            self.lake.commit(f"features/{spec.zone}", str(day), sources)
            if day - lag >= spec.start_date:
                made_of = {partition_source(name, day - lag): "w1" for name in spec.label_inputs}
                self.lake.commit(f"labels/{spec.zone}", str(day - lag), made_of)

    def loaded(self, first: str, last: str) -> None:
        """A row for each day of the features, and for each of the labels that became known on it."""
        table = self.definition.table
        events = [(f"features.{table}", date.fromisoformat(day)) for day in days(first, last)]
        events += [(f"labels.{table}", day - timedelta(days=1)) for _, day in events if day > self.definition.start_date]
        label = {True: ", label", False: ""}
        self.run(
            *(
                f"INSERT INTO {name} (entity_id, event_time, ds{label['labels' in name]}, checksum) "
                f"VALUES ('e', '{day} 12:00:00', '{day}'{', 1' if 'labels' in name else ''}, {CHECKSUM})"
                for name, day in events
            )
        )


@pytest.fixture
def group(lake: Lake, runner: Any) -> Group:
    """Ten days that are ingested, and tables."""
    group = Group(lake, runner)
    for name in ("flights", "weather", "arrivals"):
        group.ingested(name, *days("2013-01-01", "2013-01-10"))
    group.ingested("planes", "2013-01-01")
    setup = [f"setup/features/create_{kind}.sql" for kind in ("features", "labels")]
    group.run(*(TEMPLATES.get_template(name).render(features=group.definition) for name in setup))
    return group


def test_days_are_finished_when_they_are_built_and_loaded(group: Group) -> None:
    assert group.plan("2013-01-01", "2013-01-10") == [("2013-01-01", "2013-01-10")]
    group.built("2013-01-01", "2013-01-10")
    assert group.plan("2013-01-01", "2013-01-10") == [("2013-01-01", "2013-01-10")], "the load has died"
    group.loaded("2013-01-01", "2013-01-08")
    assert group.plan("2013-01-01", "2013-01-10") == [("2013-01-09", "2013-01-10")]
    group.loaded("2013-01-09", "2013-01-10")
    assert group.plan("2013-01-01", "2013-01-10") == []
    assert group.plan("2013-01-01", "2013-01-10", overwrite=True) == [("2013-01-01", "2013-01-10")]


def test_a_corrected_day_is_built_again_with_the_day_that_looks_back_at_it(group: Group) -> None:
    group.built("2013-01-01", "2013-01-10")
    group.loaded("2013-01-01", "2013-01-10")
    group.ingested("flights", "2013-01-04", write="w2")
    assert group.plan("2013-01-04", "2013-01-04") == [("2013-01-04", "2013-01-05")]
    assert group.plan("2013-01-10", "2013-01-10") == [], "nor is any other day"


def test_rows_that_are_not_those_that_were_committed_are_loaded_again(group: Group) -> None:
    group.built("2013-01-01", "2013-01-10")
    group.loaded("2013-01-01", "2013-01-10")
    table = f"features.{group.definition.table}"
    group.run(
        f"DELETE FROM {table} WHERE ds = '2013-01-03'",
        f"UPDATE {table} SET checksum = checksum + 1 WHERE ds = '2013-01-07'",
    )
    assert group.plan("2013-01-01", "2013-01-10") == [("2013-01-03", "2013-01-03"), ("2013-01-07", "2013-01-07")]


def test_the_days_of_a_run_on_which_a_version_has_no_data_are_left_out(group: Group) -> None:
    """Versions of one group begin on days of their own; the definition also says how long its chunks are."""
    changed = {"start_date": date(2013, 1, 4), "end_date": date(2013, 1, 9), "chunk_days": 4}
    group.definition = group.definition.model_copy(update=changed)
    chunks = [("2013-01-04", "2013-01-06"), ("2013-01-07", "2013-01-09")]
    assert group.plan("2013-01-01", "2013-01-10") == group.plan("2013-01-01", "2013-01-10", overwrite=True) == chunks
    assert group.plan("2013-01-10", "2013-01-10") == group.plan("2013-01-01", "2013-01-03") == []


def test_after_a_deferral_another_process_plans_the_same(group: Group, runner: Any) -> None:
    group.built("2013-01-01", "2013-01-10")
    group.loaded("2013-01-01", "2013-01-10")
    before = group.planner("2013-01-01", "2013-01-10")
    assert before.execute(runner.begin(before)) == []
    job, after = runner.ti.xcom["job"], group.planner("2013-01-01", "2013-01-10")
    context = runner.begin(after)
    assert after.execute_complete(context, {"timed_out": False}, job, [], "plan") == []
    overwriting = context | {"params": {"overwrite": True}}
    assert after.execute_complete(overwriting, {"timed_out": False}, job, [], "plan") == [
        {"start": "2013-01-01", "end": "2013-01-10"}
    ]
