"""What a delivered partition breaks of its contract, and what is only worth a note.

The rules are here, for the ingest job and for ``make contract``; whoever asks brings what only it can find out: a file's columns
and types for :func:`check_schema`, how many rows break each of :func:`row_checks` for :func:`judge_rows`, the number of rows for
:func:`check_volume`. A breach (:class:`Violation`) refuses the partition, a :class:`Note` does not.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from flywheel.core.contracts import Column, Contract
from flywheel.core.volume import volume_band

# By the contract's type: types in a file that hold nothing which the contract's type cannot hold.
NARROWER_TYPES: Mapping[str, tuple[str, ...]] = {
    "int": ("smallint", "tinyint"),
    "bigint": ("int", "smallint", "tinyint"),
    "double": ("float", "int", "smallint", "tinyint"),
}
# Types in a file that hold each value of the contract's type exactly, and others besides, so that each value has to be looked at.
# Doubles hold each int (pandas makes them of ints with gaps), but not each bigint: beyond 2**53 they are rounded unseen. What
# is a timestamp in the contract cannot be a timestamp_ntz in a file: without a time zone nobody can tell which instant is meant.
WIDER_TYPES: Mapping[str, tuple[str, ...]] = {
    "int": ("bigint", "double"),
    "date": ("timestamp_ntz", "timestamp"),
}

#: Kinds of notes.
UNKNOWN_COLUMN = "unknown_column"
WIDENED = "widened"
REMOVED = "removed"
TOLERATED = "tolerated"
#: The kinds that a person should hear of, because the source has changed. Tolerated rows are everyday.
ALERTING = frozenset({UNKNOWN_COLUMN, WIDENED, REMOVED})

#: Kinds of row checks; all but FITS have the column's tolerance. A row breaks at most one of those that have it.
FITS, VALUE, MIN, MAX, ALLOWED = "fits", "value", "min", "max", "allowed"


@dataclass(frozen=True)
class Violation:
    """One broken promise: which dataset, partition, file and column, what was expected and what was found.

    :param samples: some of the values that break it
    """

    dataset: str
    partition: str
    file: str
    column: str
    expected: str
    found: str
    samples: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = [f"dataset {self.dataset}", f"partition {self.partition}"]
        where += [f"file {self.file}"] if self.file else []
        where += [f"column {self.column}"] if self.column else []
        samples = f", e.g. {', '.join(self.samples)}" if self.samples else ""
        return f"{', '.join(where)}: expected {self.expected}, found {self.found}{samples}"

    def as_dict(self) -> dict[str, Any]:
        """As JSON types, for the report of a quarantined partition."""
        return {**asdict(self), "samples": list(self.samples)}


@dataclass(frozen=True)
class Note:
    """Something about a partition that is no breach, but that somebody may want to know.

    :param kind: one of the kinds above
    """

    kind: str
    dataset: str
    partition: str
    column: str
    text: str

    def __str__(self) -> str:
        return f"dataset {self.dataset}, partition {self.partition}, column {self.column}: {self.text}"

    def as_dict(self) -> dict[str, str]:
        """As JSON types, for a job's report."""
        return asdict(self)


@dataclass(frozen=True)
class Schema:
    """What a file's columns and types come to.

    :param read_as: for each column of the contract that is in the file, the Spark type to read it with. Where it is not the
        contract's own, the job casts, after the row check FITS where the file's type is the wider one. (Spark's Parquet reader
        before 4.0 reads an INT32 as nothing but an int, so narrower types are no exception: SPARK-40876.)
    :param missing: the columns to fill with nulls, of which no row is asked anything
    """

    breaches: list[Violation]
    notes: list[Note]
    read_as: dict[str, str]
    missing: tuple[str, ...]


def partition_name(day: date) -> str:
    """The partition's folder, e.g. ``ds=2013-01-01``."""
    return f"ds={day}"


def check_schema(contract: Contract, found: Mapping[str, str], *, day: date, file: str) -> Schema:
    """Hold a file's columns and types against its contract.

    :param found: column name to type, types in Spark's short names (``bigint``, ``string``, ``timestamp``)
    :param day: the partition's, which decides about columns that come and go
    :param file: name of the file, for messages
    """
    partition = partition_name(day)
    names = {column.name for column in contract.columns}
    unknown = [name for name in found if name not in names]
    schema = Schema([], [], {}, tuple(column.name for column in contract.columns if column.name not in found))

    def breach(column: str, expected: str, have: str) -> None:
        schema.breaches.append(Violation(contract.name, partition, file, column, expected, have))

    def note(kind: str, column: str, text: str) -> None:
        schema.notes.append(Note(kind, contract.name, partition, column, text))

    for column in contract.columns:
        name, kind = column.name, found.get(column.name)
        if kind is None:
            if column.removed_on and day >= column.removed_on:
                text = f"is gone, as announced on {column.deprecated_on}; read as nulls. Take it out of the contract"
                note(REMOVED, name, text)
            elif _is_guaranteed(column, day):
                near = difflib.get_close_matches(name, unknown, n=1)
                breach(name, _promise(column), f"no such column{f' (but {near[0]!r})' if near else ''}")
        elif kind == column.spark_type or kind in NARROWER_TYPES.get(column.type, ()):
            schema.read_as[name] = kind
        elif kind in WIDER_TYPES.get(column.type, ()):
            schema.read_as[name] = kind
            note(WIDENED, name, f"is of type {kind} instead of {column.spark_type}; passes as long as each value fits")
        else:
            breach(name, f"type {column.spark_type}", f"type {kind}")
    for name in unknown:
        same = next((other for other in names & found.keys() if other.lower() == name.lower()), None)
        if same:
            # Spark does not tell them apart, and refuses to read either.
            breach(same, "one column of that name, in upper or lower case", f"{same!r} and {name!r}")
        else:
            note(UNKNOWN_COLUMN, name, f"of type {found[name]} is not in the contract; it stays in raw, unread")
    return schema


