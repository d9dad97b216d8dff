"""# Maintain

Looks after what the other DAGs leave behind. `maintain_jobs`: a job that runs on although its task is over is stopped within half
a minute. `maintain_lake`: files that a dead job wrote, or that were replaced, are deleted when nobody can read them any more.

| | |
|---|---|
| Runs | `maintain_jobs` always; one run after the other, an hour each, in the triggerer. `maintain_lake` weekly |
| Reads | `jobs/waiting/` on S3, where each waiting task is written down; the states of those tasks; the commits of all zones |
| Writes | nothing; it stops jobs, takes entries off `jobs/waiting/`, deletes files that no commit has named for two days |
| Run again | looks again |
| On failure | jobs still stop with their tasks, as a rule; what a dead worker left runs to its own limit; files cost storage |
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag

from flywheel.defaults import DEFAULT_ARGS, Stage, all_zones, impact
from flywheel.operators.orphans import StopOrphansOperator
from flywheel.operators.sweep import SweepLakeOperator


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


@dag(
    "maintain_lake",
    schedule="0 3 * * 0",
    start_date=datetime(2013, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=[Stage.MAINTAIN, impact("tier_3")],
)
def maintain_lake() -> None:
    """One task over all zones."""
    SweepLakeOperator(task_id="sweep_lake", zones=all_zones())


maintain_jobs()
maintain_lake()
