"""Counting new data into the bins of a reference profile where the data is, in SQL.

:func:`sql_counts` writes one aggregate per bin edge, for one pass over a table; :func:`counts_from_sql` turns a row of the
answer into bins. Add up the rows of several days with :func:`add_counts` and :meth:`Moments.plus`: nothing need be read twice.

Bins are differences of "how many are above this edge", so that plain ``SUM(CASE WHEN ...)`` is enough, which Redshift (it has
no WIDTH_BUCKET), PostgreSQL, DuckDB and Spark all take.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
        column = quote + name.replace(quote, quote * 2) + quote
        conditions = {"null": f"{column} IS NULL"}
        if feature["kind"] == "category":
            conditions.update({f"is_{i}": f"{column} = {_literal(level)}" for i, level in enumerate(feature["levels"])})
            if feature["other"]:
                conditions["other"] = f"{column} IN ({', '.join(_literal(level) for level in feature['other'])})"
        else:
            if is_nan:
                conditions["nan"] = is_nan.format(column=column)
            if feature["min"] is not None:
                conditions["below"] = f"{column} < {feature['min']!r}"
                edges = (*feature["edges"], feature["max"])
                conditions.update({f"over_{i}": f"{column} > {edge!r}" for i, edge in enumerate(edges)})
        for part, condition in conditions.items():
            expressions[f"{name}__{part}"] = f"SUM(CASE WHEN {condition} THEN 1 ELSE 0 END)"
        if moments and feature.get("mean") is not None:
            # An exponent makes the number a double in each engine, so that whole numbers do not overflow.
            distance, finite = f"({column} - ({feature['mean']:.16e}))", f"{column} BETWEEN -{_HUGE} AND {_HUGE}"
            expressions[f"{name}__finite"] = f"SUM(CASE WHEN {finite} THEN 1 ELSE 0 END)"
            expressions[f"{name}__sum"] = f"SUM(CASE WHEN {finite} THEN {distance} ELSE 0e0 END)"
            expressions[f"{name}__squares"] = f"SUM(CASE WHEN {finite} THEN {distance} * {distance} ELSE 0e0 END)"
    return expressions


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


def _literal(text: str) -> str:
    """A string literal. What engines escape differently (quotes: Spark, backslashes: Redshift and Spark) goes in by its code."""
    quoted = "'" + "".join(f"' || CHR({ord(char)}) || '" if char in "'\\" else char for char in text) + "'"
    return f"({quoted})" if "||" in quoted else quoted
