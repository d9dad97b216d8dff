"""Outcomes by day, held to counting by hand and by brute force."""

from __future__ import annotations

import json
import math
from datetime import date

import numpy as np
import pytest

from flywheel.core.metrics import auc, calibration_ratio
from flywheel.core.outcomes import WHOLE, by_day, count_outcomes, count_segments, read_baseline, total, write_baseline

RNG = np.random.default_rng(3)
ROWS = 600
DAYS = np.array([f"2013-04-{1 + day:02}" for day in RNG.integers(0, 5, ROWS)])
LABELS = RNG.integers(0, 2, ROWS)
SCORES = RNG.integers(0, 30, ROWS) / 30
ORIGINS = RNG.choice(np.array(["JFK", "EWR", None], dtype=object), ROWS)


def test_pairs_are_of_the_same_day() -> None:
    for one in count_outcomes(LABELS, SCORES, DAYS):
        chosen = str(one.day) == DAYS
        assert (one.scored, one.labelled, one.positives) == (chosen.sum(), chosen.sum(), LABELS[chosen].sum())
        assert one.auc == pytest.approx(auc(LABELS[chosen], SCORES[chosen]), rel=1e-12)
        assert one.calibration == pytest.approx(calibration_ratio(LABELS[chosen], SCORES[chosen]))
    a, b = count_outcomes([1, 0, 1, 0], [0.9, 0.1, 0.2, 0.8], ["2013-04-01", "2013-04-01", "2013-04-02", "2013-04-02"])
    assert (a.day, a.won, b.won, total([a, b]).auc) == (date(2013, 4, 1), 1.0, 0.0, 0.5)


def test_a_day_with_one_class_has_no_pairs_and_still_counts() -> None:
    (one,) = count_outcomes([1, 1], [0.4, 0.6], ["2013-04-01"] * 2)
    assert (one.positives, one.pairs, one.won, one.score_sum) == (2, 0.0, 0.0, 1.0)
    assert math.isnan(one.auc) and one.calibration == 0.5
    assert count_outcomes([], [], []) == []
    with pytest.raises(ValueError, match="found none"):
        total([])


def test_segments_are_the_levels_of_a_column_and_the_missing() -> None:
    segments = count_segments(LABELS, SCORES, DAYS, {"origin": ORIGINS})
    assert sorted(segments) == [WHOLE, "origin=EWR", "origin=JFK", "origin=null"]
    levels = [segments[name] for name in segments if name != WHOLE]
    assert [one.scored for one in by_day(levels)] == [one.scored for one in segments[WHOLE]]
    assert sum(one.score_sum for one in by_day(levels)) == pytest.approx(SCORES.sum())
    jfk = ORIGINS == "JFK"
    assert segments["origin=JFK"] == count_outcomes(LABELS[jfk], SCORES[jfk], DAYS[jfk])


def test_a_baseline_is_read_as_it_was_written_and_another_version_is_refused() -> None:
    segments = count_segments(LABELS, SCORES, DAYS, {"origin": ORIGINS})
    stored = json.loads(json.dumps(write_baseline(segments)))
    assert read_baseline(stored) == segments
    with pytest.raises(ValueError, match="expected version 1, found 7"):
        read_baseline(stored | {"version": 7})
