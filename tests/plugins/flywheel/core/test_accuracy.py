"""One judgement from outcomes whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from statistics import NormalDist

import numpy as np
import pytest

from flywheel.core.accuracy import AccuracyRules, judge_accuracy, ratio_error
from flywheel.core.outcomes import WHOLE, Outcome, count_segments
from flywheel.core.runs import Window

HOLDOUT, SERVED = date(2013, 3, 1), date(2013, 4, 1)
WINDOW = Window(SERVED, SERVED + timedelta(days=27))
RULES = AccuracyRules()


def outcomes(first: date, days: int, gini: float, *, rows: int = 400, seed: int = 0, prevalence: float = 0.25, **origins: float):
    """Days of a binormal classifier: scores of negatives N(0, 1), of positives N(shift, 1), as calibrated as they can be.

    :param gini: of all rows; ``origins`` gives that of the levels of a segment instead
    """
    rng = np.random.default_rng(seed)
    day = np.repeat([first + timedelta(days=i) for i in range(days)], rows)
    labels = (rng.random(len(day)) < prevalence).astype(int)
    origin = rng.choice(list(origins or {"all": gini}), len(day))
    shift = np.array([np.sqrt(2) * NormalDist().inv_cdf((1 + origins.get(name, gini)) / 2) for name in origin])
    raw = rng.normal(0, 1, len(day)) + shift * labels
    odds = np.exp(shift * raw - shift**2 / 2) * prevalence / (1 - prevalence)
    return count_segments(labels, odds / (1 + odds), day, {"origin": origin} if origins else {})


GOOD = outcomes(HOLDOUT, 21, 0.5)


def test_a_champion_that_is_as_good_as_it_was_is_left_alone() -> None:
    found = judge_accuracy(GOOD, outcomes(SERVED, 28, 0.5, seed=1), WINDOW)
    assert (found.level, found.causes) == ("none", ()) and found.evidence < 100
    whole = found.segments[0]
    assert whole.auc.low < 0.75 < whole.auc.high and whole.calibration.low < 1 < whole.calibration.high
    assert whole.baseline_auc == pytest.approx(0.75, abs=0.01)


def test_a_fifth_of_gini_lost_is_a_breach_and_the_reason_has_the_figures() -> None:
    found = judge_accuracy(GOOD, outcomes(SERVED, 28, 0.4, seed=1), WINDOW)
    assert (found.level, found.causes) == ("retrain", ("accuracy",)) and found.evidence > 1000
    assert "against 0.5" in found.reason and "allowed -15%" in found.reason and "1000 wanted" in found.reason
    assert found.segments[0].level == "retrain"


def test_good_days_before_hide_no_loss() -> None:
    """Sixty good days, then two weeks in which half of the skill is gone."""
    good, poor = outcomes(SERVED, 60, 0.5, seed=1)[WHOLE], outcomes(SERVED + timedelta(days=60), 16, 0.25, seed=2)[WHOLE]
    window = Window(SERVED + timedelta(days=48), SERVED + timedelta(days=75))
    assert judge_accuracy(GOOD, {WHOLE: [*good, *poor]}, window).level == "retrain"


def test_weeks_that_differ_by_themselves_are_no_loss() -> None:
    """Each week has a level of its own; days alone would be certain of a loss in most of these worlds."""
    breaches = 0
    for seed in range(12):
        levels = np.clip(np.random.default_rng(seed).normal(0.5, 0.09, 7), 0.2, 0.8)
        weeks = [outcomes(HOLDOUT + timedelta(days=7 * i), 7, level, seed=10 * seed + i)[WHOLE] for i, level in enumerate(levels)]
        holdout, served = ([one for week in part for one in week] for part in (weeks[:3], weeks[3:]))
        window = Window(served[0].day, served[-1].day)
        breaches += judge_accuracy({WHOLE: holdout}, {WHOLE: served}, window).level == "retrain"
    assert breaches <= 2


def test_a_loss_within_what_is_allowed_is_no_breach_however_certain() -> None:
    holdout, served = outcomes(HOLDOUT, 21, 0.5, rows=3000), outcomes(SERVED, 28, 0.44, rows=3000, seed=1)
    found = judge_accuracy(holdout, served, WINDOW)
    assert found.evidence > 1000 and found.level == "none"
    assert judge_accuracy(holdout, served, WINDOW, replace(RULES, max_drop=0.08)).level == "retrain"


def test_a_loss_that_chance_gives_on_few_rows_is_no_breach() -> None:
    """Forty rows a day, looked at every day for four weeks: over many quiet worlds the fixed loss alone would cry."""
    holdout = outcomes(HOLDOUT, 21, 0.5, rows=60)
    fixed = both = 0
    for seed in range(40):
        served = outcomes(SERVED, 28, 0.5, rows=60, seed=100 + seed)
        for days in (7, 14, 21, 28):
            window = Window(SERVED, SERVED + timedelta(days=days - 1))
            some = {WHOLE: [one for one in served[WHOLE] if one.day <= window.end]}
            found = judge_accuracy(holdout, some, window, replace(RULES, min_labels=100))
            whole = found.segments[0]
            fixed += 2 * whole.auc.value - 1 < 0.85 * (2 * whole.baseline_auc - 1)
            both += found.level == "retrain"
    assert fixed >= 5 and both <= 1


def test_unlabelled_is_not_correct() -> None:
    good = outcomes(SERVED, 28, 0.5, seed=1)[WHOLE]
    few = [replace(one, scored=one.scored * 2) for one in good]
    found = judge_accuracy(GOOD, {WHOLE: few}, WINDOW)
    assert found.level == "unknown" and "only 0 have the label of 90%" in found.reason
    poor = outcomes(SERVED, 28, 0.0, seed=2)[WHOLE]
    some = [
        replace(bad, scored=10 * bad.scored) if i % 3 == 0 else one for i, (one, bad) in enumerate(zip(good, poor, strict=True))
    ]
    assert judge_accuracy(GOOD, {WHOLE: some}, WINDOW).level == "none", "days that wait for their labels do not count"


@pytest.mark.parametrize(
    ("words", "baseline", "served"),
    [
        ("nothing was served", GOOD, {}),
        ("400 labels", GOOD, outcomes(SERVED, 1, 0.5)),
        ("registered by an older Flywheel", {}, outcomes(SERVED, 28, 0.5)),
        ("expected 8 days", outcomes(HOLDOUT, 5, 0.5), outcomes(SERVED, 28, 0.5)),
        (r"\(0 positive\)", GOOD, outcomes(SERVED, 28, 0.5, prevalence=0.0)),
    ],
)
def test_what_cannot_be_told_is_said(words: str, baseline: dict[str, list[Outcome]], served: dict[str, list[Outcome]]) -> None:
    import re

    found = judge_accuracy(baseline, served, WINDOW)
    assert found.level == "unknown" and re.search(words, found.reason), found.reason


def test_calibration_is_a_note_of_its_own() -> None:
    served = [replace(one, score_sum=one.score_sum * 1.6) for one in outcomes(SERVED, 28, 0.5, seed=1)[WHOLE]]
    found = judge_accuracy(GOOD, {WHOLE: served}, WINDOW)
    assert (found.level, found.causes) == ("note", ("calibration",)) and "1.6" in found.reason
    assert judge_accuracy(GOOD, {WHOLE: served}, WINDOW, replace(RULES, calibration_level="alert")).level == "alert"
    slightly = [replace(one, score_sum=one.score_sum * 1.2) for one in served]
    assert judge_accuracy(GOOD, {WHOLE: slightly}, WINDOW, replace(RULES, calibration_tolerance=2.0)).level == "none"


def test_a_segment_that_alone_got_worse_is_named_and_small_ones_are_judged_together() -> None:
    levels = {"JFK": 0.5, "EWR": 0.5, "LGA": 0.5}
    baseline = outcomes(HOLDOUT, 21, 0.5, rows=1500, **levels)
    served = outcomes(SERVED, 28, 0.5, rows=1500, seed=1, **(levels | {"LGA": 0.3}))
    found = judge_accuracy(baseline, served, WINDOW, replace(RULES, segment_level="alert"))
    assert (found.level, found.causes) == ("alert", ("accuracy of origin=LGA",))
    assert "origin=LGA: Gini 0.3" in found.reason
    assert {one.segment: one.level for one in found.segments} == {
        "all": "alert", "origin=LGA": "alert", "origin=JFK": "none", "origin=EWR": "none",
    }  # fmt: skip
    merged = judge_accuracy(baseline, served, WINDOW, replace(RULES, min_labels=20_000))
    assert [one.segment for one in merged.segments] == ["all", "origin=other"]
    assert merged.segments[1].labelled == merged.segments[0].labelled


def test_quiet_segments_stay_quiet_however_many() -> None:
    """Twenty segments, ten quiet worlds: a rule without the segments' errors would name some of them each time."""
    levels = {f"A{i:02}": 0.5 for i in range(20)}
    bare = harmed = 0
    for seed in range(10):
        baseline = outcomes(HOLDOUT, 21, 0.5, rows=1200, seed=seed, **levels)
        found = judge_accuracy(baseline, outcomes(SERVED, 28, 0.5, rows=1200, seed=50 + seed, **levels), WINDOW)
        assert len(found.segments) == 21
        bare += sum(2 * one.auc.value - 1 < 0.95 * (2 * one.baseline_auc - 1) for one in found.segments)
        harmed += sum(one.level != "none" for one in found.segments[1:])
    assert bare >= 10 and harmed <= 1


