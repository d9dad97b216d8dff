"""The feature job as a whole, on three real days: files, manifests, and what it says when something is missing."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from build_features import FeatureError, main

from laptop.landing import deliveries

pytestmark = pytest.mark.slow

SPEC = yaml.safe_load((Path(__file__).parents[4] / "include/models/flight_delay.yaml").read_text())["features"]
COLUMNS = ",".join(f"{name}:{column['type']}" for name, column in SPEC["columns"].items())
FEATURES, LABELS = "features/flight_delay/v1", "labels/flight_delay/v1"


@pytest.fixture(scope="module")
def processed(tmp_path_factory) -> Path:
    """The zones with 1 to 3 January processed; arrivals known up to the 2nd."""
    root = tmp_path_factory.mktemp("zones")
    for dataset, day, rows in deliveries(date(2013, 1, 1), date(2013, 1, 3), date(2013, 1, 3)):
        folder = root / "processed" / dataset / f"ds={day}"
        folder.mkdir(parents=True)
        rows.to_parquet(folder / "part-0.parquet", index=False)
    return root


@pytest.fixture
def zones(processed, tmp_path) -> Path:
    return Path(shutil.copytree(processed, tmp_path / "zones"))


def build(root: Path, start: str, end: str, **changes: str) -> None:
    arguments = {
        "--zones-root": f"file://{root}",
        "--group": "flight_delay",
        "--version": "1",
        "--module": "flight_delay",
        "--inputs": ",".join(SPEC["inputs"]),
        "--label-inputs": ",".join(SPEC["label_inputs"]),
        "--columns": COLUMNS,
        "--lookback-days": "1",
        "--label-lag-days": "1",
        "--start": start,
        "--end": end,
        "--run-key": "run-1",
    }
    arguments |= {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    main([word for pair in arguments.items() for word in pair])


def days(root: Path, zone: str) -> list[str]:
    return sorted(folder.name for folder in (root / zone).glob("ds=*"))


def manifest(root: Path, zone: str, run_key: str = "run-1") -> list[dict]:
    return json.loads((root / zone / "_manifests" / f"{run_key}.json").read_text())["entries"]


def test_it_writes_days_in_the_order_of_the_spec_with_manifests(spark, zones):
    build(zones, "2013-01-01", "2013-01-02")
    assert days(zones, FEATURES) == ["ds=2013-01-01", "ds=2013-01-02"]
    assert days(zones, LABELS) == ["ds=2013-01-01"]

    entries = manifest(zones, FEATURES)
    assert len(entries) == 2
    for entry in entries:
        path = Path(entry["url"].removeprefix("file://"))
        assert entry["mandatory"] and entry["meta"]["content_length"] == path.stat().st_size
        schema = pq.read_schema(path)
        assert schema.names == ["entity_id", "event_time", *SPEC["columns"]]
        assert str(schema.field("event_time").type) == "timestamp[us]"  # without a zone: Redshift's and DuckDB's TIMESTAMP
        assert {str(schema.field(name).type) for name in ("carrier", "origin")} == {"string"}
        assert {str(schema.field(name).type) for name in ("sched_minute", "n_sched_hour")} == {"int32"}
    (entry,) = manifest(zones, LABELS)
    labels = pq.ParquetFile(entry["url"].removeprefix("file://")).read().to_pandas()
    assert list(labels.columns) == ["entity_id", "event_time", "label"] and str(labels["label"].dtype) == "int32"
    features = pd.read_parquet(zones / FEATURES / "ds=2013-01-01")
    assert features["entity_id"].is_unique and set(labels["entity_id"]) <= set(features["entity_id"])
    assert (features["event_time"].dt.date == date(2013, 1, 1)).all()


def test_a_day_written_again_replaces_itself_and_no_other(spark, zones):
    build(zones, "2013-01-01", "2013-01-03")
    kept = next((zones / FEATURES / "ds=2013-01-01").glob("*.parquet"))
    first = pd.read_parquet(zones / FEATURES / "ds=2013-01-03").sort_values("entity_id", ignore_index=True)
    build(zones, "2013-01-03", "2013-01-03", run_key="run-2")
    assert kept.exists() and len(list((zones / FEATURES / "ds=2013-01-03").glob("*.parquet"))) == 1
    again = pd.read_parquet(zones / FEATURES / "ds=2013-01-03").sort_values("entity_id", ignore_index=True)
    pd.testing.assert_frame_equal(first, again)
    assert len(manifest(zones, FEATURES, "run-2")) == 1 and days(zones, LABELS) == ["ds=2013-01-01", "ds=2013-01-02"]


def test_before_any_label_is_known_there_is_an_empty_manifest(spark, zones):
    build(zones, "2013-01-01", "2013-01-01")
    assert manifest(zones, LABELS) == [] and days(zones, LABELS) == []


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        (
            "weather/ds=2013-01-02",
            "dataset weather: expected processed/weather/ds=... for each day from 2013-01-01 to 2013-01-03",
        ),
        ("flights/ds=2013-01-03", "found none for 2013-01-03"),
        ("flights", "dataset flights: expected processed/flights/ds=... for each day"),
        ("planes", "dataset planes: expected a snapshot processed/planes/ds=... of 2013-01-01 or before, found none"),
    ],
)
def test_missing_inputs_are_named_before_anything_is_written(spark, zones, lost, expected):
    shutil.rmtree(zones / "processed" / lost)
    with pytest.raises(FeatureError) as raised:
        build(zones, "2013-01-01", "2013-01-03")
    assert expected in str(raised.value)
    assert not (zones / "features").exists()


def test_the_lookback_must_be_there_once_the_dataset_has_begun(spark, zones):
    shutil.rmtree(zones / "processed/flights/ds=2013-01-02")
    with pytest.raises(FeatureError, match="found none for 2013-01-02"):
        build(zones, "2013-01-03", "2013-01-03")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("sched_minute:int,moon:double", "module flight_delay, column moon: expected in what it returns, found only entity_id"),
        ("sched_minute:double", "module flight_delay, column sched_minute: expected type double, found int"),
    ],
)
def test_a_spec_that_the_module_does_not_fulfil(spark, zones, columns, expected):
    with pytest.raises(FeatureError) as raised:
        build(zones, "2013-01-01", "2013-01-01", columns=columns)
    assert expected in str(raised.value)


def test_a_window_the_wrong_way_round(spark, zones):
    with pytest.raises(FeatureError, match="expected start <= end, found 2013-01-02 to 2013-01-01"):
        build(zones, "2013-01-02", "2013-01-01")
