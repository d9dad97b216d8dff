"""A job is started once: what a retry, a Clear and a lost answer do, on jobs that really run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException
from botocore.exceptions import BotoCoreError, ClientError

from flywheel.hooks.jobs import JOB_KINDS
from flywheel.operators.job import JobFailed
from flywheel.operators.redshift import RedshiftQueryOperator, RedshiftStatementsOperator
from flywheel.operators.spark import GlueScriptOperator
from flywheel.settings import Settings, settings

Run = Callable[[Any], Any]
RETRIES = 2
ENDLESS = """
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000)
SELECT COUNT(*) AS n FROM numbers AS a CROSS JOIN numbers AS b CROSS JOIN numbers AS c WHERE (a.n * b.n + c.n) % 7 = 3
"""


@pytest.fixture
def table(aws: Any, run: Run, request: pytest.FixtureRequest) -> str:
    """An empty table of the test's own."""
    name = f"monitoring.{request.node.name[:60]}"
    run(RedshiftStatementsOperator(task_id=f"create_{request.node.name}", sql=[f"CREATE TABLE {name} (n INTEGER)"]))
    return name


def insert(task_id: str, table: str) -> RedshiftStatementsOperator:
    return RedshiftStatementsOperator(task_id=task_id, sql=[f"INSERT INTO {table} VALUES (1)"], retries=RETRIES)


def patient(seconds: float) -> Settings:
    """The settings, with so much patience before a deferral."""
    return replace(settings(), wait_before_deferring_seconds=seconds, poll_seconds=0.1)


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


def test_a_run_that_was_deleted_and_made_anew_runs_again(runner: Any, run: Run, table: str) -> None:
    """Its run id is the same, its start is another; an old success would make it green without running anything."""
    first = runner.run(insert("anew", table))
    runner.run_started += timedelta(hours=1)
    assert runner.run(insert("anew", table))["Id"] != first["Id"]
    assert count(run, table) == 2


def test_the_create_call_of_a_dead_try_that_comes_late_asks_for_the_same_job(runner: Any, run: Run, table: str) -> None:
    """The second try finds nothing and starts; then the first try's call gets through: AWS takes the name once."""
    second = runner.run(insert("late", table), try_number=2, max_tries=RETRIES)
    late = insert("late", table)
    assert late.start(late.client, runner.job_name("late"))["Id"] == second["Id"]
    assert count(run, table) == 1


def test_what_the_life_before_a_clear_left_running_is_stopped_first(aws: Any, runner: Any, run: Run, table: str) -> None:
    endless = RedshiftQueryOperator(task_id="former", sql=ENDLESS)
    left = endless.start(endless.client, runner.job_name("former"))
    cleared = runner.run(insert("former", table), try_number=2, max_tries=1 + RETRIES)
    assert aws.client("redshift-data").describe_statement(**left)["Status"] == "ABORTED"
    assert cleared["Id"] != left["Id"] and count(run, table) == 1


def test_the_reasons_of_the_jobs_that_failed_are_in_xcom(runner: Any, run: Run, table: str) -> None:
    for number, sql in enumerate(["SELECT nothing FROM nowhere", "SELECT 1 / 0"], start=1):
        with pytest.raises(JobFailed, match=r"Console: https://console\.aws\.amazon\.com/redshiftv2/home"):
            runner.run(RedshiftStatementsOperator(task_id="reasons", sql=[sql], retries=RETRIES), number, RETRIES)
    reasons = [failed["reason"] for failed in runner.ti.xcom["failed_jobs"]]
    assert len(reasons) == 2 and "nowhere" in reasons[0] and "zero" in reasons[1].lower()
    runner.run(insert("reasons", table), try_number=3, max_tries=RETRIES)
    assert [failed["reason"] for failed in runner.ti.xcom["failed_jobs"]] == reasons


def test_a_task_that_does_not_wait_ends_with_its_jobs_identity(aws: Any, runner: Any) -> None:
    operator = RedshiftQueryOperator(task_id="no_wait", sql=ENDLESS, wait_for_completion=False)
    identity = runner.run(operator)
    assert identity == runner.ti.xcom["job"]
    again = RedshiftQueryOperator(task_id="no_wait", sql=ENDLESS, wait_for_completion=False, retries=RETRIES)
    assert runner.run(again, try_number=2) == identity
    again.on_kill()
    assert aws.client("redshift-data").describe_statement(**identity)["Status"] == "ABORTED"


