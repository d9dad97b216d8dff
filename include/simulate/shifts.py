"""Shifts of known size, put into copies of real rows: what a watch has to find, and what it has to leave alone.

Each function takes rows (as :func:`simulate.year.load_year` gives them) and returns new ones of the same number; the rows it was
given stay as they are. What it draws comes from the dice, so that the same seed gives the same rows. Sizes are in units of the
reference data, not of the rows themselves: a shift of one standard deviation is one of the data that the model was trained on.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from flywheel.core.causes import CONSTANT, MISSING, SHIFT, UNIT, UNSEEN

if TYPE_CHECKING:
    import numpy as np

MPH_TO_METRES_PER_SECOND = 0.44704
LABEL = "label"


@dataclass(frozen=True)
class Shift:
    """One change of known kind and size.

    :param columns: what it changes at first hand: features, or ``label``; whatever hangs together with them moves, too
    :param causes: what a watch may call it (:mod:`flywheel.core.causes`); empty where only accuracy can tell
    :param matters: whether it is one that has to be found; the others are too small to act upon
    :param inject: ``inject(rows, reference, dice)`` gives the changed rows
    """

    name: str
    columns: tuple[str, ...]
    causes: frozenset[str]
    inject: Callable[[Any, Any, np.random.Generator], Any]
    matters: bool = True


def from_day(shift: Shift, rows: Any, first: date, reference: Any, seed: int) -> Any:
    """The rows with the shift from this day on; earlier ones as they are.

    :param reference: the rows that sizes are measured by
    """
    import numpy as np
    import pandas as pd

    later = (rows["ds"] >= pd.Timestamp(first)).to_numpy()
    dice = np.random.default_rng([seed, zlib.crc32(shift.name.encode())])
    return pd.concat([rows[~later], shift.inject(rows[later], reference, dice)], ignore_index=True)


def move_mean(rows: Any, column: str, reference: Any, sds: float) -> Any:
    """Every value higher by so many of the reference's standard deviations."""
    return rows.assign(**{column: rows[column].astype(float) + sds * float(reference[column].std(ddof=0))})


def stretch(rows: Any, column: str, reference: Any, factor: float) -> Any:
    """Every value so many times as far from the reference's mean: the spread grows by the factor, the mean hardly moves."""
    mean = float(reference[column].mean())
    return rows.assign(**{column: mean + factor * (rows[column].astype(float) - mean)})


def scale(rows: Any, column: str, factor: float, offset: float = 0.0) -> Any:
    """Every value in another unit: factor times value plus offset."""
    return rows.assign(**{column: factor * rows[column].astype(float) + offset})


def make_null(rows: Any, column: str, share: float, dice: np.random.Generator) -> Any:
    """That share of all values lost, at random."""
    return rows.assign(**{column: rows[column].mask(dice.random(len(rows)) < share)})


def make_constant(rows: Any, column: str, reference: Any) -> Any:
    """All values the reference's most frequent one, nulls included."""
    return rows.assign(**{column: reference[column].mode().iloc[0]})


def rename_level(rows: Any, column: str, share: float, dice: np.random.Generator) -> Any:
    """In that share of the rows the level has a name that nobody has seen before."""
    chosen = dice.random(len(rows)) < share
    return rows.assign(**{column: rows[column].mask(chosen, "new-" + rows[column].astype(str))})


def mix(rows: Any, column: str, shares: Mapping[Any, float], dice: np.random.Generator) -> Any:
    """Each day's rows drawn again, so that levels have these shares of all rows; among the others nothing changes.

    Whole rows are drawn: what goes together with a level comes along. Also for labels: P(features | label) stays.
    """
    import numpy as np

    now = rows[column].value_counts(normalize=True)
    rest = (1 - sum(shares.values())) / (1 - sum(now.get(level, 0.0) for level in shares))
    weight = {level: shares[level] / now[level] if level in shares else rest for level in now.index}
    weights = rows[column].map(weight).fillna(rest).to_numpy(dtype=float)
    day = rows["ds"].to_numpy()
    drawn = np.empty(len(rows), dtype=int)
    for one in np.unique(day):
        at = np.flatnonzero(day == one)
        drawn[at] = dice.choice(at, len(at), p=weights[at] / weights[at].sum())
    return rows.iloc[drawn].assign(ds=day)


