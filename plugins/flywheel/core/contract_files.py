"""Reading data contracts: from the YAML files of ``include/datasets/``, and from the JSON that jobs get.

Whatever cannot be is refused with file, key, what was expected and what was found.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from flywheel.core.contracts import NUMERIC_TYPES, Column, Contract, Volume
from flywheel.core.errors import SpecError
from flywheel.core.yaml_files import read_yaml

PARTITION_COLUMN = "ds"
# What a pattern of a field's metadata asks for, in words.
_PATTERNS = {r"\S": "a text", "^[a-z][a-z0-9_]{0,63}$": "a name of lower-case letters, digits, underscores"}


def parse_contract(content: Mapping[str, Any], source: str) -> Contract:
    """A contract from the mapping that its YAML or JSON file holds.

    :param source: where the mapping came from, for error messages
    :raises SpecError: unknown or missing key, or an impossible value
    """
    columns = content.get("columns")
    if "columns" in content and not (
        isinstance(columns, list) and columns and all(isinstance(column, Mapping) for column in columns)
    ):
        raise SpecError(source, "columns", "a list of columns, each with name and type", columns)
    volume = content.get("volume")
    if volume is not None and not isinstance(volume, Mapping):
        raise SpecError(source, "volume", "a mapping of keys, or null for any number of rows", volume)
    values = _parse(content, Contract, source)
    once = values["cadence"] == "once"
    if once and values.get("lag_days"):
        raise SpecError(source, "lag_days", "0 for a dataset with cadence once", values["lag_days"])
    if once and volume is not None:
        raise SpecError(source, "volume", "null for a dataset with cadence once, which has no weekdays to learn from", volume)
    if volume is not None:
        values["volume"] = _parse_volume(volume, source)
    elif once:
        values["volume"] = None
    last = values.get("last_partition")
    if last is not None and last < values["first_partition"]:
        raise SpecError(source, "last_partition", f"first_partition ({values['first_partition']}) or later", last)
    owner = values["owner"]
    values["columns"] = tuple(_parse_column(column, owner, source, i) for i, column in enumerate(content["columns"]))
    _check_key(values["key"], values["columns"], source)
    return Contract(**values)


def _parse_volume(content: Mapping[str, Any], source: str) -> Volume:
    volume = Volume(**_parse(content, Volume, source, "volume"))
    if volume.min_weeks > volume.weeks:
        raise SpecError(source, "volume.min_weeks", f"at most weeks ({volume.weeks})", volume.min_weeks)
    return volume


def _parse_column(content: Mapping[str, Any], owner: str, source: str, position: int) -> Column:
    place = f"columns[{position}]"
    name = content.get("name")
    values = _parse(content, Column, source, place, f"{place} ({name})" if isinstance(name, str) else place)
    column = Column(**({"owner": owner} | values))
    where = f"{place} ({column.name})"
    if column.name == PARTITION_COLUMN:
        raise SpecError(source, f"{place}.name", "another name: ds is the day of the partition", column.name)
    for bound in ("min", "max"):
        if values.get(bound) is not None and column.type not in NUMERIC_TYPES:
            raise SpecError(source, f"{where}.{bound}", f"no bound on a column of type {column.type}", values[bound])
    if column.min is not None and column.max is not None and column.min > column.max:
        raise SpecError(source, f"{where}.min", f"at most max ({column.max})", column.min)
    if column.allowed and column.type != "string":
        raise SpecError(source, f"{where}.allowed", f"no list of values for a column of type {column.type}", column.allowed)
    if column.tolerance and column.nullable and column.min is None and column.max is None and not column.allowed:
        raise SpecError(source, f"{where}.tolerance", "a promise that rows could break (min, max, allowed, never null)", "none")
    if column.since and column.deprecated_on and column.deprecated_on < column.since:
        raise SpecError(source, f"{where}.deprecated_on", f"since ({column.since}) or later", column.deprecated_on)
    if "notice_days" in values and column.notice_days != Column.notice_days and column.deprecated_on is None:
        raise SpecError(source, f"{where}.notice_days", "deprecated_on beside it, from which the notice counts", "none")
    return column


def _check_key(key: tuple[str, ...], columns: tuple[Column, ...], source: str) -> None:
    """The key's columns must be there, in each row of each partition; and no column may be there twice."""
    names = [column.name for column in columns]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(source, "columns", "each column once", f"{name} {names.count(name)} times")
    if not key:
        raise SpecError(source, "key", "the names of the columns that identify a row", list(key))
    for name in key:
        if name not in names:
            raise SpecError(source, "key", f"columns of this contract ({', '.join(names)})", name)
        position = names.index(name)
        column = columns[position]
        if column.nullable or not column.required:
            raise SpecError(source, f"columns[{position}]", "a key column, required and never null", name)
        for promise in ("tolerance", "since", "deprecated_on"):
            if getattr(column, promise):
                expected = "no such key on a key column, which all rows of all partitions must have"
                raise SpecError(source, f"columns[{position}] ({name}).{promise}", expected, str(getattr(column, promise)))


