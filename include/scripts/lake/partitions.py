"""Partitions of a zone: written where nobody looks, then committed; read by their commits (:mod:`flywheel.core.commits`)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from flywheel.core.commits import Commit, DataFile, commit_key, commits_prefix, committed_day
from lake.zones import File, Zones, in_parallel


@dataclass(frozen=True)
class Write:
    """What a job has written and not committed yet.

    :param name: of its folder in the zone
    :param files: by day
    """

    name: str
    files: Mapping[date, tuple[DataFile, ...]]


class Partitions:
    """The partitions of one zone.

    :param zone: e.g. ``processed/flights``
    """

    def __init__(self, zones: Zones, zone: str):
        self.zones, self.zone = zones, zone

    # reading

    def committed_days(self) -> list[date]:
        """The days that have a commit, in order."""
        days = [committed_day(file.key) for file in self.zones.files(f"{commits_prefix(self.zone)}*")]
        return sorted(day for day in days if day is not None)

    def commits(self, days: Iterable[date]) -> dict[date, Commit]:
        """The commits of these days; days without one are left out.

        A commit that cannot be read counts as none: its partition is to be written again.
        """
        wanted = list(days)

        def read(day: date) -> Commit | None:
            text = self.zones.read_text(commit_key(self.zone, day))
            try:
                return Commit.from_json(text) if text else None
            except ValueError:
                return None

        return {day: commit for day, commit in zip(wanted, in_parallel(read, wanted), strict=True) if commit}

    def read(self, commits: Sequence[Commit]) -> DataFrame:
        """The rows of these commits (at least one), with their day as ``ds``.

        All must have the same columns with the same types; one that lacks a column, as older versions of a contract did, gives
        nulls.
        """
        columns: dict[str, str] = {}
        for commit in commits:
            columns.update(commit.columns)
        ddl = ", ".join(f"`{name}` {kind}" for name, kind in columns.items())
        paths = [self.zones.uri(f"{commit.folder}/{file.name}") for commit in commits for file in commit.files]
        reader = self.zones.spark.read.schema(f"{ddl}, `ds` DATE").option("basePath", self.zones.uri(self.zone))
        return reader.parquet(*paths).select(*columns, "ds")

    # writing

    def write(self, frame: DataFrame, run_key: str) -> Write:
        """Writes a frame with a column ``ds`` into a folder of its own, for :meth:`commit`."""
        name = _new_write(run_key)
        folder = f"{self.zone}/write={name}"
        frame.write.partitionBy("ds").parquet(self.zones.uri(folder))
        found: dict[date, list[DataFile]] = {}
        for file in self.zones.files_below(folder):
            if file.day is not None:
                found.setdefault(file.day, []).append(DataFile(file.name, file.length))
        return Write(name, {day: tuple(files) for day, files in found.items()})

    def copy(self, files: Mapping[date, File], run_key: str) -> Write:
        """Like :meth:`write`, of Parquet files that are the partitions already."""
        name, part = _new_write(run_key), "part-00000.parquet"
        in_parallel(lambda day: self.zones.copy(files[day].key, f"{self.zone}/write={name}/ds={day}/{part}"), files)
        return Write(name, {day: (DataFile(part, file.length),) for day, file in files.items()})

    def counts(self, write: Write) -> dict[date, tuple[int, int]]:
        """Rows and sum of the column ``checksum`` of each day of a write, read back from its files."""
        folder = self.zones.uri(f"{self.zone}/write={write.name}")
        paths = [f"{folder}/ds={day}/{file.name}" for day, files in write.files.items() for file in files]
        if not paths:
            return {}
        frame = self.zones.spark.read.schema("`checksum` BIGINT, `ds` DATE").option("basePath", folder).parquet(*paths)
        # Sums of 64-bit hashes outgrow 64 bits.
        total = F.sum(F.col("checksum").cast("decimal(20,0)"))
        rows = frame.groupBy("ds").agg(F.count("checksum").alias("n"), total.alias("checksum")).collect()
        return {row["ds"]: (row["n"], int(row["checksum"])) for row in rows}

    def commit(self, commits: Sequence[Commit]) -> None:
        """Makes each of these the partition of its day."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        in_parallel(lambda commit: self.zones.write_text(commit.key, replace(commit, committed_at=now).to_json()), commits)


def _new_write(run_key: str) -> str:
    """A name that no other write has: two tries of one run may be at it at once."""
    return f"{run_key or 'run'}-{uuid.uuid4().hex[:8]}"


def until_settled(days: Sequence[date], turn: Callable[[Sequence[date]], Sequence[date]]) -> None:
    """Takes turns over days until none of their sources has moved meanwhile.

    Two runs of one day may overlap, and one of them may have read what has been replaced since. Each looks at its sources once
    more *after* its commit; so whichever commits last has looked last, and what stays is made of the newest.

    :param turn: reads, writes and commits these days; returns those whose sources have moved
    :raises RuntimeError: they move each time
    """
    for _ in range(5):
        days = turn(days)
        if not days:
            return
    raise RuntimeError(f"sources of {', '.join(map(str, days))}: expected to stay as they are, found them replaced five times")
