"""Schedules of Flywheel's own."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import timezone
from airflow.timetables.base import DagRunInfo, DataInterval
from airflow.timetables.interval import CronDataIntervalTimetable
from pendulum import UTC, DateTime

if TYPE_CHECKING:
    from airflow.timetables.base import TimeRestriction


class SourceCalendarTimetable(CronDataIntervalTimetable):
    """A cron schedule in UTC over a source's life, whose backfills take many days in one run.

    No run starts by itself for days after ``until``. A DAG's ``end_date`` would do the same, but it also holds back every run
    that a person starts from the UI today, whose logical date lies after it. Manual runs are not limited here.

    Airflow makes a backfill of one run for each data interval that the timetable gives between two dates: a year would be 365
    runs with a job each. So where both dates are given (a schedule of its own has no last one), intervals are joined to as many
    as fit into ``chunk_days``. A run is known by where its interval starts (its logical date), and its id is made of when it may
    run (the interval's end). Those of a joined interval are some microseconds later, as many as it has days beyond the first, so
    that it is another run than that of its first day alone, of its last, or of fewer days. A range of one day is the day's own
    run.

    Airflow asks in the same way when a person marks a task *with its past or future* in the UI: it then finds the joined
    intervals and not the daily runs, and marks the task of the chosen run only.

    :param cron: five fields
    :param until: last day with data as ``YYYY-MM-DD``; None: the source lives
    :param chunk_days: the most days that one run of a backfill takes
    """

    def __init__(self, cron: str, until: str | None = None, chunk_days: int = 1):
        super().__init__(cron, timezone=UTC)
        self.until, self.chunk_days = until, chunk_days

    def serialize(self) -> dict[str, Any]:
        """The arguments, as the database keeps them."""
        return {"cron": self._expression, "until": self.until, "chunk_days": self.chunk_days}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> SourceCalendarTimetable:
        """From what :meth:`serialize` gave."""
        return cls(data["cron"], data["until"], data.get("chunk_days", 1))

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Cron's next run, unless it would cover days after ``until``; with those after it where a range is asked for."""
        info = super().next_dagrun_info(last_automated_data_interval=last_automated_data_interval, restriction=restriction)
        if info is None or info.data_interval is None or not self._lives(info.data_interval.start):
            return None
        if restriction.latest is None or not restriction.catchup:
            return info
        return self._joined(info, restriction.latest)

    def _lives(self, day: datetime) -> bool:
        return self.until is None or day <= datetime.combine(date.fromisoformat(self.until), time.max, UTC)

    def _joined(self, info: DagRunInfo, latest: DateTime) -> DagRunInfo:
        """The interval with as many after it as may be: none that begins after ``latest`` or has not ended yet.

        Airflow drops from a backfill what has not ended: a chunk that reached beyond now would be lost as a whole.
        """
        assert info.data_interval is not None
        start, end = info.data_interval.start, info.data_interval.end
        now, days = timezone.utcnow(), (end - start).days
        while end <= latest and self._lives(end):
            after = self._get_next(end)
            if after - start > timedelta(days=self.chunk_days) or after >= now:
                break
            end, days = after, (after - start).days
        if end == info.data_interval.end:
            return info
        apart = timedelta(microseconds=days - 1)
        return DagRunInfo(run_after=end + apart, data_interval=DataInterval(start + apart, end))
