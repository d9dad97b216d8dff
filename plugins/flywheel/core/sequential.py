"""Has a metric got worse? A test that may be looked at every day.

A test at 5 per cent that is made every day gives an alarm in nearly every year. An *e-process* may be looked at whenever one
likes: it is the capital of somebody who bets against "the mean is still as good as baseline less margin", starts with 1 and
cannot expect to gain while that is true. By Ville's inequality the chance that it ever reaches 20 is at most 1 in 20.

This one is the one-sided normal mixture (Robbins, 1970, Annals of Mathematical Statistics 41; Howard, Ramdas, McAuliffe and
Sekhon, 2021, Annals of Statistics 49) of values standardised by the spread that the baseline's own days show::

    E_t = 2 sqrt(r / (t + r)) exp(S^2 / (2 (t + r))) Phi(S / sqrt(t + r)),    S = sum of (null_mean - x_i) / sd, r = precision

It was chosen by simulation against the betting e-process of Waudby-Smith and Ramdas (2024, Journal of the Royal Statistical
Society B 86), whose bets are bounded by the values' range and which cannot use that a mean of many rows is known well. 600 years
of daily looks at a mean loss (coefficient of variation 1 per row), 90 days of baseline, margin 5 per cent, alarm at 20; false
alarms per year, and median day of the alarm when the loss is 20 per cent higher from day 1 on:

    rows per day         20               100              1000
    this one             0.5%, day 15     0.0%, day 5      0.0%, day 2
    betting, 6 sd        0.0%, day 48     0.0%, day 21     0.0%, day 8
    with days of autocorrelation 0.5
    this one, daily      14%, day 14      2.5%, day 5      0.0%, day 2
    this one, weekly     5.3%, week 6     0.2%, week 3     0.0%, week 1

Of a daily AUC of .735, sd .062 (100 rows), margin .02, that falls by .06: 0.3%, day 17; betting on [0, 1]: 0.2%, day 38; with
autocorrelated days 6.8% daily and 1.3% by the week. Hence: where days hang together, join them into weeks first
(:func:`join_days`). The margin is not only the loss one can live with: the baseline is itself an estimate, and when the truth is
exactly at the margin's edge 16 per cent of years have an alarm, not 5.

Nothing is kept between looks: the values of all blocks since the baseline are read again from their stored rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

ALARM = 20.0
PRECISION = 5.0
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


def first_alarm(evidence: Sequence[float], level: float = ALARM) -> int | None:
    """Index of the first e-value at or over ``level``, None without one. An alarm stands, whatever comes after it."""
    return next((index for index, value in enumerate(evidence) if value >= level), None)


def _log_normal_cdf(x: float) -> float:
    """Logarithm of the normal distribution function; far in the lower tail by its asymptotic form, where erfc underflows."""
    if x < -30:
        return -x * x / 2 - math.log(-x * math.sqrt(2 * math.pi))
    return math.log(math.erfc(-x / math.sqrt(2)) / 2)
