"""Links on a task's page in Airflow's UI: its job in AWS's console, and the job's log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol


class JobConsoleLink(BaseOperatorLink):
    """The page of the task's job in AWS's console."""

    name = "Job in AWS"

    def get_link(self, operator: Any, *, ti_key: RuntimeTaskInstanceProtocol) -> str:  # type: ignore[override]
        """Asked for by Airflow in the task's process, at the end of each of its phases; empty before the job has started."""
        return operator.console_url() if operator.identity else ""


class JobLogsLink(BaseOperatorLink):
    """The job's log streams in CloudWatch's console."""

    name = "Log in CloudWatch"

    def get_link(self, operator: Any, *, ti_key: RuntimeTaskInstanceProtocol) -> str:  # type: ignore[override]
        """As above; empty for a kind of job that has no log."""
        return operator.logs_url() or "" if operator.identity else ""
