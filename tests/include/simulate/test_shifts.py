"""Each shift is what its name says, measured on the rows that come out."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from flywheel.core.metrics import auc, gini
from simulate import shifts
from simulate.shifts import SHIFTS, Shift, from_day

FIRST, CHANGE = date(2013, 4, 1), date(2013, 4, 15)


def flights(days: int = 28, rows_a_day: int = 400, seed: int = 1) -> pd.DataFrame:
    """Rows with the columns that the shifts change; lateness depends on the delay."""
    dice, n = np.random.default_rng(seed), days * rows_a_day
    delay = dice.normal(8, 15, n)
    return pd.DataFrame(
        {
            "ds": np.repeat(pd.date_range(FIRST, periods=days), rows_a_day),
            "sched_minute": dice.integers(300, 1439, n),
            "carrier": dice.choice(["UA", "B6", "DL"], n, p=[0.2, 0.5, 0.3]),
            "distance": dice.choice([300.0, 700.0, 2400.0], n, p=[0.5, 0.3, 0.2]),
            "recent_delay": delay, "temp": dice.normal(55, 10, n), "wind_speed": dice.gamma(4, 2.5, n),
            "label": (dice.random(n) < 1 / (1 + np.exp(1.5 - delay / 15))).astype(int),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return flights()


@pytest.fixture
def dice() -> np.random.Generator:
    return np.random.default_rng(5)


def later(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["ds"] >= pd.Timestamp(CHANGE)]


@pytest.mark.parametrize("shift", SHIFTS, ids=lambda shift: shift.name)
def test_a_shift_changes_the_days_from_its_first_on_and_the_same_seed_gives_the_same(shift: Shift, rows: pd.DataFrame) -> None:
    before = rows.copy()
    changed = from_day(shift, rows, CHANGE, rows, seed=3)
    pd.testing.assert_frame_equal(rows, before)  # the rows that it was given stay
    early = changed["ds"] < pd.Timestamp(CHANGE)
    pd.testing.assert_frame_equal(changed[early], rows[rows["ds"] < pd.Timestamp(CHANGE)], check_dtype=False)
    assert changed.groupby("ds").size().equals(rows.groupby("ds").size()), "days keep their number of rows"
    column = shift.columns[0]
    first_day = [frame.loc[frame["ds"] == pd.Timestamp(CHANGE), column].reset_index(drop=True) for frame in (changed, rows)]
    assert not first_day[0].equals(first_day[1]), "the first day is changed already"
    pd.testing.assert_frame_equal(changed, from_day(shift, rows, CHANGE, rows, seed=3))


def test_a_mean_moves_by_standard_deviations_of_the_reference_and_nothing_else_moves(rows: pd.DataFrame) -> None:
    reference = rows.assign(sched_minute=rows["sched_minute"] * 2.0)
    moved = shifts.move_mean(rows, "sched_minute", reference, 0.5)
    away = moved["sched_minute"] - rows["sched_minute"]
    assert away.to_numpy() == pytest.approx(rows["sched_minute"].std(ddof=0))
    pd.testing.assert_frame_equal(moved.drop(columns="sched_minute"), rows.drop(columns="sched_minute"))


def test_a_spread_grows_about_the_mean(rows: pd.DataFrame) -> None:
    wide = shifts.stretch(rows, "recent_delay", rows, 1.5)["recent_delay"]
    assert wide.std() == pytest.approx(1.5 * rows["recent_delay"].std())
    assert wide.mean() == pytest.approx(rows["recent_delay"].mean())


def test_units_are_converted_as_the_world_does_it(rows: pd.DataFrame) -> None:
    by_name = {shift.name: shift for shift in SHIFTS}
    celsius = by_name["temp: Fahrenheit as Celsius"].inject(rows.assign(temp=[32.0, 212.0] * (len(rows) // 2)), rows, None)
    assert celsius["temp"].iloc[:2].tolist() == pytest.approx([0.0, 100.0])
    wind = by_name["wind_speed: mph as m/s"].inject(rows.assign(wind_speed=10.0), rows, None)
    assert wind["wind_speed"].iloc[0] == pytest.approx(4.4704)
    seconds = by_name["recent_delay: minutes as seconds"].inject(rows, rows, None)
    assert seconds["recent_delay"].to_numpy() == pytest.approx(60 * rows["recent_delay"].to_numpy())


def test_nulls_and_unknown_levels_come_in_the_share_asked_for(rows: pd.DataFrame, dice: np.random.Generator) -> None:
    assert shifts.make_null(rows, "temp", 0.1, dice)["temp"].isna().mean() == pytest.approx(0.1, abs=0.01)
    some = shifts.rename_level(rows, "carrier", 0.1, dice)["carrier"]
    assert some.str.startswith("new-").mean() == pytest.approx(0.1, abs=0.01)
    assert set(shifts.rename_level(rows, "carrier", 1.0, dice)["carrier"]) == {"new-UA", "new-B6", "new-DL"}


def test_a_constant_is_the_most_frequent_value_of_the_reference(rows: pd.DataFrame) -> None:
    assert set(shifts.make_constant(rows, "distance", rows)["distance"]) == {300.0}


def test_a_mix_has_the_shares_asked_for_and_keeps_the_others_in_proportion(rows: pd.DataFrame, dice: np.random.Generator) -> None:
    share = shifts.mix(rows, "carrier", {"UA": 0.45}, dice)["carrier"].value_counts(normalize=True)
    assert share["UA"] == pytest.approx(0.45, abs=0.015)
    assert share["B6"] / share["DL"] == pytest.approx(5 / 3, rel=0.06)


def test_a_label_shift_moves_the_prevalence_and_keeps_what_late_flights_look_like(
    rows: pd.DataFrame, dice: np.random.Generator
) -> None:
    mixed = shifts.mix(rows, "label", {1: 1.5 * rows["label"].mean()}, dice)
    assert mixed["label"].mean() == pytest.approx(1.5 * rows["label"].mean(), rel=0.03)
    for label in (0, 1):
        before, after = (frame.loc[frame["label"] == label, "recent_delay"] for frame in (rows, mixed))
        assert after.mean() == pytest.approx(before.mean(), abs=1.0) and after.std() == pytest.approx(before.std(), rel=0.05)


def test_concept_drift_leaves_inputs_and_prevalence_and_takes_its_share_of_the_gini(
    rows: pd.DataFrame, dice: np.random.Generator
) -> None:
    confused = shifts.confuse_labels(rows, 0.5, dice)
    pd.testing.assert_frame_equal(confused.drop(columns="label"), rows.drop(columns="label"))
    assert confused.groupby("ds")["label"].sum().equals(rows.groupby("ds")["label"].sum()), "as many late flights each day"
    before, after = (gini(auc(frame["label"].to_numpy(), frame["recent_delay"].to_numpy())) for frame in (rows, confused))
    assert after == pytest.approx(0.5 * before, rel=0.12)


def test_the_days_of_the_fixture_are_what_the_tests_take_them_for(rows: pd.DataFrame) -> None:
    assert later(rows)["ds"].nunique() == 14 and rows["ds"].max() == pd.Timestamp(FIRST + timedelta(days=27))
