"""The ingest job on tiny deliveries: what is right is written, what is wrong is named and loses nothing."""

from __future__ import annotations

import json
import os
import time
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ingest_dataset import DeliveryError, main
from lake.partitions import Partitions
from lake.zones import parquet_columns

from flywheel.core.commits import Commit, Report, report_key

pytestmark = pytest.mark.slow

TRIPS = {
    "name": "trips",
    "description": "d",
    "owner": "o",
    "cadence": "daily",
    "first_partition": "2013-01-01",
    "key": ["id"],
    "columns": [
        {"name": "id", "type": "string"},
        {"name": "miles", "type": "double", "nullable": True, "min": 0, "max": 5000},
        {"name": "gate", "type": "int"},
        {"name": "origin", "type": "string", "allowed": ["EWR", "JFK"]},
        {"name": "note", "type": "string", "required": False, "nullable": True},
    ],
}
ENDS = TRIPS | {"name": "ends", "lag_days": 1, "delivered_with": "trips"}
FLEET = TRIPS | {"name": "fleet", "cadence": "once", "key": ["id"], "delivered_with": "trips"}


def rows(day: int, **changes) -> pd.DataFrame:
    """Three rows of a day; each change replaces a column, None drops it."""
    frame = pd.DataFrame(
        {
            "id": [f"{day}-{i}" for i in range(3)],
            "miles": [1.5, None, 20.0],
            "gate": pd.array([1, 2, 3], dtype="int32"),
            "origin": ["EWR", "JFK", "EWR"],
        }
    )
    return frame.assign(**changes).drop(columns=[name for name, value in changes.items() if value is None])


class Lake:
    """The zones in a folder, with the contracts beside them."""

    def __init__(self, root: Path, zone: Any):
        self.root, self.zone = root, zone
        (root / "contracts").mkdir()
        for contract in (TRIPS, ENDS, FLEET):
            (root / "contracts" / f"{contract['name']}.json").write_text(json.dumps(contract))

    def deliver(self, day: int, content: pd.DataFrame | bytes, *, dataset: str = "trips", name: str = "") -> Path:
        path = self.root / "landing" / dataset / f"ds=2013-01-{day:02d}" / (name or f"{dataset}.parquet")
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content.to_parquet(path, index=False)
        return path

    def ingest(self, start: int, end: int, datasets: str = "trips") -> list[str]:
        log: list[str] = []
        window = ["--start", f"2013-01-{start:02d}", "--end", f"2013-01-{end:02d}"]
        place = ["--zones_root", f"file://{self.root}", "--contracts", f"file://{self.root}/contracts"]
        main([*window, *place, "--datasets", datasets, "--run_key", "k", "--JOB_NAME", "flywheel", "--TempDir", "t"], log.append)
        return log

    def processed(self, dataset: str = "trips") -> dict[str, pd.DataFrame]:
        """Rows by partition, in the order of their key."""
        return self.zone(self.root, f"processed/{dataset}").rows("id")

    def commits(self, dataset: str = "trips") -> dict[str, Commit]:
        return self.zone(self.root, f"processed/{dataset}").commits()

    def change(self, column: str, **promises: Any) -> None:
        """Another contract for ``trips``: with these promises for one column."""
        columns = [entry | promises if entry["name"] == column else entry for entry in TRIPS["columns"]]
        (self.root / "contracts" / "trips.json").write_text(json.dumps(TRIPS | {"columns": columns}))

    def report(self, start: int, end: int) -> Report:
        key = report_key("k", "ingest", date(2013, 1, start), date(2013, 1, end))
        return Report.from_json((self.root / key).read_text())

    def quarantine(self) -> dict[str, dict]:
        return {path.stem: json.loads(path.read_text()) for path in sorted((self.root / "quarantine/trips").glob("*.json"))}


@pytest.fixture
def lake(spark, tmp_path, zone) -> Lake:
    return Lake(tmp_path, zone)


def test_good_partitions_are_written_whole_and_others_left_alone(lake):
    for day in (1, 2, 3, 4):
        lake.deliver(day, rows(day, note="x", unknown=7) if day == 2 else rows(day))
    lake.deliver(3, b"", name="_SUCCESS")
    assert "trips: 2 of 2 partitions written, 6 rows" in lake.ingest(1, 2)
    assert list(lake.processed()) == ["ds=2013-01-01", "ds=2013-01-02"]
    second = lake.processed()["ds=2013-01-02"]
    assert list(second.columns) == ["id", "miles", "gate", "origin", "note"]
    assert second["note"].tolist() == ["x"] * 3 and lake.processed()["ds=2013-01-01"]["note"].isna().all()

    lake.deliver(2, rows(2, miles=9.0))
    lake.ingest(2, 3)
    assert list(lake.processed()) == ["ds=2013-01-01", "ds=2013-01-02", "ds=2013-01-03"]
    assert lake.processed()["ds=2013-01-02"]["miles"].tolist() == [9.0] * 3
    assert len(lake.commits()["ds=2013-01-02"].files) == 1


