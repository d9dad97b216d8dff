"""Counting new data into the bins of a reference profile where the data is, in SQL.

:func:`sql_counts` writes one aggregate per bin edge, for one pass over a table; :func:`counts_from_sql` turns a row of the
answer into bins. Add up the rows of several days with :func:`add_counts` and :meth:`Moments.plus`: nothing need be read twice.
Whichever engine has counted, what it gives for a day is a :class:`DayCounts`, and a file of them :func:`days_to_json`.

Bins are differences of "how many are above this edge", so that plain ``SUM(CASE WHEN ...)`` is enough, which Redshift (it has
no WIDTH_BUCKET), PostgreSQL, DuckDB and Spark all take.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from flywheel.core.profiles import counts_above

# Infinite and absurd values do not enter moments; their squares would not fit a double.
_HUGE = "1e150"


@dataclass(frozen=True)
class Moments:
    """Sums over the finite values of one feature, taken about the reference's mean so that no digits are lost.

    :param rows: finite values
    :param origin: what was subtracted from each
    :param total: sum of the differences
    :param squares: sum of their squares
    """

    rows: int
    origin: float
    total: float
    squares: float

    @property
    def mean(self) -> float:
        """Mean of the values; NaN without any."""
        return self.origin + self.total / self.rows if self.rows else math.nan

    @property
    def sd(self) -> float:
        """Standard deviation of the values (that of a population); NaN without any."""
        if not self.rows:
            return math.nan
        return math.sqrt(max(self.squares / self.rows - (self.total / self.rows) ** 2, 0.0))

    def plus(self, other: Moments) -> Moments:
        """The moments of both sets of values together.

        :raises ValueError: they were taken about different origins
        """
        if self.origin != other.origin:
            raise ValueError(f"moments: expected one origin, found {self.origin} and {other.origin}")
        return Moments(self.rows + other.rows, self.origin, self.total + other.total, self.squares + other.squares)


@dataclass(frozen=True)
class DayCounts:
    """The rows of one day (or of several together), counted into the bins of a profile by any engine.

    :param rows: rows counted, whichever their values
    :param counts: bin counts by feature, in the order of the profile's ``counts``; ``score`` may be among them
    :param moments: of the numeric features; empty where the engine was not asked for them
    """

    rows: int
    counts: Mapping[str, Sequence[int]]
    moments: Mapping[str, Moments] = field(default_factory=dict)

    @classmethod
    def from_sql(cls, profile: Mapping[str, Any], row: Mapping[str, Any]) -> DayCounts:
        """From a row that the aggregates of :func:`sql_counts` gave, with moments where it has them.

        :raises KeyError: the row lacks one of the aliases of the counts
        """
        rows, counts = counts_from_sql(profile, row)
        summed = {name: feature for name, feature in profile["features"].items() if f"{name}__squares" in row}
        return cls(rows, counts, moments_from_sql({"features": summed}, row))

    def plus(self, other: DayCounts) -> DayCounts:
        """Both sets of rows together.

        :raises ValueError: moments that were taken about different origins
        """
        moments = dict(self.moments)
        for name, found in other.moments.items():
            moments[name] = moments[name].plus(found) if name in moments else found
        return DayCounts(self.rows + other.rows, add_counts([self.counts, other.counts]), moments)

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        moments = {
            name: {"rows": m.rows, "origin": m.origin, "total": m.total, "squares": m.squares} for name, m in self.moments.items()
        }
        counts = {name: list(found) for name, found in self.counts.items()}
        return {"rows": self.rows, "counts": counts, "moments": moments}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> DayCounts:
        """From what :meth:`as_dict` gave.

        :raises KeyError: a key of it is missing
        """
        moments = {name: Moments(**found) for name, found in stored["moments"].items()}
        return cls(stored["rows"], {name: list(found) for name, found in stored["counts"].items()}, moments)


def days_to_json(days: Mapping[date, DayCounts]) -> str:
    """Several days as the text of a file: ``{"2013-07-01": {"rows": ..., "counts": ..., "moments": ...}, ...}``."""
    return json.dumps({day.isoformat(): found.as_dict() for day, found in sorted(days.items())})


def days_from_json(text: str) -> dict[date, DayCounts]:
    """The days of a file that :func:`days_to_json` gave, in their order.

    :raises ValueError: a key that is no day, or no JSON
    """
    return {date.fromisoformat(day): DayCounts.from_dict(found) for day, found in sorted(json.loads(text).items())}


def add_counts(days: Iterable[Mapping[str, Sequence[int]]]) -> dict[str, list[int]]:
    """Bin counts of several days together, feature by feature."""
    sums: dict[str, list[int]] = {}
    for day in days:
        for name, counts in day.items():
            sums[name] = [a + b for a, b in zip(sums[name], counts)] if name in sums else list(counts)  # noqa: B905
    return sums


def sql_counts(
    profile: Mapping[str, Any], *, moments: bool = False, is_nan: str | None = None, quote: str = '"'
) -> dict[str, str]:
    """SQL aggregates that count a table into the bins of a profile: alias to expression, for ``SELECT expression AS alias``.

    The table's columns are named as the features; ``rows_counted`` is the number of rows.

    :param moments: also sum up the finite values of the numeric features
    :param is_nan: a condition that holds for NaN, ``{column}`` standing for the column, such as ``isnan({column})`` (Spark,
        DuckDB) or ``CAST({column} AS FLOAT) = 'NaN'`` (Redshift, PostgreSQL). Without it a NaN counts as above the greatest
        value, as these engines order it; where NaN cannot occur it need not be looked for.
    :param quote: what the engine puts around names; Spark takes a backtick
    """
    expressions = {"rows_counted": "COUNT(*)"}
    for name, feature in profile["features"].items():
        for part, condition in sql_conditions(name, feature, is_nan=is_nan, quote=quote).items():
            expressions[f"{name}__{part}"] = f"SUM(CASE WHEN {condition} THEN 1 ELSE 0 END)"
        if moments and feature.get("mean") is not None:
            finite, distance = sql_moments(name, feature, quote=quote)
            expressions[f"{name}__finite"] = f"SUM(CASE WHEN {finite} THEN 1 ELSE 0 END)"
            expressions[f"{name}__sum"] = f"SUM(CASE WHEN {finite} THEN {distance} ELSE 0e0 END)"
            expressions[f"{name}__squares"] = f"SUM(CASE WHEN {finite} THEN {distance} * {distance} ELSE 0e0 END)"
    return expressions


def sql_conditions(name: str, feature: Mapping[str, Any], *, is_nan: str | None = None, quote: str = '"') -> dict[str, str]:
    """What is counted of one feature: the end of the alias in :func:`sql_counts` to the condition that a row has to meet."""
    column = _quoted(name, quote)
    conditions = {"null": f"{column} IS NULL"}
    if feature["kind"] == "category":
        conditions.update({f"is_{i}": f"{column} = {literal(level)}" for i, level in enumerate(feature["levels"])})
        if feature["other"]:
            conditions["other"] = f"{column} IN ({', '.join(literal(level) for level in feature['other'])})"
        return conditions
    if is_nan:
        conditions["nan"] = is_nan.format(column=column)
    if feature["min"] is not None:
        conditions["below"] = f"{column} < {feature['min']!r}"
        edges = (*feature["edges"], feature["max"])
        conditions.update({f"over_{i}": f"{column} > {edge!r}" for i, edge in enumerate(edges)})
    return conditions


def sql_moments(name: str, feature: Mapping[str, Any], *, quote: str = '"') -> tuple[str, str]:
    """Whether a number enters the moments, and its distance from the reference's mean, which has to be known."""
    column = _quoted(name, quote)
    # An exponent makes the number a double in each engine, so that whole numbers do not overflow.
    return f"{column} BETWEEN -{_HUGE} AND {_HUGE}", f"({column} - ({feature['mean']:.16e}))"


