"""The JSONPath of Batch Transform's filters, compiled once per job.

Served: `$`, `.name`, `['a','b']`, `[0]`, `[0,-1]`, `[1:]`, `[::2]` and `*`, chained as they like for JSON. A CSV row is
an array, so a filter on CSV is one step of indexes, a slice or `*`: it becomes a list of column positions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_NAME = re.compile(r"\.(\*|[A-Za-z_][\w-]*)")
_BRACKET = re.compile(r"\[((?:'[^']*'|\"[^\"]*\"|[^\]'\"])*)\]")
_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?(?::(-?\d+)?)?")


class FilterError(ValueError):
    """A filter cannot be read, or does not fit the record that it is applied to."""


@dataclass(frozen=True)
class Names:
    """Fields of an object, by name."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Indexes:
    """Items of an array, by position; negative ones count from the end."""

    indexes: tuple[int, ...]


@dataclass(frozen=True)
class Range:
    """Items of an array, by slice (`*` is the slice of everything)."""

    bounds: slice


Step = Names | Indexes | Range


def parse(path: str) -> list[Step]:
    """The steps of a path; none for `$`.

    :raises FilterError: the path holds something else than the operators that Batch Transform knows
    """
    text = path.strip() or "$"
    if not text.startswith("$"):
        raise FilterError(f"JSONPath {path!r} must start with '$'")
    steps: list[Step] = []
    at = 1
    while at < len(text):
        if name := _NAME.match(text, at):
            steps.append(Range(slice(None)) if name[1] == "*" else Names((name[1],)))
            at = name.end()
        elif bracket := _BRACKET.match(text, at):
            steps.append(_bracket_step(path, bracket[1].strip()))
            at = bracket.end()
        else:
            raise FilterError(f"JSONPath {path!r} is not supported from {text[at:]!r} on")
    return steps


def _bracket_step(path: str, inside: str) -> Step:
    if inside in ("*", ""):
        return Range(slice(None))
    if sliced := _SLICE.fullmatch(inside):
        bounds = [int(part) if part else None for part in sliced.groups()]
        if bounds[2] == 0:
            raise FilterError(f"JSONPath {path!r}: the step of a slice cannot be 0")
        return Range(slice(*bounds))
    parts = [part.strip() for part in inside.split(",")]
    if all(re.fullmatch(r"-?\d+", part) for part in parts):
        return Indexes(tuple(int(part) for part in parts))
    if all(len(part) > 1 and part[0] == part[-1] and part[0] in "'\"" for part in parts):
        return Names(tuple(part[1:-1] for part in parts))
    raise FilterError(f"JSONPath {path!r}: [{inside}] is neither indexes, nor a slice, nor quoted names")


def column_picks(path: str, columns: int) -> list[int] | None:
    """The positions that a filter picks from CSV rows of so many columns, in order; None for all of them.

    :raises FilterError: the path is not one for rows, or an index is beyond the row
    """
    steps = parse(path)
    if not steps:
        return None
    if len(steps) > 1 or isinstance(steps[0], Names):
        raise FilterError(f"JSONPath {path!r} does not fit CSV: a row is an array, pick columns as in $[1:] or $[0,-1]")
    step = steps[0]
    if isinstance(step, Range):
        return list(range(columns))[step.bounds]
    outside = [index for index in step.indexes if not -columns <= index < columns]
    if outside:
        raise FilterError(f"JSONPath {path!r}: index {outside[0]} is out of range, the rows have {columns} columns")
    return [index % columns for index in step.indexes]


def selector(path: str) -> Callable[[Any], Any]:
    """A function that picks from one JSON value: a part as it is, or several as a new array or object.

    :raises FilterError: when the path is read, or later when a value lacks what the path names
    """
    steps = parse(path)

    def select(value: Any) -> Any:
        for step in steps:
            value = _apply(path, step, value)
        return value

    return select


def _apply(path: str, step: Step, value: Any) -> Any:
    if isinstance(step, Names):
        missing = [name for name in step.names if not isinstance(value, dict) or name not in value]
        if missing:
            raise FilterError(f"JSONPath {path!r}: {missing[0]!r} is not in the record")
        return value[step.names[0]] if len(step.names) == 1 else {name: value[name] for name in step.names}
    if isinstance(value, dict) and isinstance(step, Range) and step.bounds == slice(None):
        return list(value.values())
    if not isinstance(value, list):
        raise FilterError(f"JSONPath {path!r}: expected an array, found {type(value).__name__}")
    if isinstance(step, Range):
        return value[step.bounds]
    outside = [index for index in step.indexes if not -len(value) <= index < len(value)]
    if outside:
        raise FilterError(f"JSONPath {path!r}: index {outside[0]} is out of range, the array has {len(value)} items")
    picked = [value[index] for index in step.indexes]
    return picked[0] if len(picked) == 1 else picked
