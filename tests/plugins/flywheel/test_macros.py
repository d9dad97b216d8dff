"""The names that templates know."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flywheel.core.contract_files import load_contracts
from flywheel.core.errors import WindowError
from flywheel.core.specs import load_model_spec
from flywheel.macros import delivery_names, template_names

INCLUDE = Path(__file__).parents[3] / "include"
CONTRACTS = load_contracts(INCLUDE / "datasets")
MODEL = load_model_spec(INCLUDE / "models" / "flight_delay.yaml")


def context(start: str | None = None, end: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "params": {"start": start, "end": end},
        "dag": SimpleNamespace(dag_id="dag", has_task=lambda task_id: False),
        "run_id": "run",
        **more,
    }


@pytest.mark.parametrize(
    ("name", "start", "end", "key"),
    [
        ("flights", "2013-01-01", "2013-01-31", "landing/flights/ds=2013-01-31/*"),
        ("arrivals", "2013-01-01", "2013-01-31", "landing/arrivals/ds=2013-01-30/*"),
        ("arrivals", "2013-01-01", "2013-01-01", "landing/flights/ds=2013-01-01/*"),
        ("weather", "2013-12-31", "2013-12-31", "landing/flights/ds=2013-12-31/*"),
    ],
)
def test_what_a_run_waits_for(name: str, start: str, end: str, key: str) -> None:
    flights = CONTRACTS["flights"]
    names = delivery_names(flights, [CONTRACTS["arrivals"], CONTRACTS["weather"]])
    assert names["last_delivery"](context(start, end), name) == key


def test_a_run_outside_of_the_source_waits_for_nothing() -> None:
    names = delivery_names(CONTRACTS["flights"], [])
    with pytest.raises(WindowError, match="no partition is to be expected from 2014-01-01"):
        names["last_delivery"](context("2014-01-01", "2014-01-02"), "flights")


def test_training_and_holdout_share_nothing() -> None:
    names = template_names(MODEL)
    asked = context("2013-01-01", "2013-03-30")
    training, holdout = names["training"](asked), names["holdout"](asked)
    assert training.as_dict() == {"start": "2013-01-01", "end": "2013-03-09"}
    assert holdout.as_dict() == {"start": "2013-03-10", "end": "2013-03-30"}


def test_a_scheduled_training_takes_the_newest_days_with_labels() -> None:
    from datetime import UTC, datetime

    interval = {
        "data_interval_start": datetime(2013, 4, 1, 12, tzinfo=UTC),
        "data_interval_end": datetime(2013, 4, 8, 12, tzinfo=UTC),
    }
    window = template_names(MODEL)["training_window"](context(**interval))
    assert window.as_dict() == {"start": "2013-01-07", "end": "2013-04-06"}
    assert window.days == MODEL.training.window_days


def test_monitoring_measures_the_weeks_that_ended_and_judges_the_trailing_window() -> None:
    names = template_names(MODEL)
    asked = context("2013-04-01", "2013-04-30")
    assert names["judged"](asked).as_dict() == {"start": "2013-04-02", "end": "2013-04-29"}
    assert [p["end"] for p in names["periods"](asked)] == [
        "2013-03-31", "2013-04-07", "2013-04-14", "2013-04-21", "2013-04-28", "2013-04-29",
    ]  # fmt: skip
    monday = context("2013-04-08", "2013-04-08")
    assert [p["start"] for p in names["periods"](monday)] == ["2013-04-01", "2013-03-11"], "Sunday's labels came on Monday"


def test_a_mapped_task_knows_its_chunk_and_what_was_written_for_it() -> None:
    planned = [{"start": "2013-01-01", "end": "2013-01-31"}, {"start": "2013-02-01", "end": "2013-02-03"}]
    ti = SimpleNamespace(xcom_pull=lambda task_ids: {"plan_chunks": planned}[task_ids], map_index=1)
    names, run = template_names(MODEL), context(ti=ti)
    assert names["chunk"](run).as_dict() == planned[1]
    folder = f"s3://flywheel-tests/labels/flight_delay/v1/_manifests/{names['run_key'](run)}"
    assert names["manifest"](run, "labels") == f"{folder}/2013-02-01_2013-02-03.json"
    assert names["expected"](run, "labels") == f"{folder}/2013-02-01_2013-02-03.csv"


def test_a_run_that_resolved_its_days_keeps_them() -> None:
    resolved = {"start": "2013-06-01", "end": "2013-06-03"}
    run = context("2013-01-01", "2013-01-31", ti=SimpleNamespace(xcom_pull=lambda task_ids: {"resolve_days": resolved}[task_ids]))
    run["dag"] = SimpleNamespace(dag_id="dag", has_task=lambda task_id: task_id == "resolve_days")
    assert template_names()["window"](run).as_dict() == resolved
