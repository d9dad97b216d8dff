"""Data contracts: what a source team promises to deliver, one YAML file of ``include/datasets/`` per dataset.

A dataset lands as one Parquet file per partition, ``<dataset>/ds=YYYY-MM-DD/<anything>.parquet``. The contract names the
columns with their types and bounds, the key, and how late a day is delivered. :mod:`flywheel.core.contract_files` reads it,
:mod:`flywheel.core.delivery_checks` holds deliveries against it. The jobs read the same contract as JSON
(:meth:`Contract.as_dict`), because their containers have no YAML parser; so these modules need the standard library only.

The ``metadata`` of a field says, in the words of JSON Schema, which values it may have. The parser goes by it, and so does the
schema that editors read (``make schemas``), which also takes the descriptions from the ``:param`` lines below.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import Any

# The types that a column may have, with the name that Spark has for each.
SPARK_TYPES: Mapping[str, str] = {
    "int": "int",
    "bigint": "bigint",
    "double": "double",
    "string": "string",
    "timestamp": "timestamp",
    "date": "date",
    "bool": "boolean",
}
NUMERIC_TYPES = ("int", "bigint", "double")
CADENCES = ("daily", "once")
#: The least notice of a column's removal, in days: who reads it has two weeks to do without.
LEAST_NOTICE_DAYS = 14

_DATASET = {"pattern": "^[a-z][a-z0-9_]{0,63}$"}
_TEXT = {"pattern": r"\S"}


@dataclass(frozen=True)
class Column:
    """One column of a dataset.

    :param name: lower-case letters, digits, underscores; not ``ds``, which is the partition's day
    :param type: what the column's values are
    :param required: the file must have the column; one that is not required is read as nulls where it is absent
    :param nullable: rows may have no value
    :param min: least value allowed, of a numeric column
    :param max: greatest value allowed, of a numeric column
    :param allowed: the values allowed, of a string column; empty: all
    :param tolerance: the share of a partition's rows that may break ``nullable``, ``min``, ``max`` or ``allowed``, and are kept
        as they are, before the partition is refused
    :param meaning: what the column holds, with its unit
    :param owner: who answers for the column; the dataset's owner unless given
    :param since: the first partition that is sure to have the column; in earlier ones it may be absent and is read as nulls
    :param deprecated_on: the day on which its removal was announced; it may be absent ``notice_days`` later, not before
    :param notice_days: days between that announcement and the first partition that may lack the column
    """

    name: str = field(metadata=_DATASET)
    type: str = field(metadata={"enum": tuple(SPARK_TYPES)})
    required: bool = True
    nullable: bool = False
    min: float | None = None
    max: float | None = None
    allowed: tuple[str, ...] = ()
    tolerance: float = field(default=0.0, metadata={"minimum": 0, "exclusiveMaximum": 1})
    meaning: str = ""
    owner: str = field(default="", metadata=_TEXT)
    since: date | None = None
    deprecated_on: date | None = None
    notice_days: int = field(default=LEAST_NOTICE_DAYS, metadata={"minimum": LEAST_NOTICE_DAYS})

    @property
    def spark_type(self) -> str:
        """The type as Spark calls it."""
        return SPARK_TYPES[self.type]

    @property
    def removed_on(self) -> date | None:
        """The first partition that may lack a column that is leaving; None for one that stays."""
        return self.deprecated_on + timedelta(days=self.notice_days) if self.deprecated_on else None


@dataclass(frozen=True)
class Volume:
    """How many rows a partition may have, learned from those of the same weekday before it.

    :param tolerance: the least share of the usual number by which a partition may have more or fewer rows
    :param weeks: weeks to look back
    :param min_weeks: with fewer partitions than this to learn from, any number of rows is right
    """

    tolerance: float = field(default=0.5, metadata={"exclusiveMinimum": 0})
    weeks: int = field(default=8, metadata={"minimum": 1})
    min_weeks: int = field(default=3, metadata={"minimum": 1})


@dataclass(frozen=True)
class Contract:
    """What is promised about one dataset.

    :param name: the dataset, and the file's name without ``.yaml``
    :param description: what the rows are, in a sentence
    :param owner: who answers for the dataset
    :param cadence: ``daily`` (one partition per calendar day of ``timezone``) or ``once`` (a snapshot, replaced at times)
    :param key: columns whose values name a row; never null, never twice in a partition
    :param columns: what each file has
    :param first_partition: the earliest partition there is; earlier ones are not missed
    :param last_partition: the last one there will be; null while the source lives
    :param lag_days: days after its date that a partition is delivered
    :param timezone: whose calendar the partitions' days belong to
    :param delivered_with: another dataset in whose ingest run this one is ingested too
    :param chunk_days: the most partitions that one ingest job takes
    :param corrected_within_days: a scheduled run looks this many days back for deliveries that were corrected
    :param volume: how many rows a partition may have; null: any number, as for cadence ``once``
    """

    name: str = field(metadata=_DATASET)
    description: str = field(metadata=_TEXT)
    owner: str = field(metadata=_TEXT)
    cadence: str = field(metadata={"enum": CADENCES})
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    first_partition: date
    last_partition: date | None = None
    lag_days: int = field(default=0, metadata={"minimum": 0})
    timezone: str = field(default="UTC", metadata=_TEXT)
    delivered_with: str | None = field(default=None, metadata=_DATASET)
    chunk_days: int = field(default=31, metadata={"minimum": 1})
    corrected_within_days: int = field(default=7, metadata={"minimum": 0})
    volume: Volume | None = Volume()

    @property
    def version(self) -> str:
        """Twelve hexadecimal digits that change whenever anything in the contract does."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()[:12]

    def column(self, name: str) -> Column:
        """The column of that name.

        :raises KeyError: there is none
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name} has no column {name!r}")

    def expected_days(self, start: date, end: date) -> list[date]:
        """The partitions of a daily dataset that a run over the days ``start`` to ``end`` (both inclusive) can count on.

        A dataset that is delivered late is asked for the days that became known in the window, which is the window shifted
        into the past by its lag. Days before the first partition and after the last one are left out.
        """
        first = max(start - timedelta(days=self.lag_days), self.first_partition)
        last = min(end - timedelta(days=self.lag_days), self.last_partition or date.max)
        return [first + timedelta(days=i) for i in range((last - first).days + 1)]

    def as_dict(self) -> dict[str, Any]:
        """The contract as JSON types; :func:`~flywheel.core.contract_files.parse_contract` reads it back to an equal object."""
        content = asdict(self)
        content["columns"] = [{k: v for k, v in column.items() if v not in (None, (), "")} for column in content["columns"]]
        return json.loads(json.dumps(content, default=date.isoformat))
