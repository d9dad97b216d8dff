"""A first draft of a contract, from one file of the dataset.

A sample shows what is, not what is promised: types and the columns that had no gaps are taken as found, bounds are rounded
outwards, strings of few values get them listed, the key is the fewest columns that happen to name each row. A person has to look
at each line; what only a person knows says TODO. The draft loads as it is.
"""

from __future__ import annotations

import itertools
import math
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import yaml

from flywheel.core.contract_files import PARTITION_COLUMN, parse_contract
from flywheel.core.errors import SpecError
from laptop.delivered_file import DeliveredFile, FileError, quoted

TYPES = {
    "tinyint": "int", "smallint": "int", "int": "int", "bigint": "bigint", "float": "double", "double": "double",
    "string": "string", "boolean": "bool", "date": "date", "timestamp": "timestamp", "timestamp_ntz": "timestamp",
    "timestamp(nanos)": "timestamp",
}  # fmt: skip
#: A string column of at most this many values, each ten times in the mean, gets them listed.
FEW_VALUES = 12
LARGEST_KEY = 3
DIGITS_OF_BOUNDS = 2


def draft(dataset: str, file: DeliveredFile, day: date) -> str:
    """The text of a contract's YAML file.

    :param day: of the partition that the file is
    :raises FileError: the file has nothing that a contract could be made of
    :raises SpecError: the dataset's name cannot be one
    """
    if not file.rows:
        raise FileError(f"{file.path}: expected rows to draft a contract from, found none")
    columns, left_out = [], []
    for name, kind in file.columns.items():
        problem = _problem(name, kind)
        if problem:
            left_out.append(f"  # TODO left out: {name!r} {problem}")
        else:
            columns.append(_Drafted(file, name, kind))
    if not any(column.may_be_key for column in columns):
        raise FileError(f"{file.path}: expected a column that could be of a key (never null, no double), found none")
    key, remark = _key(file, [column for column in columns if column.may_be_key])
    lines = [
        "# yaml-language-server: $schema=contract.schema.json",
        f"# Drafted from {file.path.name}, {file.rows} rows. A sample shows what is, not what is promised: look at each line.",
        f"name: {dataset}",
        "description: TODO what a row is, and where it comes from",
        "owner: TODO who answers for it",
        "cadence: daily   # or once: a snapshot that is replaced at times",
        f"first_partition: {day}   # TODO the earliest there is",
        f"key: {_flow(list(key))}   # {remark}",
        "columns:",
        *(column.line(key) for column in columns),
        *left_out,
    ]
    text = "\n".join(lines) + "\n"
    parse_contract(yaml.safe_load(text), f"the draft of {dataset}")
    return text


def _problem(name: str, kind: str) -> str:
    """Why a column cannot be in a contract; nothing if it can."""
    if name == PARTITION_COLUMN:
        return "would hide the day of the partition, which is in the folder's name; have it delivered under another name"
    if kind not in TYPES:
        return f"is of type {kind}, which no contract knows; have it delivered as one of {', '.join(sorted(set(TYPES.values())))}"
    content = {"name": "d", "description": "d", "owner": "o", "cadence": "daily", "key": [name], "first_partition": "2000-01-01"}
    try:
        parse_contract(content | {"columns": [{"name": name, "type": "string"}]}, "a draft")
    except SpecError as error:
        return f"cannot be a name in a contract, which has {error.expected}; have it renamed"
    return ""


class _Drafted:
    """One column of the draft, with what the sample shows of it."""

    def __init__(self, file: DeliveredFile, name: str, kind: str):
        self.name, self.kind, self.type = name, kind, TYPES[kind]
        column = quoted(name)
        counted = file.ask(f"SELECT count(*) - count({column}), count(DISTINCT {column}) FROM delivery")[0]
        self.nulls, self.distinct = counted
        self.allowed: list[str] = []
        self.bounds: tuple[Any, Any] | None = None
        self.whole = False
        if self.type == "string" and self.distinct <= FEW_VALUES and file.rows >= 10 * self.distinct:
            found = file.ask(f"SELECT DISTINCT {column} FROM delivery WHERE {column} IS NOT NULL ORDER BY 1")
            self.allowed = [row[0] for row in found]
        if self.type in ("int", "bigint", "double"):
            finite = f"WHERE isfinite(CAST({column} AS DOUBLE))"
            asked = f"SELECT min({column}), max({column}), bool_and({column} = trunc({column})) FROM delivery {finite}"
            low, high, self.whole = file.ask(asked)[0]
            self.bounds = None if low is None else (outwards(low, ROUND_FLOOR), outwards(high, ROUND_CEILING))

    @property
    def may_be_key(self) -> bool:
        """Could it be part of a key? Never null, and of a type whose equality can be relied on."""
        return not self.nulls and self.type not in ("double", "bool")

    def line(self, key: tuple[str, ...]) -> str:
        """The column as a line of YAML, with what to think about as a comment."""
        content: dict[str, Any] = {"name": self.name, "type": self.type}
        if self.nulls:
            content["nullable"] = True
        if self.bounds:
            content |= {"min": self.bounds[0], "max": self.bounds[1]}
        if self.allowed and self.name not in key:
            content["allowed"] = self.allowed
        content["meaning"] = "TODO"
        remark = ""
        if self.kind == "timestamp_ntz":
            remark = "   # TODO has no time zone in the file, and will be refused: have it delivered in UTC, with one"
        elif self.kind == "timestamp(nanos)":
            remark = "   # TODO in nanoseconds, and will be refused: have it delivered in microseconds and UTC"
        elif self.type == "double" and self.whole and self.nulls:
            remark = "   # whole numbers with gaps: perhaps an int that pandas has made a double"
        return f"  - {_flow(content)}{remark}"


def _flow(content: Any) -> str:
    """As YAML in one line."""
    text = yaml.safe_dump(content, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf)
    return text.removesuffix("...\n").strip()


def outwards(value: float, direction: str) -> int | float:
    """A bound at two significant digits that leaves ``value`` inside.

    :param direction: ROUND_FLOOR for a lower bound, ROUND_CEILING for an upper one
    """
    number = Decimal(str(value))
    if not number:
        return 0
    rounded = number.quantize(Decimal(1).scaleb(number.adjusted() - DIGITS_OF_BOUNDS + 1), rounding=direction)
    return int(rounded) if rounded == rounded.to_integral_value() else float(rounded)


def _key(file: DeliveredFile, candidates: list[_Drafted]) -> tuple[tuple[str, ...], str]:
    """The fewest columns, those with the most values first, that name each row of the sample; and what is to be said of them."""
    ordered = sorted(candidates, key=lambda column: -column.distinct)
    for size in range(1, LARGEST_KEY + 1):
        for chosen in itertools.combinations(ordered, size):
            if math.prod(column.distinct for column in chosen) < file.rows:
                continue
            names = tuple(column.name for column in chosen)
            listed = ", ".join(quoted(name) for name in names)
            if file.ask(f"SELECT count(*) FROM (SELECT DISTINCT {listed} FROM delivery)")[0][0] == file.rows:
                return names, "TODO a guess: these happen to name each row of the sample"
    names = tuple(column.name for column in candidates)
    return names, f"TODO no {LARGEST_KEY} columns or fewer name each row of the sample: are there duplicates?"
