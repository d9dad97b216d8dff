"""# Maintain

Looks after the jobs that the other DAGs have started: one that runs on although its task is over is stopped within half a minute.

| | |
|---|---|
| Runs | always; one run after the other, an hour each, in the triggerer |
| Reads | `jobs/waiting/` on S3, where each waiting task is written down; the states of those tasks |
| Writes | nothing; it stops jobs, and takes entries off `jobs/waiting/` |
| Run again | looks again |
| On failure | jobs still stop with their tasks, as a rule by themselves; what a dead worker has left runs to its own time limit |
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag

from flywheel.defaults import DEFAULT_ARGS, Stage, impact
from flywheel.operators.orphans import StopOrphansOperator


@dag(
    "maintain_jobs",
    schedule="@continuous",
    start_date=datetime(2013, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=[Stage.MAINTAIN, impact("tier_2")],
)
def maintain_jobs() -> None:
    """One task, which is never over for long."""
    StopOrphansOperator(task_id="stop_orphans", execution_timeout=timedelta(hours=2))


maintain_jobs()
