"""Looking every day: false alarms and detection, by simulation with a fixed seed."""

import math
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pytest

from flywheel.core.sequential import (
    ALARM,
    Baseline,
    Day,
    allowed_mean,
    baseline_of,
    dependent_sd,
    e_detector,
    e_values,
    join_days,
)

NEW_YEAR = date(2013, 1, 1)


def first_alarm(values, level=20.0):
    """Index of the first e-value at or over the level, None without one."""
    return next((index for index, value in enumerate(values) if value >= level), None)


def alarms(rng, runs, *, rows, factor, days=365, margin=0.05):
    """Days of the first alarm on the mean loss of so many rows a day, 90 days of baseline, as a list of those that came."""
    found = []
    for _ in range(runs):
        baseline = baseline_of((rng.gamma(rows, 1 / rows, 90)).tolist())
        values = (factor * rng.gamma(rows, 1 / rows, days)).tolist()
        alarm = first_alarm(e_values(values, baseline.mean * (1 + margin), baseline.sd, higher_is_better=False))
        found += [] if alarm is None else [alarm + 1]
    return found


@pytest.mark.parametrize("rows", [20, 100])
def test_a_year_of_daily_looks_has_hardly_a_false_alarm(rows):
    assert len(alarms(np.random.default_rng(40), 200, rows=rows, factor=1.0)) <= 4


@pytest.mark.parametrize(("rows", "day"), [(20, 20), (100, 8), (1000, 3)])
def test_a_loss_that_rises_by_a_fifth_is_seen_in_days(rows, day):
    found = alarms(np.random.default_rng(41), 100, rows=rows, factor=1.2, days=120)
    assert len(found) == 100 and np.median(found) <= day


def test_the_chance_of_ever_reaching_twenty_is_at_most_one_in_twenty():
    """At the null's very edge with a known spread, where Ville's inequality is all that protects."""
    rng = np.random.default_rng(42)
    reached = sum(first_alarm(e_values(rng.normal(0.7, 0.05, 365).tolist(), 0.7, 0.05)) is not None for _ in range(400))
    assert 0 < reached <= 0.05 * 400


def test_the_e_process_by_hand():
    value = 2 * math.sqrt(5 / 6) * math.exp(4 / 12) * (1 + math.erf(2 / math.sqrt(12))) / 2
    assert e_values([0.6], 0.7, 0.05) == [pytest.approx(value, rel=1e-12)]
    assert e_values([0.8], 0.7, 0.05, higher_is_better=False) == [pytest.approx(value, rel=1e-9)]
    assert e_values([], 0.7, 0.05) == []
    with pytest.raises(ValueError, match="positive standard deviation, found 0"):
        e_values([0.6], 0.7, 0.0)


def test_the_e_process_is_the_mean_of_bets_over_the_half_normal_mixture():
    rng = np.random.default_rng(43)
    z = rng.normal(0.3, 1, 30)
    bets = np.linspace(0, 8, 200_001)
    density = 2 * math.sqrt(5 / (2 * math.pi)) * np.exp(-5 * bets**2 / 2)
    mixture = float(np.sum(density * np.exp(bets * z.sum() - bets**2 * 30 / 2)) * (bets[1] - bets[0]))
    assert e_values((-z).tolist(), 0.0, 1.0)[-1] == pytest.approx(mixture, rel=1e-3)


def test_the_evidence_never_overflows_and_never_vanishes():
    found = e_values([0.0] * 400, 1.0, 0.001)
    assert found[-1] == found[100] == math.exp(700) and first_alarm(found) == 0
    good = e_values([1.0] * 400, 0.5, 0.02)  # 10 to 500 standard deviations on the good side
    assert all(0 < later < earlier < 0.1 for earlier, later in pairwise(good))


