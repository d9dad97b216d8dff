"""One decision for a model from the verdicts on its features."""

from datetime import date, timedelta

import numpy as np
import pytest

from flywheel.core.counting import Moments, add_counts
from flywheel.core.drift import compare
from flywheel.core.profiles import bin_counts, numeric_profile, profile_of, reference_profile
from flywheel.core.watch import Rules, decide

START = date(2013, 5, 1)
PER_DAY = 200
RULES = Rules(context=frozenset({"weather"}))


def training():
    rng = np.random.default_rng(30)
    columns = {name: rng.normal(50, 10, 9000) for name in ("driver", "second", "weather", "minor")}
    columns["carrier"] = rng.choice(["AA", "B6", "DL"], 9000)
    shares = {"driver": 0.5, "second": 0.2, "weather": 0.2, "minor": 0.001, "carrier": 0.099}
    return reference_profile(columns, ["carrier"], importance=shares) | {"score": numeric_profile(rng.beta(2, 5, 9000))}


PROFILE = training()


def watch(rules=RULES, *, days=28, per_day=PER_DAY, since=0, earlier=(), profile=PROFILE, season=(), **damage):
    """The decision on days whose columns are damaged (a function of each) from day number ``since`` on (or all days)."""
    rng = np.random.default_rng(31)
    daily, moments = {}, {}
    for i in range(days):
        rows = {name: rng.normal(50, 10, per_day) for name in ("driver", "second", "weather", "minor")}
        rows |= {"carrier": rng.choice(["AA", "B6", "DL"], per_day), "score": rng.beta(2, 5, per_day)}
        rows |= {name: change(rows[name]) for name, change in damage.items() if i >= since or name in earlier}
        day = START + timedelta(days=i)
        daily[day] = {name: bin_counts(profile_of(profile, name), values) for name, values in rows.items()}
        moments[day] = {
            name: Moments(per_day, 50.0, float((rows[name] - 50).sum()), float(((rows[name] - 50) ** 2).sum()))
            for name in ("driver", "second", "weather", "minor")
        }
    totals = add_counts(daily.values())
    verdicts = compare(profile, totals, days=days, seasonal={name: totals[name] for name in season})
    return decide(profile, verdicts, daily, rules, moments=moments)


def shifted(values):
    return values + 8


def levels(decision):
    return [(finding.feature, finding.cause, finding.level) for finding in decision.findings]


def test_nothing_has_moved():
    decision = watch()
    assert (decision.level, decision.findings, decision.unknown) == ("none", (), ())
    assert decision.reason == "none of 6 features has moved"


def test_a_driver_that_shifts_is_a_retraining_and_the_sentence_says_all():
    decision = watch(driver=shifted, since=10)
    assert (decision.level, levels(decision)) == ("retrain", [("driver", "shift", "retrain")])
    finding = decision.findings[0]
    assert finding.since == date(2013, 5, 11) and finding.importance == 0.5 and finding.psi > finding.threshold == 0.2
    assert finding.sentence == (
        f"driver has shifted since 2013-05-11: PSI {finding.psi:.2f} over 0.20, 50.0% of the model's gain"
    )
    assert decision.reason == finding.sentence
    assert "driver has shifted since 2013-05-01 or before: PSI" in watch(driver=shifted).reason


def test_context_features_and_those_the_model_hardly_uses_are_notes():
    decision = watch(weather=shifted, minor=shifted)
    assert (decision.level, levels(decision)) == ("note", [("weather", "shift", "note"), ("minor", "shift", "note")])
    assert decision.causes == ("minor shift", "weather shift")
    assert watch(weather=shifted, driver=shifted).causes == ("driver shift",), "notes are not told where more is wanted"
    assert decision.findings[0].sentence.endswith("(context)")
    assert watch(Rules(driver_share=0.6), driver=shifted).level == "note"


def test_a_season_is_a_note():
    decision = watch(driver=shifted, season=("driver",))
    assert (decision.level, levels(decision)) == ("note", [("driver", "season", "note")])


def test_drift_of_the_predictions_is_an_alert():
    decision = watch(score=lambda values: values + 0.4)
    assert (decision.level, levels(decision)) == ("alert", [("score", "shift", "alert")])
    assert decision.reason.startswith("the distribution of the scores has shifted")


