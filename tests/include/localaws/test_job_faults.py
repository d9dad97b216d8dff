"""Jobs of Glue, EMR Serverless and Redshift that are killed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from fault_helpers import Faults, job_lines
from job_helpers import put_script, wait_for

ROLE = "arn:aws:iam::123456789012:role/jobs"
SLEEPS = "import time; print('here', flush=True); time.sleep(600)"
SPARK_SLEEPS = """
    import time
    from pyspark.sql import SparkSession
    spark = SparkSession.builder.getOrCreate()
    spark.range(1).foreach(lambda row: time.sleep(600))
"""
COUNTS = """
    from pyspark.sql import SparkSession
    assert SparkSession.builder.getOrCreate().range(3).count() == 3
"""
ENDED = ("SUCCEEDED", "FAILED", "STOPPED", "TIMEOUT", "SUCCESS", "CANCELLED")
TARGET = {"WorkgroupName": "tests", "Database": "killed"}
TERMINATED = "FATAL: terminating connection due to administrator command"


@pytest.fixture
def faults(aws: Any) -> Iterator[Faults]:
    found = Faults(aws.endpoint)
    yield found
    found.clear()


def glue_job(aws: Any, script: str, kind: str = "pythonshell", **definition: Any) -> str:
    name = f"killed-{uuid.uuid4().hex[:8]}"
    aws.client("s3").create_bucket(Bucket=name)
    location = put_script(aws.client("s3"), name, "job.py", script)
    aws.client("glue").create_job(Name=name, Role=ROLE, Command={"Name": kind, "ScriptLocation": location}, **definition)
    return name


def glue_run(aws: Any, job: str, **arguments: str) -> dict[str, Any]:
    """Run a job to its end."""
    glue = aws.client("glue")
    run_id = glue.start_job_run(JobName=job, Arguments=arguments)["JobRunId"]
    return wait_for(lambda: glue.get_job_run(JobName=job, RunId=run_id)["JobRun"], lambda run: run["JobRunState"] in ENDED)


def test_a_killed_python_shell_job_fails(aws: Any, faults: Faults) -> None:
    fault = faults.add(job="glue", match="^landing-2013-01-01$", do={"kill": {"after_seconds": 0.5}})
    run = glue_run(aws, glue_job(aws, SLEEPS), **{"--flywheel_run_name": "landing-2013-01-01"})
    assert (run["JobRunState"], run["ErrorMessage"]) == (
        "FAILED",
        "Command failed with exit code 137: the script's process was ended by signal 9 (SIGKILL)",
    )
    started, ended = job_lines(aws.root, "landing-2013-01-01")
    assert (started["job"], started["id"], started["state"], started["status"]) == ("glue", run["Id"], "started", "STARTING")
    assert (ended["id"], ended["state"], ended["status"], ended["reason"], ended["fault"]) == (
        run["Id"], "ended", "FAILED", run["ErrorMessage"], f"{fault}: kill",
    )  # fmt: skip


def test_the_retry_of_a_killed_job_is_a_job_of_its_own(aws: Any, faults: Faults) -> None:
    name = f"retried-{uuid.uuid4().hex[:8]}"
    faults.add(job="glue", match=f"^{name}$", times=2, do={"kill": {}})
    first = glue_run(aws, glue_job(aws, SLEEPS, MaxRetries=1), **{"--flywheel_run_name": name})
    lines = wait_for(lambda: job_lines(aws.root, name), lambda lines: len(lines) == 4)
    ids = [first["Id"], f"{first['Id']}_attempt_1"]
    assert sorted((line["id"], line["state"]) for line in lines) == sorted(
        (run_id, state) for run_id in ids for state in ("ended", "started")
    )


@pytest.mark.slow
def test_a_killed_spark_job_fails_and_takes_its_jvm_with_it(aws: Any, faults: Faults) -> None:
    fault = faults.add(job="glue", match="^spark-killed$", do={"kill": {"after_seconds": 6}})
    run = glue_run(aws, glue_job(aws, SPARK_SLEEPS, "glueetl"), **{"--flywheel_run_name": "spark-killed"})
    assert run["JobRunState"] == "FAILED"
    assert run["ErrorMessage"].startswith("Command failed with exit code 137")
    assert faults.see(fault)["hits"] == 1
    after = glue_run(aws, glue_job(aws, COUNTS, "glueetl"))
    assert after["JobRunState"] == "SUCCEEDED", after


@pytest.mark.slow
def test_a_killed_job_of_emr_serverless_fails(aws: Any, faults: Faults) -> None:
    emr, s3 = aws.client("emr-serverless"), aws.client("s3")
    s3.create_bucket(Bucket="killed-emr")
    script = put_script(s3, "killed-emr", "job.py", SLEEPS)
    application = emr.create_application(name="killed", releaseLabel="emr-7.9.0", type="SPARK")["applicationId"]
    fault = faults.add(job="emr_serverless", match="^features-", do={"kill": {"after_seconds": 1}})
    run_id = emr.start_job_run(
        applicationId=application, executionRoleArn=ROLE, name="features-2013", jobDriver={"sparkSubmit": {"entryPoint": script}}
    )["jobRunId"]
    run = wait_for(
        lambda: emr.get_job_run(applicationId=application, jobRunId=run_id)["jobRun"], lambda run: run["state"] in ENDED
    )
    assert run["state"] == "FAILED"
    assert "ExitCode: 137. Last few exceptions: the script's process was ended by signal 9" in run["stateDetails"]
    lines = job_lines(aws.root, "features-2013")
    assert [(line["job"], line["id"], line["state"], line["status"], line["reason"]) for line in lines] == [
        ("emr_serverless", run_id, "started", "SUBMITTED", None),
        ("emr_serverless", run_id, "ended", "FAILED", run["stateDetails"]),
    ]
    assert lines[1]["fault"] == f"{fault}: kill"


def redshift_ended(aws: Any, statement: str) -> dict[str, Any]:
    client = aws.client("redshift-data")
    return wait_for(
        lambda: client.describe_statement(Id=statement), lambda found: found["Status"] in ("FINISHED", "FAILED", "ABORTED")
    )


def long_query(aws: Any) -> str:
    """A query that takes for ever."""
    client = aws.client("redshift-data")
    client.execute_statement(
        Sql="create table if not exists two as select 1 as x union all select 2", WaitTimeSeconds=30, **TARGET
    )
    crossed = ", ".join(f"two t{number}" for number in range(34))
    return f"select count(*) from (select row_number() over () as n from {crossed})"


def test_a_killed_statement_fails_as_when_its_session_is_terminated(aws: Any, faults: Faults) -> None:
    query = long_query(aws)
    fault = faults.add(job="redshift_data", match="^swap-2013$", do={"kill": {"after_seconds": 0.5}})
    statement = aws.client("redshift-data").execute_statement(Sql=query, StatementName="swap-2013", **TARGET)["Id"]
    found = redshift_ended(aws, statement)
    assert (found["Status"], found["Error"]) == ("FAILED", TERMINATED)
    lines = job_lines(aws.root, "swap-2013")
    assert [(line["job"], line["id"], line["state"], line["status"], line["reason"]) for line in lines] == [
        ("redshift_data", statement, "started", "SUBMITTED", None),
        ("redshift_data", statement, "ended", "FAILED", TERMINATED),
    ]
    assert lines[1]["fault"] == f"{fault}: kill"


def test_a_killed_batch_is_rolled_back_and_its_session_is_gone(aws: Any, faults: Faults) -> None:
    client, query = aws.client("redshift-data"), long_query(aws)
    table = f"kept_{uuid.uuid4().hex[:8]}"
    faults.add(job="redshift_data", match="^batch-killed$", do={"kill": {"after_seconds": 0.5}})
    sqls = [f"create table {table} (x int)", query, "select 1"]
    started = client.batch_execute_statement(Sqls=sqls, StatementName="batch-killed", SessionKeepAliveSeconds=600, **TARGET)
    found = redshift_ended(aws, started["Id"])
    assert (found["Status"], found["Error"]) == ("FAILED", TERMINATED)
    assert [(part["Status"], part.get("Error")) for part in found["SubStatements"]] == [
        ("FINISHED", None),
        ("FAILED", TERMINATED),
        ("ABORTED", "Connection or an prior query failed."),
    ]
    tables = client.list_tables(TablePattern=table, **TARGET)["Tables"]
    assert tables == []
    wait_for(lambda: client.list_sessions(SessionId=started["SessionId"])["Sessions"], lambda found: not found)
    assert len(job_lines(aws.root, "batch-killed")) == 2  # and none for its sub-statements


def test_a_statement_that_was_cancelled_is_aborted_as_before(aws: Any, faults: Faults) -> None:
    client = aws.client("redshift-data")
    faults.add(job="redshift_data", match="^cancelled$", do={"kill": {"after_seconds": 600}})
    statement = client.execute_statement(Sql=long_query(aws), StatementName="cancelled", **TARGET)["Id"]
    client.cancel_statement(Id=statement)
    assert redshift_ended(aws, statement)["Status"] == "ABORTED"
    assert job_lines(aws.root, "cancelled")[1]["status"] == "ABORTED"
    assert "fault" not in job_lines(aws.root, "cancelled")[1]


def test_killing_counts_from_when_the_job_runs(aws: Any, faults: Faults) -> None:
    faults.add(job="glue", match="^slowly-killed$", do={"kill": {"after_seconds": 1.5}})
    began = time.monotonic()
    assert glue_run(aws, glue_job(aws, SLEEPS), **{"--flywheel_run_name": "slowly-killed"})["JobRunState"] == "FAILED"
    assert time.monotonic() - began >= 1.5
