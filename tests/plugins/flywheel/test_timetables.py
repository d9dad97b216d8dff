"""When runs start by themselves, and how a range of days is cut."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pendulum
import pytest
from airflow.timetables.base import DataInterval, TimeRestriction

from flywheel.timetables import SourceCalendarTimetable


def asked(timetable: SourceCalendarTimetable, first: str, last: str | None, catchup: bool = True) -> list[Any]:
    """The intervals of a range, as Airflow asks for them one after the other; the first only, where the range is open."""
    earliest = pendulum.parse(first, tz="UTC")
    latest = last and pendulum.parse(last, tz="UTC")
    restriction = TimeRestriction(earliest, latest, catchup=catchup)  # type: ignore[arg-type]
    found: list[Any] = []
    info = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=restriction)
    while info:
        found.append(info.data_interval)
        if last is None:
            break
        info = timetable.next_dagrun_info(last_automated_data_interval=info.data_interval, restriction=restriction)
    return found


def test_a_schedule_of_its_own_goes_day_by_day() -> None:
    (first,) = asked(SourceCalendarTimetable("0 6 * * *", chunk_days=31), "2013-01-01", None)
    assert first == DataInterval(pendulum.datetime(2013, 1, 1, 6), pendulum.datetime(2013, 1, 2, 6))


def test_without_chunks_a_range_is_cut_at_each_tick() -> None:
    weekly = asked(SourceCalendarTimetable("0 12 * * 1"), "2013-01-01", "2013-02-01")
    assert [interval.start.day for interval in weekly] == [7, 14, 21, 28]


def test_nothing_begins_after_the_range_or_the_source_ends() -> None:
    (until,) = asked(SourceCalendarTimetable("0 6 * * *", "2013-12-31", 31), "2013-12-20", "2014-02-01")
    assert until.end == pendulum.datetime(2014, 1, 1, 6)
    (asked_for,) = asked(SourceCalendarTimetable("0 6 * * *", None, 31), "2013-01-01", "2013-01-10T12:00")
    assert asked_for.end == pendulum.datetime(2013, 1, 11, 6)


def test_what_has_not_ended_yet_takes_no_finished_day_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow leaves intervals out of a backfill that have not ended: a chunk that reached into today would be lost whole."""
    monkeypatch.setattr("flywheel.timetables.timezone.utcnow", lambda: datetime(2013, 1, 10, 12, tzinfo=UTC))
    ended, today = asked(SourceCalendarTimetable("0 6 * * *", None, 31), "2013-01-01", "2013-01-10T12:00")
    assert ended.end == pendulum.datetime(2013, 1, 10, 6)
    assert today.start == pendulum.datetime(2013, 1, 10, 6)


def test_it_comes_back_from_the_database_as_it_was() -> None:
    timetable = SourceCalendarTimetable("0 6 * * *", "2013-12-31", 31)
    assert SourceCalendarTimetable.deserialize(timetable.serialize()).serialize() == timetable.serialize()