def forecasts(first: date, days: int, error: float = 1.0, hard: float = 1.0, *, rows: int = 60, seed: int = 0, **origins: float):
    """Days of forecasts whose errors and those of the naive forecast are normal; no season at all.

    :param error: standard deviation of the forecast's errors, in percent of what comes times ten; ``origins`` overrule it
    :param hard: by what both forecasts err more
    """
    rng = np.random.default_rng(seed)
    day = np.repeat([first + timedelta(days=i) for i in range(days)], rows)
    origin = rng.choice(list(origins or {"all": error}), len(day))
    spread = np.array([origins.get(name, error) for name in origin]) * hard
    actual = rng.gamma(100, 1, len(day))
    forecast, naive = actual + rng.normal(0, 10, len(day)) * spread, actual + rng.normal(0, 12, len(day)) * hard
    return count_segments(actual, forecast, day, {"origin": origin} if origins else {}, naive=naive)


FORECAST = forecasts(HOLDOUT, 21)
NUMBERS, WITHOUT_SEASON = replace(RULES, metric="naive_ratio"), replace(RULES, metric="wape")


@pytest.mark.parametrize("rules", [NUMBERS, WITHOUT_SEASON], ids=lambda rules: rules.metric)
def test_a_forecast_is_judged_by_its_errors_of_which_less_is_better(rules: AccuracyRules) -> None:
    good = judge_accuracy(FORECAST, forecasts(SERVED, 28, seed=1), WINDOW, rules)
    better = judge_accuracy(FORECAST, forecasts(SERVED, 28, 0.7, seed=1), WINDOW, rules)
    assert (good.level, better.level) == ("none", "none") and better.evidence < good.evidence < 1000
    worse = judge_accuracy(FORECAST, forecasts(SERVED, 28, 1.25, seed=1), WINDOW, rules)
    assert (worse.level, worse.causes) == ("retrain", ("accuracy",)) and worse.evidence > 1000
    assert "allowed +15%; evidence of more than +5%" in worse.reason and "MAPE 0." in worse.reason and "WAPE 0." in worse.reason
    whole = worse.segments[0]
    ratio = whole.now[rules.metric]
    assert ratio.low < ratio.value < ratio.high and ratio.value == pytest.approx(1.25 * whole.then[rules.metric], rel=0.08)
    slightly = judge_accuracy(FORECAST, forecasts(SERVED, 28, 1.1, rows=2000, seed=1), WINDOW, rules)
    assert slightly.level == "none", "within what is allowed"


