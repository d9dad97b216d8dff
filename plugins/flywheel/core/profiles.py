"""The reference profile: how the features of a training set were distributed, small enough to be stored with the model.

A profile is taken once, from the training data. Later only the *counts* of new data in its bins are needed (:func:`bin_counts`
here, flywheel.core.counting in SQL), and flywheel.core.drift compares them::

    {"version": 2, "rows": 25000, "features": {
        "temp":    {"kind": "numeric", "min": 10.9, "max": 64.0, "edges": [25.0, ..., 48.9], "mean": 37.1, "sd": 9.8,
                    "counts": [below, first bin, ..., last bin, above, null], "importance": 0.04,
                    "design_effect": 210.0, "design_df": 2.3, "blocks": 12, "block_days": 7, "block_rows": 2050.0},
        "carrier": {"kind": "category", "levels": ["AA", "B6", ...], "other": ["OO", ...],
                    "counts": [AA, B6, ..., other, unseen, null], "importance": 0.07, "design_effect": 1.4, ...}}}

A numeric feature is cut at the reference's deciles (the inner ones are ``edges``; equal ones are merged), each bin open to the
left and closed to the right. Values below the reference's least and above its greatest have a bin of their own, so have nulls
(and NaN): what a model never saw must not hide in a bin that it knows. ``min`` and ``max`` are null when the reference has no
finite value; then every value counts as above. ``mean`` and ``sd`` are those of the finite values. A categorical feature has a
bin per frequent level; rare levels share ``other``; levels that the reference does not have are ``unseen``.

Rows of one week have their weather, their timetable and their delays in common, so that they say less than as many independent
rows. ``design_effect`` is how many rows of this feature count as one independent row, and ``design_df`` how many of the B - 1
directions in which B shares can move the dependent rows really move in (:func:`block_design`); both were measured over
``blocks`` blocks of ``block_days`` days with ``block_rows`` rows each. A profile may hold, beside its features, the profile
``score`` of the model's scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

PROFILE_VERSION = 2
SCORE = "score"
WEEK_DAYS = 7
LEAST_BLOCKS = 4
# What a profile of version 1 does not say: its rows count as independent, importance and moments are not known.
UNKNOWN_DESIGN = {"design_effect": 1.0, "design_df": None, "blocks": 0, "block_days": 0, "block_rows": 0.0}
DEFAULTS: dict[str, Any] = {**UNKNOWN_DESIGN, "importance": None}
NUMERIC_DEFAULTS: dict[str, Any] = {**DEFAULTS, "mean": None, "sd": None}


def reference_profile(
    columns: Mapping[str, Any],
    categorical: Sequence[str] = (),
    *,
    days: Any = None,
    importance: Mapping[str, float] | None = None,
    bins: int = 10,
    max_levels: int = 50,
    min_share: float = 0.005,
) -> dict[str, Any]:
    """The profile of a data set, as plain JSON types.

    :param columns: one array, series or list per feature, all of the same length
    :param categorical: which of them are categories; the others are numbers
    :param days: the day of each row; without it rows count as independent
    :param importance: each feature's share of what the model gains from all of them, 0 to 1; features left out have none
    :param bins: quantile bins of a numeric feature
    :param max_levels: levels that keep a bin of their own, at most
    :param min_share: share of the rows below which a level goes to ``other``
    :raises ValueError: no columns, or columns (or days) of different lengths
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len({*lengths.values(), *([] if days is None else [len(days)])}) != 1:
        found = lengths or "no columns"
        raise ValueError(
            f"reference profile: expected columns{'' if days is None else ' and days'} of one length, "
            f"found {found}{'' if days is None else f' and {len(days)} days'}"
        )
    blocks = None if days is None else day_blocks(days)
    features = {
        name: _categorical(values, blocks, max_levels=max_levels, min_share=min_share)
        if name in categorical
        else _numeric(values, blocks, bins=bins)
        for name, values in columns.items()
    }
    for name, feature in features.items():
        feature["importance"] = None if importance is None else float(importance.get(name, 0.0))
    return {"version": PROFILE_VERSION, "rows": next(iter(lengths.values())), "features": features}


