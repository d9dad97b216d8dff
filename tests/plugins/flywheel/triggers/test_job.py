"""The trigger: it survives the database, outlives passing errors, and stops its job when a person kills the task."""

from __future__ import annotations

import asyncio
import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from botocore.exceptions import ClientError

from flywheel.hooks.jobs import JOB_KINDS
from flywheel.triggers.job import JobTrigger

CONNECTION = {"aws_conn_id": "aws_default", "region_name": None, "verify": None, "botocore_config": None}
ENDLESS = """
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000)
SELECT COUNT(*) AS n FROM numbers AS a CROSS JOIN numbers AS b CROSS JOIN numbers AS c WHERE (a.n * b.n + c.n) % 7 = 3
"""


def trigger(kind: str, identity: dict[str, str]) -> JobTrigger:
    return JobTrigger(kind=kind, identity=identity, poll_seconds=0.1, connection=CONNECTION, listing={})


@pytest.mark.parametrize("kind", sorted(JOB_KINDS))
def test_serialisation_round_trip(kind: str) -> None:
    path, arguments = trigger(kind, {"Id": "x"}).serialize()
    assert path == f"{JobTrigger.__module__}.{JobTrigger.__name__}"
    again = JobTrigger(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, arguments)


def test_killing_the_waiting_task_stops_the_job(aws: Any) -> None:
    redshift = aws.client("redshift-data")
    statement = start_endless(aws)
    asyncio.run(trigger("redshift_data", {"Id": statement}).on_kill())
    assert redshift.describe_statement(Id=statement)["Status"] == "ABORTED"


def start_endless(aws: Any) -> str:
    return aws.client("redshift-data").execute_statement(Sql=ENDLESS, WorkgroupName="flywheel", Database="flywheel")["Id"]


def state_of(aws: Any, statement: str) -> str:
    return aws.client("redshift-data").describe_statement(Id=statement)["Status"]


@pytest.mark.parametrize(
    ("state", "end"),
    [("deferred", "STARTED"), ("failed", "ABORTED"), (None, "ABORTED"), ("skipped", "ABORTED"), ("gone", "ABORTED")],
)
def test_a_task_that_only_moved_to_another_triggerer_keeps_its_job(
    aws: Any, monkeypatch: pytest.MonkeyPatch, state: str | None, end: str
) -> None:
    """``gone``: its DAG run was deleted."""
    states = {} if state == "gone" else {"run": {"task": state}}
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda **asked: states)
    statement = start_endless(aws)
    killed = trigger("redshift_data", {"Id": statement})
    killed._task_instance = SimpleNamespace(dag_id="dag", task_id="task", run_id="run", map_index=-1)  # type: ignore[assignment]
    asyncio.run(killed.on_kill())
    wait_until(lambda: state_of(aws, statement) == end)
    aws.client("redshift-data").cancel_statement(Id=statement) if end == "STARTED" else None


def test_a_job_that_cannot_be_told_from_a_mapped_siblings_is_not_kept(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow names the states of mapped tasks ``<task>_<index>``."""
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda **asked: {"run": {"task_3": "deferred"}})
    statement = start_endless(aws)
    for map_index, end in ((3, "STARTED"), (4, "ABORTED")):
        moved = trigger("redshift_data", {"Id": statement})
        moved._task_instance = SimpleNamespace(dag_id="dag", task_id="task", run_id="run", map_index=map_index)  # type: ignore[assignment]
        asyncio.run(moved.on_kill())
        wait_until(lambda end=end: state_of(aws, statement) == end)


def test_the_job_of_a_task_whose_time_is_over_is_stopped_and_the_event_says_so(aws: Any) -> None:
    statement = start_endless(aws)
    late = JobTrigger(
        kind="redshift_data", identity={"Id": statement}, poll_seconds=0.1, connection=CONNECTION, listing={},
        deadline=time.time() + 1,
    )  # fmt: skip
    event = asyncio.run(asyncio.wait_for(first_event(late), 30))
    assert event.payload == {"state": "ABORTED", "timed_out": True}


def test_a_stop_that_was_throttled_is_sent_again(aws: Any) -> None:
    statement = start_endless(aws)
    throttled = {"error": {"code": "ThrottlingException", "message": "Rate exceeded", "status": 400}}
    with aws.fault(service="redshift-data", operation="CancelStatement", times=3, do=throttled):
        asyncio.run(trigger("redshift_data", {"Id": statement}).on_kill())
    wait_until(lambda: state_of(aws, statement) == "ABORTED")


def first_event(job: JobTrigger) -> Any:
    return anext(job.run())


def wait_until(holds: Any, seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come to hold"
        time.sleep(0.05)


def test_an_unknown_job_is_an_error_at_once(aws: Any) -> None:
    async def first_event() -> Any:
        return await anext(trigger("training", {"TrainingJobName": "never-started"}).run())

    with pytest.raises(ClientError, match="not found"):
        asyncio.run(first_event())


@pytest.mark.parametrize(
    ("kind", "description", "failure"),
    [
        ("glue", {"JobRun": {"JobRunState": "SUCCEEDED"}}, None),
        ("glue", {"JobRun": {"JobRunState": "TIMEOUT", "ErrorMessage": "too long"}}, "TIMEOUT: too long"),
        ("emr_serverless", {"jobRun": {"state": "CANCELLED", "stateDetails": "by a person"}}, "CANCELLED: by a person"),
        ("redshift_data", {"Status": "ABORTED"}, "ABORTED: AWS gave no reason"),
        ("training", {"TrainingJobStatus": "Stopped", "SecondaryStatusTransitions": [{"StatusMessage": "max runtime"}]},
         "Stopped: max runtime"),
        ("processing", {"ProcessingJobStatus": "Failed", "ExitMessage": "no rows"}, "Failed: no rows"),
        ("transform", {"TransformJobStatus": "Failed", "FailureReason": "bad line"}, "Failed: bad line"),
    ],
)  # fmt: skip
def test_ends_are_told_as_they_are(kind: str, description: dict[str, Any], failure: str | None) -> None:
    assert JOB_KINDS[kind].is_over(description)
    assert JOB_KINDS[kind].failure(description) == failure


@pytest.mark.parametrize(
    ("kind", "description"),
    [
        ("glue", {"JobRun": {"JobRunState": "STOPPING"}}),
        ("emr_serverless", {"jobRun": {"state": "PENDING"}}),
        ("redshift_data", {"Status": "PICKED"}),
        ("training", {"TrainingJobStatus": "Stopping"}),
    ],
)
def test_what_is_no_end_goes_on(kind: str, description: dict[str, Any]) -> None:
    assert not JOB_KINDS[kind].is_over(description)


@pytest.mark.parametrize("kind", sorted(JOB_KINDS))
def test_states_are_those_that_aws_knows(kind: str) -> None:
    """Every state named in the table is in botocore's model of the service."""
    import botocore.session

    job_kind = JOB_KINDS[kind]
    model = botocore.session.get_session().get_service_model(job_kind.client)
    operation = "".join(part.title() for part in job_kind.describe.split("_"))
    shape = model.operation_model(operation).output_shape
    for part in job_kind.status.split("."):
        shape = shape.members[part]
    assert job_kind.succeeded | job_kind.failed <= set(shape.enum)
