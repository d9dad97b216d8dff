"""Deliveries that can be told apart by any one of their rows, and the zones of one chain of runs that they go into."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.core.commits import Commit, commit_key, commits_prefix

DAYS = tuple(date(2013, 1, day) for day in (1, 2, 3))
LAG = timedelta(days=1)
GROUP = "visits/v1"
ZONES = ("processed/visits", "processed/outcomes", f"features/{GROUP}", f"labels/{GROUP}")
VISITS, OUTCOMES, FEATURES, LABELS = ZONES
_VERSION = {"name": "version", "type": "int"}
_CONTRACT = {
    "description": "d",
    "owner": "o",
    "cadence": "daily",
    "first_partition": DAYS[0].isoformat(),
    "key": ["id"],
    "volume": None,
    "columns": [{"name": "id", "type": "string"}, _VERSION],
}
CONTRACTS = {
    "visits": _CONTRACT | {"name": "visits", "columns": [*_CONTRACT["columns"], {"name": "amount", "type": "double", "min": 0}]},
    "outcomes": _CONTRACT | {"name": "outcomes", "lag_days": LAG.days, "delivered_with": "visits"},
}
Row = tuple[object, ...]
Versions = Mapping[tuple[str, date], int]
"""The newest delivery by dataset and day."""


def delivered_days(dataset: str) -> tuple[date, ...]:
    """The days that are delivered until the last of :data:`DAYS`."""
    return DAYS if dataset == "visits" else DAYS[: -LAG.days]


def delivered_rows(dataset: str, day: date, version: int) -> list[Row]:
    """The rows of one delivery: id and version, of visits an amount as well.

    Most ids are in every version of a day, so that rows of two versions side by side would not be told by their keys.
    """
    count = 40 + (day.day * 13 + version * 29) % 50
    ids = [f"{day}-{number:03d}" for number in range(count)]
    if dataset == "outcomes":
        return [(name, version) for name in ids]
    return [(name, version, float(version * 1000 + number * 7 % 97)) for number, name in enumerate(ids)]


def feature_rows(day: date, version: int, previous: int) -> list[Row]:
    """The features of a day: without their checksums."""
    noon = datetime(day.year, day.month, day.day, 12)
    return [(name, noon, version, previous, amount) for name, _, amount in delivered_rows("visits", day, version)]


def label_rows(day: date, version: int) -> list[Row]:
    """The labels of a day: without their checksums."""
    noon = datetime(day.year, day.month, day.day, 12)
    return [(name, noon, version) for name, _ in delivered_rows("outcomes", day, version)]


def expected_rows(zone: str, day: date, versions: Versions) -> list[Row]:
    """What a partition holds that is made of these deliveries."""
    if zone == FEATURES:
        return feature_rows(day, versions["visits", day], versions.get(("visits", day - LAG), 0))
    if zone == LABELS:
        return label_rows(day, versions["outcomes", day])
    dataset = zone.partition("/")[2]
    return delivered_rows(dataset, day, versions[dataset, day])


def days_of(zone: str) -> tuple[date, ...]:
    """The days that a zone holds in the end."""
    return delivered_days("outcomes" if zone in (OUTCOMES, LABELS) else "visits")


@dataclass
class Lake:
    """The zones of one chain of runs, in a folder of the bucket.

    :ivar versions: the newest version by dataset and day
    """

    root: Path
    uri: str
    versions: dict[tuple[str, date], int] = field(default_factory=dict)
    _files: Iterable[int] = field(default_factory=lambda: itertools.count())

    def __post_init__(self) -> None:
        for name, contract in CONTRACTS.items():
            self._put(self.root / "contracts" / f"{name}.json", json.dumps(contract).encode())

    def deliver(self, what: Iterable[tuple[str, date]], version: int | None = None) -> None:
        """A delivery of each, in place of the one before. Every other version has a column that no contract knows."""
        for dataset, day in what:
            number = version or self.versions.get((dataset, day), 0) + 1
            self.versions[dataset, day] = number
            columns = map(list, zip(*delivered_rows(dataset, day, number), strict=True))
            fields = [("id", pa.string()), ("version", pa.int32()), ("amount", pa.float64())]
            schema = pa.schema(fields[: len(CONTRACTS[dataset]["columns"])])
            table = pa.table(list(columns), schema=schema)
            if number % 2 == 0:
                table = table.append_column("unknown", pa.array(["x"] * len(table)))
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink)
            self._put(self.landed(dataset, day), sink.getvalue().to_pybytes())

    def landed(self, dataset: str, day: date) -> Path:
        """Where a delivery lies."""
        return self.root / "landing" / dataset / f"ds={day}" / f"{dataset}.parquet"

    def _put(self, path: Path, content: bytes) -> None:
        """Writes a file as S3 does: it is there when it is whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        incoming = self.root.parent / f".incoming-{self.root.name}-{next(iter(self._files))}"
        incoming.write_bytes(content)
        os.replace(incoming, path)

    def committed_days(self, zone: str) -> list[date]:
        """The days that have a commit."""
        return sorted(date.fromisoformat(path.stem[3:]) for path in (self.root / commits_prefix(zone)).glob("ds=*.json"))

    def commit_file(self, zone: str, day: date) -> Path:
        """Where a commit lies."""
        return self.root / commit_key(zone, day)

    def rows(self, commit: Commit) -> list[Row]:
        """The rows that a commit names, in the order of their ids, whole with their checksums."""
        rows: list[Row] = []
        for file in commit.files:
            table = pq.ParquetFile(self.root / commit.folder / file.name).read()
            rows += zip(*(table[name].to_pylist() for name in commit.columns), strict=True)
        return sorted(rows)

    def folders(self) -> set[str]:
        """All folders of partitions that anybody has begun to write."""
        found = {path for zone in ZONES for path in (self.root / zone).glob("write=*/ds=*")}
        return {str(path.relative_to(self.root)) for path in found}
