"""Many waiting jobs cost few requests, and each hears of its own end only."""

from __future__ import annotations

import asyncio
import itertools
import time
from datetime import datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from flywheel.hooks.jobs import JOB_KINDS
from flywheel.triggers import poller

ONCE = {"retries": {"total_max_attempts": 1}}
CONNECTION = {"aws_conn_id": "aws_default", "region_name": None, "verify": None, "botocore_config": ONCE}
TARGET = {"WorkgroupName": "flywheel", "Database": "flywheel"}
MANY = poller.FEW + 7


def wait(statement: str, listing: dict[str, str] | None = None) -> Any:
    return poller.wait_for_end(
        kind="redshift_data", identity={"Id": statement}, poll_seconds=0.1, connection=CONNECTION,
        listing=TARGET if listing is None else listing,
    )  # fmt: skip


def start(aws: Any, number: int, sql: str = "SELECT 1") -> list[str]:
    redshift = aws.client("redshift-data")
    return [redshift.execute_statement(Sql=sql, **TARGET)["Id"] for _ in range(number)]


def ends(*waits: Any) -> list[Any]:
    async def gather() -> list[Any]:
        return await asyncio.wait_for(asyncio.gather(*waits, return_exceptions=True), 60)

    return asyncio.run(gather())


def test_a_few_jobs_are_asked_for_one_by_one(aws: Any) -> None:
    listed = len(aws.calls("ListStatements"))
    assert ends(*map(wait, start(aws, 2))) == ["FINISHED", "FINISHED"]
    assert len(aws.calls("ListStatements")) == listed


def test_many_jobs_are_asked_for_at_once(aws: Any) -> None:
    listed, described = len(aws.calls("ListStatements")), len(aws.calls("DescribeStatement"))
    statements = [*start(aws, MANY - 1), *start(aws, 1, "SELECT 1 / 0")]
    assert sorted(ends(*map(wait, statements))) == ["FAILED"] + ["FINISHED"] * (MANY - 1)
    assert len(aws.calls("ListStatements")) > listed
    assert len(aws.calls("DescribeStatement")) - described <= poller.FEW


def test_pages_of_a_list_are_not_asked_for_in_a_burst(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "PAGE_PACE", 0.3)
    before, statements = len(aws.calls("ListStatements")), start(aws, MANY)
    assert ends(*(wait(statement, TARGET | {"MaxResults": 5}) for statement in statements)) == ["FINISHED"] * MANY  # type: ignore[dict-item]
    asked = [datetime.fromisoformat(call["time"]) for call in aws.calls("ListStatements")[before:]]
    assert len(asked) >= 3
    assert all((later - earlier).total_seconds() >= 0.25 for earlier, later in itertools.pairwise(asked))


def test_what_the_list_does_not_show_is_asked_for_by_itself(aws: Any) -> None:
    elsewhere = {"WorkgroupName": "another", "Database": "flywheel"}
    assert ends(*(wait(statement, elsewhere) for statement in start(aws, MANY))) == ["FINISHED"] * MANY


def test_an_unknown_job_fails_its_own_wait_only(aws: Any) -> None:
    (known,) = start(aws, 1)
    good, bad = ends(wait(known), wait("00000000-0000-4000-8000-000000000000"))
    assert good == "FINISHED"
    assert isinstance(bad, ClientError) and bad.response["Error"]["Code"] == "ResourceNotFoundException"


def test_two_who_wait_for_the_same_job_both_hear_of_its_end(aws: Any) -> None:
    (statement,) = start(aws, 1)
    assert ends(wait(statement), wait(statement)) == ["FINISHED", "FINISHED"]


def test_a_poller_that_nobody_needs_any_more_ends_and_the_next_one_works(aws: Any) -> None:
    async def one_after_the_other() -> list[str]:
        found = []
        for statement in start(aws, 2):
            found.append(await asyncio.wait_for(wait(statement), 30))
            await asyncio.sleep(0.5)
            assert all(p.closed for (loop, _), p in poller._pollers.items() if loop == id(asyncio.get_running_loop()))
        return found

    assert asyncio.run(one_after_the_other()) == ["FINISHED", "FINISHED"]


