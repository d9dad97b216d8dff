"""How a zone on S3 is laid out, so that a partition is there whole or not at all.

A zone is a dataset's part of the lake, named by its path: ``processed/flights``, ``features/flight_delay/v1``. A job writes the
partitions of its window into a folder of its own, ``<zone>/write=<id>/ds=YYYY-MM-DD/``, where nobody looks, and then commits them
one by one: ``<zone>/_commits/ds=YYYY-MM-DD.json`` names the files that *are* the partition from now on. One PUT of one small
object is atomic on S3, so readers, who go by the commits (or by the Data Catalog, which is told of them), see the partition as
it was or as it is, never half of it, never two writes mixed. A job that dies leaves a folder that no commit names; writing again
replaces the commit.

What no commit names is removed by ``maintain_lake`` after some days, when no reader can still be at it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

_COMMIT = re.compile(r"/_commits/ds=(\d{4}-\d{2}-\d{2})\.json$")


@dataclass(frozen=True)
class DataFile:
    """One file of a partition: its name in the partition's folder and its length in bytes."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Commit:
    """What a partition is.

    :param zone: e.g. ``processed/flights``, no slash at the ends
    :param write: the write that made it; a folder of the zone
    :param rows: number of rows
    :param checksum: sum of the rows' ``checksum`` column where the zone has one, as text (it outgrows 64 bits)
    :param columns: column to Spark type, without ``ds``
    :param sources: what it was made of: for ``processed`` the landed file with its stamp
        (``{"landing/flights/ds=…/f.parquet": "13c0…-5f2"}``), for ``features`` and ``labels`` the writes of the input partitions
        (``{"processed/flights/ds=…": "<write>"}``)
    :param contract: version of the contract that it was held against; empty for features and labels
    :param run_key: the pipeline run
    :param committed_at: ISO time, UTC
    """

    zone: str
    ds: date
    write: str
    files: tuple[DataFile, ...]
    rows: int
    columns: Mapping[str, str]
    checksum: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    contract: str = ""
    run_key: str = ""
    committed_at: str = ""

    @property
    def folder(self) -> str:
        """Key prefix of the partition's files, without a slash at the end."""
        return f"{self.zone}/write={self.write}/ds={self.ds}"

    @property
    def key(self) -> str:
        """Key of the commit itself."""
        return commit_key(self.zone, self.ds)

    def to_json(self) -> str:
        """As it lies on S3."""
        return json.dumps({**asdict(self), "ds": self.ds.isoformat()}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Commit:
        """From what :meth:`to_json` gave.

        :raises ValueError: it is no commit
        """
        content: dict[str, Any] = json.loads(text)
        try:
            files = tuple(DataFile(**file) for file in content.pop("files"))
            return cls(**{**content, "ds": date.fromisoformat(content["ds"]), "files": files})
        except (KeyError, TypeError) as error:
            raise ValueError(f"commit: expected the keys of a commit, found {sorted(content)}: {error}") from None


def commits_prefix(zone: str) -> str:
    """Key prefix of a zone's commits, with a slash at the end."""
    return f"{zone}/_commits/"


def commit_key(zone: str, ds: date) -> str:
    """Key of a partition's commit."""
    return f"{commits_prefix(zone)}ds={ds}.json"


def committed_day(key: str) -> date | None:
    """The day of a commit's key; None for any other key."""
    found = _COMMIT.search(key)
    return date.fromisoformat(found[1]) if found else None


def delivery_stamp(modified: int, length: int) -> str:
    """Tells this delivery of a key from a later one; fit for a folder's name.

    :param modified: modification time in milliseconds, as exactly as the store tells it
    :param length: bytes
    """
    return f"{modified:x}-{length:x}"


def in_whole_seconds(stamp: str) -> str:
    """The stamp as S3's lists tell it, which know whole seconds: of two deliveries of one length in one second they show one."""
    modified, _, length = stamp.partition("-")
    return delivery_stamp(int(modified, 16) // 1000 * 1000, int(length, 16))


def partition_source(dataset: str, ds: date) -> str:
    """The name of a processed partition among the sources of a commit."""
    return f"processed/{dataset}/ds={ds}"


def report_key(run_key: str, job: str, start: date, end: date) -> str:
    """Key of what a job tells about its window: see :class:`Report`.

    :param job: ``ingest``, or ``features-<group>-v<N>``
    """
    return f"reports/{job}/{run_key}/{start}_{end}.json"


@dataclass(frozen=True)
class Report:
    """What one job did with its window. It is written before the job ends, also when it fails.

    :param written: zone to the days that this job has committed
    :param quarantined: breaches of contracts, each ``{"dataset", "partition", "file", "column", "expected", "found", "samples"}``
    :param notes: what went on but should be known, each ``{"kind", "dataset", "partition", "column", "text"}``
    """

    written: Mapping[str, tuple[date, ...]]
    quarantined: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> str:
        """As it lies on S3."""
        written = {zone: [day.isoformat() for day in days] for zone, days in self.written.items()}
        return json.dumps({"written": written, "quarantined": self.quarantined, "notes": self.notes}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """From what :meth:`to_json` gave."""
        content = json.loads(text)
        written = {zone: tuple(date.fromisoformat(day) for day in days) for zone, days in content["written"].items()}
        return cls(written, tuple(content["quarantined"]), tuple(content["notes"]))
