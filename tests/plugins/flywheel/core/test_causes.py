"""Damage of known kind done to real-looking columns, and the cause that is found."""

import numpy as np
import pytest

from flywheel.core.causes import CONVERSIONS, find_cause, scale_factor
from flywheel.core.counting import Moments
from flywheel.core.drift import FeatureDrift
from flywheel.core.profiles import bin_counts, categorical_profile, numeric_profile

RNG = np.random.default_rng(20)
TEMPERATURE = 50 + 10 * RNG.normal(size=5000)  # degrees Fahrenheit
DELAY = RNG.exponential(12, 5000)
CARRIER = RNG.choice(["AA", "B6", "DL", "UA"], 5000).astype(object)


def moments(profile, values):
    distance = np.asarray(values, dtype=float)[np.isfinite(np.asarray(values, dtype=float))] - profile["mean"]
    return Moments(len(distance), profile["mean"], float(distance.sum()), float((distance**2).sum()))


def cause(reference, current, *, in_season=False, with_moments=True):
    category = reference.dtype == object
    profile = categorical_profile(reference) if category else numeric_profile(reference)
    sums = None if category or not with_moments else moments(profile, current)
    drift = FeatureDrift("x", 1.0, 1.0, 0.2, "drift", in_season=in_season)
    return find_cause(profile, bin_counts(profile, current), drift, sums)


def with_share(values, share, damage):
    damaged = values.copy()
    damaged[: int(share * len(values))] = damage
    return damaged


@pytest.mark.parametrize(
    ("name", "reference", "current"),
    [
        ("missing", TEMPERATURE, with_share(TEMPERATURE, 0.3, np.nan)),
        ("missing", CARRIER, with_share(CARRIER, 0.3, None)),
        ("constant", TEMPERATURE, np.full(1000, 51.0)),
        ("constant", TEMPERATURE, np.full(1000, -9999.0)),
        ("constant", CARRIER, np.full(1000, "AA", dtype=object)),
        ("unit", TEMPERATURE, (TEMPERATURE - 32) / 1.8),
        ("unit", (TEMPERATURE - 32) / 1.8, TEMPERATURE),
        ("unit", DELAY, DELAY * 60),
        ("unit", DELAY, DELAY / 60),
        ("unit", DELAY, DELAY * 1.609),
        ("unit", DELAY, np.concatenate([DELAY, DELAY + 12]) * 60),  # seconds, of a season with more delays
        ("unit", DELAY, np.concatenate([DELAY, DELAY + 12]) / 60),
        ("shift", DELAY, np.concatenate([DELAY, DELAY + 12]) * 1.609),
        ("unseen", CARRIER, with_share(CARRIER, 0.2, "WN")),
        ("unseen", DELAY, with_share(DELAY, 0.2, 500.0)),
        ("shift", TEMPERATURE, TEMPERATURE + 7),
        ("shift", DELAY, DELAY * 2),
        ("shift", DELAY, RNG.exponential(20, 5000)),
        ("shift", CARRIER, RNG.choice(["AA", "B6", "DL", "UA"], 5000, p=[0.7, 0.1, 0.1, 0.1]).astype(object)),
    ],
)
def test_the_cause_of_a_known_damage_is_found(name, reference, current):
    assert cause(reference, current) == name


def test_what_fits_last_year_is_a_season_whatever_else_it_looks_like():
    assert cause(TEMPERATURE, with_share(TEMPERATURE, 0.3, np.nan), in_season=True) == "season"


def test_fewer_nulls_than_before_are_not_missing_data():
    assert cause(with_share(TEMPERATURE, 0.6, np.nan), RNG.permutation(TEMPERATURE)) == "shift"


def test_without_moments_a_unit_is_not_claimed_and_outer_bins_may_hold_many_values():
    assert cause(DELAY, DELAY * 60, with_moments=False) == "unseen"
    assert cause(TEMPERATURE, np.full(1000, 51.0), with_moments=False) == "constant"
    assert cause(TEMPERATURE, 500 + RNG.normal(size=1000), with_moments=False) == "unseen"
    assert cause(TEMPERATURE, 51.0 + RNG.uniform(-0.5, 0.5, 1000)) == "shift"


def test_a_feature_that_always_was_constant_is_not_broken():
    assert cause(np.full(5000, 1.0), with_share(np.full(5000, 1.0), 0.2, 2.0)) == "unseen"


def test_the_factor_is_told():
    profile = numeric_profile(DELAY)
    for factor in CONVERSIONS:
        assert scale_factor(profile, moments(profile, DELAY * factor)) == pytest.approx(factor)
        assert scale_factor(profile, moments(profile, DELAY / factor)) == pytest.approx(1 / factor)
    assert scale_factor(profile, moments(profile, DELAY * 1.2)) is None
    assert scale_factor(profile, Moments(0, profile["mean"], 0.0, 0.0)) is None
    assert scale_factor({"mean": None, "sd": None}, moments(profile, DELAY)) is None