def test_weeks_that_are_hard_for_everybody_are_no_decay() -> None:
    hard = forecasts(SERVED, 28, hard=1.6, seed=1)
    found = judge_accuracy(FORECAST, hard, WINDOW, NUMBERS)
    assert found.level == "none" and found.reason.startswith("ratio to the seasonal naive forecast 0.8")
    assert judge_accuracy(FORECAST, hard, WINDOW, WITHOUT_SEASON).level == "retrain"


def test_zeros_are_told_beside_the_mape() -> None:
    served = forecasts(SERVED, 28, seed=1)[WHOLE]
    found = judge_accuracy(FORECAST, {WHOLE: [replace(one, not_zero=one.not_zero - 2) for one in served]}, WINDOW, NUMBERS)
    assert "without 56 labels that are 0" in found.reason
    assert "that are 0" not in judge_accuracy(FORECAST, {WHOLE: served}, WINDOW, NUMBERS).reason


def test_a_forecast_of_too_much_is_a_note_in_its_own_words() -> None:
    served = [replace(one, score_sum=1.5 * one.label_sum) for one in forecasts(SERVED, 28, seed=1)[WHOLE]]
    found = judge_accuracy(FORECAST, {WHOLE: served}, WINDOW, NUMBERS)
    assert (found.level, found.causes) == ("note", ("calibration",)) and "predicts 1.50 times what comes" in found.reason


