"""Accuracy as it is counted in the local Redshift and judged in the worker, with the sensor that reads it."""

from __future__ import annotations

import csv
import io
import json
import time
from datetime import date, timedelta
from pathlib import Path
from statistics import NormalDist
from typing import Any

import jinja2
import numpy as np
import pytest
from airflow.sdk.exceptions import AirflowSkipException

from flywheel.core.features import FeatureColumn, Label
from flywheel.core.outcomes import RATIOS, WHOLE, count_segments, write_baseline
from flywheel.core.runs import Window
from flywheel.core.specs import ModelSpec, load_model_spec
from flywheel.operators.accuracy import MeasureAccuracyOperator
from flywheel.operators.redshift import RedshiftQueryOperator, RedshiftStatementsOperator
from flywheel.sensors.drift import AccuracyDriftSensor, CannotTell
from flywheel.settings import settings

INCLUDE = Path(__file__).parents[4] / "include"
TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(INCLUDE / "sql"), undefined=jinja2.StrictUndefined)  # noqa: S701
BUCKET = "flywheel-tests"
FIRST = date(2013, 4, 1)
JUDGED = Window(FIRST, FIRST + timedelta(days=27))
WEEK = Window(FIRST, FIRST + timedelta(days=6))
ROWS = 100


class World:
    """Four weeks of a model of the test's own, served and labelled in Redshift, its holdout on S3."""

    def __init__(self, aws: Any, runner: Any, name: str):
        self.aws, self.runner, self.name = aws, runner, name
        spec = load_model_spec(INCLUDE / "models" / "flight_delay.yaml")
        monitoring = spec.monitoring.model_copy(update={"segments": ("origin",), "min_labels": 500})
        self.model: ModelSpec = spec.model_copy(update={"name": name, "monitoring": monitoring})
        self.features = spec.features.model_copy(update={"version": time.monotonic_ns(), "group": name})
        self.table = self.features.table
        self.run(
            f"CREATE TABLE features.{self.table} (entity_id VARCHAR, ds DATE, origin VARCHAR)",
            f"CREATE TABLE labels.{self.table} (entity_id VARCHAR, ds DATE, label INTEGER)",
            f"CREATE TABLE predictions.{name} (entity_id VARCHAR, ds DATE, model_version INTEGER, score DOUBLE PRECISION)",
        )

    def run(self, *statements: str) -> None:
        self.runner.run(RedshiftStatementsOperator(task_id=f"run_{time.monotonic_ns()}", sql=statements))

    def query(self, sql: str) -> list[dict[str, Any]]:
        return list(self.runner.run(RedshiftQueryOperator(task_id=f"read_{time.monotonic_ns()}", sql=sql)))

    def copy(self, table: str, rows: list[list[Any]]) -> None:
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        key = f"accuracy/{self.name}-{time.monotonic_ns()}.csv"
        self.aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=text.getvalue().encode())
        self.run(f"COPY {table} FROM 's3://{BUCKET}/{key}' IAM_ROLE '{settings().redshift_role_arn}' FORMAT AS CSV EMPTYASNULL")

    def statement(self, file: str) -> str:
        """A file of include/sql as the DAG renders it."""
        return TEMPLATES.get_template(f"monitoring/{file}.sql").render(
            model=self.model, settings=settings(), champion={"version": 3}.__getitem__, run_key=lambda: "run-1",
            features=lambda: self.features, segments=lambda: ["origin"], counted=lambda: JUDGED, judged=lambda: JUDGED,
            periods=lambda: [WEEK.as_dict(), JUDGED.as_dict()],
        )  # fmt: skip

    def serve(self, gini: float, seed: int = 1, labelled: float = 1.0) -> tuple[Any, ...]:
        """Predictions of version 3 of so much skill, with ties; version 2 knew nothing."""
        days, labels, scores, origins = world_of(FIRST, 28, gini, seed)
        entities = [f"{self.name}-{i}" for i in range(len(labels))]
        ds = [str(day) for day in days]
        self.copy(f"features.{self.table}", [list(row) for row in zip(entities, ds, origins, strict=True)])
        self.copy(f"predictions.{self.name}", [[e, d, 3, s] for e, d, s in zip(entities, ds, scores, strict=True)])
        self.copy(f"predictions.{self.name}", [[e, d, 2, 0.5] for e, d in zip(entities, ds, strict=True)])
        known = int(len(labels) * labelled)
        self.copy(f"labels.{self.table}", [[e, d, y] for e, d, y in zip(entities, ds, labels, strict=True)][:known])
        return days, labels, scores, origins

    def measure(self, holdout: dict[str, Any] | None = None) -> dict[str, Any]:
        """Counts, judges and records, as the DAG's tasks do; returns the decision."""
        baseline = write_baseline(holdout or segments_of(*world_of(date(2013, 3, 1), 21, 0.5, 9)))
        self.aws.client("s3").put_object(Bucket=BUCKET, Key=f"{self.name}.json", Body=json.dumps(baseline).encode())
        self.run(self.statement("delete_daily_accuracy"), self.statement("insert_daily_accuracy"))
        operator = MeasureAccuracyOperator(
            task_id=f"measure_{time.monotonic_ns()}", model=self.model, model_version="3", run_key="run-1",
            baseline=f"s3://{BUCKET}/{self.name}.json", periods=json.dumps([WEEK.as_dict(), JUDGED.as_dict()]),
            output_uri=f"s3://{BUCKET}/monitoring/{self.name}/run-1", judged_by=self.features.label.judged_by,
        )  # fmt: skip
        operator.sql = self.statement("select_daily_accuracy")
        measured = self.runner.run(operator)
        files = ("delete_accuracy", "copy_accuracy", "delete_accuracy_decisions", "copy_accuracy_decisions")
        self.run(*(self.statement(file) for file in files))
        return measured["decisions"][0] | {"metrics": {name: value for name, value, _ in measured["metrics"]}}

    def sensor(self) -> AccuracyDriftSensor:
        sensor = AccuracyDriftSensor(
            task_id=f"accuracy_{time.monotonic_ns()}", model=self.name, model_version="3", start=str(JUDGED.start),
            end=str(JUDGED.end),
        )  # fmt: skip
        sensor.sql = (INCLUDE / "sql/monitoring/select_accuracy_decision.sql").read_text()
        return sensor


