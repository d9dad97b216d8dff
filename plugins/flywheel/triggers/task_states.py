"""What Airflow says of task instances, asked for from the triggerer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from asgiref.sync import sync_to_async


async def task_states(dag_id: str, run_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """States by run id and :func:`task_key`; a run that is not there any more is left out."""
    return await sync_to_async(RuntimeTaskInstance.get_task_states)(dag_id=dag_id, run_ids=list(run_ids))


def task_key(task_id: str, map_index: int | None) -> str:
    """How Airflow names a task instance among the states of its run."""
    return task_id if map_index in (-1, None) else f"{task_id}_{map_index}"
