"""What stops the jobs that nobody waits for: as dags/maintain.py, only that it looks more often."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from flywheel.operators.orphans import StopOrphansOperator

with DAG("maintain_jobs", schedule="@continuous", start_date=datetime(2013, 1, 1, tzinfo=UTC), max_active_runs=1) as dag:
    StopOrphansOperator(task_id="stop_orphans", every_seconds=5)