@pytest.mark.parametrize(("code", "status"), [("ThrottlingException", 400), ("InternalServerException", 500)])
@pytest.mark.parametrize("number", [1, MANY])
def test_errors_that_pass_are_waited_out(aws: Any, code: str, status: int, number: int) -> None:
    statements, error = start(aws, number), {"code": code, "message": "", "status": status}
    with aws.fault(service="redshift-data", operation="ListStatements|DescribeStatement", times=7, do={"error": error}):
        assert ends(*map(wait, statements)) == ["FINISHED"] * number


def test_one_who_comes_while_the_last_poller_closes_is_served(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing a client takes a moment; who comes in it must not join the poller that is ending."""
    first, second = start(aws, 2)
    connect = poller.connect

    async def slow_to_close(service: str, connection: Any) -> Any:
        return SlowToClose(await connect(service, connection))

    monkeypatch.setattr(poller, "connect", slow_to_close)

    async def one_after_the_other() -> list[str]:
        found = [await wait(first)]
        await asyncio.sleep(0.5)  # the first poller has seen that nobody waits, and closes its client
        return [*found, await asyncio.wait_for(wait(second), 20)]

    assert asyncio.run(one_after_the_other()) == ["FINISHED", "FINISHED"]


class SlowToClose:
    """A client whose closing takes two seconds."""

    def __init__(self, client: Any):
        self.client = client

    async def __aenter__(self) -> Any:
        return await self.client.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        await asyncio.sleep(2)
        await self.client.__aexit__(*error)


def test_nobody_is_told_before_the_deferral_has_been_reported(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow takes a task that resumes earlier for ended, and fails it (apache/airflow #72716)."""
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "2")
    monkeypatch.setattr(poller, "REPORT_MARGIN", 0.5)
    (statement,) = start(aws, 1)
    began = time.monotonic()
    assert ends(wait(statement)) == ["FINISHED"]
    assert time.monotonic() - began >= 2.5


def test_jobs_may_be_described_where_they_may_not_be_listed(aws: Any) -> None:
    denied = {"error": {"code": "AccessDeniedException", "message": "not authorized to perform", "status": 400}}
    with aws.fault(service="redshift-data", operation="ListStatements", times=None, do=denied):
        assert ends(*map(wait, start(aws, MANY))) == ["FINISHED"] * MANY


def test_region_tls_and_client_configuration_reach_the_triggers_client(aws: Any) -> None:
    asked = {
        "aws_conn_id": "aws_default",
        "region_name": "eu-west-3",
        "verify": False,
        "botocore_config": {"user_agent_extra": "flywheel-test", "read_timeout": 17},
    }

    async def look() -> tuple[str, Any, float, str, bool | str]:
        async with await poller.connect("sagemaker", asked) as client:
            config = client.meta.config
            return (
                client.meta.region_name, client.meta.endpoint_url, config.read_timeout, config.user_agent_extra,
                client._endpoint.http_session._verify,
            )  # fmt: skip

    region, endpoint, read_timeout, agent, verify = asyncio.run(look())
    assert (region, endpoint, read_timeout, verify) == ("eu-west-3", aws.endpoint, 17, False)
    assert "flywheel-test" in agent


@pytest.mark.parametrize("kind", sorted(JOB_KINDS))
def test_every_kinds_list_is_one_that_botocore_pages_and_its_items_are_in_the_answers_shape(kind: str) -> None:
    """The JMESPath of the items is tried on an answer made from botocore's own model of the operation."""
    import botocore.session

    job_kind = JOB_KINDS[kind]
    client = botocore.session.get_session().create_client(job_kind.client, region_name="us-east-1")
    assert client.can_paginate(job_kind.list_call)
    operation = client.meta.method_to_api_mapping[job_kind.list_call]
    model = client.meta.service_model.operation_model(operation)
    assert set(job_kind.list_arguments) | ({job_kind.name_filter} - {""}) <= set(model.input_shape.members)
    (job,) = job_kind.listed(_example(model.output_shape))
    assert job.state == "text" and set(job.identity.values()) == {"text"}
    assert job.name == ("named" if kind == "glue" else "text")


def _example(shape: Any, depth: int = 0) -> Any:
    if shape.type_name == "structure":
        return {name: _example(member, depth + 1) for name, member in shape.members.items()} if depth < 6 else {}
    if shape.type_name == "list":
        return [_example(shape.member, depth + 1)]
    if shape.type_name == "map":
        return {"--flywheel_run_name": "named"}
    return "text"
