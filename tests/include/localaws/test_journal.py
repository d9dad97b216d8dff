"""The journal's lines about jobs: one when a job is accepted, one at its end, whatever happens in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fault_helpers import job_lines, journal
from job_helpers import put_script, wait_for

ROLE = "arn:aws:iam::123456789012:role/jobs"
TARGET = {"WorkgroupName": "tests", "Database": "journal"}


def glue_job(aws: Any, name: str, script: str, **definition: Any) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=name)
    location = put_script(s3, name, "job.py", script)
    command = {"Name": "pythonshell", "ScriptLocation": location}
    aws.client("glue").create_job(Name=name, Role=ROLE, Command=command, **definition)


def ends(root: Path, name: str) -> list[dict[str, Any]]:
    return wait_for(lambda: job_lines(root, name), lambda lines: [line["state"] for line in lines] == ["started", "ended"])


def test_a_glue_run_is_named_by_its_argument_or_by_its_id(aws: Any) -> None:
    glue_job(aws, "journal-glue", "print(1)")
    run_id = aws.client("glue").start_job_run(JobName="journal-glue")["JobRunId"]
    started, ended = ends(aws.root, run_id)
    assert started | {"time": ""} == {
        "time": "", "job": "glue", "name": run_id, "id": run_id, "state": "started", "status": "STARTING", "reason": None,
    }  # fmt: skip
    assert ended | {"time": ""} == started | {"time": "", "state": "ended", "status": "SUCCEEDED"}
    named = aws.client("glue").start_job_run(JobName="journal-glue", Arguments={"--flywheel_run_name": "ingest-2013-01-01"})
    assert [line["id"] for line in ends(aws.root, "ingest-2013-01-01")] == [named["JobRunId"]] * 2


def test_a_failed_job_tells_why_and_a_job_that_never_started_too(aws: Any) -> None:
    glue_job(aws, "journal-fails", "raise ValueError('no rows')")
    glue = aws.client("glue")
    glue.start_job_run(JobName="journal-fails", Arguments={"--flywheel_run_name": "fails"})
    assert [(line["status"], line["reason"]) for line in ends(aws.root, "fails")] == [
        ("STARTING", None),
        ("FAILED", "ValueError: no rows"),
    ]
    aws.client("s3").delete_object(Bucket="journal-fails", Key="job.py")
    glue.start_job_run(JobName="journal-fails", Arguments={"--flywheel_run_name": "no-script"})
    assert ends(aws.root, "no-script")[1]["reason"].startswith("LAUNCH ERROR | ")


def test_a_stopped_job_ends_once(aws: Any) -> None:
    glue_job(aws, "journal-stopped", "import time; time.sleep(600)")
    glue = aws.client("glue")
    run_id = glue.start_job_run(JobName="journal-stopped")["JobRunId"]
    wait_for(lambda: glue.get_job_run(JobName="journal-stopped", RunId=run_id)["JobRun"]["JobRunState"], "RUNNING".__eq__)
    assert [line["state"] for line in job_lines(aws.root, run_id)] == ["started"]
    glue.batch_stop_job_run(JobName="journal-stopped", JobRunIds=[run_id])
    assert ends(aws.root, run_id)[1]["status"] == "STOPPED"


def test_a_statement_and_a_batch_are_one_job_each_and_a_known_token_starts_none(aws: Any) -> None:
    client = aws.client("redshift-data")
    one = client.execute_statement(Sql="select 1", StatementName="one", ClientToken="journal-one", **TARGET)["Id"]
    assert client.execute_statement(Sql="select 1", StatementName="one", ClientToken="journal-one", **TARGET)["Id"] == one
    batch = client.batch_execute_statement(Sqls=["select 1", "select 2"], StatementName="batch", **TARGET)["Id"]
    bad = client.execute_statement(Sql="select * from nothing_at_all", **TARGET)["Id"]
    assert [(line["id"], line["status"]) for line in ends(aws.root, "one")] == [(one, "SUBMITTED"), (one, "FINISHED")]
    assert [(line["id"], line["status"]) for line in ends(aws.root, "batch")] == [
        (batch, "SUBMITTED"),
        (batch, "FINISHED"),
    ]
    assert ends(aws.root, bad)[1]["reason"] == 'ERROR: relation "nothing_at_all" does not exist'


def test_a_refused_job_is_not_in_the_journal(aws: Any) -> None:
    before = len([line for line in journal(aws.root) if "job" in line])
    glue_job(aws, "journal-refused", "print(1)")
    glue = aws.client("glue")
    try:
        glue.start_job_run(JobName="journal-refused", Arguments={"--extra-jars": "s3://b/x.jar"})
    except glue.exceptions.InvalidInputException:
        pass
    assert len([line for line in journal(aws.root) if "job" in line]) == before


def test_jobs_that_a_killed_server_left_running_end_at_its_next_start(start_local_aws: Any, tmp_path: Path) -> None:
    running = start_local_aws(tmp_path)
    glue_job(running, "left-running", "import time; time.sleep(600)")
    glue, redshift = running.client("glue"), running.client("redshift-data")
    run_id = glue.start_job_run(JobName="left-running")["JobRunId"]
    redshift.execute_statement(Sql="create table two as select 1 as x union all select 2", WaitTimeSeconds=30, **TARGET)
    crossed = ", ".join(f"two t{number}" for number in range(34))
    query = f"select count(*) from (select row_number() over () as n from {crossed})"
    statement = redshift.execute_statement(Sql=query, **TARGET)["Id"]
    wait_for(lambda: glue.get_job_run(JobName="left-running", RunId=run_id)["JobRun"]["JobRunState"], "RUNNING".__eq__)
    wait_for(lambda: redshift.describe_statement(Id=statement)["Status"], "STARTED".__eq__)
    wait_for(lambda: [run_id.encode() in file.read_bytes() for file in (tmp_path / "state").glob("glue*")], any)
    running.kill()
    assert [line["state"] for line in job_lines(tmp_path, run_id)] == ["started"]
    start_local_aws(tmp_path)
    for name in (run_id, statement):  # before anybody asks
        lines = job_lines(tmp_path, name)
        assert [line["state"] for line in lines] == ["started", "ended"]
        assert lines[1]["status"] == "FAILED" and "local AWS was stopped" in lines[1]["reason"]


def test_a_job_that_a_killed_server_had_not_saved_ends_in_the_journal_all_the_same(start_local_aws: Any, tmp_path: Path) -> None:
    running = start_local_aws(tmp_path)
    glue_job(running, "forgotten", "import time; time.sleep(600)")
    run_id = running.client("glue").start_job_run(JobName="forgotten")["JobRunId"]
    running.kill()
    for file in (tmp_path / "state").glob("glue*"):
        file.unlink()  # whether it was saved already is a matter of half a second
    start_local_aws(tmp_path)
    _, ended = job_lines(tmp_path, run_id)
    assert (ended["id"], ended["state"], ended["status"]) == (run_id, "ended", None)
    assert ended["reason"].startswith("The local AWS was killed before it had saved this job")
