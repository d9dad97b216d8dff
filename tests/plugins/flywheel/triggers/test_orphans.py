"""Jobs whose tasks are over are stopped, and no others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from flywheel.hooks import ledger
from flywheel.operators.orphans import left_running
from flywheel.operators.redshift import RedshiftQueryOperator
from flywheel.settings import settings
from flywheel.triggers.orphans import PATIENCE, OrphanTrigger

CONNECTION = {"aws_conn_id": "aws_default", "region_name": None, "verify": None, "botocore_config": None}
ENDLESS = """
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000)
SELECT COUNT(*) AS n FROM numbers AS a CROSS JOIN numbers AS b CROSS JOIN numbers AS c WHERE (a.n * b.n + c.n) % 7 = 3
"""
States = Callable[[dict[str, Any]], None]


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> States:
    """Says what Airflow tells of the states of the tasks, by run id and task id."""

    def tell(told: dict[str, Any]) -> None:
        monkeypatch.setattr(
            RuntimeTaskInstance,
            "get_task_states",
            lambda dag_id, run_ids: {run_id: told[run_id] for run_id in run_ids if run_id in told},
        )

    return tell


def wait_for_ever(runner: Any, task_id: str) -> dict[str, str]:
    """A task that waits for an endless statement and has not been heard of since; the statement's identity."""
    operator = RedshiftQueryOperator(task_id=task_id, sql=ENDLESS)
    context = runner.begin(operator)
    operator._wait = lambda identity, seconds: None  # type: ignore[method-assign]
    with pytest.raises(TaskDeferred):
        operator.execute(context)
    assert operator.identity is not None
    return operator.identity


def sweep(trigger: OrphanTrigger | None = None) -> list[dict[str, Any]]:
    return asyncio.run((trigger or OrphanTrigger(seconds=1, every_seconds=1, connection=CONNECTION)).sweep())


def status(aws: Any, identity: dict[str, str]) -> str:
    return aws.client("redshift-data").describe_statement(**identity)["Status"]


def entries(aws: Any) -> list[str]:
    listed = aws.client("s3").list_objects_v2(Bucket=settings().bucket, Prefix=ledger.folder())
    return [item["Key"] for item in listed.get("Contents", [])]


@pytest.mark.parametrize("state", ["failed", "success", "skipped", "upstream_failed", "removed", "gone"])
def test_the_job_of_a_task_that_is_over_is_stopped_and_then_forgotten(aws: Any, runner: Any, states: States, state: str) -> None:
    task_id = f"over_{state}"
    identity = wait_for_ever(runner, task_id)
    states({} if state == "gone" else {"manual__2013-04-01": {task_id: state}})
    assert [stopped["job"] for stopped in sweep()] == [identity]
    assert status(aws, identity) == "ABORTED"
    assert sweep() == []
    assert entries(aws) == []


@pytest.mark.parametrize("state", ["running", "deferred", "queued", "scheduled", "up_for_retry", "restarting", None])
def test_the_job_of_a_task_that_may_still_take_it_up_runs_on(aws: Any, runner: Any, states: States, state: str | None) -> None:
    task_id = f"alive_{state}"
    identity = wait_for_ever(runner, task_id)
    states({"manual__2013-04-01": {task_id: state}})
    assert sweep() == []
    assert status(aws, identity) == "STARTED"
    assert len(entries(aws)) == 1
    states({})
    sweep()
    sweep()


def test_a_mapped_task_is_told_from_its_siblings(aws: Any, runner: Any, states: States) -> None:
    identity = wait_for_ever(runner, "mapped")
    (key,) = entries(aws)
    s3, bucket = aws.client("s3"), settings().bucket
    entry = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(entry | {"map_index": 4}))
    states({"manual__2013-04-01": {"mapped_3": "failed", "mapped_4": "running"}})
    assert sweep() == [] and status(aws, identity) == "STARTED"
    states({"manual__2013-04-01": {"mapped_3": "running", "mapped_4": "failed"}})
    assert len(sweep()) == 1 and status(aws, identity) == "ABORTED"
    sweep()


def test_another_environments_jobs_are_none_of_our_business(
    aws: Any, runner: Any, states: States, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://other.example")
    identity = wait_for_ever(runner, "other")
    monkeypatch.undo()
    states({})
    assert sweep() == []
    assert status(aws, identity) == "STARTED"
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://other.example")
    states({})
    assert len(sweep()) == 1
    sweep()


def test_an_entry_is_read_once_as_long_as_it_does_not_change(aws: Any, runner: Any, states: States) -> None:
    wait_for_ever(runner, "read_once")
    states({"manual__2013-04-01": {"read_once": "running"}})
    trigger = OrphanTrigger(seconds=1, every_seconds=1, connection=CONNECTION)
    read = len(aws.calls("GetObject"))
    for _ in range(3):
        sweep(trigger)
    assert len(aws.calls("GetObject")) - read == 1
    states({})
    sweep()
    sweep()


def test_a_task_that_has_ended_leaves_no_entry(aws: Any, runner: Any) -> None:
    runner.run(RedshiftQueryOperator(task_id="well_ended", sql="SELECT 1 AS one"))
    with pytest.raises(Exception, match="nowhere"):
        runner.run(RedshiftQueryOperator(task_id="badly_ended", sql="SELECT 1 FROM nowhere"))
    assert entries(aws) == []


def test_no_password_of_a_proxy_is_written_down(aws: Any, runner: Any, states: States) -> None:
    operator = RedshiftQueryOperator(task_id="secret", sql=ENDLESS, botocore_config={"user_agent_extra": "s3cret"})
    runner.begin(operator)
    operator._prefix = "secret"
    operator._write_down(runner.ti, -1)
    (key,) = entries(aws)
    assert b"s3cret" not in aws.client("s3").get_object(Bucket=settings().bucket, Key=key)["Body"].read()
    states({})
    sweep()


def test_a_failing_look_is_followed_by_another_but_not_for_ever(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trigger = OrphanTrigger(seconds=60, every_seconds=0.01, connection=CONNECTION)
    looks = []

    async def fail() -> list[dict[str, Any]]:
        looks.append(1)
        raise ConnectionError("the API server restarts")

    monkeypatch.setattr(trigger, "sweep", fail)
    with pytest.raises(ConnectionError):
        asyncio.run(anext(trigger.run()))  # type: ignore[arg-type]
    assert len(looks) == PATIENCE


def test_it_fires_when_its_time_is_over_and_survives_the_database(aws: Any, runner: Any, states: States) -> None:
    identity = wait_for_ever(runner, "fires")
    states({})
    trigger = OrphanTrigger(seconds=1, every_seconds=0.3, connection=CONNECTION)
    path, arguments = trigger.serialize()
    assert path == f"{OrphanTrigger.__module__}.{OrphanTrigger.__name__}"
    rebuilt = OrphanTrigger(**json.loads(json.dumps(arguments)))
    event = asyncio.run(asyncio.wait_for(anext(rebuilt.run()), 30))  # type: ignore[arg-type]
    assert [stopped["job"] for stopped in event.payload["stopped"]] == [identity]
    assert left_running(event.payload["stopped"]) == "1 task(s) had left a job running: dag.fires of manual__2013-04-01"
    assert left_running([]) == "no job ran without its task"