class Forecasts(World):
    """A hundred series, one label each a day, forecast every day; the naive forecast is that of the week before."""

    def __init__(self, aws: Any, runner: Any, name: str):
        super().__init__(aws, runner, name)
        label = Label(meaning="departures", lag_days=1, kind="number", season_days=7)
        self.features = self.features.model_copy(update={"label": label})
        table = TEMPLATES.get_template("setup/features/create_labels.sql").render(features=self.features)
        self.run(f"DROP TABLE labels.{self.table}", table)

    def serve_forecasts(self, error: float, **numbers: float) -> dict[str, Any]:
        """Forecasts that err by so much; returns what numpy counts of those of the window that have their label.

        :param numbers: as of :func:`series_of`
        """
        days, labels, forecasts, naive, origins = series_of(FIRST, 28, error, **numbers)
        entities = [f"{self.name}-{i % ROWS}" for i in range(len(labels))]
        ds = [str(day) for day in days]
        before = [str(day - timedelta(days=7)) for day in days]
        known = np.arange(len(labels)) % 50 > 0
        self.copy(f"features.{self.table}", [list(row) for row in zip(entities, ds, origins, strict=True)])
        self.copy(f"predictions.{self.name}", [[e, d, 3, s] for e, d, s in zip(entities, ds, forecasts, strict=True)])
        rows = [[e, f"{d} 12:00:00", d, y, 1] for e, d, y, k in zip(entities, ds, labels, known, strict=True) if k]
        rows += [
            [e, f"{b} 12:00:00", b, n, 1] for e, b, n in list(zip(entities, before, naive, strict=True))[: 7 * ROWS] if n == n
        ]
        self.copy(f"labels.{self.table}", rows)
        naive[7 * ROWS :][~known[: -7 * ROWS]] = np.nan  # the naive forecast is a label itself
        part = {"origin": np.where(origins == "", None, origins)[known]}
        return count_segments(labels[known], forecasts[known], days[known], part, naive=naive[known])


