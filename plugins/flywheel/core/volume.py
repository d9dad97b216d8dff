"""How many rows a partition usually has, learned from the partitions before it.

A delivery cut short, or sent twice under other keys, keeps every promise that one row can keep; only the number of its rows
shows it. What is usual depends on the weekday, and the past holds odd days too, so the band is made of robust statistics: the
median of the same weekdays, and their median absolute deviation (MAD), which half of the days being odd cannot move far.
1.4826 times the MAD estimates the standard deviation of normal values; judging by median and MAD instead of mean and deviation
is the advice of Leys et al., "Detecting outliers: Do not use standard deviation around the mean, use absolute deviation around
the median", Journal of Experimental Social Psychology 49 (2013), and of Rousseeuw and Croux, "Alternatives to the Median
Absolute Deviation", Journal of the American Statistical Association 88 (1993).

The MAD of a few steady weeks is next to nothing, and no holiday would be let through: so the band is never narrower than
``volume.tolerance`` of the median. Of the flights of 2013 the oddest day (Thanksgiving) is 36 % below its median.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from flywheel.core.contracts import Contract

#: The MAD times this estimates the standard deviation of a normal distribution: 1 / its 75 % quantile.
SCALE_OF_MAD = 1.4826
#: How many estimated standard deviations to either side are usual. Four leave out one normal day in 16,000.
DEVIATIONS = 4


@dataclass(frozen=True)
class Band:
    """The numbers of rows that are usual, both ends included.

    :param days_learned_from: the partitions that it was learned from, the newest first
    """

    low: float
    high: float
    days_learned_from: tuple[date, ...]

    def __contains__(self, rows: int) -> bool:
        return self.low <= rows <= self.high


def volume_band(contract: Contract, counts: Mapping[date, int], day: date) -> Band | None:
    """The band for the partition of ``day``, from the same weekdays of the ``weeks`` before it that ``counts`` has.

    :param counts: rows of partitions that are known to be right; days beyond those weeks are left out of account
    :return: None when the contract wants no band, or fewer than its ``min_weeks`` are known: then any number is right
    """
    volume = contract.volume
    if volume is None:
        return None
    days = [day - timedelta(weeks=weeks) for weeks in range(1, volume.weeks + 1)]
    known = tuple(past for past in days if past in counts)
    if len(known) < volume.min_weeks:
        return None
    rows = [counts[past] for past in known]
    median = statistics.median(rows)
    deviation = statistics.median(abs(count - median) for count in rows)
    half = max(volume.tolerance * median, DEVIATIONS * SCALE_OF_MAD * deviation)
    return Band(max(0.0, median - half), median + half, known)
