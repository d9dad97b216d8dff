"""Flywheel's one Airflow plugin: registers what Airflow has to find by name. Everything else is imported from ``flywheel``."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from flywheel.links import JobConsoleLink, JobLogsLink
from flywheel.timetables import SourceCalendarTimetable


class FlywheelPlugin(AirflowPlugin):
    """Timetables and the links of tasks."""

    name = "flywheel"
    timetables = [SourceCalendarTimetable]
    operator_extra_links = [JobConsoleLink(), JobLogsLink()]
