"""What has come of predictions, counted by day: all that accuracy is judged by, a line for each day and segment of the rows.

Both sides are of this form: what the champion did on its holdout (``baseline.json``, which the evaluation writes), and what it
has done since it serves (``monitoring.daily_accuracy``). Days add up, so that nothing need be read twice.

AUC is taken *within days*: of a positive and a negative of the same day, how often does the positive score higher? That some days
have more positives than others moves the AUC of all pairs without any merit of the model's, and pairs of one day can be counted
when the day's labels are there.

Numbers that were forecast are judged by ratios of two sums as well: absolute errors over absolute actuals (WAPE), or over the
errors that the seasonal naive forecast has made on the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from typing import Any

from flywheel.core.metrics import auc

#: The segment of all rows; other segments are called ``<feature>=<level>``.
WHOLE = "all"
BASELINE_VERSION = 1
#: Metrics that are one sum of outcomes over another.
RATIOS = {
    "auc": ("won", "pairs"),
    "calibration": ("score_sum", "observed"),
    "wape": ("errors", "actuals"),
    "naive_ratio": ("season_errors", "naive_errors"),
    "mape": ("percentage_errors", "not_zero"),
}


@dataclass(frozen=True)
class Outcome:
    """A day's predictions, or those of several days together, and what came of them.

    What is of the other kind of label is 0.

    :param scored: predictions
    :param labelled: those whose label is known; all below is of these
    :param positives: labels that are 1, of classes
    :param won: pairs of a positive and a negative of the same day in which the positive scores higher, a tie counting half
    :param pairs: all such pairs
    :param score_sum: sum of the scores, or forecasts
    :param label_sum: sum of the labels, of numbers
    :param errors: sum of the absolute errors
    :param actuals: sum of the absolute labels
    :param season_errors: sum of the absolute errors of those rows whose naive forecast is known
    :param naive_errors: sum of the naive forecast's absolute errors, on the same rows
    :param percentage_errors: sum of the absolute errors over the labels, of the labels that are not 0
    :param not_zero: these labels
    """

    day: date
    scored: int
    labelled: int
    positives: int
    won: float
    pairs: float
    score_sum: float
    label_sum: float = 0.0
    errors: float = 0.0
    actuals: float = 0.0
    season_errors: float = 0.0
    naive_errors: float = 0.0
    percentage_errors: float = 0.0
    not_zero: int = 0

    @property
    def observed(self) -> float:
        """What has come of all: positives, or the sum of the numbers."""
        return self.positives or self.label_sum

    @property
    def auc(self) -> float:
        """Of pairs of the same day; NaN without any."""
        return self.ratio("auc")

    @property
    def calibration(self) -> float:
        """What was predicted over what came; NaN where nothing came."""
        return self.ratio("calibration")

    def ratio(self, name: str) -> float:
        """One of :data:`RATIOS`; NaN where the lower sum is 0."""
        above, below = (getattr(self, part) for part in RATIOS[name])
        return float(above / below) if below else math.nan


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
    outcomes = []
    for day, rows in _rows_by_day(days):
        positives = int(truth[rows].sum())
        pairs = float(positives * (len(rows) - positives))
        won = round(2 * auc(truth[rows], values[rows]) * pairs) / 2 if pairs else 0.0  # whole and half pairs
        outcomes.append(Outcome(day, len(rows), len(rows), positives, won, pairs, float(values[rows].sum())))
    return outcomes


def count_errors(labels: Any, forecasts: Any, days: Any, naive: Any) -> list[Outcome]:
    """The outcomes of rows whose label is a number, a line for each day.

    :param labels: numbers, shape (rows,)
    :param forecasts: numbers, shape (rows,)
    :param days: as of :func:`count_outcomes`
    :param naive: the label of a season before, NaN where it is not known, shape (rows,)
    """
    import numpy as np

    actual, forecast, before = (np.asarray(part, dtype=float) for part in (labels, forecasts, naive))
    errors, naive_errors, known = np.abs(actual - forecast), np.abs(actual - before), ~np.isnan(before)
    percentages = np.divide(errors, np.abs(actual), out=np.zeros_like(errors), where=actual != 0)
    return [
        Outcome(
            day,
            scored=len(rows),
            labelled=len(rows),
            positives=0,
            won=0.0,
            pairs=0.0,
            score_sum=float(forecast[rows].sum()),
            label_sum=float(actual[rows].sum()),
            errors=float(errors[rows].sum()),
            actuals=float(np.abs(actual[rows]).sum()),
            season_errors=float(errors[rows][known[rows]].sum()),
            naive_errors=float(naive_errors[rows][known[rows]].sum()),
            percentage_errors=float(percentages[rows].sum()),
            not_zero=int((actual[rows] != 0).sum()),
        )
        for day, rows in _rows_by_day(days)
    ]


def _rows_by_day(days: Any) -> Iterator[tuple[date, Any]]:
    """Each day with the numbers of its rows, in the order of time."""
    import numpy as np

    found, day = np.unique(np.asarray(days, dtype="datetime64[D]"), return_inverse=True)
    order = np.argsort(day, kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(day, minlength=len(found)))[:-1]) if len(found) else ():
        yield found[day[rows[0]]].item(), rows


def count_segments(
    labels: Any, scores: Any, days: Any, columns: Mapping[str, Any], *, naive: Any = None
) -> dict[str, list[Outcome]]:
    """The outcomes of all rows, and of each level of each of some columns; a missing level is ``null``.

    :param columns: arrays of shape (rows,) by the column's name
    :param naive: the naive forecasts, as of :func:`count_errors`, of labels that are numbers; None: they are classes
    """
    import numpy as np

    truth, values, day = np.asarray(labels), np.asarray(scores, dtype=float), np.asarray(days, dtype="datetime64[D]")
    before = None if naive is None else np.asarray(naive, dtype=float)

    def count(rows: Any) -> list[Outcome]:
        if before is None:
            return count_outcomes(truth[rows], values[rows], day[rows])
        return count_errors(truth[rows], values[rows], day[rows], before[rows])

    segments = {WHOLE: count(slice(None))}
    for name, column in columns.items():
        levels = np.asarray(["null" if level is None or level != level else str(level) for level in column])
        for level in np.unique(levels):
            segments[f"{name}={level}"] = count(levels == level)
    return segments


def total(outcomes: Iterable[Outcome]) -> Outcome:
    """Several days together, under the first of them.

    :raises ValueError: there is none
    """
    days = list(outcomes)
    if not days:
        raise ValueError("outcomes: expected a day at least, found none")
    sums: dict[str, Any] = {
        field.name: (sum if field.type == "int" else math.fsum)(getattr(one, field.name) for one in days)
        for field in fields(Outcome)
        if field.name != "day"
    }
    return Outcome(day=min(one.day for one in days), **sums)


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
