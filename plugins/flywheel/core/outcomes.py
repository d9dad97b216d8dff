"""What has come of predictions, counted by day: all that accuracy is judged by, a line for each day and segment of the rows.

Both sides are of this form: what the champion did on its holdout (``baseline.json``, which the evaluation writes), and what it
has done since it serves (``monitoring.daily_accuracy``). Days add up, so that nothing need be read twice.

AUC is taken *within days*: of a positive and a negative of the same day, how often does the positive score higher? That some days
have more positives than others moves the AUC of all pairs without any merit of the model's, and pairs of one day can be counted
when the day's labels are there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from flywheel.core.metrics import auc

#: The segment of all rows; other segments are called ``<feature>=<level>``.
WHOLE = "all"
BASELINE_VERSION = 1


@dataclass(frozen=True)
class Outcome:
    """A day's predictions, or those of several days together, and what came of them.

    :param scored: predictions
    :param labelled: those whose label is known; all below is of these
    :param positives: labels that are 1
    :param won: pairs of a positive and a negative of the same day in which the positive scores higher, a tie counting half
    :param pairs: all such pairs
    :param score_sum: sum of the scores
    """

    day: date
    scored: int
    labelled: int
    positives: int
    won: float
    pairs: float
    score_sum: float

    @property
    def auc(self) -> float:
        """Of pairs of the same day; NaN without any."""
        return self.won / self.pairs if self.pairs else math.nan

    @property
    def calibration(self) -> float:
        """Predicted positives over observed ones; NaN without any."""
        return self.score_sum / self.positives if self.positives else math.nan


#: Outcomes by segment, the days of each in their order.
Outcomes = Mapping[str, Sequence[Outcome]]


def count_outcomes(labels: Any, scores: Any, days: Any) -> list[Outcome]:
    """The outcomes of labelled rows, a line for each day.

    :param labels: 0 or 1, shape (rows,)
    :param scores: probabilities, shape (rows,)
    :param days: the day of each row: dates, or texts or times that numpy takes for such
    """
    import numpy as np

    truth, values = np.asarray(labels), np.asarray(scores, dtype=float)
    found, day = np.unique(np.asarray(days, dtype="datetime64[D]"), return_inverse=True)
    order = np.argsort(day, kind="stable")
    outcomes = []
    for rows in np.split(order, np.cumsum(np.bincount(day, minlength=len(found)))[:-1]) if len(found) else ():
        positives = int(truth[rows].sum())
        pairs = float(positives * (len(rows) - positives))
        won = round(2 * auc(truth[rows], values[rows]) * pairs) / 2 if pairs else 0.0  # whole and half pairs
        one = Outcome(found[day[rows[0]]].item(), len(rows), len(rows), positives, won, pairs, float(values[rows].sum()))
        outcomes.append(one)
    return outcomes


def count_segments(labels: Any, scores: Any, days: Any, columns: Mapping[str, Any]) -> dict[str, list[Outcome]]:
    """The outcomes of all rows, and of each level of each of some columns; a missing level is ``null``.

    :param columns: arrays of shape (rows,) by the column's name
    """
    import numpy as np

    truth, values, day = np.asarray(labels), np.asarray(scores, dtype=float), np.asarray(days, dtype="datetime64[D]")
    segments = {WHOLE: count_outcomes(truth, values, day)}
    for name, column in columns.items():
        levels = np.asarray(["null" if level is None or level != level else str(level) for level in column])
        for level in np.unique(levels):
            chosen = levels == level
            segments[f"{name}={level}"] = count_outcomes(truth[chosen], values[chosen], day[chosen])
    return segments


def total(outcomes: Iterable[Outcome]) -> Outcome:
    """Several days together, under the first of them.

    :raises ValueError: there is none
    """
    days = list(outcomes)
    if not days:
        raise ValueError("outcomes: expected a day at least, found none")
    return Outcome(
        min(one.day for one in days),
        sum(one.scored for one in days),
        sum(one.labelled for one in days),
        sum(one.positives for one in days),
        math.fsum(one.won for one in days),
        math.fsum(one.pairs for one in days),
        math.fsum(one.score_sum for one in days),
    )


def by_day(segments: Iterable[Sequence[Outcome]]) -> list[Outcome]:
    """Several segments as one. Pairs whose sides are of different segments are left out, on both sides of a comparison alike."""
    days: dict[date, list[Outcome]] = {}
    for segment in segments:
        for one in segment:
            days.setdefault(one.day, []).append(one)
    return [total(days[day]) for day in sorted(days)]


def write_baseline(segments: Outcomes) -> dict[str, Any]:
    """Outcomes as plain JSON types."""
    lines = {name: [asdict(one) | {"day": one.day.isoformat()} for one in days] for name, days in segments.items()}
    return {"version": BASELINE_VERSION, "segments": lines}


def read_baseline(stored: Mapping[str, Any]) -> dict[str, list[Outcome]]:
    """Outcomes from what :func:`write_baseline` gave.

    :raises ValueError: a version that this code does not know
    """
    if stored.get("version") != BASELINE_VERSION:
        raise ValueError(f"baseline: expected version {BASELINE_VERSION}, found {stored.get('version')}")
    return {
        name: [Outcome(**{**line, "day": date.fromisoformat(line["day"])}) for line in days]
        for name, days in stored["segments"].items()
    }