def test_a_late_dataset_is_asked_for_the_day_before(lake):
    for day in (1, 2):
        lake.deliver(day, rows(day))
    assert "ends: 0 of 0 partitions written, 0 rows" in lake.ingest(1, 1, "trips,ends")
    lake.deliver(1, rows(1), dataset="ends")
    lake.ingest(1, 2, "trips,ends")
    assert list(lake.processed("ends")) == ["ds=2013-01-01"]


def test_a_snapshot_is_taken_once_until_it_is_delivered_again(lake):
    with pytest.raises(DeliveryError, match="expected a snapshot delivered up to this day in landing/fleet/, found none"):
        lake.ingest(3, 3, "fleet")
    lake.deliver(1, rows(1), dataset="fleet")
    lake.deliver(9, rows(9), dataset="fleet")
    assert "fleet: 1 of 1 partitions written, 3 rows" in lake.ingest(3, 3, "fleet")
    taken = lake.commits("fleet")
    assert list(taken) == ["ds=2013-01-01"]
    assert "fleet: 0 of 0 partitions written, 0 rows" in lake.ingest(4, 4, "fleet")
    assert lake.commits("fleet") == taken
    again = lake.deliver(1, rows(1, miles=3.0), dataset="fleet")
    os.utime(again, (time.time() + 5,) * 2)
    lake.ingest(5, 5, "fleet")
    assert lake.processed("fleet")["ds=2013-01-01"]["miles"].tolist() == [3.0] * 3


def test_of_snapshots_a_window_takes_all_that_were_the_newest_on_one_of_its_days(lake):
    for day in (1, 2, 4, 9):
        lake.deliver(day, rows(day), dataset="fleet")
    lake.ingest(3, 5, "fleet")
    assert list(lake.commits("fleet")) == ["ds=2013-01-02", "ds=2013-01-04"]


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    return frame.to_parquet(index=False)


def damaged_inside(frame: pd.DataFrame) -> bytes:
    """A Parquet file with a whole footer whose first data page is overwritten."""
    content = bytearray(parquet_bytes(frame))
    content[4:60] = b"\xff" * 56
    return bytes(content)


def no_rows() -> pd.DataFrame:
    """A file with all columns in their types and nothing in them."""
    return rows(5).head(0).astype({"id": "string", "origin": "string"})


# Day: what is delivered, and what the error says about it.
FILE = "file trips.parquet"
FAULTS = {
    2: (rows(2, gate=None), f"ds=2013-01-02, {FILE}, column gate: expected a column of type int, found no such column"),
    3: (rows(3, gate=["1", "2", "3"]), f"ds=2013-01-03, {FILE}, column gate: expected type int, found type string"),
    4: (b"", f"ds=2013-01-04, {FILE}: expected a Parquet file, found an empty file (0 bytes)"),
    5: (no_rows(), f"ds=2013-01-05, {FILE}: expected rows, found an empty file (no rows)"),
    6: (parquet_bytes(rows(6))[:-300], f"ds=2013-01-06, {FILE}: expected a whole Parquet file, found"),
    7: (pd.concat([rows(7)] * 2), "column id: expected each key once, found 3 keys repeated: a duplicate delivery, e.g. id=7-0"),
    8: (None, "dataset trips, partition ds=2013-01-08: expected one Parquet file in landing/trips/ds=2013-01-08/, found none"),
    9: (rows(9, origin=["EWR", None, "SFO"]), "column origin: expected one of EWR, JFK, found 1 of 3 rows otherwise, e.g. SFO"),
    10: (rows(10, miles=[1.0, -2.0, 9e3]), "column miles: expected values of at least 0, found 1 of 3 rows otherwise, e.g. -2.0"),
    11: (damaged_inside(rows(11)), f"ds=2013-01-11, {FILE}: expected a whole Parquet file, found damaged pages"),
}


@pytest.fixture(scope="module")
def faulty(spark, tmp_path_factory, zone) -> tuple[Lake, DeliveryError]:
    """A window in which almost every day has a fault of its own, ingested over partitions that were there before."""
    lake = Lake(tmp_path_factory.mktemp("faulty"), zone)
    for day in range(1, 15):
        lake.deliver(day, rows(day, miles=7.0))
    lake.ingest(1, 14)
    for day, (content, _) in FAULTS.items():
        path = lake.deliver(day, b"" if content is None else content)
        if content is None:
            path.unlink()
            path.parent.rmdir()
    lake.deliver(12, rows(12), name="again.parquet")
    lake.deliver(13, rows(14))
    with pytest.raises(DeliveryError) as raised:
        lake.ingest(1, 14)
    return lake, raised.value