def confuse_labels(rows: Any, share: float, dice: np.random.Generator) -> Any:
    """Concept drift with stable inputs: in that share of each day's rows labels are dealt out anew.

    Features stay, and so does each day's number of late flights; of what a model knows, the share is no longer so (its Gini is
    about 1 - share of what it was).
    """
    import numpy as np

    day, labels = rows["ds"].to_numpy(), rows[LABEL].to_numpy().copy()
    for one in np.unique(day):
        at = np.flatnonzero(day == one)
        at = at[dice.random(len(at)) < share]
        labels[at] = dice.permutation(labels[at])
    return rows.assign(**{LABEL: labels})


SHIFTS: tuple[Shift, ...] = (
    Shift("sched_minute: mean + 0.25 sd", ("sched_minute",), frozenset({SHIFT, UNSEEN}),
          lambda rows, reference, dice: move_mean(rows, "sched_minute", reference, 0.25), matters=False),
    Shift("sched_minute: mean + 0.5 sd", ("sched_minute",), frozenset({SHIFT, UNSEEN}),
          lambda rows, reference, dice: move_mean(rows, "sched_minute", reference, 0.5)),
    Shift("recent_delay: mean + 0.5 sd", ("recent_delay",), frozenset({SHIFT}),
          lambda rows, reference, dice: move_mean(rows, "recent_delay", reference, 0.5)),
    Shift("recent_delay: mean + 1 sd", ("recent_delay",), frozenset({SHIFT}),
          lambda rows, reference, dice: move_mean(rows, "recent_delay", reference, 1.0)),
    Shift("sched_minute: spread x 1.5", ("sched_minute",), frozenset({SHIFT, UNSEEN}),
          lambda rows, reference, dice: stretch(rows, "sched_minute", reference, 1.5)),
    Shift("recent_delay: spread x 2", ("recent_delay",), frozenset({SHIFT, UNSEEN}),
          lambda rows, reference, dice: stretch(rows, "recent_delay", reference, 2.0)),
    Shift("carrier: UA 18 -> 45%", ("carrier",), frozenset({SHIFT}),
          lambda rows, reference, dice: mix(rows, "carrier", {"UA": 0.45}, dice)),
    Shift("recent_delay: nulls 0 -> 10%", ("recent_delay",), frozenset({MISSING}),
          lambda rows, reference, dice: make_null(rows, "recent_delay", 0.1, dice)),
    Shift("temp: nulls 0 -> 10%", ("temp",), frozenset({MISSING}),
          lambda rows, reference, dice: make_null(rows, "temp", 0.1, dice)),
    Shift("recent_delay: minutes as seconds", ("recent_delay",), frozenset({UNIT}),
          lambda rows, reference, dice: scale(rows, "recent_delay", 60.0)),
    Shift("wind_speed: mph as m/s", ("wind_speed",), frozenset({UNIT}),
          lambda rows, reference, dice: scale(rows, "wind_speed", MPH_TO_METRES_PER_SECOND)),
    Shift("temp: Fahrenheit as Celsius", ("temp",), frozenset({UNIT}),
          lambda rows, reference, dice: scale(rows, "temp", 1 / 1.8, -32 / 1.8)),
    Shift("distance: constant", ("distance",), frozenset({CONSTANT}),
          lambda rows, reference, dice: make_constant(rows, "distance", reference)),
    Shift("carrier: 10% of unknown level", ("carrier",), frozenset({UNSEEN}),
          lambda rows, reference, dice: rename_level(rows, "carrier", 0.1, dice)),
    Shift("carrier: all codes renamed", ("carrier",), frozenset({UNSEEN}),
          lambda rows, reference, dice: rename_level(rows, "carrier", 1.0, dice)),
    Shift("late: 24 -> 36%, P(x|y) kept", (LABEL,), frozenset(),
          lambda rows, reference, dice: mix(rows, LABEL, {1: min(1.5 * float(reference[LABEL].mean()), 1.0)}, dice)),
    Shift("concept: 25% of labels dealt anew", (LABEL,), frozenset(),
          lambda rows, reference, dice: confuse_labels(rows, 0.25, dice)),
    Shift("concept: 50% of labels dealt anew", (LABEL,), frozenset(),
          lambda rows, reference, dice: confuse_labels(rows, 0.5, dice)),
)  # fmt: skip
"""The shifts that ``make simulate`` plays, with what each may be called."""
