"""Has the world changed since the model was trained? The population stability index (PSI), feature by feature.

A reference profile is taken once, from the training data, and stored with the model as a small JSON. Later only the *counts*
of new data are needed, and those can be made where the data is: :func:`sql_counts` writes one aggregate per bin edge, for one
pass over a table, and :func:`counts_from_sql` turns the single row of the answer into bins.

The profile::

    {"version": 1, "rows": 25000, "features": {
        "temp":    {"kind": "numeric", "min": 10.9, "max": 64.0, "edges": [25.0, ..., 48.9],
                    "counts": [below, first bin, ..., last bin, above, null]},
        "carrier": {"kind": "category", "levels": ["AA", "B6", ...], "other": ["OO", ...],
                    "counts": [AA, B6, ..., other, unseen, null]}}}

A numeric feature is cut at the reference's deciles (the inner ones are ``edges``; equal ones are merged), each bin open to the
left and closed to the right. Values below the reference's least and above its greatest have a bin of their own, so have nulls
(and NaN): what a model never saw must not hide in a bin that it knows. ``min`` and ``max`` are null when the reference has no
finite value; then every value counts as above. A categorical feature has a bin per frequent level; rare levels share
``other``; levels that the reference does not have are ``unseen``.

PSI is the sum of (q - p) ln(q / p) over the bins, p the reference's share and q the current one. Shares are smoothed by
half a row per bin (Jeffreys), which keeps small samples honest, and floored at 1e-4, which makes the value independent of the
sample's size where a bin is empty. Without any drift PSI follows (1/N + 1/M) chi2 with B - 1 degrees of freedom (N, M rows,
B bins), hence :func:`critical_value`: below it, a small sample's noise alone may pass the customary threshold of 0.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

PROFILE_VERSION = 1
PRIOR = 0.5
FLOOR = 1e-4


def reference_profile(
    columns: Mapping[str, Any], categorical: Sequence[str] = (), *, bins: int = 10, max_levels: int = 50, min_share: float = 0.005
) -> dict[str, Any]:
    """The profile of a data set, as plain JSON types.

    :param columns: one array, series or list per feature, all of the same length
    :param categorical: which of them are categories; the others are numbers
    :param bins: quantile bins of a numeric feature
    :param max_levels: levels that keep a bin of their own, at most
    :param min_share: share of the rows below which a level goes to ``other``
    :raises ValueError: no columns, or columns of different lengths
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"reference profile: expected columns of one length, found {lengths or 'no columns'}")
    features = {
        name: categorical_profile(values, max_levels=max_levels, min_share=min_share)
        if name in categorical
        else numeric_profile(values, bins=bins)
        for name, values in columns.items()
    }
    return {"version": PROFILE_VERSION, "rows": next(iter(lengths.values())), "features": features}


