"""The wheel, last: another version of the features beside the one that serves, the change to it, and the end of the old one."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import yaml

from laptop import aws, report, stack
from laptop.environment import Place
from laptop.landing import land

pytestmark = pytest.mark.slow

GROUP, MODEL = "flight_delay", "flight_delay"
FEATURES, TRAIN, SCORE, DROP = f"load_features_{GROUP}", f"train_{MODEL}", f"score_{MODEL}", "drop_features"
FIRST, TRAINED_UNTIL = date(2013, 1, 1), date(2013, 3, 12)
#: What the second version does without.
LEFT_OUT = {"dewp", "wind_gust"}


class Lab:
    """The stack, and what a person does to its specs and its registry."""

    def __init__(self, place: Place):
        self.place, self.api = place, stack.client(place)
        self.warehouse = report.Warehouse(place)
        self.registry = aws.client(place, "sagemaker")
        self.versions = place.include / "features"
        self.minutes = 0

    def check(self) -> None:
        stack.check(self.place)

    def run(self, dag_id: str, state: str = "success", **conf: Any) -> str:
        """Starts a DAG as a person does and waits for its end; its run id."""
        self.minutes += 1
        self.api.unpause(dag_id)
        run_id = f"cut-over-{self.minutes}"
        self.api.trigger(dag_id, run_id, conf=conf, logical_date=datetime(2013, 6, 1, 0, self.minutes, tzinfo=UTC))
        until = time.monotonic() + 300
        while (found := self.api.run(dag_id, run_id)["state"]) not in ("success", "failed"):
            self.check()
            assert time.monotonic() < until, f"{dag_id} {run_id} is {found}"
            time.sleep(0.5)
        assert found == state, [(task["task_id"], task["state"]) for task in self.api.task_instances(dag_id, run_id)]
        return run_id

    def deploy(self, done: Any) -> None:
        """Provisions, and waits until Airflow has read the DAGs anew."""
        stack.provision(self.place)
        until = time.monotonic() + 120
        while not done():
            self.check()
            assert time.monotonic() < until, "Airflow still has the DAGs of the specs before"
            time.sleep(1)

    def tasks(self, dag_id: str) -> set[str]:
        """The tasks of a DAG as Airflow knows it now."""
        return {task["task_id"] for task in self.api.request("GET", f"/dags/{dag_id}/tasks")["tasks"]}

    def packages(self) -> list[dict[str, Any]]:
        """The versions in the registry that are not rejected, newest first."""
        found = self.registry.list_model_packages(ModelPackageGroupName="flight-delay", SortOrder="Descending")
        packages = [self.registry.describe_model_package(ModelPackageName=one["ModelPackageArn"])
                    for one in found["ModelPackageSummaryList"]]  # fmt: skip
        return [package for package in packages if package["ModelApprovalStatus"] != "Rejected"]

    def days(self, table: str) -> dict[str, int]:
        """Rows of each day."""
        return {row["ds"]: row["n"] for row in self.warehouse.rows(f"SELECT ds, COUNT(*) AS n FROM {table} GROUP BY ds")}


@pytest.fixture(scope="module")
def lab(place: Place) -> Lab:
    """Version 2 is written, provisioned and known to Airflow; the model's spec still pins 1."""
    lab = Lab(place)
    definition = yaml.safe_load((lab.versions / f"{GROUP}_v1.yaml").read_text())
    columns = {name: column for name, column in definition["columns"].items() if name not in LEFT_OUT}
    second = definition | {"version": 2, "columns": columns}
    (lab.versions / f"{GROUP}_v2.yaml").write_text(yaml.safe_dump(second, sort_keys=False))
    lab.deploy(lambda: "v2.plan_chunks" in lab.tasks(FEATURES))
    return lab


