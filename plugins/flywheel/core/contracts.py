"""Data contracts: what a source team promises to deliver, one YAML file of ``include/datasets/`` per dataset.

A dataset lands as one Parquet file per partition, ``<dataset>/ds=YYYY-MM-DD/<anything>.parquet``. The contract names the
columns with their types and bounds, the key, and how late a day is delivered. The ingest job reads the same contract as
JSON (:meth:`Contract.as_dict`), because job containers have no YAML parser; so this module needs the standard library only.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from flywheel.core.errors import SpecError
from flywheel.core.yaml_files import read_yaml

# What a column of a contract's type may be in the file. A narrower physical type is read without loss, so it is accepted.
ACCEPTED_TYPES: dict[str, tuple[str, ...]] = {
    "int": ("int", "smallint", "tinyint"),
    "bigint": ("bigint", "int", "smallint", "tinyint"),
    "double": ("double", "float"),
    "string": ("string",),
    "timestamp": ("timestamp",),
    "date": ("date",),
    "bool": ("boolean",),
}
CADENCES = ("daily", "once")
NUMERIC_TYPES = ("int", "bigint", "double")
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True)
class Column:
    """One column of a dataset.

    :param type: one of :data:`ACCEPTED_TYPES`
    :param required: the file must have the column; one that is not required is read as nulls where it is absent
    :param nullable: rows may have no value
    :param min: least value allowed, of a numeric column
    :param max: greatest value allowed, of a numeric column
    :param allowed: the values allowed, of a string column; empty: all
    :param meaning: what the column holds, with its unit
    """

    name: str
    type: str
    required: bool = True
    nullable: bool = False
    min: float | None = None
    max: float | None = None
    allowed: tuple[str, ...] = ()
    meaning: str = ""


@dataclass(frozen=True)
class Contract:
    """What is promised about one dataset.

    :param cadence: ``daily`` (one partition per calendar day of ``timezone``) or ``once`` (a snapshot, replaced at times)
    :param lag_days: days after its date that a partition is delivered
    :param key: columns whose values name a row; never null, never twice in a partition
    :param timezone: whose calendar the partitions' days belong to
    :param first_partition: the earliest partition there is; earlier ones are not missed
    :param last_partition: the last one there will be; None while the source lives
    :param delivered_with: another dataset in whose ingest run this one is ingested too
    """

    name: str
    description: str
    owner: str
    cadence: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    first_partition: date
    last_partition: date | None = None
    lag_days: int = 0
    timezone: str = "UTC"
    delivered_with: str | None = None

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

    def schema_ddl(self) -> str:
        """The columns as Spark's DDL, e.g. ``time_hour STRING, dep_delay INT``."""
        return ", ".join(f"`{column.name}` {'boolean' if column.type == 'bool' else column.type}" for column in self.columns)

    def as_dict(self) -> dict[str, Any]:
        """The contract as JSON types; :func:`parse_contract` reads it back to an equal object."""
        content = asdict(self)
        for name in ("first_partition", "last_partition"):
            content[name] = content[name] and content[name].isoformat()
        content["columns"] = [{k: v for k, v in column.items() if v not in (None, (), "")} for column in content["columns"]]
        return json.loads(json.dumps(content))


@dataclass(frozen=True)
class Violation:
    """One broken promise: which dataset, partition, file and column, what was expected and what was found."""

    dataset: str
    partition: str
    file: str
    column: str
    expected: str
    found: str

    def __str__(self) -> str:
        where = [f"dataset {self.dataset}", f"partition {self.partition}"]
        where += [f"file {self.file}"] if self.file else []
        where += [f"column {self.column}"] if self.column else []
        return f"{', '.join(where)}: expected {self.expected}, found {self.found}"


def check_schema(contract: Contract, found: Mapping[str, str], *, partition: str, file: str) -> list[Violation]:
    """What a file's schema breaks of its contract. Columns that the contract does not know are no breach.

    :param found: column name to type, types in Spark's short names (``bigint``, ``string``, ``timestamp``)
    """
    broken = []
    for column in contract.columns:
        if column.name not in found:
            if column.required:
                near = difflib.get_close_matches(column.name, [n for n in found if n not in _names(contract)], n=1)
                have = f"no such column{f' (but {near[0]!r})' if near else ''}"
                broken.append(Violation(contract.name, partition, file, column.name, f"a column of type {column.type}", have))
        elif found[column.name] not in ACCEPTED_TYPES[column.type]:
            broken.append(
                Violation(contract.name, partition, file, column.name, f"type {column.type}", f"type {found[column.name]}")
            )
    return broken


def _names(contract: Contract) -> set[str]:
    return {column.name for column in contract.columns}


