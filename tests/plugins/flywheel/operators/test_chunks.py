"""Planning against real lists of a local S3 and a local Redshift."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flywheel.core.commits import Commit
from flywheel.core.contract_files import load_contracts
from flywheel.core.contracts import Contract
from flywheel.core.features import Features, load_features
from flywheel.operators.chunks import PlanFeaturesOperator, PlanIngestOperator
from flywheel.operators.redshift import RedshiftStatementsOperator

INCLUDE = Path(__file__).parents[4] / "include"
CONTRACTS = load_contracts(INCLUDE / "datasets")
DEFINITION = load_features(INCLUDE / "features" / "flight_delay_v1.yaml")
BUCKET = "flywheel-tests"


class Lake:
    """Landed files and commits of a test's own datasets.

    S3 tells when something was written in whole seconds, so whatever is to be later waits for the next one.
    """

    def __init__(self, aws: Any, prefix: str):
        self.s3, self.prefix = aws.client("s3"), prefix

    def contract(self, name: str, **changes: Any) -> Contract:
        return replace(CONTRACTS[name], name=f"{self.prefix}_{name}", **changes)

    def land(self, name: str, *days: str, file: str = "delivery.parquet") -> None:
        for day in days:
            self.s3.put_object(Bucket=BUCKET, Key=f"landing/{self.prefix}_{name}/ds={day}/{file}", Body=b"rows")

    def commit(self, zone: str, *days: str) -> None:
        for day in days:
            commit = Commit(zone, date.fromisoformat(day), "w1", (), 1, {"n": "int"})
            self.s3.put_object(Bucket=BUCKET, Key=commit.key, Body=commit.to_json().encode())

    def ingested(self, name: str, *days: str) -> None:
        self.commit(f"processed/{self.prefix}_{name}", *days)

    @staticmethod
    def later() -> None:
        time.sleep(1.05)


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
    lake.later()
    lake.ingested("flights", *days("2013-02-01", "2013-02-06"))
    lake.ingested("arrivals", *days("2013-01-31", "2013-02-05"))
    assert plan_ingest(contracts, "2013-02-01", "2013-02-06") == []
    assert plan_ingest(contracts, "2013-02-01", "2013-02-06", overwrite=True) == [
        ("2013-02-01", "2013-02-03"), ("2013-02-04", "2013-02-06")
    ]  # fmt: skip


def test_a_day_that_is_delivered_again_is_taken_again(lake: Lake) -> None:
    contracts = [lake.contract("flights"), lake.contract("arrivals")]
    lake.land("flights", *days("2013-02-01", "2013-02-03"))
    lake.land("arrivals", *days("2013-01-31", "2013-02-02"))
    lake.later()
    lake.ingested("flights", *days("2013-02-01", "2013-02-03"))
    lake.ingested("arrivals", *days("2013-01-31", "2013-02-02"))
    lake.later()
    lake.land("arrivals", "2013-02-01", file="corrected.parquet")
    assert plan_ingest(contracts, "2013-02-01", "2013-02-03") == [("2013-02-02", "2013-02-02")]


def test_only_a_scheduled_run_looks_back_for_corrections(lake: Lake) -> None:
    contracts = [lake.contract("flights", corrected_within_days=3)]
    lake.land("flights", *days("2013-02-01", "2013-02-10"))
    lake.later()
    lake.ingested("flights", *days("2013-02-01", "2013-02-08"))
    lake.later()
    lake.land("flights", "2013-02-05", "2013-02-07", "2013-02-08")
    assert plan_ingest(contracts, "2013-02-10", "2013-02-10") == [("2013-02-10", "2013-02-10")]
    assert plan_ingest(contracts, "2013-02-10", "2013-02-10", run_type="backfill") == [("2013-02-10", "2013-02-10")]
    assert plan_ingest(contracts, "2013-02-10", "2013-02-10", run_type="scheduled") == [
        ("2013-02-07", "2013-02-08"), ("2013-02-10", "2013-02-10"),
    ]  # fmt: skip


def test_the_number_of_calls_does_not_grow_with_the_days(aws: Any, lake: Lake) -> None:
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
        return PlanFeaturesOperator(
            task_id=f"plan_{time.monotonic_ns()}", definition=self.definition, datasets=self.contracts,
            sql=(INCLUDE / "sql" / "features" / "select_loaded.sql").read_text(), first_day=first, last_day=last,
        )  # fmt: skip

    def plan(self, first: str, last: str, overwrite: bool = False) -> list[tuple[str, str]]:
        operator = self.planner(first, last)
        context = self.runner.begin(operator) | {"params": {"overwrite": overwrite}}
        return [(chunk["start"], chunk["end"]) for chunk in operator.execute(context)]

    def ingested(self, first: str, last: str) -> None:
        for name in ("flights", "weather"):
            self.lake.ingested(name, *days(first, last))
        self.lake.ingested("planes", "2013-01-01")
        self.lake.ingested("arrivals", *days(first, last))

    def built(self, first: str, last: str) -> None:
        zones = f"{self.lake.prefix}/v1"
        self.lake.commit(f"features/{zones}", *days(first, last))
        lag = timedelta(days=self.definition.label.lag_days)
        label_days = [date.fromisoformat(day) - lag for day in days(first, last)]
        self.lake.commit(f"labels/{zones}", *(str(day) for day in label_days if day >= self.definition.start_date))

    def loaded(self, first: str, last: str) -> None:
        rows = [(f"features.{self.definition.table}", day, 0) for day in days(first, last)]
        rows += [(f"labels.{self.definition.table}", day, 1) for day in days(first, last)]
        values = ", ".join(f"('{table}', DATE '{day}' - {lag}, 1, 'run')" for table, day, lag in rows)
        insert = f"INSERT INTO monitoring.loads (table_name, ds, row_count, run_key) VALUES {values}"
        self.runner.run(RedshiftStatementsOperator(task_id=f"load_{time.monotonic_ns()}", sql=[insert]))


@pytest.fixture
def group(lake: Lake, runner: Any) -> Group:
    """Ten days that are ingested."""
    group = Group(lake, runner)
    group.ingested("2013-01-01", "2013-01-10")
    lake.later()
    return group


def test_days_are_finished_when_they_are_built_and_loaded(group: Group) -> None:
    assert group.plan("2013-01-01", "2013-01-10") == [("2013-01-01", "2013-01-10")]
    group.built("2013-01-01", "2013-01-10")
    group.lake.later()
    assert group.plan("2013-01-01", "2013-01-10") == [("2013-01-01", "2013-01-10")], "the load has died"
    group.loaded("2013-01-01", "2013-01-08")
    assert group.plan("2013-01-01", "2013-01-10") == [("2013-01-09", "2013-01-10")]
    group.loaded("2013-01-09", "2013-01-10")
    assert group.plan("2013-01-01", "2013-01-10") == []
    assert group.plan("2013-01-01", "2013-01-10", overwrite=True) == [("2013-01-01", "2013-01-10")]


def test_a_corrected_day_is_built_again_with_the_day_that_looks_back_at_it(group: Group) -> None:
    group.built("2013-01-01", "2013-01-10")
    group.lake.later()
    group.loaded("2013-01-01", "2013-01-10")
    group.lake.later()
    group.lake.ingested("flights", "2013-01-04")
    assert group.plan("2013-01-04", "2013-01-04") == [("2013-01-04", "2013-01-05")]
    assert group.plan("2013-01-10", "2013-01-10") == [], "nor is any other day"
    group.built("2013-01-04", "2013-01-05")
    group.lake.later()
    assert group.plan("2013-01-04", "2013-01-04") == [("2013-01-04", "2013-01-05")], "built again, but loaded before"


def test_the_days_of_a_run_on_which_a_version_has_no_data_are_left_out(group: Group) -> None:
    """Versions of one group begin on days of their own; the definition also says how long its chunks are."""
    changed = {"start_date": date(2013, 1, 4), "end_date": date(2013, 1, 9), "chunk_days": 4}
    group.definition = group.definition.model_copy(update=changed)
    chunks = [("2013-01-04", "2013-01-06"), ("2013-01-07", "2013-01-09")]
    assert group.plan("2013-01-01", "2013-01-10") == group.plan("2013-01-01", "2013-01-10", overwrite=True) == chunks
    assert group.plan("2013-01-10", "2013-01-10") == group.plan("2013-01-01", "2013-01-03") == []


def test_after_a_deferral_another_process_plans_the_same(group: Group, runner: Any) -> None:
    group.built("2013-01-01", "2013-01-10")
    group.lake.later()
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
