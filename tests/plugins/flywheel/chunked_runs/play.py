"""Runs the DAG beside this file in an Airflow with a database of its own, and prints what Airflow made of it as JSON.

A process of its own, because Airflow reads its configuration, and where its database is, when it is first imported.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.models.asset import AssetEvent
from airflow.models.backfill import Backfill, BackfillDagRun, ReprocessBehavior, _create_backfill
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from sqlalchemy import select, update


def play(chunks: list[dict[str, str]], fails: str = "") -> dict[str, Any]:
    """One run with these chunks."""
    dag = DagBag().dags["chunked"]
    dag.test(run_conf={"chunks": chunks, "fails": fails}, logical_date=datetime(2014, 1, len(PLAYED) + 1, tzinfo=UTC))
    with create_session() as session:
        run = session.scalars(select(DagRun).order_by(DagRun.id.desc())).first()
        tasks = session.scalars(select(TaskInstance).where(TaskInstance.run_id == run.run_id)).all()
        events = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run.run_id)).all()
        return {
            "state": run.state,
            "tasks": {f"{ti.task_id}[{ti.map_index}]": [ti.state, ti.rendered_map_index] for ti in tasks},
            "events": len(events),
        }


def backfill(first: str, last: str) -> list[list[Any]]:
    """A backfill as the UI, the command line and the API make it. Returns [run_id, start, end, why not] of each of its runs."""
    with create_session() as session:
        session.execute(update(DagRun).values(state="success"))
    made = _create_backfill(
        dag_id="chunked", from_date=datetime.fromisoformat(first), to_date=datetime.fromisoformat(last), max_active_runs=4,
        reverse=False, dag_run_conf={}, triggering_user_name="test", reprocess_behavior=ReprocessBehavior.NONE,
    )  # fmt: skip
    with create_session() as session:
        session.execute(update(Backfill).values(completed_at=datetime.now(UTC)))
        rows = session.scalars(
            select(BackfillDagRun).where(BackfillDagRun.backfill_id == made.id).order_by(BackfillDagRun.sort_ordinal)
        ).all()
        return [
            [row.dag_run.run_id, str(row.dag_run.data_interval_start), str(row.dag_run.data_interval_end), None]
            if row.dag_run
            else [None, str(row.logical_date), None, row.exception_reason]
            for row in rows
        ]


PLAYED: dict[str, Any] = {}
if __name__ == "__main__":
    initdb()
    two = [{"start": "2013-01-01", "end": "2013-01-31"}, {"start": "2013-03-01", "end": "2013-03-02"}]
    PLAYED["nothing to do"] = play([])
    PLAYED["two chunks"] = play(two)
    PLAYED["one fails"] = play(two, fails="2013-03-01")
    PLAYED["year"] = backfill("2013-01-01T00:00:00+00:00", "2013-12-31T12:00:00+00:00")
    PLAYED["a day"] = backfill("2013-01-01T00:00:00+00:00", "2013-01-01T12:00:00+00:00")
    PLAYED["five days"] = backfill("2013-01-01T00:00:00+00:00", "2013-01-05T12:00:00+00:00")
    PLAYED["the fifth day"] = backfill("2013-01-05T00:00:00+00:00", "2013-01-05T12:00:00+00:00")
    PLAYED["five days again"] = backfill("2013-01-01T00:00:00+00:00", "2013-01-05T12:00:00+00:00")
    print("PLAYED " + json.dumps(PLAYED))
