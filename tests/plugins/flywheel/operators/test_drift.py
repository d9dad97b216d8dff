"""Drift as it is counted in the local Redshift and judged in the worker."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import jinja2
import pytest

from flywheel.core.counting import DayCounts, days_to_json
from flywheel.core.profiles import bin_counts, numeric_profile, reference_profile
from flywheel.core.specs import ModelSpec, load_model_spec
from flywheel.operators.drift import MeasureDriftOperator
from flywheel.operators.redshift import RedshiftQueryOperator, RedshiftStatementsOperator
from flywheel.settings import settings

INCLUDE = Path(__file__).parents[4] / "include"
TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(INCLUDE / "sql"), undefined=jinja2.StrictUndefined)  # noqa: S701
BUCKET = "flywheel-tests"
ROWS = 400
SERVED = ("entity_id", "ds", "model_version", "score")
TRAINED_FROM, WATCHED_FROM = date(2013, 1, 1), date(2013, 4, 1)
Rows = list[dict[str, Any]]


def day_rows(first: date, days: int, **changes: Callable[[dict[str, Any]], Any]) -> Rows:
    """Rows of a quiet world, with what is changed computed from each row."""
    dice = random.Random(str(first))
    rows = []
    for number in range(days):
        for n in range(ROWS):
            row = {
                "entity_id": f"{first}-{number}-{n}", "ds": str(first + timedelta(days=number)), "size": dice.gauss(50, 10),
                "kind": dice.choice("aaabbc"), "temp": dice.gauss(0, 1), "score": dice.random(),
            }  # fmt: skip
            rows.append(row | {name: change(row) for name, change in changes.items()})
    return rows


class World:
    """A model of the test's own: its profile on S3, its tables in Redshift."""

    def __init__(self, aws: Any, runner: Any, name: str):
        self.aws, self.runner, self.name = aws, runner, name
        spec = load_model_spec(INCLUDE / "models" / "flight_delay.yaml")
        self.model: ModelSpec = spec.model_copy(update={"name": name})
        training = day_rows(TRAINED_FROM, 63)
        columns = {column: [row[column] for row in training] for column in ("size", "kind", "temp")}
        days = [row["ds"] for row in training]
        shares = {"size": 0.5, "kind": 0.4, "temp": 0.1}
        profile = reference_profile(columns, ["kind"], days=days, importance=shares)
        profile["score"] = numeric_profile([row["score"] for row in training], days=days)
        aws.client("s3").put_object(Bucket=BUCKET, Key=f"{name}.json", Body=json.dumps(profile).encode())
        self.run(
            f"CREATE TABLE features.{name} "
            "(entity_id VARCHAR, ds DATE, size DOUBLE PRECISION, kind VARCHAR, temp DOUBLE PRECISION)",
            f"CREATE TABLE predictions.{name} (entity_id VARCHAR, ds DATE, model_version INTEGER, score DOUBLE PRECISION)",
        )

    def run(self, *statements: str) -> None:
        self.runner.run(RedshiftStatementsOperator(task_id=f"run_{time.monotonic_ns()}", sql=statements))

    def serve(self, rows: Rows, version: int = 3) -> None:
        """Features of these rows, and what a version of the model said of them."""
        for table, names in (("features", ("entity_id", "ds", "size", "kind", "temp")), ("predictions", SERVED)):
            lines = "".join(",".join(str({**row, "model_version": version}[name]) for name in names) + "\n" for row in rows)
            key = f"drift/{self.name}-{time.monotonic_ns()}.csv"
            self.aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=lines.encode())
            role = settings().redshift_role_arn
            self.run(f"COPY {table}.{self.name} FROM 's3://{BUCKET}/{key}' IAM_ROLE '{role}' FORMAT AS CSV")

    def measure(self, days: int = 7, start: date = WATCHED_FROM, feature_counts: str = "") -> dict[str, Any]:
        """The decision on one period."""
        period = {"start": str(start), "end": str(start + timedelta(days=days - 1))}
        operator = MeasureDriftOperator(
            task_id=f"measure_{time.monotonic_ns()}", model=self.model, table=f"features.{self.name}", context='["temp"]',
            model_version="3", profile=f"s3://{BUCKET}/{self.name}.json", periods=json.dumps([period]),
            output_uri=f"s3://{BUCKET}/{self.name}", run_key="run-1", feature_counts=feature_counts,
        )  # fmt: skip
        measured = self.runner.run(operator)
        (found,) = measured["decisions"]
        assert found == found | period
        return found | {"features": self.recorded(), "metrics": measured["metrics"]}

    def recorded(self) -> list[dict[str, Any]]:
        """What the measurement has left, through the statements that the DAG puts it into Redshift with."""
        copies = []
        for table in ("feature_drift", "drift_decisions"):
            template = TEMPLATES.get_template(f"monitoring/copy_{table}.sql")
            text = template.render(settings=settings(), model=self.model, run_key=lambda: "run-1")
            copies.append(text.replace(f"monitoring/{self.name}/run-1/", f"{self.name}/"))
        self.run(*copies)
        columns = "feature, psi, threshold, row_count AS rows_judged, state, season_psi, importance, cause, level, drifted_since"
        sql = f"SELECT {columns} FROM monitoring.feature_drift WHERE model = '{self.name}' AND run_key = 'run-1' ORDER BY feature"
        rows = self.runner.run(RedshiftQueryOperator(task_id=f"read_{time.monotonic_ns()}", sql=sql))
        self.run(f"DELETE FROM monitoring.feature_drift WHERE model = '{self.name}'")
        return rows


