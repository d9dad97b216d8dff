"""Outcomes by day, held to counting by hand and by brute force."""

from __future__ import annotations

import json
import math
from datetime import date

import numpy as np
import pytest

from flywheel.core.metrics import auc, calibration_ratio, mape, naive_ratio, wape
from flywheel.core.outcomes import (
    RATIOS,
    WHOLE,
    by_day,
    count_errors,
    count_outcomes,
    count_segments,
    read_baseline,
    total,
    write_baseline,
)

RNG = np.random.default_rng(3)
ROWS = 600
DAYS = np.array([f"2013-04-{1 + day:02}" for day in RNG.integers(0, 5, ROWS)])
LABELS = RNG.integers(0, 2, ROWS)
SCORES = RNG.integers(0, 30, ROWS) / 30
ORIGINS = RNG.choice(np.array(["JFK", "EWR", None], dtype=object), ROWS)
COUNTS = RNG.poisson(3, ROWS).astype(float)
FORECASTS = RNG.gamma(3, 1, ROWS)
NAIVE = np.where(RNG.random(ROWS) < 0.3, np.nan, RNG.poisson(3, ROWS))


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


def test_errors_add_up_to_the_metrics_of_all_rows() -> None:
    days = count_errors(COUNTS, FORECASTS, DAYS, NAIVE)
    whole = total(days)
    assert len(days) == 5 and (whole.scored, whole.labelled) == (ROWS, ROWS)
    assert whole.ratio("wape") == pytest.approx(wape(COUNTS, FORECASTS), rel=1e-12)
    assert whole.ratio("naive_ratio") == pytest.approx(naive_ratio(COUNTS, FORECASTS, NAIVE), rel=1e-12)
    found = mape(COUNTS, FORECASTS)
    assert whole.ratio("mape") == pytest.approx(found.value, rel=1e-12)
    assert (whole.not_zero, whole.labelled - whole.not_zero) == (found.rows, found.zeros) and found.zeros > 10
    assert whole.calibration == pytest.approx(FORECASTS.sum() / COUNTS.sum()) and math.isnan(whole.auc)
    for one in days:
        assert one.ratio("wape") == pytest.approx(wape(COUNTS[str(one.day) == DAYS], FORECASTS[str(one.day) == DAYS]))


def test_of_each_kind_of_label_only_its_own_ratios_are_known() -> None:
    classes, numbers = total(count_outcomes(LABELS, SCORES, DAYS)), total(count_errors(COUNTS, FORECASTS, DAYS, NAIVE))
    known = (
        {name for name in RATIOS if not math.isnan(classes.ratio(name))},
        {n for n in RATIOS if not math.isnan(numbers.ratio(n))},
    )
    assert known == ({"auc", "calibration"}, {"calibration", "wape", "naive_ratio", "mape"})
    without = total(count_errors(COUNTS, FORECASTS, DAYS, np.full(ROWS, np.nan)))
    assert math.isnan(without.ratio("naive_ratio")) and without.ratio("wape") == numbers.ratio("wape")


def test_segments_and_baselines_of_numbers_are_those_of_their_rows() -> None:
    segments = count_segments(COUNTS, FORECASTS, DAYS, {"origin": ORIGINS}, naive=NAIVE)
    jfk = ORIGINS == "JFK"
    assert segments["origin=JFK"] == count_errors(COUNTS[jfk], FORECASTS[jfk], DAYS[jfk], NAIVE[jfk])
    assert read_baseline(json.loads(json.dumps(write_baseline(segments)))) == segments


def test_a_baseline_from_before_there_were_numbers_is_read() -> None:
    segments = count_segments(LABELS, SCORES, DAYS, {})
    stored = write_baseline(segments)
    known = ("day", "scored", "labelled", "positives", "won", "pairs", "score_sum")
    stored["segments"] = {name: [{key: line[key] for key in known} for line in days] for name, days in stored["segments"].items()}
    assert read_baseline(stored) == segments
