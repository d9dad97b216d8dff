"""The trigger: it survives the database, outlives passing errors, and stops its job when a person kills the task."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from flywheel.hooks.jobs import JOB_KINDS
from flywheel.triggers.job import JobTrigger

CONNECTION = {"aws_conn_id": "aws_default", "region_name": None, "verify": None, "botocore_config": None}
ENDLESS = """
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000)
SELECT COUNT(*) AS n FROM numbers AS a CROSS JOIN numbers AS b CROSS JOIN numbers AS c WHERE (a.n * b.n) % 7 = c.n
"""


def trigger(kind: str, identity: dict[str, str]) -> JobTrigger:
    return JobTrigger(kind=kind, identity=identity, poll_seconds=0.1, connection=CONNECTION)


@pytest.mark.parametrize("kind", sorted(JOB_KINDS))
def test_serialisation_round_trip(kind: str) -> None:
    path, arguments = trigger(kind, {"Id": "x"}).serialize()
    assert path == f"{JobTrigger.__module__}.{JobTrigger.__name__}"
    again = JobTrigger(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, arguments)


def test_killing_the_waiting_task_stops_the_job(aws: Any) -> None:
    redshift = aws.client("redshift-data")
    statement = redshift.execute_statement(Sql=ENDLESS, WorkgroupName="flywheel", Database="flywheel")["Id"]
    asyncio.run(trigger("redshift_data", {"Id": statement}).on_kill())
    assert redshift.describe_statement(Id=statement)["Status"] == "ABORTED"


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
