"""What kind of change is it? A drifted feature may be a season, a broken column or a world that has changed.

The three want different things: nothing, a person, a retraining. A column that is broken upstream must not be learned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from flywheel.core.counting import Moments
from flywheel.core.drift import FeatureDrift, psi_terms

SEASON, MISSING, CONSTANT, UNIT, UNSEEN, SHIFT = "season", "missing", "constant", "unit", "unseen", "shift"
BROKEN = frozenset({MISSING, CONSTANT, UNIT})

# What a unit is mistaken for: thousands, hundreds (cents, per cent), minutes and hours, hours and days, kilometres per hour and
# metres per second, miles and kilometres, nautical miles, inches, feet, pounds.
CONVERSIONS = (1000.0, 100.0, 60.0, 3600.0, 24.0, 3.6, 1.609344, 1.852, 2.54, 3.28084, 2.204623)
# The scale of Fahrenheit against Celsius, and its zero.
FAHRENHEIT = (1.8, 32.0)
EXTREME_FACTOR = 5.0
SAME_FACTOR = 0.1
# No world changes so much by itself; that it has changed a little besides need not hide it.
ABSURD_FACTOR = 20.0
LIKE_FACTOR = math.log(2)
NEAR_CONVERSION = 0.04
ONE_VALUE_SHARE = 0.999


def find_cause(feature: Mapping[str, Any], current: Sequence[int], drift: FeatureDrift, moments: Moments | None = None) -> str:
    """The kind of change of a feature that has drifted, the first of these that holds.

    * ``season``: the current data fit the same weeks of last year (``drift.in_season``)
    * ``missing``: there are more nulls, and they are the greater part of the PSI
    * ``constant``: (nearly) all values are one, where the reference has several
    * ``unit``: mean and spread have both been scaled by the same factor, which is that of a known conversion or extreme; or by
      Fahrenheit's scale and zero. A factor of, say, two may as well be growth, and is none
    * ``unseen``: levels, or values beyond the range, that the reference does not have are the greater part of the PSI
    * ``shift``: anything else

    :param feature: the feature's profile
    :param current: its bin counts; best those of the days since it has drifted (see :func:`flywheel.core.drift.since`)
    :param moments: of the same values; without them a unit is not found, and a constant number only inside one bin
    """
    if drift.in_season:
        return SEASON
    reference, terms = feature["counts"], psi_terms(feature["counts"], current)
    half = sum(terms) / 2
    if current[-1] * sum(reference) > reference[-1] * sum(current) and terms[-1] > half:
        return MISSING
    numeric = feature["kind"] == "numeric"
    if _is_constant(feature, current, moments):
        return CONSTANT
    if numeric and moments is not None and scale_factor(feature, moments) is not None:
        return UNIT
    if terms[-2] + (terms[0] if numeric else 0.0) > half:
        return UNSEEN
    return SHIFT


def scale_factor(feature: Mapping[str, Any], moments: Moments) -> float | None:
    """By what a unit seems to have been multiplied, or None where that does not explain mean and spread.

    Both must agree with one factor to a tenth; where both are absurd, within a factor of two. For Fahrenheit and Celsius spread
    must, and the mean must be within a standard deviation of where the conversion puts it and further than that from where it
    was.
    """
    mean, sd = feature.get("mean"), feature.get("sd")
    if not mean or not sd or not moments.rows or not moments.sd:
        return None
    spread, level = moments.sd / sd, moments.mean / mean
    apart = abs(math.log(spread / level)) if level > 0 else math.inf
    if apart <= LIKE_FACTOR and (min(spread, level) >= ABSURD_FACTOR or max(spread, level) <= 1 / ABSURD_FACTOR):
        return math.sqrt(spread * level)
    if apart <= SAME_FACTOR:
        factor = math.sqrt(spread * level)
        size = max(factor, 1 / factor)
        if size >= EXTREME_FACTOR or any(abs(math.log(size / known)) <= NEAR_CONVERSION for known in CONVERSIONS):
            return factor
    scale, zero = FAHRENHEIT
    for factor, converted in ((1 / scale, (mean - zero) / scale), (scale, mean * scale + zero)):
        deviation = sd * factor
        near = abs(moments.mean - converted) <= deviation < abs(moments.mean - mean)
        if near and abs(math.log(spread / factor)) <= SAME_FACTOR:
            return factor
    return None


def _is_constant(feature: Mapping[str, Any], current: Sequence[int], moments: Moments | None) -> bool:
    """Whether (nearly) one value is left; in a bin that stands for many values only moments can tell."""
    before, now = feature["counts"][:-1], current[:-1]
    if not sum(now) or max(now) < ONE_VALUE_SHARE * sum(now) or (sum(before) and max(before) >= ONE_VALUE_SHARE * sum(before)):
        return False
    if feature["kind"] == "category":
        return now.index(max(now)) < len(feature["levels"])
    if moments is not None and feature.get("sd"):
        return moments.sd <= 0.001 * feature["sd"]
    return 0 < now.index(max(now)) < len(now) - 1
