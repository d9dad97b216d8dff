"""The ingest job on tiny deliveries: what is right is written, what is wrong is named and loses nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from ingest_dataset import DeliveryError, main, parquet_columns

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

    def __init__(self, root: Path):
        self.root = root
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
        folders = sorted((self.root / "processed" / dataset).glob("ds=*"))
        return {folder.name: pd.read_parquet(folder).sort_values("id", ignore_index=True) for folder in folders}


@pytest.fixture
def lake(spark, tmp_path) -> Lake:
    return Lake(tmp_path)


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
    assert len(list((lake.root / "processed/trips/ds=2013-01-02").glob("*.parquet"))) == 1


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
    assert list(lake.processed("fleet")) == ["ds=2013-01-01"]
    written = next((lake.root / "processed/fleet/ds=2013-01-01").glob("*.parquet"))
    assert "fleet: 0 of 0 partitions written, 0 rows" in lake.ingest(4, 4, "fleet")
    assert written.exists()
    again = lake.deliver(1, rows(1, miles=3.0), dataset="fleet")
    os.utime(again, (written.stat().st_mtime + 5,) * 2)
    lake.ingest(5, 5, "fleet")
    assert lake.processed("fleet")["ds=2013-01-01"]["miles"].tolist() == [3.0] * 3


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
    7: (pd.concat([rows(7)] * 2), "column id: expected each key once, found 3 keys repeated, e.g. id=7-0: a duplicate delivery"),
    8: (None, "dataset trips, partition ds=2013-01-08: expected one Parquet file in landing/trips/ds=2013-01-08/, found no part"),
    9: (rows(9, origin=["EWR", None, "SFO"]), "column origin: expected one of EWR, JFK, found 1 of 3 rows otherwise, e.g. SFO"),
    10: (rows(10, miles=[1.0, -2.0, 9e3]), "column miles: expected values of at least 0, found 1 of 3 rows otherwise, e.g. -2.0"),
    11: (damaged_inside(rows(11)), f"ds=2013-01-11, {FILE}: expected a whole Parquet file, found damaged pages"),
}


@pytest.fixture(scope="module")
def faulty(spark, tmp_path_factory) -> tuple[Lake, DeliveryError]:
    """A window in which almost every day has a fault of its own, ingested over partitions that were there before."""
    lake = Lake(tmp_path_factory.mktemp("faulty"))
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
    assert "ds=2013-01-13 and ds=2013-01-14, e.g. id=14-0" in text


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
        "local": "timestamp_ntz",
        "old": "timestamp",
        "text": "string",
        "raw": "binary",
        "price": "decimal(20,2)",
        "tags": "list",
        "nested": "struct",
        "single": "float",
        "yes": "boolean",
    }