def feature(found: dict[str, Any], name: str) -> dict[str, Any]:
    (row,) = [row for row in found["features"] if row["feature"] == name]
    return row


@pytest.fixture
def world(aws: Any, runner: Any, request: pytest.FixtureRequest) -> World:
    """Nothing is served yet."""
    return World(aws, runner, f"drift_{request.node.name.removeprefix('test_')[:40].rstrip('_')}")


def test_a_quiet_week_has_no_findings(world: World) -> None:
    world.serve(day_rows(WATCHED_FROM, 7))
    found = world.measure()
    assert (found["level"], found["held_by"]) == ("none", "")
    assert {row["feature"]: row["rows_judged"] for row in found["features"]} == dict.fromkeys(
        ("size", "kind", "temp", "score"), 7 * ROWS
    )
    assert all(row["psi"] < 0.05 and row["state"] == "ok" and row["cause"] is None for row in found["features"])


def test_a_driver_that_has_shifted_wants_a_retraining_and_a_watched_one_a_note(world: World) -> None:
    world.serve(day_rows(WATCHED_FROM, 3))
    world.serve(
        day_rows(WATCHED_FROM + timedelta(days=3), 4, size=lambda row: row["size"] + 15, temp=lambda row: row["temp"] + 2)
    )
    found = world.measure()
    assert found["level"] == "retrain" and "size has shifted since 2013-04-04" in found["reason"]
    assert (feature(found, "temp")["level"], feature(found, "size")["cause"]) == ("note", "shift")
    assert feature(found, "size")["importance"] == 0.5


def test_the_decision_names_its_causes_has_a_picture_and_goes_to_cloudwatch(world: World) -> None:
    world.serve(day_rows(WATCHED_FROM, 7, size=lambda row: row["size"] + 15))
    found = world.measure()
    assert found["causes"] == "size shift"
    page = world.aws.client("s3").get_object(Bucket=BUCKET, Key=f"{world.name}/drift.html")["Body"].read().decode()
    assert page.startswith("<!doctype html>") and "<svg" in page and "size has shifted" in page
    metrics = {tuple(dimensions.values())[1:]: value for name, value, dimensions in found["metrics"] if name == "PSI"}
    assert metrics[("size",)] == feature(found, "size")["psi"] > 0.2 and set(metrics) == {
        ("size",),
        ("kind",),
        ("temp",),
        ("score",),
    }


