"""Metrics against hand-made and brute-force values."""

import math

import numpy as np
import pytest

from flywheel.core.metrics import (
    auc,
    auc_difference,
    block_wins,
    calibration_ratio,
    gini,
    logloss,
    mape,
    naive_ratio,
    ratio_interval,
    wape,
)


def brute_auc(labels, scores):
    pairs = [(p, n) for p, a in zip(scores, labels, strict=True) if a for n, b in zip(scores, labels, strict=True) if not b]
    return sum(1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs) / len(pairs)


def test_auc_by_hand():
    labels = np.array([1, 1, 1, 0, 0])
    assert auc(labels, [0.9, 0.7, 0.4, 0.6, 0.3]) == pytest.approx(5 / 6)
    assert auc(labels, [0.8, 0.5, 0.3, 0.55, 0.4]) == pytest.approx(1 / 2)
    assert auc(labels, [0.5] * 5) == 0.5
    assert gini(0.75) == 0.5


def test_auc_counts_ties_half():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 200), rng.integers(0, 12, 200) / 12
    assert auc(labels, scores) == pytest.approx(brute_auc(labels, scores), rel=1e-12)


def test_one_class_has_no_auc_and_no_difference():
    assert math.isnan(auc([1, 1], [0.1, 0.2])) and math.isnan(auc([], []))
    assert math.isnan(auc_difference([0, 0], [0.1, 0.2], [0.2, 0.1], [1, 2]).value)


def test_logloss_and_calibration():
    assert logloss([1, 0], [0.8, 0.4]) == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)
    assert logloss([1, 0], [1.0, 0.0]) == pytest.approx(0.0, abs=1e-12)
    assert logloss([0], [1.0]) == pytest.approx(-math.log(1e-15), rel=1e-2)
    assert calibration_ratio([1, 0, 0, 0], [0.5, 0.25, 0.25, 0.5]) == 1.5
    assert math.isnan(calibration_ratio([0, 0], [0.5, 0.5])) and math.isnan(logloss([], []))


def test_block_wins_give_the_auc_of_any_resample_of_blocks():
    rng = np.random.default_rng(1)
    labels, scores, blocks = rng.integers(0, 2, 300), rng.integers(0, 40, 300) / 40, rng.integers(0, 5, 300)
    weights = np.array([2, 0, 1, 3, 1])
    drawn = np.repeat(np.arange(300), weights[blocks])
    wins = block_wins(labels, scores, blocks)
    positives = np.bincount(blocks, weights=labels) @ weights
    pairs = positives * (np.bincount(blocks) @ weights - positives)
    assert weights @ wins @ weights / pairs == pytest.approx(brute_auc(labels[drawn], scores[drawn]), rel=1e-12)


def test_the_interval_of_a_difference_covers_it_and_is_reproducible():
    rng = np.random.default_rng(2)
    blocks = np.repeat(np.arange(20), 200)
    labels = rng.integers(0, 2, 4000)
    good, poor = labels + rng.normal(0, 1, 4000), labels + rng.normal(0, 3, 4000)
    difference = auc_difference(labels, good, poor, blocks)
    assert difference.value == pytest.approx(auc(labels, good) - auc(labels, poor), rel=1e-9)
    assert 0 < difference.low < difference.value < difference.high
    assert difference == auc_difference(labels, good, poor, blocks)
    same = auc_difference(labels, good, good, blocks)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_whole_days_are_drawn_not_rows():
    """A day's rows that all err together carry one day's evidence, so the interval must be wider than for independent rows."""
    rng = np.random.default_rng(3)
    blocks = np.repeat(np.arange(15), 300)
    labels = rng.integers(0, 2, 4500)
    first = labels + rng.normal(0, 1, 4500)
    second = labels * rng.choice([0.2, 1.8], 15)[blocks] + rng.normal(0, 1, 4500)
    by_day = auc_difference(labels, first, second, blocks)
    by_row = auc_difference(labels, first, second, rng.permutation(blocks))
    assert by_day.high - by_day.low > 2 * (by_row.high - by_row.low)


