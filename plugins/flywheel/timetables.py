"""Schedules of Flywheel's own."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

from airflow.timetables.interval import CronDataIntervalTimetable
from pendulum import UTC

if TYPE_CHECKING:
    from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction


class SourceCalendarTimetable(CronDataIntervalTimetable):
    """A cron schedule in UTC over a source's life: no run starts by itself for days after ``until``.

    A DAG's ``end_date`` would do the same, but it also holds back every run that a person starts from the UI today, whose
    logical date lies after it. Backfills and manual runs are not limited here.

    :param cron: five fields
    :param until: last day with data as ``YYYY-MM-DD``; None: the source lives
    """

    def __init__(self, cron: str, until: str | None = None):
        super().__init__(cron, timezone=UTC)
        self.until = until

    def serialize(self) -> dict[str, Any]:
        """The arguments, as the database keeps them."""
        return {"cron": self._expression, "until": self.until}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> SourceCalendarTimetable:
        """From what :meth:`serialize` gave."""
        return cls(data["cron"], data["until"])

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Cron's next run, unless it would cover days after ``until``."""
        info = super().next_dagrun_info(last_automated_data_interval=last_automated_data_interval, restriction=restriction)
        if info is None or self.until is None:
            return info
        last = datetime.combine(date.fromisoformat(self.until), time.max, UTC)
        return info if info.data_interval and info.data_interval.start <= last else None