def test_a_new_version_is_loaded_beside_the_one_that_serves(lab: Lab) -> None:
    before = lab.days("features.flight_delay_v1")
    run_id = lab.run(FEATURES, start=str(FIRST), end=str(TRAINED_UNTIL))
    assert lab.api.xcom(FEATURES, run_id, "v1.plan_chunks") == [], "v1 has these days"
    assert lab.api.xcom(FEATURES, run_id, "v2.plan_chunks") == [{"start": str(FIRST), "end": str(TRAINED_UNTIL)}]
    assert lab.days("features.flight_delay_v1") == before
    second = lab.days("features.flight_delay_v2")
    assert second == {day: n for day, n in before.items() if day <= str(TRAINED_UNTIL)} and len(second) == 71


def test_a_challenger_of_the_new_version_is_judged_against_the_champion_of_the_old_and_serves(lab: Lab) -> None:
    spec = lab.place.include / "models" / f"{MODEL}.yaml"
    spec.write_text(spec.read_text().replace("version: 1}", "version: 2}"))
    lab.deploy(lambda: True)  # no task of any DAG has another name now; each run reads the spec anew
    old = lab.packages()[0]
    assert old["CustomerMetadataProperties"]["feature_version"] == "1"
    lab.run(TRAIN, start=str(FIRST), end=str(TRAINED_UNTIL), reason="version 2 of the features")
    new = lab.packages()[0]
    assert new["CustomerMetadataProperties"]["feature_version"] == "2", new["CustomerMetadataProperties"]
    assert new["ModelApprovalStatus"] == "Approved"

    day = date.fromisoformat(max(lab.days("features.flight_delay_v1"))) + timedelta(days=1)
    land(aws.client(lab.place, "s3"), aws.settings(lab.place)["bucket"], day, day)
    lab.run("ingest_flights", start=str(day), end=str(day))
    until = time.monotonic() + 240
    sql = f"SELECT model_version AS v, COUNT(*) AS n FROM predictions.{MODEL} WHERE ds = '{day}' GROUP BY 1"
    while not (scored := {row["v"]: row["n"] for row in lab.warehouse.rows(sql)}):
        lab.check()
        assert time.monotonic() < until, "nothing is scored"
        time.sleep(1)
    rows = lab.days("features.flight_delay_v2")[str(day)]
    assert scored == {new["ModelPackageVersion"]: rows} and rows > 500
    assert lab.days("features.flight_delay_v1")[str(day)] == rows, "the old version goes on beside it"


def test_the_old_version_is_dropped_when_nobody_can_want_it_any_more(lab: Lab) -> None:
    def refusal() -> str:
        run_id = lab.run(DROP, state="failed", group=GROUP, version=1)
        return "\n".join(lab.api.task_log(DROP, run_id, "require_unused", 1))

    olds = [one for one in lab.packages() if one["CustomerMetadataProperties"]["feature_version"] == "1"]
    assert f"version {olds[0]['ModelPackageVersion']} of flight-delay" in refusal(), "a former champion may be wanted again"
    for package in olds:
        self_made = {"ModelPackageArn": package["ModelPackageArn"], "ModelApprovalStatus": "Rejected"}
        lab.registry.update_model_package(**self_made, ApprovalDescription="version 1 of the features goes")
    assert "Remove the file, then run this again" in refusal()
    assert lab.days("features.flight_delay_v1")

    (lab.versions / f"{GROUP}_v1.yaml").unlink()
    lab.deploy(lambda: "v1.plan_chunks" not in lab.tasks(FEATURES))
    lab.run(DROP, group=GROUP, version=1)
    named = "SELECT table_schema AS s, table_name AS t FROM svv_tables WHERE table_name LIKE '%flight_delay_v%'"
    tables = lab.warehouse.rows(named)
    assert {(row["s"], row["t"]) for row in tables} == {
        ("features", "flight_delay_v2"), ("labels", "flight_delay_v2"),
        ("latches", "features_flight_delay_v2"), ("latches", "labels_flight_delay_v2"),
    }  # fmt: skip
    listed = aws.client(lab.place, "s3").list_objects_v2(Bucket=aws.settings(lab.place)["bucket"], Prefix=f"features/{GROUP}/v1/")
    assert listed["KeyCount"] == 0