def delong(labels, first, second):
    """Difference of two AUCs and its variance by midranks (DeLong, DeLong and Clarke-Pearson, 1988), written by hand."""
    truth = np.asarray(labels) == 1
    components = []
    for scores in (np.asarray(first), np.asarray(second)):
        wins = (scores[truth][:, None] > scores[~truth]) + 0.5 * (scores[truth][:, None] == scores[~truth])
        components.append((wins.mean(1), wins.mean(0)))
    by_positive, by_negative = (components[0][side] - components[1][side] for side in (0, 1))
    return by_positive.mean(), by_positive.var(ddof=1) / len(by_positive) + by_negative.var(ddof=1) / len(by_negative)


def test_delong_by_hand():
    difference, variance = delong([1, 1, 1, 0, 0], [0.9, 0.7, 0.4, 0.6, 0.3], [0.8, 0.5, 0.3, 0.55, 0.4])
    assert difference == pytest.approx(1 / 3) and variance == pytest.approx(1 / 36)
    assert difference / math.sqrt(variance) == pytest.approx(2.0)


def test_the_interval_of_independent_rows_is_that_of_delong():
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, 600)
    first, second = labels + rng.normal(0, 1, 600), labels + rng.normal(0, 1.5, 600)
    difference, variance = delong(labels, first, second)
    found = auc_difference(labels, first, second, np.arange(600), resamples=600)
    assert found.value == pytest.approx(difference)
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(variance), rel=0.12)


def test_the_interval_of_a_ratio_has_its_standard_error_by_days():
    rng = np.random.default_rng(6)
    days = np.repeat(np.arange(100), 10)
    above, below = np.repeat(rng.normal(2, 0.5, 100), 10), np.ones(1000)
    found = ratio_interval(above, below, days)
    assert found.value == pytest.approx(above.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * above[::10].std() / 10, rel=0.15)
    assert math.isnan(ratio_interval([1.0], [0.0], [0]).value) and math.isnan(ratio_interval([], [], []).value)


# Poisson actuals and the forecast that is their true mean.
@pytest.mark.parametrize(
    ("mean", "expected_mape", "expected_wape", "zeros"),
    [(1, 0.233, 0.737, 0.37), (5, 0.516, 0.351, 0.007), (20, 0.195, 0.178, 0.0), (100, 0.081, 0.080, 0.0)],
)
def test_errors_of_a_perfect_forecast_of_counts(mean, expected_mape, expected_wape, zeros):
    actual = np.random.default_rng(7).poisson(mean, 200_000)
    found = mape(actual, np.full(200_000, mean))
    assert found.value == pytest.approx(expected_mape, rel=0.01) and found.zeros / 200_000 == pytest.approx(zeros, abs=0.003)
    assert found.rows + found.zeros == 200_000
    assert wape(actual, np.full(200_000, mean)) == pytest.approx(expected_wape, rel=0.01)


def test_mape_rewards_forecasting_too_little_and_wape_does_not():
    actual = np.random.default_rng(8).poisson(5, 50_000)
    multiples = np.arange(0.4, 1.3, 0.01)
    best = {
        name: multiples[np.argmin([metric(actual, np.full(50_000, 5 * multiple)) for multiple in multiples])]
        for name, metric in (("mape", lambda a, f: mape(a, f).value), ("wape", wape))
    }
    assert best["mape"] == pytest.approx(0.79, abs=0.03) and best["wape"] == pytest.approx(1.0, abs=0.02)


def test_the_ratio_to_the_seasonal_naive_forecast():
    assert naive_ratio([10, 20, 30], [12, 20, 29], [math.nan, 24, 32]) == pytest.approx(1 / 6)
    assert math.isnan(naive_ratio([10], [12], [10])) and math.isnan(wape([0, 0], [1, 2])) and math.isnan(mape([0], [1]).value)
