"""SQL operators against the local Redshift, in the three ways of waiting; and what every job operator shares."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from flywheel.operators import redshift
from flywheel.operators.job import JobFailed
from flywheel.operators.redshift import RedshiftQueryOperator, RedshiftStatementsOperator
from flywheel.settings import settings

Run = Callable[[Any], Any]
#: A few hundred million additions: long enough to be watched.
SLOW_QUERY = """
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000)
SELECT COUNT(*) AS n FROM numbers AS a CROSS JOIN numbers AS b WHERE (a.n * b.n) % 7 = 3
"""


@pytest.fixture
def table(aws: Any, run: Run, request: pytest.FixtureRequest) -> str:
    """An empty table of the test's own."""
    name = "monitoring." + "".join(c if c.isalnum() else "_" for c in request.node.name)[:60].lower()
    run(RedshiftStatementsOperator(task_id=f"create_{name}", sql=[f"CREATE TABLE {name} (n INTEGER)"]))
    return name


def test_rows_come_back_by_name(aws: Any, runner: Any) -> None:
    query = RedshiftQueryOperator(
        task_id="query", sql="SELECT 7 AS n, :word AS word, NULL AS nothing", parameters={"word": "it's"}
    )
    assert runner.run(query) == [{"n": 7, "word": "it's", "nothing": None}]


