"""What the jobs of both families have in common. No file with DAGs: those are found by two words, and one is missing here."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from flywheel.settings import settings

SECONDS = "{{ params.seconds }}"
RUN = "s3://{{ params.bucket }}/reliability/{{ run_id }}"
#: Time enough for a task to start its job on a busy machine; the jobs that run into it take two minutes.
LIMIT = timedelta(seconds=15)
#: ``rounds`` take about a second: there is no statement that sleeps.
SLOW = """
WITH RECURSIVE rounds (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM rounds WHERE n < {{ params.seconds * params.rounds }})
SELECT COUNT(*) FROM rounds
"""
INSERT = "INSERT INTO monitoring.reliability VALUES ('{{ run_id }}')"


def die_after_success(context: Any, result: Any) -> None:
    """Ends the first try as a killed worker would: the job has succeeded, and nobody has heard of it."""
    if context["params"]["die"] and context["ti"].try_number == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def variants(kinds: Iterable[str], ways: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Kind, way of waiting and limits of each DAG: where the task waits, there is one with each limit besides."""
    for kind in kinds:
        for way in ways:
            yield kind, way, ""
            if way != "none" and kind != "spot":
                yield kind, way, "limited"
                yield kind, way, "bounded"


def of_dag(family: str, kind: str, way: str, limits: str) -> dict[str, Any]:
    """The arguments of a DAG."""
    return {
        "dag_id": "_".join(filter(None, [family, kind, way, limits])),
        "start_date": datetime(2013, 1, 1, tzinfo=UTC),
        "dagrun_timeout": LIMIT if limits == "bounded" else None,
        "max_active_runs": 50,
        "params": {"seconds": 2, "die": False, "rounds": 200_000, "bucket": settings().bucket, "model": "", "token": ""},
    }


def of_task(limits: str) -> dict[str, Any]:
    """The arguments of its task, but for those of the operator."""
    return {
        "task_id": "job",
        "retries": 1 if limits == "limited" else 2,
        "retry_delay": timedelta(seconds=1),
        "execution_timeout": LIMIT if limits == "limited" else None,
        "post_execute": die_after_success,
    }