def parse_contract(content: Mapping[str, Any], source: str) -> Contract:
    """A contract from the mapping that its YAML or JSON file holds.

    :param source: where the mapping came from, for error messages
    :raises SpecError: unknown or missing key, or an impossible value
    """
    _known_keys(content, Contract, source, "")
    values = dict(content)
    columns = values.get("columns")
    if not isinstance(columns, list) or not columns or not all(isinstance(column, Mapping) for column in columns):
        raise SpecError(source, "columns", "a list of columns, each with name and type", columns)
    values["columns"] = tuple(_parse_column(column, source, f"columns[{i}]") for i, column in enumerate(columns))
    names = [column.name for column in values["columns"]]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(source, "columns", "each column once", f"{name} {names.count(name)} times")

    key = values.get("key")
    if not isinstance(key, (list, tuple)) or not key:
        raise SpecError(source, "key", "the names of the columns that identify a row", key)
    for name in key:
        if name not in names:
            raise SpecError(source, "key", f"columns of this contract ({', '.join(names)})", name)
        column = values["columns"][names.index(name)]
        if column.nullable or not column.required:
            raise SpecError(source, f"columns[{names.index(name)}]", "a key column, required and never null", name)
    values["key"] = tuple(key)

    values["first_partition"] = _parse_day(values["first_partition"], source, "first_partition")
    if values.get("last_partition") is not None:
        values["last_partition"] = _parse_day(values["last_partition"], source, "last_partition")
    _is_in(values["cadence"], CADENCES, source, "cadence")
    if not _is_int(values.get("lag_days", 0)) or values.get("lag_days", 0) < 0:
        raise SpecError(source, "lag_days", "a whole number of days, 0 or more", values["lag_days"])
    if values["cadence"] == "once" and values.get("lag_days", 0):
        raise SpecError(source, "lag_days", "0 for a dataset with cadence once", values["lag_days"])
    for name in ("name", "delivered_with"):
        value = values.get(name)
        if not (isinstance(value, str) and _IDENTIFIER.fullmatch(value)) and not (name == "delivered_with" and value is None):
            raise SpecError(source, name, "a dataset's name: lower-case letters, digits, underscores", value)
    for name in ("description", "owner", "timezone"):
        if name in values and not (isinstance(values[name], str) and values[name].strip()):
            raise SpecError(source, name, "a text", values[name])
    return Contract(**values)


def _parse_column(content: Mapping[str, Any], source: str, where: str) -> Column:
    _known_keys(content, Column, source, f"{where}.")
    values = dict(content)
    if not isinstance(values["name"], str) or not _IDENTIFIER.fullmatch(values["name"]):
        raise SpecError(source, f"{where}.name", "lower-case letters, digits, underscores", values["name"])
    where = f"{where} ({values['name']})"
    _is_in(values["type"], tuple(ACCEPTED_TYPES), source, f"{where}.type")
    for flag in ("required", "nullable"):
        if not isinstance(values.get(flag, True), bool):
            raise SpecError(source, f"{where}.{flag}", "true or false", values[flag])
    for bound in ("min", "max"):
        if values.get(bound) is not None:
            if values["type"] not in NUMERIC_TYPES:
                raise SpecError(source, f"{where}.{bound}", f"no bound on a column of type {values['type']}", values[bound])
            if isinstance(values[bound], bool) or not isinstance(values[bound], (int, float)):
                raise SpecError(source, f"{where}.{bound}", "a number", values[bound])
    if values.get("min") is not None and values.get("max") is not None and values["min"] > values["max"]:
        raise SpecError(source, f"{where}.min", f"at most max ({values['max']})", values["min"])
    allowed = values.get("allowed", [])
    if allowed and values["type"] != "string":
        raise SpecError(source, f"{where}.allowed", f"no list of values for a column of type {values['type']}", allowed)
    if not isinstance(allowed, (list, tuple)) or not all(isinstance(value, str) for value in allowed):
        raise SpecError(source, f"{where}.allowed", "a list of texts", allowed)
    values["allowed"] = tuple(allowed)
    return Column(**values)


def _known_keys(content: Mapping[str, Any], kind: type, source: str, prefix: str) -> None:
    """Refuse keys that ``kind`` does not have, and ask for those it needs."""
    known = {field.name: field for field in fields(kind)}
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise SpecError(source, f"{prefix}{key}", f"one of the known keys {', '.join(known)}{hint}", key)
    needed = (
        ("name", "type") if kind is Column else ("name", "description", "owner", "cadence", "key", "columns", "first_partition")
    )
    for key in needed:
        if key not in content:
            raise SpecError(source, f"{prefix}{key}", "a value (the key is required)", "nothing")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_in(value: object, choices: Collection[str], source: str, key: str) -> None:
    if value not in choices:
        raise SpecError(source, key, f"one of {', '.join(choices)}", value)


def _parse_day(value: object, source: str, key: str) -> date:
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise SpecError(source, key, "a day as YYYY-MM-DD", value) from None


def load_contract(path: Path) -> Contract:
    """The contract in a ``.yaml`` or ``.json`` file, whose name must be the dataset's.

    :raises SpecError: naming file, key, expected and found
    """
    content: Any
    if path.suffix == ".json":
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise SpecError(str(path), f"line {error.lineno}", "valid JSON", error.msg) from None
        if not isinstance(content, Mapping):
            raise SpecError(str(path), "file", "a mapping of keys", content)
    else:
        content = read_yaml(path)
    contract = parse_contract(content, str(path))
    if contract.name != path.stem:
        raise SpecError(str(path), "name", f"the file's name, {path.stem!r}", contract.name)
    return contract


def load_contracts(folder: Path) -> dict[str, Contract]:
    """All contracts of a folder by name; each ``delivered_with`` must name another one of them.

    :raises SpecError: for the first file that is wrong
    """
    contracts = {path.stem: load_contract(path) for path in sorted(folder.glob("*.yaml"))}
    for contract in contracts.values():
        leader = contract.delivered_with
        if leader is not None and (leader not in contracts or contracts[leader].delivered_with is not None):
            leaders = sorted(name for name, other in contracts.items() if other.delivered_with is None)
            raise SpecError(
                str(folder / f"{contract.name}.yaml"), "delivered_with", f"a dataset of its own ({', '.join(leaders)})", leader
            )
    return contracts
