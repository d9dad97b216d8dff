"""The names that templates know."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flywheel.core.contract_files import load_contracts
from flywheel.core.errors import WindowError
from flywheel.core.features import Features
from flywheel.core.specs import load_model_spec
from flywheel.macros import delivery_names, group_names, template_names

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
    asked = context("2013-04-01", "2013-04-30", ti=champion(OF_V1))
    assert names["judged"](asked).as_dict() == {"start": "2013-04-02", "end": "2013-04-29"}
    assert [p["end"] for p in names["periods"](asked)] == [
        "2013-03-31", "2013-04-07", "2013-04-14", "2013-04-21", "2013-04-28", "2013-04-29",
    ]  # fmt: skip
    monday = context("2013-04-08", "2013-04-08", ti=champion(OF_V1))
    assert [p["start"] for p in names["periods"](monday)] == ["2013-04-01", "2013-03-11"], "Sunday's labels came on Monday"
    by_week = MODEL.model_copy(update={"monitoring": MODEL.monitoring.model_copy(update={"window_days": 7})})
    assert template_names(by_week)["periods"](monday) == [{"start": "2013-04-01", "end": "2013-04-07"}], "once"


def second(**changes: Any) -> Features:
    """Version 2 of the flights' features."""
    return MODEL.features.model_copy(update={"version": 2, **changes})


PLANNED = [{"start": "2013-01-01", "end": "2013-01-31"}, {"start": "2013-02-01", "end": "2013-02-03"}]


def test_a_mapped_task_knows_its_chunk() -> None:
    ti = SimpleNamespace(xcom_pull=lambda task_ids: {"plan_chunks": PLANNED}[task_ids], map_index=1, task_id="ingest_partitions")
    names, run = template_names(), context(ti=ti)
    assert names["chunk"](run).as_dict() == PLANNED[1]
    assert names["chunks"](run) == PLANNED


@pytest.mark.parametrize(("version", "days"), [(1, "2013-02-01_2013-02-03"), (2, "2013-06-01_2013-06-01")])
def test_a_task_of_a_version_knows_its_features_its_chunk_and_what_was_written_for_it(version: int, days: str) -> None:
    planned = {"v1.plan_chunks": PLANNED, "v2.plan_chunks": [PLANNED[0], {"start": "2013-06-01", "end": "2013-06-01"}]}
    ti = SimpleNamespace(xcom_pull=lambda task_ids: planned[task_ids], map_index=1, task_id=f"v{version}.load_redshift")
    names, run = group_names({1: MODEL.features, 2: second()}), context(ti=ti)
    assert names["chunks"](run) == planned[f"v{version}.plan_chunks"]
    assert names["features"](run).table == f"flight_delay_v{version}"
    folder = f"s3://flywheel-tests/labels/flight_delay/v{version}/_manifests/{names['run_key'](run)}"
    assert names["manifest"](run, "labels") == f"{folder}/{days}.json"
    assert names["expected"](run, "labels") == f"{folder}/{days}.csv"


def champion(metadata: dict[str, str] | None) -> SimpleNamespace:
    """A task of a run whose champion has this metadata in the registry."""
    found = {"version": 3, "metadata": metadata}
    return SimpleNamespace(xcom_pull=lambda task_ids: {"resolve_champion": found}[task_ids])


OF_V1 = {"feature_group": "flight_delay", "feature_version": "1"}


def test_the_features_are_those_of_the_champion_and_not_those_of_the_spec() -> None:
    label = MODEL.label.model_copy(update={"lag_days": 3})
    model = MODEL.model_copy(update={"feature_version": 2, "feature_versions": {1: MODEL.features, 2: second(label=label)}})
    names = template_names(model)
    run = context("2013-04-01", "2013-04-30", ti=champion(OF_V1))
    assert (names["features"](run).version, names["model"].features.version) == (1, 2)
    assert names["judged"](run).end.isoformat() == "2013-04-29", "the champion's labels are known after a day"
    assert names["features"](context(ti=champion({"feature_version": "2"}))).version == 2
    assert names["features"](context(ti=champion(None))).version == 2, "there is no champion yet"


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        ({"feature_group": "flight_delay", "feature_version": "7"}, "flight_delay version 7"),
        ({"feature_group": "weather", "feature_version": "1"}, "weather version 1"),
    ],
)
def test_a_champion_whose_features_are_not_defined_is_an_error(metadata: dict[str, str], found: str) -> None:
    said = f"version 3 of flight_delay was trained on features {found}: expected one of flight_delay_v1"
    with pytest.raises(ValueError, match=said):
        template_names(MODEL)["features"](context(ti=champion(metadata)))


def test_a_run_that_resolved_its_days_keeps_them() -> None:
    resolved = {"start": "2013-06-01", "end": "2013-06-03"}
    run = context("2013-01-01", "2013-01-31", ti=SimpleNamespace(xcom_pull=lambda task_ids: {"resolve_days": resolved}[task_ids]))
    run["dag"] = SimpleNamespace(dag_id="dag", has_task=lambda task_id: task_id == "resolve_days")
    assert template_names()["window"](run).as_dict() == resolved
