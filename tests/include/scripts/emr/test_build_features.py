"""The feature job as a whole, on three real days: files, manifests, and what it says when something is missing."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from datetime import date
from pathlib import Path
from types import ModuleType

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from build_features import FeatureError, main
from lake.partitions import Partitions
from pyspark.sql import functions as F

from flywheel.core.commits import Report, report_key
from laptop.landing import deliveries

pytestmark = pytest.mark.slow

SPEC = yaml.safe_load((Path(__file__).parents[4] / "include/features/flight_delay_v1.yaml").read_text())
COLUMNS = ",".join(f"{name}:{column['type']}" for name, column in SPEC["columns"].items())
FEATURES, LABELS = "features/flight_delay/v1", "labels/flight_delay/v1"


@pytest.fixture(scope="module")
def processed(tmp_path_factory, zone) -> Path:
    """The zones with 1 to 3 January processed; arrivals known up to the 2nd."""
    root = tmp_path_factory.mktemp("zones")
    for dataset, day, rows in deliveries(date(2013, 1, 1), date(2013, 1, 3), date(2013, 1, 3)):
        zone(root, f"processed/{dataset}").put(day, rows)
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


def manifest(root: Path, zone: str, days: str, run_key: str = "run-1") -> tuple[list[dict], str]:
    """What COPY is to read, and what has to be there afterwards."""
    folder = root / zone / "_manifests" / run_key
    return json.loads((folder / f"{days}.json").read_text())["entries"], (folder / f"{days}.csv").read_text()


def test_it_commits_days_in_the_order_of_the_spec_with_manifests(spark, zones, zone):
    build(zones, "2013-01-01", "2013-01-02")
    commits = zone(zones, FEATURES).commits()
    assert list(commits) == ["ds=2013-01-01", "ds=2013-01-02"]
    assert list(zone(zones, LABELS).commits()) == ["ds=2013-01-01"]
    assert commits["ds=2013-01-02"].sources == {
        "processed/flights/ds=2013-01-01": "w1",
        "processed/flights/ds=2013-01-02": "w1",
        "processed/weather/ds=2013-01-01": "w1",
        "processed/weather/ds=2013-01-02": "w1",
        "processed/planes/ds=2013-01-01": "w1",
    }
    key = report_key("run-1", "features-flight_delay-v1", date(2013, 1, 1), date(2013, 1, 2))
    report = Report.from_json((zones / key).read_text())
    assert report.written == {FEATURES: (date(2013, 1, 1), date(2013, 1, 2)), LABELS: (date(2013, 1, 1),)}

    entries, _ = manifest(zones, FEATURES, "2013-01-01_2013-01-02")
    assert len(entries) == 2
    for entry in entries:
        path = Path(entry["url"].removeprefix("file://"))
        assert entry["mandatory"] and entry["meta"]["content_length"] == path.stat().st_size
        schema = pq.read_schema(path)
        assert schema.names == ["entity_id", "event_time", *SPEC["columns"], "checksum"]
        assert str(schema.field("event_time").type) == "timestamp[us]"  # without a zone: Redshift's and DuckDB's TIMESTAMP
        assert {str(schema.field(name).type) for name in ("carrier", "origin")} == {"string"}
        assert {str(schema.field(name).type) for name in ("sched_minute", "n_sched_hour")} == {"int32"}
    (entry,), _ = manifest(zones, LABELS, "2013-01-01_2013-01-02")
    labels = pq.ParquetFile(entry["url"].removeprefix("file://")).read().to_pandas()
    assert list(labels.columns) == ["entity_id", "event_time", "label", "checksum"] and str(labels["label"].dtype) == "int32"
    features = zone(zones, FEATURES).rows("entity_id")["ds=2013-01-01"]
    assert features["entity_id"].is_unique and set(labels["entity_id"]) <= set(features["entity_id"])
    assert (features["event_time"].dt.date == date(2013, 1, 1)).all()


def test_labels_may_be_numbers(spark, zones, zone, monkeypatch):
    flights = importlib.import_module("features.flight_delay")
    module = ModuleType("features.minutes_late")
    module.SNAPSHOTS, module.features = flights.SNAPSHOTS, flights.features
    module.labels = lambda inputs: flights.labels(inputs).withColumn("label", F.col("label") * F.lit(12.5))
    monkeypatch.setitem(sys.modules, "features.minutes_late", module)
    with pytest.raises(FeatureError, match="module minutes_late, column label: expected type int, found double"):
        build(zones, "2013-01-02", "2013-01-02", module="minutes_late")
    build(zones, "2013-01-02", "2013-01-02", module="minutes_late", label_type="double")
    (rows,) = zone(zones, LABELS).rows("entity_id").values()
    assert str(rows["label"].dtype) == "float64" and set(rows["label"]) == {0.0, 12.5}
    assert zone(zones, LABELS).commits()["ds=2013-01-01"].columns["label"] == "double"


def test_what_has_to_be_in_the_table_is_told_by_day(spark, zones, zone):
    build(zones, "2013-01-01", "2013-01-02")
    _, told = manifest(zones, FEATURES, "2013-01-01_2013-01-02")
    rows = zone(zones, FEATURES).rows("entity_id")
    assert told == "".join(
        f"2013-01-0{day},{len(frame)},{sum(map(int, frame['checksum']))}\n" for day, frame in enumerate(rows.values(), 1)
    )


def test_a_day_written_again_replaces_itself_and_no_other(spark, zones, zone):
    build(zones, "2013-01-01", "2013-01-03")
    features = zone(zones, FEATURES)
    before, first = features.commits(), features.rows("entity_id")
    build(zones, "2013-01-03", "2013-01-03", run_key="run-2")
    after, again = features.commits(), features.rows("entity_id")
    assert [name for name in before if before[name] != after[name]] == ["ds=2013-01-03"]
    for name, frame in first.items():
        pd.testing.assert_frame_equal(frame, again[name])
    entries, _ = manifest(zones, FEATURES, "2013-01-03_2013-01-03", "run-2")
    assert len(entries) == 1 and list(zone(zones, LABELS).commits()) == ["ds=2013-01-01", "ds=2013-01-02"]


def test_each_day_takes_the_snapshot_that_was_there_on_it_whatever_the_window(spark, zones, zone):
    planes = zone(zones, "processed/planes")
    newer = planes.rows("tailnum")["ds=2013-01-01"].assign(seats=1).astype({"seats": "Int32"})
    planes.put(date(2013, 1, 3), newer, "w2")
    build(zones, "2013-01-01", "2013-01-03")
    seats = {name: set(frame["seats"].dropna()) for name, frame in zone(zones, FEATURES).rows("entity_id").items()}
    assert len(seats["ds=2013-01-02"]) > 5 and seats["ds=2013-01-03"] == {1.0}


def test_inputs_that_are_replaced_meanwhile_are_read_again(spark, zones, zone, monkeypatch):
    flights = zone(zones, "processed/flights")
    corrected = flights.rows("time_hour", "carrier", "flight")["ds=2013-01-02"].head(100)
    commit = Partitions.commit

    def replaced_just_before(partitions: Partitions, commits: list) -> None:
        if partitions.zone == FEATURES and commits[0].ds == date(2013, 1, 1):
            flights.put(date(2013, 1, 2), corrected, "w2")
        commit(partitions, commits)

    monkeypatch.setattr(Partitions, "commit", replaced_just_before)
    build(zones, "2013-01-01", "2013-01-03")
    commits = zone(zones, FEATURES).commits()
    assert commits["ds=2013-01-02"].rows == 100
    assert commits["ds=2013-01-01"].write != commits["ds=2013-01-02"].write == commits["ds=2013-01-03"].write
    assert "2013-01-02,100," in manifest(zones, FEATURES, "2013-01-01_2013-01-03")[1]


def test_before_any_label_is_known_the_manifest_names_a_file_without_rows(spark, zones, zone):
    build(zones, "2013-01-01", "2013-01-01")
    (entry,), told = manifest(zones, LABELS, "2013-01-01_2013-01-01")
    empty = pq.read_table(entry["url"].removeprefix("file://"))
    assert empty.column_names == ["entity_id", "event_time", "label", "checksum"] and len(empty) == 0
    assert told == "" and zone(zones, LABELS).commits() == {}


def test_the_first_day_of_a_source_has_no_labels_yet(spark, zones, zone):
    lose(zones, "arrivals")
    build(zones, "2013-01-01", "2013-01-01")
    assert list(zone(zones, FEATURES).commits()) == ["ds=2013-01-01"] and zone(zones, LABELS).commits() == {}


def lose(root: Path, dataset: str, day: str = "*") -> None:
    for path in (root / "processed" / dataset / "_commits").glob(f"ds={day}.json"):
        path.unlink()


def test_a_snapshot_that_comes_meanwhile_is_taken(spark, zones, zone, monkeypatch):
    planes = zone(zones, "processed/planes")
    newer = planes.rows("tailnum")["ds=2013-01-01"].assign(seats=1).astype({"seats": "Int32"})
    commit = Partitions.commit

    def arrives_just_before(partitions: Partitions, commits: list) -> None:
        if partitions.zone == FEATURES and commits[0].ds == date(2013, 1, 1):
            planes.put(date(2013, 1, 2), newer, "w2")
        commit(partitions, commits)

    monkeypatch.setattr(Partitions, "commit", arrives_just_before)
    build(zones, "2013-01-01", "2013-01-02")
    assert set(zone(zones, FEATURES).rows("entity_id")["ds=2013-01-02"]["seats"].dropna()) == {1.0}


@pytest.mark.parametrize(
    ("dataset", "day", "expected"),
    [
        (
            "weather",
            "2013-01-02",
            "weather: expected a partition for each day from 2013-01-01 to 2013-01-02, found none for 2013",
        ),
        (
            "flights",
            "2013-01-03",
            "flights: expected a partition for each day from 2013-01-02 to 2013-01-03, found none for 2013",
        ),
        ("flights", "*", "dataset flights: expected a partition for each day from 2013-01-01"),
        ("planes", "*", "dataset planes: expected a snapshot of 2013-01-01 or before, found none"),
    ],
)
def test_missing_inputs_are_named_before_anything_is_written(spark, zones, dataset, day, expected):
    lose(zones, dataset, day)
    with pytest.raises(FeatureError) as raised:
        build(zones, "2013-01-01", "2013-01-03")
    assert expected in str(raised.value)
    assert not (zones / "features").exists()


def test_the_lookback_must_be_there_once_the_dataset_has_begun(spark, zones):
    lose(zones, "flights", "2013-01-02")
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
