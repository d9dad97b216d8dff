"""Has a metric got worse? A test that may be looked at every day.

A test at 5 per cent that is made every day gives an alarm in nearly every year. An *e-process* may be looked at whenever one
likes: it is the capital of somebody who bets against "the mean is still as good as baseline less margin", starts with 1 and
cannot expect to gain while that is true. This one is the one-sided normal mixture (Robbins, 1970, Annals of Mathematical
Statistics 41; Howard, Ramdas, McAuliffe and Sekhon, 2021, Annals of Statistics 49) of values standardised by their spread::

    E_t = 2 sqrt(r / (t + r)) exp(S^2 / (2 (t + r))) Phi(S / sqrt(t + r)),    S = sum of (null_mean - x_i) / sd, r = precision

It was chosen by simulation against the betting e-process of Waudby-Smith and Ramdas (2024, Journal of the Royal Statistical
Society B 86), whose bets are bounded by the values' range and which cannot use that a mean of many rows is known well: it saw a
loss two to four times later.

One capital for the whole time is eaten up by good days before the bad ones come. So somebody new starts to bet every day, and
what counts is what all of them have together: the Shiryaev-Roberts *e-detector* (Shin, Ramdas and Rinaldo, 2023, New England
Journal of Statistics in Data Science 2). While all is well it takes 1000 looks at least, on the average, until it reaches 1000.

Two things that theory takes as known are estimates. Days hang together, so their spread is that of whole weeks where that is
greater (:func:`dependent_sd`); and the baseline is a mean of few days, so it is lowered by its own standard error
(:func:`allowed_mean`). Daily AUC of .72 with sd .03 and weekly levels of sd tau, 21 days of baseline, margin 5 per cent of Gini
and 15 per cent lost over 28 days; 120 half-years each: false alarms, and the days until a loss of 30 (and 50) per cent of Gini is
seen that comes after 60 good days::

    tau                                  0                .015             .03
    one capital, alarm at 20             0.8%  31 (16)    5.0%  28 (19)    27.5%  39 (25)
    this                                 0.0%  16 (10)    0.0%  22 (10)     6.7%  40 (19)

Nothing is kept between looks: the values of all blocks since the baseline are read again from their stored rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

#: What the e-detector has to reach: looks between false alarms, on the average and at least.
ALARM = 1000.0
PRECISION = 5.0
WEEK_BLOCKS = 7
_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True)
class Day:
    """A day's outcome, or that of several days joined.

    :param value: a mean over the day, such as its AUC, or its mean loss over the baseline's
    :param positives: rows whose label is 1
    :param negatives: rows whose label is 0
    :param weight: what the value counts with when days are joined: pairs for an AUC, rows for a mean
    :param last: the last day of those joined; None for a single day
    """

    day: date
    value: float
    positives: int
    negatives: int
    weight: float
    last: date | None = None


def join_days(days: Iterable[Day], *, min_positives: int = 0, min_negatives: int = 0, min_days: int = 1) -> list[Day]:
    """Consecutive days joined into blocks of at least so many positives, negatives, and days that have rows.

    Values are averaged by weight (an AUC so averaged is that of the pairs within days, for the baseline, too). What is left at
    the end makes no block yet, so that a block that has been judged never changes. Days of weight 0 add their rows, no value.
    """
    blocks: list[Day] = []
    part: list[Day] = []
    for day in sorted(days, key=lambda d: d.day):
        part.append(day)
        positives, negatives = sum(d.positives for d in part), sum(d.negatives for d in part)
        weight = sum(d.weight for d in part)
        if len(part) >= min_days and positives >= min_positives and negatives >= min_negatives and weight > 0:
            value = math.fsum(d.value * d.weight for d in part if d.weight) / weight
            blocks.append(Day(part[0].day, value, positives, negatives, weight, part[-1].last or part[-1].day))
            part = []
    return blocks


@dataclass(frozen=True)
class Baseline:
    """What blocks of days look like while all is well: mean and standard deviation of their values."""

    mean: float
    sd: float
    blocks: int


def baseline_of(values: Sequence[float], *, least: int = 8) -> Baseline:
    """The baseline from the values of blocks that are joined as those to be judged will be.

    :param least: blocks below which their spread is not known well enough
    :raises ValueError: fewer blocks, or all values alike
    """
    if len(values) < least:
        raise ValueError(f"baseline: expected {least} days or blocks of days at least, found {len(values)}")
    mean = math.fsum(values) / len(values)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    if sd == 0:
        raise ValueError(f"baseline: expected values that vary, found {len(values)} times {mean}")
    return Baseline(mean, sd, len(values))


def e_values(
    values: Sequence[float], null_mean: float, sd: float, *, higher_is_better: bool = True, precision: float = PRECISION
) -> list[float]:
    """The e-process after each value: evidence that the mean is worse than ``null_mean``.

    :param values: one per day or block, in the order of time
    :param null_mean: baseline less margin (plus margin for a loss)
    :param sd: standard deviation of a value while all is well
    :param higher_is_better: True for an AUC, False for a loss
    :param precision: about after how many values evidence is weighed best; it hardly matters
    :raises ValueError: sd is not positive
    """
    if not sd > 0:
        raise ValueError(f"e-process: expected a positive standard deviation, found {sd}")
    found, total = [], 0.0
    for count, value in enumerate(values, 1):
        total += (null_mean - value if higher_is_better else value - null_mean) / sd
        root = math.sqrt(count + precision)
        exponent = math.log(2 * math.sqrt(precision) / root) + (total / root) ** 2 / 2 + _log_normal_cdf(total / root)
        found.append(math.exp(min(exponent, _LARGEST_EXPONENT)))
    return found


def e_detector(
    values: Sequence[float], null_mean: float, sd: float, *, higher_is_better: bool = True, precision: float = PRECISION
) -> float:
    """What all have together who have begun to bet on one of the values, after the last; parameters as of :func:`e_values`."""
    latest = list(reversed(values))
    # A bet depends on the sum of its values alone, so those on the last, the last two ... are one e-process run backwards.
    return math.fsum(e_values(latest, null_mean, sd, higher_is_better=higher_is_better, precision=precision))


def dependent_sd(sd: float, periods: Iterable[Sequence[Day]]) -> float:
    """Standard deviation of a block such that sums of many vary as those of whole weeks do; ``sd`` at least.

    From the differences of successive weeks (von Neumann, 1941, Annals of Mathematical Statistics 12), so that a level that has
    changed once counts once. A week is seven blocks; periods of fewer than two weeks say nothing.

    :param sd: that of blocks as if they were independent
    :param periods: blocks of days in their order, such as the baseline's and those served
    """
    squares, pairs = 0.0, 0
    for period in periods:
        weeks = join_days(period, min_days=WEEK_BLOCKS)
        steps = [weeks[i + 1].value - weeks[i].value for i in range(len(weeks) - 1)]
        squares += math.fsum(step * step / 2 for step in steps)
        pairs += len(steps)
    return max(sd, math.sqrt(WEEK_BLOCKS * squares / pairs)) if pairs else sd


def allowed_mean(baseline: Baseline, margin: float, sd: float, *, higher_is_better: bool = True) -> float:
    """The mean that is still no loss: the baseline's less a margin, and less its own standard error.

    :param margin: in units of the values
    :param sd: of a block, see :func:`dependent_sd`
    """
    slack = margin + sd / math.sqrt(baseline.blocks)
    return baseline.mean - slack if higher_is_better else baseline.mean + slack


def _log_normal_cdf(x: float) -> float:
    """Logarithm of the normal distribution function; far in the lower tail by its asymptotic form, where erfc underflows."""
    if x < -30:
        return -x * x / 2 - math.log(-x * math.sqrt(2 * math.pi))
    return math.log(math.erfc(-x / math.sqrt(2)) / 2)