@pytest.mark.parametrize("day", FAULTS)
def test_each_fault_is_named_with_place_expected_and_found(faulty, day):
    assert FAULTS[day][1] in str(faulty[1])


def test_a_second_file_and_a_file_delivered_under_two_days_are_duplicate_deliveries(faulty):
    text = str(faulty[1])
    assert (
        "ds=2013-01-12, file again.parquet, trips.parquet: expected one Parquet file, found 2 files: a duplicate delivery" in text
    )
    for day in (13, 14):
        assert (
            f"partition ds=2013-01-{day}, file trips.parquet, column id: expected each key once, found 3 keys repeated in "
            in text
        )
    assert "ds=2013-01-13 and ds=2013-01-14: a duplicate delivery, e.g. id=14-0" in text


def test_more_faults_of_one_partition_are_all_told(faulty):
    text = str(faulty[1])
    assert "ds=2013-01-09, file trips.parquet, column origin: expected a value in each row, found 1 of 3 rows otherwise" in text
    assert "ds=2013-01-10, file trips.parquet, column miles: expected values of at most 5000, found 1 of 3 rows otherwise" in text


def test_the_first_line_is_short(faulty):
    first = str(faulty[1]).splitlines()[0]
    assert first == "13 of 14 partitions refused: trips ds=2013-01-02, trips ds=2013-01-03, trips ds=2013-01-04 and 10 more"


def test_refused_partitions_keep_what_they_had(faulty):
    lake, _ = faulty
    processed = lake.processed()
    assert len(processed) == 14
    assert processed["ds=2013-01-01"]["miles"].tolist() == [7.0, 7.0, 7.0]
    for day in (2, 6, 7, 8, 11, 12, 13):
        assert processed[f"ds=2013-01-{day:02d}"]["id"].tolist() == [f"{day}-{i}" for i in range(3)]


def test_a_partition_in_breach_is_quarantined_with_a_report_until_a_corrected_delivery(lake):
    lake.deliver(1, rows(1))
    lake.deliver(2, rows(2, origin=["EWR", "SFO", "LAX"]))
    with pytest.raises(DeliveryError):
        lake.ingest(1, 2)
    ((name, told),) = lake.quarantine().items()
    assert name == "ds=2013-01-02" and pd.read_parquet(lake.root / told["delivery"])["origin"].tolist() == ["EWR", "SFO", "LAX"]
    (breach,) = told["breaches"]
    assert breach == {
        "dataset": "trips",
        "partition": "ds=2013-01-02",
        "file": "trips.parquet",
        "column": "origin",
        "expected": "one of EWR, JFK",
        "found": "2 of 3 rows otherwise",
        "samples": ["LAX", "SFO"],
    }
    report = lake.report(1, 2)
    assert report.written == {"processed/trips": (date(2013, 1, 1),)} and list(report.quarantined) == [breach]

    corrected = lake.deliver(2, rows(2))
    os.utime(corrected, (time.time() + 5,) * 2)
    lake.ingest(1, 2)
    assert list(lake.processed()) == ["ds=2013-01-01", "ds=2013-01-02"] and lake.quarantine() == {}
    assert len(list((lake.root / "raw/trips/ds=2013-01-02").glob("delivery=*/trips.parquet"))) == 2, "raw keeps every delivery"


def test_a_column_that_nobody_knows_is_kept_in_raw_and_noted_and_the_run_goes_on(lake):
    lake.deliver(1, rows(1, moon="full"))
    log = lake.ingest(1, 1)
    (note,) = lake.report(1, 1).notes
    assert (note["kind"], note["partition"], note["column"]) == ("unknown_column", "ds=2013-01-01", "moon")
    assert any("column moon" in line for line in log)
    assert "moon" not in lake.processed()["ds=2013-01-01"]
    (raw,) = (lake.root / "raw/trips/ds=2013-01-01").glob("delivery=*/trips.parquet")
    assert pd.read_parquet(raw)["moon"].tolist() == ["full"] * 3


def test_breaches_within_the_tolerance_are_noted_and_beyond_it_refused(lake):
    lake.change("gate", max=10, tolerance=0.34)
    lake.deliver(1, rows(1, gate=pd.array([1, 2, 99], dtype="int32")))
    lake.ingest(1, 1)
    (note,) = lake.report(1, 1).notes
    assert note["kind"] == "tolerated" and "1 of 3 rows otherwise, e.g. 99" in note["text"]
    lake.deliver(2, rows(2, gate=pd.array([1, 98, 99], dtype="int32")))
    with pytest.raises(DeliveryError, match=r"found 2 of 3 rows otherwise, e.g. 98, 99"):
        lake.ingest(2, 2)