def series_of(first: date, days: int, error: float, seed: int = 1, hard: float = 1.0) -> tuple[Any, ...]:
    """Days, labels (zeros among them), forecasts, the labels of the week before (some unknown), origins.

    :param hard: by what weeks are harder to forecast, for everybody
    """
    rng = np.random.default_rng(seed)
    day = np.repeat([first + timedelta(days=i) for i in range(days)], ROWS)
    level = np.tile(rng.gamma(2, 3, ROWS), days + 7)
    labels = np.round(np.clip(level * (1 + 0.5 * hard * rng.normal(size=len(level))), 0, None), 1)
    noise = rng.normal(0, 1, len(day)) * level[: len(day)] * error * hard
    naive = np.where(np.arange(len(day)) % 40 == 0, np.nan, labels[: -7 * ROWS])
    naive[7 * ROWS :] = labels[7 * ROWS : -7 * ROWS]
    return (
        day,
        labels[7 * ROWS :],
        labels[7 * ROWS :] + noise,
        naive,
        rng.choice(["JFK", "EWR", ""], len(day), p=[0.5, 0.45, 0.05]),
    )


def world_of(first: date, days: int, gini: float, seed: int) -> tuple[Any, ...]:
    """Days, labels, scores of two digits, and origins of a world in which the scores have so much skill."""
    rng = np.random.default_rng(seed)
    day = np.repeat([first + timedelta(days=i) for i in range(days)], ROWS)
    labels = (rng.random(len(day)) < 0.25).astype(int)
    shift = np.sqrt(2) * NormalDist().inv_cdf((1 + gini) / 2)
    odds = np.exp(shift * (rng.normal(0, 1, len(day)) + shift * labels) - shift**2 / 2) / 3
    return day, labels, np.round(odds / (1 + odds), 2), rng.choice(["JFK", "EWR", ""], len(day), p=[0.5, 0.45, 0.05])


def segments_of(days: Any, labels: Any, scores: Any, origins: Any) -> dict[str, Any]:
    """The same by numpy; an empty text is no level in Redshift's CSV."""
    return count_segments(labels, scores, days, {"origin": np.where(origins == "", None, origins)})


@pytest.fixture
def world(aws: Any, runner: Any, request: pytest.FixtureRequest) -> World:
    """Nothing is served yet."""
    return World(aws, runner, f"acc_{request.node.name.removeprefix('test_')[:40].rstrip('_')}")


def test_redshift_counts_what_numpy_counts(world: World) -> None:
    expected = segments_of(*world.serve(0.5))
    world.run(world.statement("insert_daily_accuracy"))
    found = world.query(f"SELECT * FROM monitoring.daily_accuracy WHERE model = '{world.name}' ORDER BY segment, ds")
    assert len(found) == sum(map(len, expected.values())) > 28 * 3
    for row in found:
        (one,) = [one for one in expected[row["segment"]] if str(one.day) == row["ds"]]
        assert (row["scored"], row["labelled"], row["positives"]) == (one.scored, one.labelled, one.positives)
        assert (row["won"], row["pairs"]) == (one.won, one.pairs)
        assert row["score_sum"] == pytest.approx(one.score_sum)


def test_a_champion_as_good_as_it_was_is_no_breach_and_running_again_changes_nothing(world: World) -> None:
    world.serve(0.5)
    found = world.measure()
    assert (found["level"], found["causes"]) == ("none", "")
    sql = f"SELECT * FROM monitoring.accuracy WHERE model = '{world.name}' ORDER BY period_end, segment"
    rows = world.query(sql)
    again = world.measure(), world.query(sql)  # Redshift adds floating point numbers in any order
    assert again[0]["level"] == "none" and len(again[1]) == len(rows)
    for one, other in zip(rows, again[1], strict=True):
        assert {name: pytest.approx(value) if isinstance(value, float) else value for name, value in one.items()} == other
    assert [(row["period_end"], row["segment"]) for row in rows] == [
        ("2013-04-07", "all"), *(("2013-04-28", segment) for segment in ("all", "origin=EWR", "origin=JFK")),
    ]  # fmt: skip
    whole = rows[1]
    assert whole["auc_low"] < whole["auc"] < whole["auc_high"] and whole["baseline_auc"] == pytest.approx(0.75, abs=0.03)
    assert found["metrics"]["Gini"] == pytest.approx(2 * whole["auc"] - 1) and found["metrics"]["LabelCoverage"] == 1
    with pytest.raises(AirflowSkipException, match="allowed -15%"):
        world.runner.run(world.sensor())
    assert "no_breach" in world.runner.ti.xcom


