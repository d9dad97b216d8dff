"""A job is started once: what a retry, a Clear and a lost answer do, on jobs that really run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from flywheel.operators.job import JobFailed
from flywheel.operators.redshift import RedshiftQueryOperator, RedshiftStatementsOperator
from flywheel.operators.spark import GlueScriptOperator

Run = Callable[[Any], Any]
RETRIES = 2


@pytest.fixture
def table(aws: Any, run: Run, request: pytest.FixtureRequest) -> str:
    """An empty table of the test's own."""
    name = f"monitoring.{request.node.name[:60]}"
    run(RedshiftStatementsOperator(task_id=f"create_{request.node.name}", sql=[f"CREATE TABLE {name} (n INTEGER)"]))
    return name


def insert(task_id: str, table: str) -> RedshiftStatementsOperator:
    return RedshiftStatementsOperator(task_id=task_id, sql=[f"INSERT INTO {table} VALUES (1)"], retries=RETRIES)


def count(run: Run, table: str) -> int:
    """Rows of the table; each question under a name of its own."""
    count.asked += 1  # type: ignore[attr-defined]
    query = RedshiftQueryOperator(task_id=f"count_{count.asked}", sql=f"SELECT COUNT(*) AS n FROM {table}")  # type: ignore[attr-defined]
    return int(run(query)[0]["n"])


count.asked = 0  # type: ignore[attr-defined]


def test_a_try_that_died_after_its_job_had_succeeded_is_followed_by_no_second_job(runner: Any, run: Run, table: str) -> None:
    first = runner.run(insert("died", table))  # and its XCom was never written
    second = runner.run(insert("died", table), try_number=2, max_tries=RETRIES)
    assert second == first
    assert count(run, table) == 1


def test_a_cleared_task_runs_again(runner: Any, run: Run, table: str) -> None:
    first = runner.run(insert("cleared", table))
    second = runner.run(insert("cleared", table), try_number=2, max_tries=1 + RETRIES)  # Clear gives the retries anew
    assert second["Id"] != first["Id"]
    assert count(run, table) == 2
    third = runner.run(insert("cleared", table), try_number=3, max_tries=1 + RETRIES)  # a retry within the new life
    assert third["Id"] == second["Id"]
    assert count(run, table) == 2


def test_a_failed_job_is_named_and_followed_by_a_new_one(
    runner: Any, run: Run, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(JobFailed):
        runner.run(RedshiftStatementsOperator(task_id="failed", sql=["INSERT INTO nowhere VALUES (1)"], retries=RETRIES))
    retry, told = insert("failed", table), []
    monkeypatch.setattr(retry.log, "warning", lambda message, *values: told.append(message % values))
    runner.run(retry, try_number=2, max_tries=RETRIES)
    assert count(run, table) == 1
    assert "ended without success: FAILED" in told[-1] and "nowhere" in told[-1]


class LostAnswer:
    """A client whose call to start gets through, and whose answer does not come back."""

    def __init__(self, client: Any):
        self.client = client

    def start_job_run(self, **arguments: Any) -> None:
        self.client.start_job_run(**arguments)
        raise ReadTimeoutError(endpoint_url="https://glue")


def test_a_glue_run_whose_answer_was_lost_is_found_by_its_name(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    operator = GlueScriptOperator(task_id="lost", script="ingest_dataset.py", arguments={})
    client = operator.client
    monkeypatch.setattr(operator, "client_with", lambda config, service=None: LostAnswer(client))
    operator.identity = operator.start(client, "lost-glue-run-1")
    runs = [
        run for run in client.get_job_runs(JobName=operator.identity["JobName"])["JobRuns"]
        if run["Arguments"]["--flywheel_run_name"] == "lost-glue-run-1"
    ]  # fmt: skip
    assert [run["Id"] for run in runs] == [operator.identity["RunId"]]
    operator.on_kill()


def test_a_glue_run_that_was_never_started_is_an_error(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreachable:
        def start_job_run(self, **arguments: Any) -> None:
            raise ReadTimeoutError(endpoint_url="https://glue")

    operator = GlueScriptOperator(task_id="unreachable", script="ingest_dataset.py", arguments={})
    _ = operator.client
    monkeypatch.setattr(operator, "client_with", lambda config, service=None: Unreachable())
    with pytest.raises(ReadTimeoutError):
        operator.start(operator.client, "unreachable-1")