@pytest.mark.parametrize("way", ["blocking", "waits a moment", "deferred"])
def test_the_three_ways_of_waiting_give_the_same(aws: Any, runner: Any, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "deferred":
        monkeypatch.setenv("AIRFLOW__FLYWHEEL__WAIT_BEFORE_DEFERRING_SECONDS", "0")
        settings.cache_clear()
    operator = RedshiftQueryOperator(
        task_id=f"wait_{way.replace(' ', '_')}", sql=SLOW_QUERY, deferrable=way != "blocking", poll_seconds=0.2
    )
    result = runner.run(operator)
    settings.cache_clear()
    assert result[0]["n"] > 0
    assert runner.deferred is (way == "deferred")
    assert set(runner.ti.xcom["job"]) == {"Id"}


def test_a_batch_takes_effect_as_a_whole_or_not_at_all(aws: Any, run: Run, table: str) -> None:
    batch = RedshiftStatementsOperator(
        task_id="half", sql=[f"INSERT INTO {table} VALUES (1)", f"INSERT INTO {table} VALUES ('not a number')"]
    )
    with pytest.raises(JobFailed, match="not a number"):
        run(batch)
    assert run(RedshiftQueryOperator(task_id="count_after_half", sql=f"SELECT COUNT(*) AS n FROM {table}")) == [{"n": 0}]


def test_the_same_try_sent_twice_runs_once(aws: Any, run: Run, table: str) -> None:
    """The answer of the create call was lost, the task's try starts over: the token gives the statement that exists."""
    insert = RedshiftStatementsOperator(task_id="insert_once", sql=[f"INSERT INTO {table} VALUES (1)"])
    first, second = run(insert), run(insert)
    assert first["Id"] == second["Id"]
    assert run(RedshiftQueryOperator(task_id="count_once", sql=f"SELECT COUNT(*) AS n FROM {table}")) == [{"n": 1}]


def test_a_retry_joins_the_statement_that_still_runs(aws: Any, runner: Any) -> None:
    operator = RedshiftQueryOperator(task_id="join", sql=SLOW_QUERY)
    running = operator.start(operator.client, runner.job_name("join"))
    rows: list[dict[str, Any]] = runner.run(operator, try_number=2)
    assert runner.ti.xcom["job"] == running
    assert rows[0]["n"] > 0


def test_a_killed_task_stops_its_statement(aws: Any, runner: Any) -> None:
    operator = RedshiftQueryOperator(
        task_id="kill",
        sql=SLOW_QUERY.replace("CROSS JOIN numbers AS b", "CROSS JOIN numbers AS b CROSS JOIN numbers AS c"),
    )
    operator.identity = operator.start(operator.client, "kill-1")
    operator.on_kill()
    with pytest.raises(JobFailed, match="ABORTED"):
        operator.finish(runner.begin(operator), operator._wait(operator.identity, 30) or {})


def change_while_it_runs(aws: Any, table: str, name: str) -> threading.Thread:
    """Commits a change of the table once the statement of this name has taken its snapshot."""

    def change() -> None:
        client, target = aws.client("redshift-data"), {"WorkgroupName": "flywheel", "Database": "flywheel"}
        while not (found := client.list_statements(StatementName=name, Status="ALL", **target)["Statements"]):
            time.sleep(0.02)
        while client.describe_statement(Id=found[0]["Id"])["SubStatements"][1]["Status"] != "STARTED":
            time.sleep(0.02)
        client.execute_statement(Sql=f"UPDATE {table} SET n = n + 10", WaitTimeSeconds=30, **target)

    thread = threading.Thread(target=change)
    thread.start()
    return thread


@pytest.mark.parametrize("way", ["blocking", "deferred"])
def test_a_batch_rolled_back_with_1023_is_sent_again(
    aws: Any, runner: Any, run: Run, table: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redshift, "FIRST_PAUSE", 0.1)
    monkeypatch.setenv("AIRFLOW__FLYWHEEL__WAIT_BEFORE_DEFERRING_SECONDS", "0")
    settings.cache_clear()
    run(RedshiftStatementsOperator(task_id=f"fill_{table}", sql=[f"INSERT INTO {table} VALUES (1)"]))
    task_id = f"conflict_{way}"
    operator = RedshiftStatementsOperator(
        task_id=task_id,
        sql=[f"SELECT n FROM {table}", SLOW_QUERY, f"UPDATE {table} SET n = n * 2"],
        deferrable=way == "deferred",
        poll_seconds=0.1,
    )
    told: list[str] = []
    monkeypatch.setattr(operator.log, "warning", lambda message, *values: told.append(message % values))
    change = change_while_it_runs(aws, table, runner.job_name(task_id))
    result = runner.run(operator)
    change.join()
    settings.cache_clear()
    (failed,) = runner.ti.xcom["failed_jobs"]
    assert "1023" in failed["reason"] and failed["job"]["Id"] != result["Id"] == runner.ti.xcom["job"]["Id"]
    (followed,) = [line for line in told if "Followed by another in" in line]
    assert "Serializable isolation violation" in followed
    assert runner.deferred is (way == "deferred")
    assert run(RedshiftQueryOperator(task_id=f"count_{way}", sql=f"SELECT n FROM {table}")) == [{"n": 22}]
    # A retry after the task's process died finds the second job as it finds a first one.
    again = RedshiftStatementsOperator(task_id=task_id, sql=operator.sql, deferrable=False, retries=2)
    assert runner.run(again, try_number=2, max_tries=2)["Id"] == result["Id"]


def test_a_batch_is_not_sent_again_for_ever_nor_for_what_does_not_pass(aws: Any, runner: Any) -> None:
    batch = RedshiftStatementsOperator(task_id="given_up", sql=["SELECT 1"])
    violation = "FAILED: ERROR: 1023\n  Detail: Serializable isolation violation on table - 142443, transactions forming"
    pauses = []
    for reason in [violation] * (redshift.AGAIN + 1):
        batch.failed_jobs.append({"reason": reason})
        pauses.append(batch.pause_before_next(reason))
    assert pauses[-1] is None
    for number, pause in enumerate(pauses[:-1]):
        assert pause is not None and 0.5 * 2**number <= pause <= 1.5 * 2**number
    batch.failed_jobs.clear()
    for reason in ("FAILED: ERROR: division by zero", "ABORTED: ERROR: Query cancelled on user's request"):
        assert batch.pause_before_next(reason) is None
    assert batch.pause_before_next("FAILED: ERROR: deadlock detected") is not None
