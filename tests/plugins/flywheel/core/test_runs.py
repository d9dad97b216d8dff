"""Windows, run keys and job names."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import pytest

from flywheel.core.errors import WindowError
from flywheel.core.runs import Window, job_name, job_prefix, resolve_window, run_key, split_job_name

NO_INTERVAL = (None, None)


def test_params_go_before_assets_and_interval() -> None:
    window = resolve_window(
        {"start": "2013-01-01", "end": "2013-03-31"},
        [{"start": "2013-05-01", "end": "2013-05-02"}],
        (datetime(2013, 7, 1, tzinfo=UTC), datetime(2013, 7, 2, tzinfo=UTC)),
    )
    assert window == Window(date(2013, 1, 1), date(2013, 3, 31))
    assert window.days == 90


def test_several_asset_events_give_the_days_from_the_first_to_the_last() -> None:
    extras = [{"start": "2013-05-03", "end": "2013-05-04"}, {"start": "2013-05-01", "end": "2013-05-01"}]
    assert resolve_window({}, extras, NO_INTERVAL) == Window(date(2013, 5, 1), date(2013, 5, 4))


@pytest.mark.parametrize(
    ("first", "after", "start", "end"),
    [
        ((2013, 7, 1, 6), (2013, 7, 2, 6), "2013-07-01", "2013-07-01"),
        ((2013, 7, 1, 12), (2013, 7, 8, 12), "2013-07-01", "2013-07-07"),
        ((2013, 7, 1), (2013, 7, 2), "2013-07-01", "2013-07-01"),
        ((2013, 7, 1), (2013, 7, 8), "2013-07-01", "2013-07-07"),
        ((2013, 7, 1, 6), (2013, 7, 1, 6), "2013-06-30", "2013-06-30"),
    ],
)
def test_the_days_of_an_interval_are_those_that_ended_in_it(
    first: tuple[int, ...], after: tuple[int, ...], start: str, end: str
) -> None:
    window = resolve_window({"start": None, "end": None}, [], (datetime(*first, tzinfo=UTC), datetime(*after, tzinfo=UTC)))  # type: ignore[arg-type]
    assert window.as_dict() == {"start": start, "end": end}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"start": "2013-01-01"}, "found start without end"),
        ({"end": "2013-01-01"}, "found end without start"),
        ({"start": "2013-01-02", "end": "2013-01-01"}, "start 2013-01-02 after end 2013-01-01"),
        ({"start": "yesterday", "end": "2013-01-01"}, "param start: expected a day as YYYY-MM-DD, found 'yesterday'"),
        ({}, "to take its days from"),
    ],
)
def test_impossible_windows_are_refused_with_what_was_found(params: dict[str, str], message: str) -> None:
    with pytest.raises(WindowError, match=re.escape(message)):
        resolve_window(params, [], NO_INTERVAL)


def test_weeks_are_those_that_lie_wholly_inside() -> None:
    weeks = Window(date(2013, 4, 1), date(2013, 4, 30)).weeks()  # 1 April 2013 was a Monday
    assert [week.start.day for week in weeks] == [1, 8, 15, 22]
    assert all(week.days == 7 and week.start.weekday() == 0 for week in weeks)
    assert Window(date(2013, 4, 2), date(2013, 4, 7)).weeks() == []


def test_trailing_and_shifted_windows() -> None:
    window = Window(date(2013, 4, 1), date(2013, 4, 30))
    assert window.last(28).as_dict() == {"start": "2013-04-03", "end": "2013-04-30"}
    assert window.shift(-1).as_dict() == {"start": "2013-03-31", "end": "2013-04-29"}


def test_run_key_is_stable_and_differs_between_runs() -> None:
    key = run_key("train_flight_delay", "scheduled__2013-04-01T06:00:00+00:00")
    assert key == run_key("train_flight_delay", "scheduled__2013-04-01T06:00:00+00:00")
    assert key.startswith("20130401060000-")
    assert key != run_key("score_flight_delay", "scheduled__2013-04-01T06:00:00+00:00")
    assert re.fullmatch(r"[0-9a-f]{8}", run_key("train_flight_delay", "by hand"))


RUN_STARTED = datetime(2013, 4, 1, tzinfo=UTC)


@pytest.mark.parametrize("limit", [63, 32])
def test_job_names_fit_sagemaker_and_tell_tasks_runs_lives_and_jobs_apart(limit: int) -> None:
    names = {
        job_name(job_prefix("train_" + "x" * 80, task, "manual__2013", map_index, limit), started, life, number)
        for task in ("train_challenger", "evaluate")
        for map_index in (-1, 0)
        for started in (RUN_STARTED, RUN_STARTED + timedelta(seconds=1))
        for life in (1, 12)
        for number in (1, 2)
    }
    assert len(names) == 32
    assert all(re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", name) and len(name) <= limit for name in names)


def test_a_job_name_begins_with_its_tasks_prefix_and_tells_its_life_and_number() -> None:
    prefix = job_prefix("dag", "task", "run", -1)
    name = job_name(prefix, RUN_STARTED, 2, 3)
    assert name.startswith(f"{prefix}-")
    life, number = split_job_name(name)
    assert (life, number) == (name.removesuffix("-3"), 3)
    assert split_job_name(job_name(prefix, RUN_STARTED, 1, 3))[0] != life
