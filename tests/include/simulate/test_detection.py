"""A made-up world in which nothing changes, and what is found when something is put in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from flywheel.core.watch import Decision, Finding
from simulate import models, shifts
from simulate.detection import FIRST_SHIFTED, SERVED, Found, Look, detect, evenings, judge, look
from simulate.policies import FIRST_TRAINED
from simulate.shifts import Shift
from simulate.undisturbed import Redrawn, Unseen, quiet_year
from simulate.worlds import World, shuffle

FIRST_DAY = date(2013, 1, 1)
MEAN, SPREAD = 20.0, 5.0


def steady(days: int = 175, rows_a_day: int = 120) -> pd.DataFrame:
    """Days that are all alike; ``first`` makes flights late, ``second`` does not."""
    dice, day = np.random.default_rng(7), np.repeat(pd.date_range(FIRST_DAY, periods=days), rows_a_day)
    truth, noise = dice.normal(size=(2, len(day)))
    return pd.DataFrame(
        {
            "entity_id": [f"{n:06d}" for n in range(len(day))], "event_time": day + pd.Timedelta(hours=9),
            **{name: dice.choice(["a", "b"], len(day)) for name in ("carrier", "origin", "dest")},
            "first": MEAN + SPREAD * truth, "second": MEAN + SPREAD * noise, "ds": day,
            "label": (dice.random(len(day)) < 1 / (1 + np.exp(-2 * truth))).astype(int),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Keeps its model in a folder of the test's."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(models, "FOLDER", tmp_path_factory.mktemp("simulate"))
        yield World(steady())


SHIFTS = [
    Shift("mean", ("first",), frozenset({"shift"}), lambda rows, ref, dice: shifts.move_mean(rows, "first", ref, 1.0)),
    Shift("nulls", ("second",), frozenset({"missing"}), lambda rows, ref, dice: shifts.make_null(rows, "second", 0.3, dice)),
    Shift("unit", ("second",), frozenset({"unit"}), lambda rows, ref, dice: shifts.scale(rows, "second", 60.0)),
    Shift("constant", ("carrier",), frozenset({"constant"}), lambda rows, ref, dice: shifts.make_constant(rows, "carrier", ref)),
    Shift("unseen", ("carrier",), frozenset({"unseen"}), lambda rows, ref, dice: shifts.rename_level(rows, "carrier", 1.0, dice)),
    Shift("concept", ("label",), frozenset(), lambda rows, ref, dice: shifts.confuse_labels(rows, 0.8, dice)),
    Shift("nothing", ("first",), frozenset({"shift"}), lambda rows, ref, dice: rows.copy()),
]


@pytest.fixture(scope="module")
def found(world: World) -> dict[str, Found]:
    return detect(world, SHIFTS, seed=1, days=28)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "level", "days"), [("mean", "retrain", 14), ("unit", "alert", 7), ("constant", "alert", 14), ("unseen", "alert", 3)]
)
def test_a_shift_is_found_within_days_and_called_by_its_name(found: dict[str, Found], name: str, level: str, days: int) -> None:
    one = found[name]
    assert one.drift is not None and one.drift <= days and one.level == level
    assert one.named is not None and one.named <= days and abs(one.since or 0) <= 1, one
    assert one.says.startswith(f"{next(s for s in SHIFTS if s.name == name).columns[0]} ")


@pytest.mark.slow
def test_a_column_that_goes_missing_wants_a_person(found: dict[str, Found]) -> None:
    assert found["nulls"].level == "alert" and "second missing" in found["nulls"].says


@pytest.mark.slow
def test_concept_drift_shows_in_accuracy_alone(found: dict[str, Found]) -> None:
    one = found["concept"]
    assert one.drift is None and one.named is None and one.lost is not None and one.soonest == one.lost


@pytest.mark.slow
def test_nothing_is_found_where_nothing_was_put_in(found: dict[str, Found]) -> None:
    assert found["nothing"] == Found(None, "", "", None, None, None) and found["nothing"].soonest is None


@pytest.mark.slow
def test_the_days_before_the_shift_are_counted_once_and_those_after_it_anew(world: World) -> None:
    changed = world.between(world.trained.holdout[0], evenings()[-1]).assign(second=1000.0)
    champion, before = world.disturbed(changed, FIRST_SHIFTED), FIRST_SHIFTED - timedelta(days=1)
    assert champion.counts(before) is world.champion.counts(before)
    assert champion.counts(FIRST_SHIFTED)["second"][-2] == 120, "all of them above the greatest known value"
    assert champion.outcome(before) is world.champion.outcome(before)
    assert champion.moments(FIRST_SHIFTED)["second"].mean == pytest.approx(1000)
    assert look(champion, before).alarms == {}


def at(day: int, *findings: tuple[str, str, str], lost: bool = False) -> Look:
    """The look on a day of changed data with findings (feature, cause, level)."""
    made = tuple(Finding(name, 1.0, 0.2, "drift", cause, 0.1, level, None, "") for name, cause, level in findings)
    return Look(FIRST_SHIFTED + timedelta(days=day - 1), Decision("alert", made, (), (), ""), lost)


def test_what_is_said_without_the_shift_as_well_does_not_count() -> None:
    shift = Shift("x", ("x",), frozenset({"unit"}), lambda rows, ref, dice: rows)
    noise = ("y", "shift", "alert")
    quiet = [at(1, noise), at(2), at(3), at(4, lost=True)]
    looks = [at(1, noise), at(2, ("x", "unit", "note")), at(3, ("x", "unit", "alert"), noise), at(4, lost=True)]
    assert judge(shift, looks, quiet) == Found(3, "alert", "x unit, y shift", 2, None, None)
    assert judge(shift, [at(1), at(2, ("x", "shift", "alert"))], [at(1), at(2)]).named is None, "another cause is another thing"
    assert judge(shift, [at(1), at(2, lost=True)], [at(1), at(2)]).lost == 2


@pytest.mark.parametrize("block", ["week", "day"])
def test_a_world_is_the_year_in_another_order(block: str) -> None:
    rows = steady(days=38, rows_a_day=3)
    rows["source"] = rows["ds"]
    made = shuffle(rows, block, seed=1)
    assert len(made) == 35 * 3, "whole weeks only"
    assert sorted(made["source"].unique()) == sorted(rows["ds"].unique())[:35], "each day once"
    days = made.drop_duplicates("ds").sort_values("ds")
    assert list(days["ds"]) == list(pd.date_range(FIRST_DAY, periods=35))
    assert (days["ds"].dt.weekday == days["source"].dt.weekday).all()
    away = (days["ds"] - days["source"]).dt.days.to_numpy().reshape(5, 7)
    assert (away != 0).any() and ((away == away[:, :1]).all() == (block == "week"))
    assert (made["event_time"] - made["ds"] == pd.Timedelta(hours=9)).all(), "the hour stays"
    pd.testing.assert_frame_equal(made, shuffle(rows, block, seed=1))
    assert not made["source"].equals(shuffle(rows, block, seed=2)["source"])


def test_a_world_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a block of week or day, found month"):
        shuffle(steady(14, 1), "month", 0)
    with pytest.raises(ValueError, match="expected two weeks of days at least, found 8 days"):
        shuffle(steady(8, 1), "week", 0)


@pytest.mark.slow
@pytest.mark.parametrize("block", ["week", "day"])
def test_a_drawn_year_is_made_of_days_that_the_model_has_not_seen(world: World, block: str) -> None:
    unseen = Unseen(world)
    source = unseen.draw(block, 100, seed=3)
    assert len(source) == 100 and min(source) > FIRST_TRAINED
    drawn = Redrawn(world, source)
    for i in (0, 50, 99):
        day = SERVED + timedelta(days=i)
        assert day.weekday() == source[i].weekday()
        assert drawn.counts(day) == world.champion.counts(source[i])
        assert drawn.outcome(day).won == world.champion.outcome(source[i]).won and drawn.outcome(day).day == day
    assert drawn.counts(FIRST_TRAINED) is world.champion.counts(FIRST_TRAINED), "the holdout stays"


@pytest.mark.slow
def test_nobody_is_called_in_a_year_in_which_nothing_changes(world: World) -> None:
    quiet = quiet_year(Unseen(world), "day", seed=0, every=5, days=200)
    assert quiet.evenings == 40
    assert (quiet.drift, quiet.alarmed, quiet.lost, quiet.features) == (0, 0, 0, {})
    assert quiet.unknown == 0, "days that are alike hide nothing"