def test_the_detector_is_what_all_who_began_on_one_of_the_days_have_together():
    values = np.random.default_rng(44).normal(0.69, 0.05, 40).tolist()
    begun = [e_values(values[first:], 0.7, 0.05)[-1] for first in range(40)]
    assert e_detector(values, 0.7, 0.05) == pytest.approx(math.fsum(begun), rel=1e-9)
    assert e_detector([], 0.7, 0.05) == 0.0


def test_at_the_very_edge_the_detector_takes_a_thousand_looks_at_least_to_a_false_alarm():
    rng, runs, days = np.random.default_rng(45), 40, 300
    early = 0
    for _ in range(runs):
        values = rng.normal(0.7, 0.05, days).tolist()
        early += any(e_detector(values[:day], 0.7, 0.05) >= ALARM for day in range(10, days + 1, 10))
    assert early <= 0.3 * runs, "of runs whose mean length is a thousand or more, a quarter at most ends in 300 days"


def test_good_days_before_do_not_delay_the_detector():
    rng = np.random.default_rng(46)
    good, bad = rng.normal(0.72, 0.03, 90).tolist(), rng.normal(0.65, 0.03, 14).tolist()
    assert e_detector([*good, *bad], 0.71, 0.03) >= ALARM
    assert e_values([*good, *bad], 0.71, 0.03)[-1] < 20


def test_the_spread_is_that_of_weeks_where_weeks_have_levels_of_their_own():
    rng = np.random.default_rng(47)
    alike = [day(i, value) for i, value in enumerate(rng.normal(0.7, 0.03, 84))]
    levels = np.repeat(rng.normal(0, 0.03, 12), 7)
    apart = [day(i, value) for i, value in enumerate(rng.normal(0.7, 0.03, 84) + levels)]
    assert dependent_sd(0.03, [alike]) == pytest.approx(0.03, rel=0.35)
    assert dependent_sd(0.03, [apart]) > 2 * 0.03
    once = [day(i, value - (0.1 if i >= 42 else 0)) for i, value in enumerate(rng.normal(0.7, 0.03, 84))]
    assert dependent_sd(0.03, [once]) < dependent_sd(0.03, [apart]), "a loss is one change of level"
    assert dependent_sd(0.03, [alike[:10], []]) == 0.03


def test_the_baseline_gives_way_by_its_own_error():
    base = Baseline(0.7, 0.03, 25)
    assert allowed_mean(base, 0.01, 0.05) == pytest.approx(0.7 - 0.01 - 0.01)
    assert allowed_mean(base, 0.01, 0.05, higher_is_better=False) == pytest.approx(0.72)


def day(number, value=0.7, positives=10, negatives=30):
    return Day(NEW_YEAR + timedelta(days=number), value, positives, negatives, positives * negatives)


def test_days_with_few_labels_are_joined_until_there_are_enough():
    blocks = join_days([day(2, 0.9), day(0, 0.6), day(1, 0.5, positives=0), day(3)], min_positives=15, min_negatives=50)
    assert [(block.day.day, block.last.day, block.positives, block.negatives) for block in blocks] == [(1, 3, 20, 90)]
    assert blocks[0].value == pytest.approx(0.75)


def test_a_block_that_was_judged_does_not_change_when_days_are_added():
    days = [day(i, 0.5 + i / 100) for i in range(30)]
    weeks = join_days(days, min_days=7)
    assert [block.last.day for block in weeks] == [7, 14, 21, 28]
    assert join_days(days[:20], min_days=7) == weeks[:2]
    assert join_days(weeks, min_days=2)[0].last == date(2013, 1, 14)
    assert join_days([], min_days=7) == [] and join_days([day(0, math.nan, positives=0)]) == []


def test_a_baseline_needs_days_that_vary():
    assert baseline_of([0.6, 0.8] * 4).mean == pytest.approx(0.7)
    with pytest.raises(ValueError, match="expected 8 days or blocks of days at least, found 7"):
        baseline_of([0.6] * 7)
    with pytest.raises(ValueError, match="expected values that vary"):
        baseline_of([0.5] * 8)