@pytest.mark.parametrize(
    ("feature", "damage", "cause"),
    [
        ("driver", lambda values: np.full(PER_DAY, 51.0), "constant"),
        ("driver", lambda values: values * 1000, "unit"),
        ("weather", lambda values: np.full(PER_DAY, 0.0), "constant"),
        ("carrier", lambda values: np.full(PER_DAY, None), "missing"),
        ("carrier", lambda values: np.where(values == "AA", "AA", "American"), "unseen"),
    ],
)
def test_a_broken_column_calls_a_person_and_holds_back_the_retraining(feature, damage, cause):
    """It broke in the window's last week: three quarters of the days still look well."""
    decision = watch(second=shifted, earlier=("second",), since=21, **{feature: damage})
    assert levels(decision)[0] == ("second", "shift", "retrain")
    assert (feature, cause, "alert") in levels(decision) and decision.held_by == (feature,)
    assert decision.level == "alert" and decision.reason.endswith(f"; a retraining has to wait until {feature} is repaired")
    assert f"; {feature} " in decision.reason and decision.causes == tuple(sorted(("second shift", f"{feature} {cause}")))


def test_a_unit_change_is_told_with_its_factor():
    assert (
        "driver looks multiplied by 60.6 or so: another unit since 2013-05-08"
        in watch(since=7, driver=lambda values: values * 60).reason
    )


def test_new_levels_on_few_rows_and_numbers_beyond_the_range_are_no_damage():
    some = watch(carrier=lambda values: np.where(np.arange(PER_DAY) % 4 == 0, "new", values))
    assert (some.level, levels(some)) == ("retrain", [("carrier", "unseen", "retrain")])
    summer = watch(weather=lambda values: values + 45)
    assert (summer.level, levels(summer), summer.held_by) == ("note", [("weather", "unseen", "note")], ())


def test_where_nobody_knows_the_shares_any_feature_but_context_is_a_driver():
    old = {**PROFILE, "version": 1, "features": {}}
    for name, feature in PROFILE["features"].items():
        old["features"][name] = {
            key: feature[key] for key in ("kind", "counts", "min", "max", "edges", "levels", "other") if key in feature
        }
    assert watch(profile=old, minor=shifted).level == "retrain"
    assert watch(profile=old, weather=shifted).level == "note"


def test_too_few_rows_are_said_to_be_too_few():
    decision = watch(per_day=2, days=14)
    assert decision.level == "unknown" and set(decision.unknown) >= {"driver", "second"} and "weather" not in decision.unknown
    assert decision.reason.startswith("cannot tell: too few rows to judge ")


def test_little_that_is_unknown_does_not_hide_what_is_known():
    features = {**PROFILE["features"], "second": {**PROFILE["features"]["second"], "design_effect": 3000.0, "blocks": 12}}
    decision = watch(profile={**PROFILE, "features": features})
    assert (decision.level, decision.unknown) == ("none", ("second",))
    assert decision.reason == "none of 6 features has moved; too few independent rows to judge second"


def test_what_hangs_together_too_much_to_be_told_is_no_gap_in_the_data():
    """Rows are there, day after day; it would be the same tomorrow."""
    features = {name: {**feature, "design_effect": 3000.0, "blocks": 12} for name, feature in PROFILE["features"].items()}
    decision = watch(profile={**PROFILE, "features": features})
    assert decision.level == "none" and {"driver", "second"} <= set(decision.unknown)


def test_nulls_are_seen_in_a_feature_of_which_nothing_else_can_be_told():
    features = {**PROFILE["features"], "second": {**PROFILE["features"]["second"], "design_effect": 3000.0, "blocks": 12}}
    profile = {**PROFILE, "features": features}
    decision = watch(profile=profile, second=lambda values: np.where(np.arange(PER_DAY) % 10 == 0, np.nan, values))
    assert (decision.level, levels(decision), decision.held_by) == ("alert", [("second", "missing", "alert")], ("second",))
    assert "second is missing more often" in decision.reason and "10.0% of the rows, 0.0% there" in decision.reason
    few = watch(profile=profile, second=lambda values: np.where(np.arange(PER_DAY) % 100 == 0, np.nan, values))
    assert few.level == "none", "one per cent is less than matters"


def test_the_textbook_retrains_on_any_psi_over_its_threshold():
    decision = watch(Rules(rule="textbook", context=frozenset({"weather"})), weather=shifted)
    assert (decision.level, [finding.level for finding in decision.findings]) == ("retrain", ["retrain"])
    by_chance = watch(Rules(rule="textbook"), per_day=2, days=14)
    assert by_chance.level == "retrain" and "where chance alone may give" in by_chance.reason
    with pytest.raises(ValueError, match="expected rule flywheel or textbook, found psi"):
        Rules(rule="psi")
