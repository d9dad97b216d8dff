"""What becomes of Spark jobs, and of the JVM, when the local AWS ends or is killed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from aws_process import LocalAwsProcess
from job_helpers import put_script, wait_for

ROLE = "arn:aws:iam::123456789012:role/any"
SLEEPS = """
    import time
    from pyspark.sql import SparkSession
    spark = SparkSession.builder.getOrCreate()
    print("started", spark.range(3).count(), flush=True)
    time.sleep(600)
"""


def processes_of(root: Path) -> list[int]:
    """The process ids of whatever runs with a folder below ``root`` as its working folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                place = os.readlink(entry / "cwd")
            except OSError:
                continue
            if place.startswith(str(root)):
                found.append(int(entry.name))
    return found


def run_state(glue: Any, run_id: str) -> dict[str, Any]:
    return glue.get_job_run(JobName="sleeps", RunId=run_id)["JobRun"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="finds the processes in Linux' /proc")
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_active_job_is_told_as_failed_after_a_restart(tmp_path: Path, end: str) -> None:
    first = LocalAwsProcess(tmp_path / "root")
    glue, s3 = first.client("glue"), first.client("s3")
    s3.create_bucket(Bucket="code")
    location = put_script(s3, "code", "sleeps.py", SLEEPS)
    glue.create_job(Name="sleeps", Role=ROLE, Command={"Name": "glueetl", "ScriptLocation": location})
    run_id = glue.start_job_run(JobName="sleeps")["JobRunId"]
    wait_for(lambda: run_state(glue, run_id), lambda run: run["JobRunState"] == "RUNNING")
    assert len(processes_of(first.root)) >= 2
    # A killed server loses at most the last moment's changes; let the run be saved.
    wait_for(lambda: list((first.root / "state").glob("glue*.pickle")), bool)
    getattr(first, end)()
    if end == "stop":
        assert processes_of(first.root) == []

    second = LocalAwsProcess(tmp_path / "root")
    try:
        glue = second.client("glue")
        run = run_state(glue, run_id)
        assert run["JobRunState"] == "FAILED" and "local AWS was stopped" in run["ErrorMessage"]
        wait_for(lambda: processes_of(first.root), lambda found: found == [])
        again = glue.start_job_run(JobName="sleeps")["JobRunId"]
        wait_for(lambda: run_state(glue, again), lambda run: run["JobRunState"] == "RUNNING")
    finally:
        assert second.stop() == 0
    assert processes_of(first.root) == []