def _parse(content: Mapping[str, Any], kind: type, source: str, prefix: str = "", where: str = "") -> dict[str, Any]:
    """The values for the fields of a dataclass, as its types and metadata say; parts that are dataclasses are left alone.

    :param prefix: key of the mapping in the file, for keys that are wrong
    :param where: the same, for values that are wrong
    :raises SpecError: an unknown key, a missing one, an impossible value
    """
    known = {field.name: field for field in fields(kind)}
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise SpecError(source, _below(prefix, key), f"one of the known keys {', '.join(known)}{hint}", key)
    for name, field in known.items():
        if name not in content and field.default is MISSING:
            raise SpecError(source, _below(prefix, name), "a value (the key is required)", "nothing")
    hints = _hints(kind)
    return {
        # A column's own name is in the place's name once it is known to be right.
        name: _value(value, hints[name], known[name], source, _below(prefix if name == "name" else where or prefix, name))
        for name, value in content.items()
    }


def _below(prefix: str, key: object) -> str:
    return f"{prefix}.{key}" if prefix else str(key)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _value(value: Any, hint: Any, field: Field[Any], source: str, key: str) -> Any:
    """A field's value as the type that its dataclass declares."""
    kinds = get_args(hint) if type(None) in get_args(hint) else (hint,)
    if value is None and type(None) in kinds:
        return None
    kind = kinds[0]
    if get_origin(kind) is tuple:
        if kind == tuple[str, ...]:
            if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
                expected = "the names of the columns that identify a row" if field.name == "key" else "a list of texts"
                raise SpecError(source, key, expected, value)
            return tuple(value)
        return value
    if kind is str:
        return _text(value, field.metadata, source, key)
    if kind is bool:
        if not isinstance(value, bool):
            raise SpecError(source, key, "true or false", value)
    elif kind is date:
        return _day(value, source, key)
    elif kind in (int, float):
        _number(value, kind, field, source, key)
    return value


def _text(value: Any, rules: Mapping[str, Any], source: str, key: str) -> str:
    if "enum" in rules and value not in rules["enum"]:
        raise SpecError(source, key, f"one of {', '.join(rules['enum'])}", value)
    pattern = rules.get("pattern", "")
    if not isinstance(value, str) or not re.search(pattern, value):
        raise SpecError(source, key, _PATTERNS.get(pattern, "a text"), value)
    return value


def _number(value: Any, kind: type, field: Field[Any], source: str, key: str) -> None:
    rules = field.metadata
    limits = [
        (text.format(rules[rule]), breaks(value, rules[rule]) if isinstance(value, (int, float)) else True)
        for rule, text, breaks in (
            ("minimum", "{} or more", lambda found, limit: found < limit),
            ("exclusiveMinimum", "more than {}", lambda found, limit: found <= limit),
            ("exclusiveMaximum", "less than {}", lambda found, limit: found >= limit),
        )
        if rule in rules
    ]
    wrong = isinstance(value, bool) or not isinstance(value, (int,) if kind is int else (int, float)) or not math.isfinite(value)
    if wrong or any(broken for _, broken in limits):
        unit = " of days" if field.name.endswith("_days") else " of weeks" if field.name.endswith("weeks") else ""
        what = f"a whole number{unit}" if kind is int else "a number"
        raise SpecError(source, key, ", ".join([what, *(text for text, _ in limits)]), value)


def _day(value: Any, source: str, key: str) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
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
