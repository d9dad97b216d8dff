"""The reference profile: bins by hand, what it says about dependent rows, and profiles of older versions."""

import json
import math
from datetime import date, timedelta

import numpy as np
import pytest

from flywheel.core.drift import psi
from flywheel.core.profiles import (
    bin_counts,
    block_design,
    categorical_profile,
    day_blocks,
    numeric_profile,
    profile_of,
    read_profile,
    reference_profile,
)

DAYS = [date(2013, 1, 1) + timedelta(days=i) for i in range(90)]


def test_numeric_bins_are_right_closed_deciles_with_outer_bins():
    profile = numeric_profile(np.arange(1, 101))
    assert (profile["min"], profile["max"]) == (1.0, 100.0)
    assert profile["edges"] == [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0]
    assert profile["counts"] == [0] + [10] * 10 + [0, 0]
    current = [0.5, 1, 10, 10.5, 100, 101, math.inf, -math.inf, None, math.nan]
    assert bin_counts(profile, current) == [2, 2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2, 2]


def test_equal_deciles_are_merged_and_a_constant_has_one_bin():
    zeros_mostly = numeric_profile([0.0] * 95 + [1.0, 2.0, 3.0, 4.0, 5.0])
    assert zeros_mostly["edges"] == [0.0] and zeros_mostly["counts"] == [0, 95, 5, 0, 0]
    constant = numeric_profile([1.0] * 20_000)
    assert constant["edges"] == [] and constant["counts"] == [0, 20_000, 0, 0]
    assert psi(constant["counts"], bin_counts(constant, [2.0] * 20_000)) == pytest.approx(18.4, abs=0.05)


def test_a_feature_without_any_value_counts_later_values_as_above():
    empty = numeric_profile([None, math.nan, None])
    assert empty["counts"] == [0, 0, 3]
    assert bin_counts(empty, [1.0, None]) == [0, 1, 1]


def test_nulls_unseen_levels_and_values_out_of_range_count_as_drift():
    rng = np.random.default_rng(0)
    values = rng.normal(size=20_000)
    profile = numeric_profile(values)
    for damage in (math.nan, 100.0):
        damaged = values.copy()
        damaged[:2000] = damage
        assert psi(profile["counts"], bin_counts(profile, damaged)) == pytest.approx(0.70, abs=0.01)
    levels = rng.choice(["a", "b"], 20_000).astype(object)
    profile = categorical_profile(levels)
    for damage in (None, "new"):
        damaged = levels.copy()
        damaged[:2000] = damage
        assert psi(profile["counts"], bin_counts(profile, damaged)) == pytest.approx(0.70, abs=0.01)


def test_rare_levels_share_a_bin():
    profile = categorical_profile(["AA"] * 600 + ["BB"] * 395 + ["CC"] * 3 + ["DD"] * 1 + [None])
    assert (profile["levels"], profile["other"]) == (["AA", "BB"], ["CC", "DD"])
    assert profile["counts"] == [600, 395, 4, 0, 1]
    assert bin_counts(profile, ["AA", "DD", "EE", "FF", None]) == [1, 0, 1, 2, 1]
    many = categorical_profile([str(i % 60) for i in range(6000)], max_levels=50)
    assert len(many["levels"]) == 50 and len(many["other"]) == 10


def test_the_profile_survives_json_and_needs_columns_of_one_length():
    profile = reference_profile({"x": [1.0, 2.0, None], "c": ["a", None, "b"]}, categorical=["c"])
    assert json.loads(json.dumps(profile)) == profile and profile["rows"] == 3
    with pytest.raises(ValueError, match="columns of one length"):
        reference_profile({"x": [1.0], "c": ["a", "b"]})


def test_the_profile_tells_moments_and_importance():
    profile = reference_profile({"x": [1.0, 3.0, None, math.inf], "c": ["a", "b", "a", "a"]}, ["c"], importance={"x": 0.75})
    assert (profile["features"]["x"]["mean"], profile["features"]["x"]["sd"]) == (2.0, 1.0)
    assert [profile["features"][name]["importance"] for name in ("x", "c")] == [0.75, 0.0]
    assert reference_profile({"x": [1.0]})["features"]["x"]["importance"] is None


