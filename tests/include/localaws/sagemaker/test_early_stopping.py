"""The median rule: which training jobs of a tuning job are stopped before their end."""

from __future__ import annotations

import pytest

from localaws.sagemaker.early_stopping import is_hopeless

# Running averages up to the 4th epoch: 0.4, 0.5, 0.6.
EARLIER = [[0.1, 0.3, 0.5, 0.7], [0.2, 0.4, 0.6, 0.8], [0.3, 0.5, 0.7, 0.9]]


@pytest.mark.parametrize(
    ("course", "maximize", "hopeless"),
    [
        ([0.1, 0.1, 0.1, 0.49], True, True),
        ([0.1, 0.1, 0.1, 0.5], True, False),  # the median itself is not worse
        ([0.9, 0.9, 0.9, 0.49], True, True),  # only the latest value counts
        ([0.1, 0.1, 0.1, 0.49], False, False),
        ([0.1, 0.1, 0.1, 0.51], False, True),
        ([0.1], True, True),  # the median of the first epochs is 0.2
        ([], True, False),
        ([0.0] * 5, True, False),  # no earlier job came so far
    ],
)
def test_a_job_is_stopped_when_it_is_worse_than_the_median_of_running_averages(
    course: list[float], maximize: bool, hopeless: bool
) -> None:
    assert is_hopeless(course, EARLIER, maximize=maximize) is hopeless


def test_nothing_is_stopped_before_three_jobs_have_completed() -> None:
    assert is_hopeless([0.0], EARLIER, maximize=True)
    assert not is_hopeless([0.0], EARLIER[:2], maximize=True)


def test_nothing_is_stopped_in_its_first_epochs() -> None:
    earlier = [[1.0] * 20] * 3
    assert not is_hopeless([0.0] * 4, earlier, maximize=True)
    assert is_hopeless([0.0] * 5, earlier, maximize=True)