def test_xcoms_are_the_same_with_and_without_deferral(runner: Any, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for patience in ("30", "0"):
        monkeypatch.setattr("flywheel.operators.job.settings", lambda patience=patience: patient(float(patience)))
        sql = [f"INSERT INTO {table} VALUES (1)", ENDLESS.replace("20000", "600")]  # a moment, not for ever
        value = runner.run(RedshiftStatementsOperator(task_id=f"ways_{patience}", sql=sql))
        assert value["Id"] == runner.ti.xcom["job"]["Id"]
        found.append((set(runner.ti.xcom), set(value), value["rows"]))
    assert runner.deferred
    assert found[0] == found[1]


def test_a_task_that_is_killed_while_its_create_call_is_under_way_leaves_no_job(aws: Any, runner: Any) -> None:
    operator = RedshiftQueryOperator(task_id="under_way", sql=ENDLESS, deferrable=False)
    held = {"hold": {"when": "after"}}
    with aws.fault(service="redshift-data", operation="ExecuteStatement", match="under-way", do=held) as look:
        ended: list[BaseException] = []

        def work() -> None:
            try:
                runner.run(operator)
            except BaseException as error:
                ended.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        until = time.monotonic() + 10
        while not look()["held"] and time.monotonic() < until:
            time.sleep(0.02)
        operator.on_kill()
        aws.release(look())
        thread.join(30)
    assert isinstance(ended[0], JobFailed) and "ABORTED" in str(ended[0])


def test_a_task_that_was_killed_before_its_create_call_makes_no_job(aws: Any, runner: Any) -> None:
    operator = RedshiftQueryOperator(task_id="too_late", sql=ENDLESS)
    operator.on_kill()
    before = len(aws.calls("ExecuteStatement"))
    with pytest.raises(AirflowException, match="killed before"):
        runner.run(operator)
    assert len(aws.calls("ExecuteStatement")) == before


@pytest.mark.parametrize(
    "fault",
    [
        {"lose": True},
        {"error_after": {"code": "InternalServiceException", "message": "", "status": 500}},
        {"error": {"code": "ThrottlingException", "message": "Rate exceeded", "status": 400}},
        {"error": {"code": "ConcurrentRunsExceededException", "message": "Concurrent runs exceeded for j", "status": 400}},
        {"error": {"code": "InternalServiceException", "message": "", "status": 500}},
        {"refuse": True},
    ],
    ids=["lost", "5xx_after", "throttled", "too_many", "5xx", "refused"],
)
def test_a_glue_run_is_started_once_whatever_becomes_of_the_call(
    aws: Any, runner: Any, fault: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    """Glue takes no token. What got no answer and is not found is left to the task's retry, which looks again."""
    name = runner.job_name(request.node.callspec.id)
    operator = GlueScriptOperator(task_id=request.node.callspec.id, script="ingest_dataset.py", arguments={})
    with aws.fault(service="glue", operation="StartJobRun", match=name, times=2, do=fault):
        try:
            identity = operator.start(operator.client, name)
        except (ClientError, BotoCoreError):
            # "5xx_after" is sent twice by nobody, so it must have been found.
            assert request.node.callspec.id in ("5xx", "refused")
            return
    runs = [run for run in operator.jobs_named(name) if run.name == name]
    assert [run.identity for run in runs] == [identity]
    operator.identity = identity
    operator.on_kill()


def test_a_ledger_that_does_not_answer_at_the_end_fails_no_task(aws: Any, runner: Any) -> None:
    unavailable = {"error": {"code": "InternalError", "message": "", "status": 500}}
    once = {"retries": {"total_max_attempts": 1}}
    with aws.fault(service="s3", operation="DeleteObject", times=None, do=unavailable) as look:
        operator = RedshiftQueryOperator(task_id="ledger_down", sql="SELECT 1 AS one", botocore_config=once)
        assert runner.run(operator) == [{"one": 1}]
        assert look()["hits"]


def test_a_job_that_is_being_stopped_may_be_stopped_again(aws: Any, runner: Any) -> None:
    """A person marks the task failed while its execution_timeout is ending it: neither may fail for the other."""
    operator = RedshiftQueryOperator(task_id="twice", sql=ENDLESS)
    operator.identity = operator.start(operator.client, runner.job_name("twice"))
    operator.on_kill()
    operator.on_kill()


def test_links_lead_to_the_job_and_to_its_log() -> None:
    training = JOB_KINDS["training"]
    identity = {"TrainingJobName": "train-1"}
    assert training.console_url(identity, "eu-west-1") == (
        "https://console.aws.amazon.com/sagemaker/home?region=eu-west-1#/jobs/train-1"
    )
    assert training.logs_url(identity, "eu-west-1") == (
        "https://console.aws.amazon.com/cloudwatch/home?region=eu-west-1#logsV2:log-groups/log-group/"
        "$252Faws$252Fsagemaker$252FTrainingJobs$3FlogStreamNameFilter$3Dtrain-1$252F"
    )
    assert JOB_KINDS["redshift_data"].logs_url({"Id": "1"}, "eu-west-1") is None
    assert "console.amazonaws.cn" in training.console_url(identity, "cn-north-1", "aws-cn")
