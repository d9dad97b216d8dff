"""Early stopping of a tuning job's training jobs: the median rule that AWS documents.

After each epoch the objective is compared with the median of the running averages that earlier training jobs had up to
the same epoch; a job that is worse is stopped. AWS waits for some completed jobs and for some epochs before it decides,
and does not tell how many; here it is `EARLIER_JOBS` and `WARM_UP`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import fmean, median

from localaws.sagemaker.metrics import logged, metric_values

EARLIER_JOBS = 3
WARM_UP = 0.25
"""The share of an earlier job's epochs before which no job is stopped: fast learners are not always the best ones."""


def is_hopeless(course: Sequence[float], earlier: Sequence[Sequence[float]], *, maximize: bool) -> bool:
    """Whether the median rule stops a job.

    :param course: the job's objective after each epoch so far
    :param earlier: the same of each job that has completed
    """
    epoch = len(course)
    if len(earlier) < EARLIER_JOBS or epoch == 0 or epoch < WARM_UP * median(len(each) for each in earlier):
        return False
    averages = [fmean(each[:epoch]) for each in earlier if len(each) >= epoch]
    if len(averages) < EARLIER_JOBS:
        return False
    return course[-1] < median(averages) if maximize else course[-1] > median(averages)


class Course:
    """A job's objective after each epoch, read from its log as it grows.

    :param pattern: the metric's regular expression; each number that it captures is an epoch's
    """

    def __init__(self, group: str, stream: str, pattern: str):
        self.values: list[float] = []
        self._group, self._stream, self._pattern = group, stream, re.compile(pattern)
        self._lines = 0

    def read(self) -> list[float]:
        """All values so far."""
        lines = logged(self._group, self._stream, self._lines)
        self._lines += len(lines)
        self.values += [value for _, line in lines for value in metric_values(self._pattern, line)]
        return self.values
