"""Metrics against hand-made and brute-force values."""

import math

import numpy as np
import pytest

from flywheel.core.metrics import auc, auc_difference, block_wins, calibration_ratio, gini, logloss


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
