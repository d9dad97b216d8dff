"""Precision and scale of numeric divisions, by the examples that are documented and published."""

from __future__ import annotations

import pytest

from localaws.redshift.arithmetic import division_type


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [((19, 0), (19, 0), (38, 19)), ((19, 2), (38, 19), (38, 4)), ((2, 1), (10, 0), (13, 12)), ((38, 0), (19, 0), (38, 4))],
)
def test_precision_and_scale_of_a_division(left, right, expected):
    assert division_type(left, right) == expected