def numeric_profile(values: Any, *, days: Any = None, bins: int = 10) -> dict[str, Any]:
    """The profile of one numeric feature (see the module's head for its keys)."""
    return _numeric(values, None if days is None else day_blocks(days), bins=bins)


def categorical_profile(values: Any, *, days: Any = None, max_levels: int = 50, min_share: float = 0.005) -> dict[str, Any]:
    """The profile of one categorical feature (see the module's head for its keys)."""
    return _categorical(values, None if days is None else day_blocks(days), max_levels=max_levels, min_share=min_share)


def read_profile(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored profile in today's version: what older ones do not say is filled in (:data:`DEFAULTS`).

    :raises ValueError: a version that this code does not know
    """
    if stored.get("version") not in (1, PROFILE_VERSION):
        raise ValueError(f"reference profile: expected version 1 or {PROFILE_VERSION}, found {stored.get('version')}")
    profile = {**stored, "version": PROFILE_VERSION}
    profile["features"] = {name: with_defaults(feature) for name, feature in stored["features"].items()}
    if stored.get(SCORE) is not None:
        profile[SCORE] = with_defaults(stored[SCORE])
    return profile


def with_defaults(feature: Mapping[str, Any]) -> dict[str, Any]:
    """One feature's profile with the keys that profiles of older versions lack (:data:`DEFAULTS`)."""
    return {**(NUMERIC_DEFAULTS if feature["kind"] == "numeric" else DEFAULTS), **feature}


def profile_of(profile: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One feature's profile, or for the name ``score`` (unless a feature has it) that of the model's scores.

    :raises KeyError: the profile has no such feature
    """
    if name in profile["features"]:
        return profile["features"][name]
    if name == SCORE and profile.get(SCORE) is not None:
        return profile[SCORE]
    raise KeyError(f"reference profile: expected one of {', '.join(profile['features'])}, found {name}")


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
    return counts_above(len(numbers), nulls, int((numbers < profile["min"]).sum()), above_edges)


def counts_above(rows: int, nulls: int, below: int, above_edges: Sequence[int]) -> list[int]:
    """A numeric feature's bins from the numbers of values above each edge, the last edge being the reference's greatest value."""
    at_least = [rows - nulls - below, *above_edges]
    return [below, *(at_least[i] - at_least[i + 1] for i in range(len(above_edges))), above_edges[-1], nulls]


def day_blocks(days: Any) -> tuple[int, list[np.ndarray]]:
    """Length of a block in days, and the row numbers of each block.

    Blocks are the whole weeks that end with the last day, or single days where there are not four such weeks. Weeks, because a
    feature may follow the days of the week without anything having changed. Rows older than the first whole week belong to no
    block. Blocks without rows are left out.
    """
    import numpy as np

    day = np.asarray(days, dtype="datetime64[D]").astype("int64")
    if not len(day):
        return 1, []
    length = WEEK_DAYS if (day.max() - day.min() + 1) // WEEK_DAYS >= LEAST_BLOCKS else 1
    block = (day.max() - day) // length
    order = np.argsort(block, kind="stable")
    used = order[: np.searchsorted(block[order], (day.max() - day.min() + 1) // length)]
    return length, np.split(used, np.flatnonzero(np.diff(block[used])) + 1)


def block_design(blocks: Sequence[Sequence[int]]) -> tuple[float, float | None]:
    """Design effect and degrees of freedom of bin shares whose rows come in blocks, from the bin counts of each block.

    First order (Rao and Scott, 1984, Annals of Statistics 12, p. 46): the mean generalised design effect
    ``sum_b (1 - p_b) deff_b / (B - 1)``, where deff_b is the variance of a share estimated from whole blocks over that of as many
    independent rows; at least 1. Second order (ibid.; Satterthwaite's approximation): ``(B - 1) / (1 + a^2)`` degrees of freedom,
    a the coefficient of variation of the generalised design effects. It is needed: dependence mostly moves a few directions
    (the whole distribution to the left or right), and there it moves them much further than the mean says.

    :return: design effect, and degrees of freedom (None where nothing can be said: fewer than two blocks or bins)
    """
    import numpy as np

    counts = np.asarray(blocks, dtype=float)
    if counts.ndim != 2 or len(counts) < 2:
        return 1.0, None
    counts = counts[:, counts.sum(axis=0) > 0]
    size, bins = counts.sum(axis=1), counts.shape[1]
    if bins < 2:
        return 1.0, None
    share = counts.sum(axis=0) / size.sum()
    errors = (counts - np.outer(size, share)) / np.sqrt(share)  # of a ratio estimator, standardised as chi-square does
    generalised = len(counts) / (len(counts) - 1) * errors.T @ errors / size.sum()
    total, squares = float(np.trace(generalised)), float((generalised * generalised).sum())
    # squares >= total^2 / (B - 1) by Cauchy and Schwarz, rounding aside.
    df = min(total * total / squares, bins - 1.0) if squares > 0 else bins - 1.0
    return max(total / (bins - 1), 1.0), max(df, 1.0)


def _numeric(values: Any, blocks: tuple[int, list[np.ndarray]] | None, *, bins: int) -> dict[str, Any]:
    import numpy as np

    numbers = _as_floats(values)
    finite = np.sort(numbers[np.isfinite(numbers)])
    profile: dict[str, Any] = {"kind": "numeric", "min": None, "max": None, "edges": [], "mean": None, "sd": None}
    if len(finite):
        # The inverted-CDF quantile: always a value that occurs, found by whole numbers, so it is the same everywhere.
        deciles = {float(finite[-(-k * len(finite) // bins) - 1]) for k in range(1, bins)}
        profile.update(min=float(finite[0]), max=float(finite[-1]), edges=sorted(deciles - {float(finite[-1])}))
        profile.update(mean=float(finite.mean()), sd=float(finite.std()))
    profile["counts"] = bin_counts(profile, numbers)
    return profile | _design(profile, numbers, blocks) | {"importance": None}


def _categorical(
    values: Any, blocks: tuple[int, list[np.ndarray]] | None, *, max_levels: int, min_share: float
) -> dict[str, Any]:
    found = _level_counts(values)
    nulls = found.pop(None, 0)
    rows = sum(found.values()) + nulls
    by_size = sorted(found, key=lambda level: (-found[level], level))
    levels = sorted(level for level in by_size[:max_levels] if found[level] >= min_share * rows)
    other = sorted(set(by_size) - set(levels))
    counts = [found[level] for level in levels] + [sum(found[level] for level in other), 0, nulls]
    profile = {"kind": "category", "levels": levels, "other": other, "counts": counts}
    return profile | _design(profile, values, blocks) | {"importance": None}


def _design(profile: Mapping[str, Any], values: Any, blocks: tuple[int, list[np.ndarray]] | None) -> dict[str, Any]:
    """The keys of the design: how rows of the same block hang together."""
    length, parts = blocks or (1, [])
    if len(parts) < LEAST_BLOCKS:
        return dict(UNKNOWN_DESIGN)
    effect, df = block_design([bin_counts(profile, _take(values, part)) for part in parts])
    sizes = [len(part) for part in parts]
    return {
        "design_effect": effect,
        "design_df": df,
        "blocks": len(parts),
        "block_days": length,
        "block_rows": sum(size * size for size in sizes) / sum(sizes),
    }


def _take(values: Any, rows: np.ndarray) -> Any:
    import numpy as np

    if hasattr(values, "iloc"):
        return values.iloc[rows]
    return values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]


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
