"""Keeping AWS free of jobs that nobody waits for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from flywheel.settings import settings
from flywheel.triggers.orphans import OrphanTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class StopOrphansOperator(BaseOperator):
    """Stops, as long as it runs, the jobs of tasks that are over.

    It spends its time in the triggerer and holds no worker (API: see :class:`~flywheel.triggers.orphans.OrphanTrigger`).

    :param seconds: how long it looks
    :param every_seconds: time between two looks
    :param aws_conn_id: Airflow connection for AWS
    Returns ``[{"dag_id", "run_id", "task_id", "job"}]``, the jobs that were told to stop.
    """

    def __init__(
        self, *, seconds: float = 3600, every_seconds: float = 20, aws_conn_id: str | None = "aws_default", **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.seconds, self.every_seconds, self.aws_conn_id = seconds, every_seconds, aws_conn_id

    def execute(self, context: Context) -> Any:
        """Leaves for the triggerer at once."""
        settings().need("bucket")
        connection = {"aws_conn_id": self.aws_conn_id, "region_name": None, "verify": None, "botocore_config": None}
        trigger = OrphanTrigger(seconds=self.seconds, every_seconds=self.every_seconds, connection=connection)
        self.defer(trigger=trigger, method_name="execute_complete")

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Tells what was stopped."""
        stopped = [dict(job) for job in event["stopped"]]
        self.log.info("In the last %s s %s", self.seconds, left_running(stopped))
        return stopped


def left_running(events: Iterable[dict[str, Any]]) -> str:
    """A sentence on the tasks whose jobs were stopped."""
    names = sorted({f"{event['dag_id']}.{event['task_id']} of {event['run_id']}" for event in events})
    return f"{len(names)} task(s) had left a job running: {', '.join(names)}" if names else "no job ran without its task"