def _is_guaranteed(column: Column, day: date) -> bool:
    return column.required and (column.since is None or day >= column.since)


def _promise(column: Column) -> str:
    """What is expected of a column that is not there, with the day from which it would have been right."""
    promise = f"a column of type {column.spark_type}"
    if column.deprecated_on:
        promise += f" until {column.removed_on} (deprecated on {column.deprecated_on}, {column.notice_days} days' notice)"
    return promise


@dataclass(frozen=True)
class RowCheck:
    """What the value of a column has to be in each row.

    :param kind: FITS: cast to the contract's type and back to the file's it is the same (a timestamp that is to be a date: in
        UTC). VALUE: it is not null. MIN, MAX, ALLOWED: as the column says, for the value as the contract's type. A null breaks
        nothing but VALUE
    :param expected: the same in words
    """

    column: Column
    kind: str
    expected: str


def row_checks(contract: Contract, schema: Schema) -> list[RowCheck]:
    """Everything that the rows of a file with this schema have to keep, beside the key's being there once."""
    checks = []
    for column in contract.columns:
        if column.name not in schema.read_as:
            continue
        if schema.read_as[column.name] in WIDER_TYPES.get(column.type, ()):
            checks.append(RowCheck(column, FITS, f"values that fit type {column.spark_type}"))
        if not column.nullable:
            checks.append(RowCheck(column, VALUE, "a value in each row"))
        if column.min is not None:
            checks.append(RowCheck(column, MIN, f"values of at least {column.min}"))
        if column.max is not None:
            checks.append(RowCheck(column, MAX, f"values of at most {column.max}"))
        if column.allowed:
            checks.append(RowCheck(column, ALLOWED, f"one of {', '.join(column.allowed)}"))
    return checks


@dataclass(frozen=True)
class Broken:
    """How many rows of a partition break a check, with some of their values."""

    check: RowCheck
    rows: int
    samples: tuple[str, ...] = ()


def judge_rows(
    contract: Contract, broken: Sequence[Broken], *, day: date, file: str, rows: int
) -> tuple[list[Violation], list[Note]]:
    """What rows that break checks mean for their partition: a column's share of them is within its tolerance, or it is not.

    :param broken: of one partition; those of no rows may be among them
    :param rows: rows of the partition
    """
    partition = partition_name(day)
    totals: dict[str, int] = {}
    for one in broken:
        if one.check.kind != FITS:
            totals[one.check.column.name] = totals.get(one.check.column.name, 0) + one.rows
    breaches, notes = [], []
    for one in broken:
        column, expected = one.check.column, one.check.expected
        if not one.rows:
            continue
        found = f"{one.rows} of {rows} rows otherwise"
        # The smallest of margins, so that 29 of 100 rows are within 0.29, which is a little less as a float.
        if one.check.kind != FITS and totals[column.name] <= column.tolerance * rows + 1e-9:
            samples = f", e.g. {', '.join(one.samples)}" if one.samples else ""
            text = f"expected {expected}, found {found}{samples}; tolerated up to {column.tolerance:.2%} of the rows"
            notes.append(Note(TOLERATED, contract.name, partition, column.name, text))
        else:
            if column.tolerance and one.check.kind != FITS:
                expected = f"{expected} (all but {column.tolerance:.2%} of the rows)"
            breaches.append(Violation(contract.name, partition, file, column.name, expected, found, one.samples))
    return breaches, notes


def check_volume(contract: Contract, counts: Mapping[date, int], *, day: date, file: str, rows: int) -> list[Violation]:
    """Is the partition's number of rows a usual one? See :func:`flywheel.core.volume.volume_band`.

    :param counts: rows of the dataset's partitions that are known to be right
    """
    band = volume_band(contract, counts, day)
    if band is None or rows in band:
        return []
    past = ", ".join(f"{counts[learned]}" for learned in band.days_learned_from)
    expected = f"{band.low:.0f} to {band.high:.0f} rows (the same weekday before, newest first: {past})"
    return [Violation(contract.name, partition_name(day), file, "", expected, f"{rows} rows")]
