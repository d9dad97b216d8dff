from __future__ import annotations

import pytest

from simulate.__main__ import main
from simulate.detection import Found
from simulate.shift_play import Outcome, cell, print_quiet, print_shifts, said
from simulate.shifts import SHIFTS
from simulate.undisturbed import Quiet

SOON, LATE = Found(3, "alert", "temp unit", 3, 0, None), Found(9, "alert", "temp unit", 11, 0, 20)
NEVER = Found(None, "", "", None, None, None)


def test_a_cell_says_in_how_many_worlds_and_after_how_many_days() -> None:
    assert cell([3, 9, 10, None]) == "3/4 in 9"
    assert cell([None, None]) == "-"


def test_what_most_worlds_said_is_said() -> None:
    assert said([SOON, LATE, Found(1, "retrain", "score shift", None, None, None), NEVER]) == "alert: temp unit"
    assert said([NEVER]) == ""


def test_the_table_has_a_line_per_shift_and_of_one_order_only(capsys: pytest.CaptureFixture[str]) -> None:
    found = {shift.name: NEVER for shift in SHIFTS} | {SHIFTS[0].name: SOON}
    print_shifts([Outcome("week", 0, found, []), Outcome("day", 0, {shift.name: LATE for shift in SHIFTS}, [])], "week")
    lines = capsys.readouterr().out.splitlines()
    first = next(line for line in lines if SHIFTS[0].name in line)
    assert "1/1 in 3" in first and first.endswith("alert: temp unit (small)")
    assert len([line for line in lines if any(shift.name in line for shift in SHIFTS)]) == len(SHIFTS)
    assert "1/1 in 9" not in "".join(lines)


def test_false_alarms_are_given_by_the_year_however_long_was_looked(capsys: pytest.CaptureFixture[str]) -> None:
    half = Quiet(182, 1, 5, 2, 182, 3, 4, False, 91, {"temp": 5})
    print_quiet([Outcome("week", 0, {}, [half, half])], ["week", "day"])
    out = capsys.readouterr().out
    assert "2.0 (3%)" in out and "4.0 (100%)" in out and "50%" in out
    assert "temp on 10 evenings" in out and "days in another order" not in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--worlds", "0"], "found 0"),
        (["--peers", "--policies", "monthly"], "expected with --shifts"),
        (["--policies", "weekly"], "invalid choice: 'weekly'"),
    ],
)
def test_what_cannot_be_played_is_refused_at_once(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert says in capsys.readouterr().err
