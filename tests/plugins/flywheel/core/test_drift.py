"""The population stability index against published and exact values, and the two ways to count against each other."""

import json
import math
import random
import sqlite3

import numpy as np
import pytest

from flywheel.core.drift import (
    bin_counts,
    categorical_profile,
    compare,
    counts_from_sql,
    critical_value,
    numeric_profile,
    psi,
    reference_profile,
    sql_counts,
)


# Exact to 40 digits; the libraries that compute this index agree with them. Shares times 1000, so that they are counts.
@pytest.mark.parametrize(
    ("reference", "current", "expected"),
    [
        ([400, 300, 300], [350, 250, 400], 0.04456085471610195521),
        ([100] * 10, [1000] + [0] * 9, 9 * 0.0999 * math.log(1000) + 0.9 * math.log(10)),
        ([500, 500], [600, 400], 0.1 * math.log(1.5)),
        ([100] * 10, [80, 80, 90, 90, 100, 100, 110, 110, 120, 120], 0.02023201823356959850),
        ([250] * 4, [400, 250, 200, 150], 0.13274028432916988915),
        ([900, 100], [100, 900], 1.6 * math.log(9)),
    ],
)
def test_psi_of_plain_shares(reference, current, expected):
    assert psi(reference, current, prior=0) == pytest.approx(expected, rel=1e-14)


# 500 and 500 rows of sklearn's make_classification(1000, 6, n_redundant=2, n_clusters_per_class=1, weights=[.5], class_sep=2,
# random_state=1), binned at the deciles of the first half.
@pytest.mark.parametrize(
    ("current", "expected"),
    [
        ([34, 69, 47, 62, 46, 54, 56, 35, 50, 47], 0.043828484052281),
        ([50, 56, 43, 42, 64, 48, 62, 48, 57, 30], 0.0409298707476654),
        ([32, 58, 52, 61, 46, 35, 51, 50, 49, 66], 0.0433041849515690),
        ([49, 48, 45, 54, 46, 57, 42, 77, 42, 40], 0.0377328653254815),
        ([45, 60, 58, 32, 54, 37, 48, 39, 66, 61], 0.0504738851566304),
        ([44, 55, 45, 57, 47, 45, 53, 60, 53, 41], 0.0147177355957125),
    ],
)
def test_psi_of_deciles_as_other_libraries_have_it(current, expected):
    assert psi([50] * 10, current, prior=0) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("values", "expected"), [(list(range(30)), 7.745116608833365), ([1, 2, 3, 4, 5, 6] * 5, 0.1621860432432658)]
)
def test_psi_with_an_empty_bin_is_floored(values, expected):
    reference, current = np.array(values[:15]), np.array(values[15:])
    edges = np.unique(np.quantile(reference, np.arange(0.1, 1, 0.1)))
    counts = [np.bincount(np.searchsorted(edges, side), minlength=len(edges) + 1) for side in (reference, current)]
    assert psi(*counts, prior=0) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("reference", "current", "expected"),
    [
        ([100] * 10, [0] + [50] * 8 + [100], 0.5250796938672353),
        ([1000, 0, 0], [900, 100, 0], 0.5403206690776077),
        ([500, 300, 200, 0], [200, 300, 400, 100], 0.9412658686236137),
        ([5000, 5000], [6000, 4000], 0.04053829074905682),
        ([10**6, 0], [966_000, 34_000], 0.1987805447027938),
    ],
)
def test_psi_of_counts_smoothed_and_floored(reference, current, expected):
    assert psi(reference, current) == pytest.approx(expected, rel=1e-14)


def test_psi_refuses_what_it_cannot_compare():
    with pytest.raises(ValueError, match="found 2 and 3 bins"):
        psi([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="found 3 and 0"):
        psi([1, 2], [0, 0])


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


def test_a_database_counts_the_same_bins():
    random.seed(3)

    def rows(shift: float, levels: str) -> list[tuple]:
        return [
            (
                None if random.random() < 0.1 else random.gauss(shift, 1),
                random.randrange(3),
                None if random.random() < 0.05 else random.choice(levels),
                None if shift == 0 else 1.0,
            )
            for _ in range(3000)
        ]

    names, reference, current = ("x", "small", "level", "always_null"), rows(0, "aaabbc'"), rows(0.7, "abbcd'")
    profile = reference_profile({n: [r[i] for r in reference] for i, n in enumerate(names)}, categorical=["level"])
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    database.execute("CREATE TABLE features (x REAL, small INTEGER, level TEXT, always_null REAL)")
    select = ", ".join(f"{expression} AS {alias}" for alias, expression in sql_counts(profile).items())
    empty = dict(database.execute(f"SELECT {select} FROM features").fetchone())
    assert counts_from_sql(profile, empty) == (0, {n: [0] * len(f["counts"]) for n, f in profile["features"].items()})
    database.executemany("INSERT INTO features VALUES (?, ?, ?, ?)", current)
    found = dict(database.execute(f"SELECT {select} FROM features").fetchone())
    expected = {n: bin_counts(profile["features"][n], [r[i] for r in current]) for i, n in enumerate(names)}
    assert counts_from_sql(profile, found) == (3000, expected)


# The law of the index without drift: (1/N + 1/M) chi-square, 60 features at 1 per cent.
@pytest.mark.parametrize(
    ("rows", "bins", "expected"), [(50, 10, 0.649), (100, 10, 0.324), (150, 10, 0.216), (200, 20, 0.246), (300, 50, 0.309)]
)
def test_critical_value(rows, bins, expected):
    assert critical_value(1e6, rows, bins, features=60) == pytest.approx(expected, abs=6e-4)


def test_small_samples_neither_alarm_nor_acquit():
    rng = np.random.default_rng(1)
    profile = reference_profile({"x": rng.normal(size=100_000)})
    feature = profile["features"]["x"]
    states = {
        (rows, shift): compare(profile, {"x": bin_counts(feature, rng.normal(shift, 1, rows))})[0].state
        for rows in (40, 2000)
        for shift in (0.0, 3.0)
    }
    assert states == {(40, 0.0): "insufficient", (40, 3.0): "drift", (2000, 0.0): "ok", (2000, 3.0): "drift"}
    assert compare(profile, {"x": [0] * 13})[0].state == "insufficient"


def test_the_corrected_index_is_about_zero_without_drift():
    rng = np.random.default_rng(2)
    profile = reference_profile({"x": rng.normal(size=5000)})
    corrected = [
        compare(profile, {"x": bin_counts(profile["features"]["x"], rng.normal(size=500))})[0].corrected for _ in range(200)
    ]
    assert abs(float(np.mean(corrected))) < 0.01