def test_a_loss_is_a_breach_with_its_cause(world: World) -> None:
    world.serve(0.25)
    assert world.measure()["level"] == "retrain"
    reason = world.runner.run(world.sensor())
    assert "on the holdout" in reason and "2013-04-01 to 2013-04-28, version 3" in reason
    assert world.runner.ti.xcom == world.runner.ti.xcom | {"level": "retrain", "causes": ["accuracy"], "held_by": ""}


def test_too_few_labels_cannot_be_told(world: World) -> None:
    world.serve(0.25, labelled=0.1)
    found = world.measure()
    assert found["level"] == "unknown" and found["metrics"] == {}
    with pytest.raises(CannotTell, match="have the label of 90% of their predictions"):
        world.runner.run(world.sensor())


@pytest.fixture
def series(aws: Any, runner: Any, request: pytest.FixtureRequest) -> Forecasts:
    """Series of numbers; nothing is served yet."""
    return Forecasts(aws, runner, f"acc_{request.node.name.removeprefix('test_')[:40].rstrip('_')}")


def holdout_of_series(error: float = 0.3) -> dict[str, Any]:
    days, labels, forecasts, naive, _ = series_of(date(2013, 3, 1), 21, error, seed=9)
    return count_segments(labels, forecasts, days, {}, naive=naive)


def test_redshift_sums_the_errors_that_numpy_sums(series: Forecasts) -> None:
    expected = series.serve_forecasts(0.3)
    series.run(series.statement("insert_daily_accuracy"))
    found = series.query(f"SELECT * FROM monitoring.daily_accuracy WHERE model = '{series.name}' ORDER BY segment, ds")
    assert len(found) == sum(map(len, expected.values())) > 28 * 3
    for row in found:
        (one,) = [one for one in expected[row["segment"]] if str(one.day) == row["ds"]]
        assert (row["labelled"], row["not_zero"], row["positives"], row["pairs"]) == (one.labelled, one.not_zero, 0, 0)
        for name in {part for ratio in ("wape", "naive_ratio", "mape") for part in RATIOS[ratio]} | {"label_sum"}:
            assert row[name] == pytest.approx(getattr(one, name), rel=1e-9), name
        assert row["scored"] >= row["labelled"] and row["score_sum"] == pytest.approx(one.score_sum)
    whole = [row for row in found if row["segment"] == WHOLE]
    assert (
        sum(row["scored"] for row in whole)
        == 2800
        > sum(row["labelled"] for row in whole)
        > sum(row["not_zero"] for row in whole)
    )


def test_a_forecast_that_errs_more_than_it_did_is_a_breach_with_its_figures(series: Forecasts) -> None:
    series.serve_forecasts(0.4)
    found = series.measure(holdout_of_series())
    assert (found["level"], found["causes"]) == ("retrain", "accuracy")
    reason = series.runner.run(series.sensor())
    assert reason.startswith("ratio to the seasonal naive forecast 0.") and "MAPE" in reason and "labels that are 0" in reason
    (row, *_) = series.query(
        f"SELECT * FROM monitoring.accuracy WHERE model = '{series.name}' AND segment = 'all' AND period_start = '2013-04-01' "
        "AND period_end = '2013-04-28'"
    )
    assert row["naive_ratio_low"] < row["naive_ratio"] < row["naive_ratio_high"] and row["auc"] is None
    assert (
        row["naive_ratio"] > 1.15 * row["baseline_naive_ratio"]
        and row["wape"] > row["baseline_wape"]
        and row["mape"] > row["wape"]
    )
    assert row["not_zero"] < row["labelled"] < row["scored"] and row["level"] == "retrain"
    assert found["metrics"]["NaiveRatio"] == pytest.approx(row["naive_ratio"]) and "Gini" not in found["metrics"]
    assert found["metrics"]["WapeOnHoldout"] == pytest.approx(row["baseline_wape"])


def test_weeks_that_are_hard_for_the_naive_forecast_too_are_no_breach(series: Forecasts) -> None:
    series.serve_forecasts(0.3, hard=1.5)
    found = series.measure(holdout_of_series())
    assert found["level"] in ("none", "note") and "accuracy" not in found["causes"].split(", ")
    assert found["metrics"]["Wape"] > 1.15 * found["metrics"]["WapeOnHoldout"]


def test_segments_are_categories(world: World) -> None:
    assert world.features.columns["origin"] == FeatureColumn(type="category", meaning=world.features.columns["origin"].meaning)
    assert WHOLE in segments_of(*world_of(FIRST, 1, 0.5, 0))