def test_rows_come_in_whole_weeks_that_end_with_the_last_day():
    rows = np.repeat(np.array(DAYS, dtype="datetime64[D]"), 3)
    length, blocks = day_blocks(rows[::-1])
    assert (length, len(blocks)) == (7, 12) and {len(block) for block in blocks} == {21}
    assert {str(day) for day in rows[::-1][blocks[0]]} == {f"2013-03-{day}" for day in range(25, 32)}
    assert day_blocks(DAYS[:27])[0] == 1 and len(day_blocks(DAYS[:27])[1]) == 27
    assert day_blocks([str(day) for day in DAYS[:28]])[0] == 7
    assert day_blocks([]) == (1, [])


def test_the_design_effect_by_hand():
    """Two bins; the share of the first is .2 and .8 in two blocks of 10: its variance is .09 instead of .25 / 20."""
    effect, df = block_design([[2, 8], [8, 2]])
    assert effect == pytest.approx(0.09 / 0.0125) and df == 1.0
    assert block_design([[5, 5, 0], [5, 5, 0]]) == (1.0, 1.0)
    assert block_design([[1, 2]]) == (1.0, None) and block_design([[5], [6]]) == (1.0, None)


def test_independent_rows_count_each_and_rows_of_one_week_count_together():
    rng = np.random.default_rng(5)
    days = np.repeat(DAYS, 40)
    week = np.repeat(np.arange(89, -1, -1) // 7, 40)
    columns = {
        "independent": rng.normal(size=3600),
        "weekly": rng.normal(size=13)[week],
        "half": rng.normal(size=13)[week] + rng.normal(size=3600),
        "weekday": np.repeat(np.arange(90) % 7, 40),
        "level": np.array(["a", "b", "c", "d"])[rng.integers(0, 4, 13)][week],
    }
    features = reference_profile(columns, ["level"], days=days)["features"]
    effects = {name: feature["design_effect"] for name, feature in features.items()}
    assert effects["independent"] < 1.5 and effects["weekday"] == 1.0
    assert 10 < effects["half"] < effects["weekly"] and effects["weekly"] == pytest.approx(280, rel=0.5)
    assert effects["level"] == pytest.approx(280, rel=0.5)
    # A distribution that only moves to and fro has few degrees of freedom.
    assert features["half"]["design_df"] < 4 < features["independent"]["design_df"]
    assert {feature["block_rows"] for feature in features.values()} == {280.0}
    by_list = reference_profile({name: list(values) for name, values in columns.items()}, ["level"], days=list(days))
    assert by_list["features"] == features


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(6)
    values, days, order = rng.normal(size=900), np.repeat(DAYS, 10), rng.permutation(900)
    assert numeric_profile(values, days=days) == numeric_profile(values[order], days=days[order])


def test_a_profile_of_version_1_is_read_with_independent_rows_and_unknown_importance():
    old = {"version": 1, "rows": 4, "score": {"kind": "numeric", "min": 0.1, "max": 0.9, "edges": [], "counts": [0, 4, 0, 0]}}
    old["features"] = {"c": {"kind": "category", "levels": ["a"], "other": [], "counts": [4, 0, 0, 0]}}
    read = read_profile(json.loads(json.dumps(old)))
    assert read["version"] == 2
    assert {"design_effect": 1.0, "design_df": None, "importance": None}.items() <= read["features"]["c"].items()
    assert profile_of(read, "score")["mean"] is None
    assert "design_effect" not in old["features"]["c"]
    with pytest.raises(ValueError, match="expected version 1 or 2, found 3"):
        read_profile({**old, "version": 3})
    with pytest.raises(KeyError, match="expected one of c, found d"):
        profile_of(read, "d")


def test_days_must_be_as_many_as_rows():
    with pytest.raises(ValueError, match="columns and days of one length"):
        reference_profile({"x": [1.0, 2.0]}, days=DAYS[:1])