def numeric_profile(values: Any, *, bins: int = 10) -> dict[str, Any]:
    """The profile of one numeric feature (see the module's head for its keys)."""
    import numpy as np

    numbers = _as_floats(values)
    finite = np.sort(numbers[np.isfinite(numbers)])
    profile: dict[str, Any] = {"kind": "numeric", "min": None, "max": None, "edges": []}
    if len(finite):
        # The inverted-CDF quantile: always a value that occurs, found by whole numbers, so it is the same everywhere.
        deciles = {float(finite[-(-k * len(finite) // bins) - 1]) for k in range(1, bins)}
        profile.update(min=float(finite[0]), max=float(finite[-1]), edges=sorted(deciles - {float(finite[-1])}))
    profile["counts"] = bin_counts(profile, numbers)
    return profile


def categorical_profile(values: Any, *, max_levels: int = 50, min_share: float = 0.005) -> dict[str, Any]:
    """The profile of one categorical feature (see the module's head for its keys)."""
    found = _level_counts(values)
    nulls = found.pop(None, 0)
    rows = sum(found.values()) + nulls
    by_size = sorted(found, key=lambda level: (-found[level], level))
    levels = sorted(level for level in by_size[:max_levels] if found[level] >= min_share * rows)
    other = sorted(set(by_size) - set(levels))
    counts = [found[level] for level in levels] + [sum(found[level] for level in other), 0, nulls]
    return {"kind": "category", "levels": levels, "other": other, "counts": counts}


def bin_counts(profile: Mapping[str, Any], values: Any) -> list[int]:
    """How many of ``values`` fall into each bin of one feature's profile, in the order of its ``counts``."""
    import numpy as np

    if profile["kind"] == "category":
        found = _level_counts(values)
        nulls, rows = found.pop(None, 0), sum(found.values())
        levels = [found.get(level, 0) for level in profile["levels"]]
        other = sum(found.get(level, 0) for level in profile["other"])
        return [*levels, other, rows - sum(levels) - other, nulls]
    numbers = _as_floats(values)
    nulls = int(np.isnan(numbers).sum())
    if profile["min"] is None:
        return [0, len(numbers) - nulls, nulls]
    above_edges = [int((numbers > edge).sum()) for edge in (*profile["edges"], profile["max"])]
    return _numeric_counts(len(numbers), nulls, int((numbers < profile["min"]).sum()), above_edges)


def _numeric_counts(rows: int, nulls: int, below: int, above_edges: Sequence[int]) -> list[int]:
    """Bins from the numbers of values above each edge, the last edge being the reference's greatest value."""
    at_least = [rows - nulls - below, *above_edges]
    return [below, *(at_least[i] - at_least[i + 1] for i in range(len(above_edges))), above_edges[-1], nulls]


def sql_counts(profile: Mapping[str, Any]) -> dict[str, str]:
    """SQL aggregates that count a table into the bins of a profile: alias to expression, for ``SELECT expression AS alias``.

    Only ``SUM(CASE WHEN ...)``, so that Redshift, PostgreSQL, DuckDB and Spark all take it. The table's columns are named as
    the features; ``rows_counted`` is the number of rows.
    """
    expressions = {"rows_counted": "COUNT(*)"}
    for name, feature in profile["features"].items():
        column = '"' + name.replace('"', '""') + '"'
        conditions = {"null": f"{column} IS NULL"}
        if feature["kind"] == "category":
            conditions |= {f"is_{i}": f"{column} = {_literal(level)}" for i, level in enumerate(feature["levels"])}
            if feature["other"]:
                conditions["other"] = f"{column} IN ({', '.join(_literal(level) for level in feature['other'])})"
        elif feature["min"] is not None:
            conditions["below"] = f"{column} < {feature['min']!r}"
            edges = (*feature["edges"], feature["max"])
            conditions |= {f"over_{i}": f"{column} > {edge!r}" for i, edge in enumerate(edges)}
        for part, condition in conditions.items():
            expressions[f"{name}__{part}"] = f"SUM(CASE WHEN {condition} THEN 1 ELSE 0 END)"
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
        elif feature["min"] is None:
            counts[name] = [0, rows - nulls, nulls]
        else:
            above_edges = [count(f"{name}__over_{i}") for i in range(len(feature["edges"]) + 1)]
            counts[name] = _numeric_counts(rows, nulls, count(f"{name}__below"), above_edges)
    return rows, counts


def psi(reference: Sequence[float], current: Sequence[float], *, prior: float = PRIOR, floor: float = FLOOR) -> float:
    """Population stability index of two lists of bin counts.

    :param prior: rows added to each bin before shares are taken
    :param floor: least share
    :raises ValueError: lists of different lengths, or one without any rows
    """
    if len(reference) != len(current):
        raise ValueError(f"psi: expected two lists of one length, found {len(reference)} and {len(current)} bins")
    if sum(reference) <= 0 or sum(current) <= 0:
        raise ValueError(f"psi: expected rows on both sides, found {sum(reference)} and {sum(current)}")
    # Checked above; job containers' Python may be too old for zip's own check.
    pairs = [(r, c) for r, c in zip(reference, current) if r or c]  # noqa: B905
    expected = [max((r + prior) / (sum(reference) + prior * len(pairs)), floor) for r, _ in pairs]
    actual = [max((c + prior) / (sum(current) + prior * len(pairs)), floor) for _, c in pairs]
    return math.fsum((q - p) * math.log(q / p) for p, q in zip(expected, actual))  # noqa: B905


def occupied_bins(reference: Sequence[float], current: Sequence[float]) -> int:
    """Bins that hold a row on either side: those that :func:`psi` sums over."""
    return sum(1 for r, c in zip(reference, current) if r or c)  # noqa: B905


def critical_value(n_reference: float, n_current: float, bins: int, features: int = 1, alpha: float = 0.01) -> float:
    """The PSI that samples of these sizes pass by chance, without any drift, with probability ``alpha`` over all features.

    :param n_reference: independent rows of the reference
    :param n_current: independent rows of the current data
    :param bins: bins that the PSI is summed over
    :param features: features looked at together (Bonferroni)
    """
    if bins < 2:
        return 0.0
    from scipy.stats import chi2

    return float((1 / n_reference + 1 / n_current) * chi2.ppf(1 - alpha / features, bins - 1))


@dataclass(frozen=True)
class FeatureDrift:
    """How far one feature has moved.

    :param corrected: the index less what chance alone gives on average; about zero without drift
    :param threshold: what the index has to pass to count as drift
    :param state: ``drift``, ``ok``, or ``insufficient`` (too few rows to tell the effect asked for from chance)
    """

    feature: str
    psi: float
    corrected: float
    threshold: float
    state: str


def compare(
    profile: Mapping[str, Any], counts: Mapping[str, Sequence[int]], *, threshold: float = 0.2, alpha: float = 0.01
) -> list[FeatureDrift]:
    """Judge current bin counts against a profile, most moved first.

    :param counts: bin counts of the features to judge, as :func:`bin_counts` or :func:`counts_from_sql` give them
    :raises KeyError: a feature that the profile does not have
    """
    judged = []
    for name, current in counts.items():
        reference = profile["features"][name]["counts"]
        n, m, bins = sum(reference), sum(current), occupied_bins(reference, current)
        if m == 0:
            judged.append(FeatureDrift(name, 0.0, 0.0, threshold, "insufficient"))
            continue
        value, critical = psi(reference, current), critical_value(n, m, bins, len(counts), alpha)
        state = "drift" if value > max(threshold, critical) else "insufficient" if critical > threshold else "ok"
        judged.append(FeatureDrift(name, value, value - (bins - 1) * (1 / n + 1 / m), max(threshold, critical), state))
    return sorted(judged, key=lambda drift: -drift.psi)


def _as_floats(values: Any) -> np.ndarray:
    """Numbers as float64, what is missing (None, NaN, pandas' NA) as NaN."""
    import numpy as np

    if hasattr(values, "to_numpy"):
        return values.to_numpy(dtype="float64", na_value=np.nan)
    if isinstance(values, (list, tuple)):
        values = [np.nan if value is None else value for value in values]
    return np.asarray(values, dtype="float64")


def _level_counts(values: Any) -> dict[Any, int]:
    """Rows by level; what is missing (None, NaN, pandas' NA) counts under None."""
    if hasattr(values, "value_counts"):
        return {str(level): int(n) for level, n in values.value_counts().items() if n} | {None: int(values.isna().sum())}
    counts: dict[Any, int] = {None: 0}
    for value in values:
        level = None if value is None or value != value else str(value)
        counts[level] = counts.get(level, 0) + 1
    return counts


def _literal(text: str) -> str:
    """A string literal; a backslash, which Redshift takes for an escape and others do not, goes in by its code."""
    quoted = "'" + text.replace("'", "''").replace("\\", "' || CHR(92) || '") + "'"
    return f"({quoted})" if "\\" in text else quoted