def test_a_segment_whose_forecast_alone_got_worse_is_named() -> None:
    levels = {"JFK": 1.0, "EWR": 1.0}
    baseline = forecasts(HOLDOUT, 21, rows=400, **levels)
    served = forecasts(SERVED, 28, rows=400, seed=1, **(levels | {"EWR": 1.28}))
    found = judge_accuracy(baseline, served, WINDOW, replace(NUMBERS, segment_level="alert", max_drop=0.2))
    assert (found.level, found.causes) == ("alert", ("accuracy of origin=EWR",))
    assert "origin=EWR: ratio to the seasonal naive forecast 1.0" in found.reason


def _without_season(outcomes: dict[str, list[Outcome]]) -> dict[str, list[Outcome]]:
    return {name: [replace(one, season_errors=0.0, naive_errors=0.0) for one in days] for name, days in outcomes.items()}


@pytest.mark.parametrize(
    ("words", "baseline", "served"),
    [
        ("60 labels, 1000 wanted, of 60 predictions", FORECAST, forecasts(SERVED, 1)),
        ("what was served has no labels with a naive forecast", FORECAST, _without_season(forecasts(SERVED, 28))),
        ("the holdout has no labels with a naive forecast", _without_season(FORECAST), forecasts(SERVED, 28)),
        ("the holdout has no labels with a naive forecast", GOOD, forecasts(SERVED, 28)),
        ("older Flywheel", {}, forecasts(SERVED, 28)),
        ("expected 8 days", forecasts(HOLDOUT, 5), forecasts(SERVED, 28)),
        (
            "what was served has labels or predictions that are no numbers",
            FORECAST,
            {WHOLE: [replace(one, season_errors=float("nan")) for one in forecasts(SERVED, 28)[WHOLE]]},
        ),
    ],
)
def test_of_forecasts_too_what_cannot_be_told_is_said(
    words: str, baseline: dict[str, list[Outcome]], served: dict[str, list[Outcome]]
) -> None:
    found = judge_accuracy(baseline, served, WINDOW, NUMBERS)
    assert found.level == "unknown" and words in found.reason, found.reason


def test_the_error_of_a_ratio_is_that_of_many_draws() -> None:
    values = [outcomes(SERVED, 28, 0.5, rows=200, seed=seed)[WHOLE] for seed in range(80)]
    aucs = [sum(one.won for one in days) / sum(one.pairs for one in days) for days in values]
    assert np.mean([ratio_error(days) for days in values]) == pytest.approx(np.std(aucs), rel=0.2)
    assert ratio_error(values[0][:1]) != ratio_error(values[0][:1]), "of one day nothing is known"