def test_features_that_another_engine_has_counted_give_the_same_decision(world: World) -> None:
    """Here that engine is core's own counting; the scores are still Redshift's."""
    rows = day_rows(WATCHED_FROM, 7, kind=lambda row: "b" if row["entity_id"].endswith("1") else row["kind"])
    world.serve(rows)
    profile = json.loads(world.aws.client("s3").get_object(Bucket=BUCKET, Key=f"{world.name}.json")["Body"].read())
    counted = {}
    for day in {row["ds"] for row in rows}:
        of_day = {name: [row[name] for row in rows if row["ds"] == day] for name in ("size", "kind", "temp")}
        counts = {name: bin_counts(profile["features"][name], values) for name, values in of_day.items()}
        counted[date.fromisoformat(day)] = DayCounts(ROWS, counts)
    key = f"{world.name}/feature_counts.json"
    world.aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=days_to_json(counted).encode())
    by_redshift = world.measure()
    world.run(f"DELETE FROM features.{world.name}")
    assert world.measure(feature_counts=f"s3://{BUCKET}/{key}")["features"] == by_redshift["features"]


def test_a_column_that_broke_wants_a_person_and_holds_a_retraining(world: World) -> None:
    world.serve(day_rows(WATCHED_FROM, 7, kind=lambda row: "b", size=lambda row: row["size"] * 2.54))
    found = world.measure()
    assert found["level"] == "alert" and set(found["held_by"].split(", ")) == {"size", "kind"}
    assert {row["feature"]: row["cause"] for row in found["features"] if row["cause"]} == {"size": "unit", "kind": "constant"}


def test_scores_are_those_of_the_champion_alone(world: World) -> None:
    rows = day_rows(WATCHED_FROM, 7)
    world.serve(rows)
    world.run(f"INSERT INTO predictions.{world.name} SELECT entity_id, ds, 2, 0.99 FROM predictions.{world.name}")
    assert feature(world.measure(), "score")["state"] == "ok"
    world.run(f"UPDATE predictions.{world.name} SET score = score / 2 WHERE model_version = 3")
    found = world.measure()
    assert (found["level"], feature(found, "score")["level"]) == ("alert", "alert")


def test_what_was_so_in_the_same_week_of_last_year_is_a_season(world: World) -> None:
    shifted = {"size": lambda row: row["size"] + 15}
    world.serve(day_rows(WATCHED_FROM - timedelta(weeks=52), 7, **shifted))
    world.serve(day_rows(WATCHED_FROM, 7, **shifted))
    found = world.measure()
    assert (found["level"], feature(found, "size")["cause"]) == ("note", "season")
    assert feature(found, "size")["season_psi"] < 0.05 < 0.2 < feature(found, "size")["psi"]


def test_a_reason_that_is_too_long_for_its_column_is_cut_and_recorded(world: World) -> None:
    template = TEMPLATES.get_template("monitoring/copy_drift_decisions.sql")
    statement = template.render(settings=settings(), model=world.model, run_key=lambda: "run-2")
    row = f"{world.name},3,2013-04-01,2013-04-07,alert,size unit,size,{'x' * 5000},run-2\n"
    key = f"monitoring/{world.name}/run-2/drift_decisions.csv"
    world.aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=row.encode())
    world.run(statement)
    sql = f"SELECT LENGTH(reason) AS n FROM monitoring.drift_decisions WHERE model = '{world.name}'"
    assert world.runner.run(RedshiftQueryOperator(task_id=f"read_{time.monotonic_ns()}", sql=sql)) == [{"n": 4096}]


def test_a_week_without_rows_cannot_be_judged(world: World) -> None:
    found = world.measure()
    assert found["level"] == "unknown" and "too few rows to judge" in found["reason"]