def counts_from_sql(profile: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[int, dict[str, list[int]]]:
    """Number of rows, and bin counts by feature, from the row that the aggregates of :func:`sql_counts` gave.

    Sums over no rows are null in SQL and count as zero.

    :raises KeyError: the row lacks one of the aliases
    """

    def count(alias: str) -> int:
        return int(row[alias] or 0)

    rows = count("rows_counted")
    counts: dict[str, list[int]] = {}
    for name, feature in profile["features"].items():
        nulls = count(f"{name}__null")
        if feature["kind"] == "category":
            levels = [count(f"{name}__is_{i}") for i in range(len(feature["levels"]))]
            other = count(f"{name}__other") if feature["other"] else 0
            counts[name] = [*levels, other, rows - nulls - sum(levels) - other, nulls]
            continue
        # These engines order NaN above every number: it has been counted above each edge.
        nan = count(f"{name}__nan") if f"{name}__nan" in row else 0
        if feature["min"] is None:
            counts[name] = [0, rows - nulls - nan, nulls + nan]
        else:
            above_edges = [count(f"{name}__over_{i}") - nan for i in range(len(feature["edges"]) + 1)]
            counts[name] = counts_above(rows, nulls + nan, count(f"{name}__below"), above_edges)
    return rows, counts


def moments_from_sql(profile: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Moments]:
    """Moments of the numeric features, from a row that ``sql_counts(profile, moments=True)`` gave.

    :raises KeyError: the row lacks one of the aliases
    """
    found = {}
    for name, feature in profile["features"].items():
        if feature.get("mean") is not None:
            finite, total, squares = (row[f"{name}__{part}"] or 0 for part in ("finite", "sum", "squares"))
            found[name] = Moments(int(finite), float(feature["mean"]), float(total), float(squares))
    return found


def literal(text: str) -> str:
    """A string literal that means the same in each engine.

    What they escape differently (quotes: Spark, backslashes: Redshift and Spark) goes in by its code.
    """
    quoted = "'" + "".join(f"' || CHR({ord(char)}) || '" if char in "'\\" else char for char in text) + "'"
    return f"({quoted})" if "||" in quoted else quoted


def _quoted(name: str, quote: str) -> str:
    return quote + name.replace(quote, quote * 2) + quote