def test_a_wider_type_passes_with_a_note_while_each_value_fits(lake):
    lake.deliver(1, rows(1, gate=[1, 2, 3]))  # int64
    lake.deliver(2, rows(2))
    lake.deliver(3, rows(3, gate=[1, 2, 2**40]))
    with pytest.raises(DeliveryError, match=r"values that fit type int, found 1 of 3 rows otherwise, e\.g\. 1099511627776"):
        lake.ingest(1, 3)
    processed = lake.processed()
    assert list(processed) == ["ds=2013-01-01", "ds=2013-01-02"]
    assert {str(frame["gate"].dtype) for frame in processed.values()} == {"int32"}
    assert {note["kind"] for note in lake.report(1, 3).notes} == {"widened"}


def test_a_column_may_be_absent_before_it_was_promised_and_after_it_was_withdrawn(lake):
    lake.change("gate", since="2013-01-02", deprecated_on="2013-01-03", notice_days=14)
    for day in (1, 2, 16, 17):
        lake.deliver(day, rows(day, gate=None))
    lake.ingest(1, 1)
    for day in (2, 16):
        with pytest.raises(DeliveryError, match="a column of type int until 2013-01-17"):
            lake.ingest(day, day)
    lake.ingest(17, 17)
    assert lake.processed()["ds=2013-01-01"]["gate"].isna().all()
    assert [note["kind"] for note in lake.report(17, 17).notes] == ["removed"]


def test_a_day_with_far_fewer_rows_than_the_same_weekdays_before_is_refused(lake):
    for day in range(1, 31):
        lake.deliver(day, rows(day) if day != 29 else rows(day).head(1))
    with pytest.raises(
        DeliveryError, match=r"1 of 30 partitions refused: trips ds=2013-01-29\n.*expected 2 to 4 rows.*found 1 rows"
    ):
        lake.ingest(1, 30)
    with pytest.raises(DeliveryError, match="ds=2013-01-29"):
        lake.ingest(29, 29)  # learned from what was committed before


def test_a_delivery_that_is_replaced_while_it_is_read_does_not_stay_old(lake, monkeypatch):
    lake.deliver(1, rows(1))
    lake.deliver(2, rows(2))
    commit = Partitions.commit

    def replaced_just_before(partitions: Partitions, commits: list[Commit]) -> None:
        if len(commits) == 2:
            os.utime(lake.deliver(2, rows(2, miles=8.0)), (time.time() + 5,) * 2)
        commit(partitions, commits)

    monkeypatch.setattr(Partitions, "commit", replaced_just_before)
    assert "trips: 2 of 2 partitions written, 6 rows" in lake.ingest(1, 2)
    commits = lake.commits()
    assert commits["ds=2013-01-01"].write != commits["ds=2013-01-02"].write
    assert lake.processed()["ds=2013-01-02"]["miles"].tolist() == [8.0] * 3


def test_the_right_partitions_of_a_faulty_window_are_written(lake):
    lake.deliver(1, rows(1))
    lake.deliver(2, b"no parquet")
    with pytest.raises(DeliveryError, match="1 of 2 partitions refused: trips ds=2013-01-02\n"):
        lake.ingest(1, 2)
    assert list(lake.processed()) == ["ds=2013-01-01"]


def test_a_missing_contract_is_named(lake):
    with pytest.raises(FileNotFoundError, match=r"contracts/cars\.json"):
        lake.ingest(1, 1, "cars")


def test_a_window_without_anything_delivered_at_all(lake):
    with pytest.raises(DeliveryError, match="2 of 2 partitions refused"):
        lake.ingest(1, 2)


def test_types_are_read_from_parquets_own_schema_text():
    text = """message schema {
  optional int32 small (INTEGER(16,true));
  required int64 big;
  optional int32 day (DATE);
  optional int64 at (TIMESTAMP(MICROS,true));
  optional int64 local (TIMESTAMP(NANOS,false)) = 4;
  optional int96 old;
  optional binary text (STRING);
  optional binary raw;
  optional fixed_len_byte_array(9) price (DECIMAL(20,2));
  optional group tags (LIST) {
    repeated group list {
      optional binary element (STRING);
    }
  }
  optional group nested {
    optional boolean inner;
  }
  optional float single;
  optional boolean yes;
}
"""
    assert parquet_columns(text) == {
        "small": "smallint",
        "big": "bigint",
        "day": "date",
        "at": "timestamp",
        "local": "timestamp(nanos)",
        "old": "timestamp",
        "text": "string",
        "raw": "binary",
        "price": "decimal(20,2)",
        "tags": "list",
        "nested": "struct",
        "single": "float",
        "yes": "boolean",
    }
