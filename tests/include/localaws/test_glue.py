"""Glue's jobs on a real local AWS: what they read and write, how they end, and what is refused."""

from __future__ import annotations

import io
import uuid
import zipfile
from typing import Any

import pytest
from botocore.exceptions import ClientError
from job_helpers import log_text, put_script, wait_for

ROLE = "arn:aws:iam::123456789012:role/glue"
ENDED = ("SUCCEEDED", "FAILED", "STOPPED", "TIMEOUT")


class Glue:
    """Clients and a bucket, and short ways to make and run jobs."""

    def __init__(self, aws: Any):
        self.glue, self.s3, self.logs = aws.client("glue"), aws.client("s3"), aws.client("logs")
        self.bucket = f"glue-{uuid.uuid4().hex[:12]}"
        self.s3.create_bucket(Bucket=self.bucket)

    def job(self, script: str, kind: str = "glueetl", **definition: Any) -> str:
        name = f"job-{uuid.uuid4().hex[:8]}"
        location = put_script(self.s3, self.bucket, f"scripts/{name}.py", script)
        self.glue.create_job(Name=name, Role=ROLE, Command={"Name": kind, "ScriptLocation": location}, **definition)
        return name

    def start(self, name: str, **arguments: str) -> str:
        given = {f"--{key}": value for key, value in arguments.items()}
        return self.glue.start_job_run(JobName=name, Arguments=given)["JobRunId"]

    def see(self, name: str, run_id: str) -> dict[str, Any]:
        return self.glue.get_job_run(JobName=name, RunId=run_id)["JobRun"]

    def until(self, name: str, run_id: str, *states: str) -> dict[str, Any]:
        return wait_for(lambda: self.see(name, run_id), lambda run: run["JobRunState"] in states)

    def run(self, name: str, **arguments: str) -> dict[str, Any]:
        return self.until(name, self.start(name, **arguments), *ENDED)

    def output(self, run: dict[str, Any], stream: str = "output") -> str:
        return log_text(self.logs, f"{run['LogGroupName']}/{stream}", run["Id"])

    def keys(self, prefix: str) -> list[str]:
        return [
            found["Key"] for found in self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        ]


@pytest.fixture
def glue(aws: Any) -> Glue:
    return Glue(aws)


def test_pythonshell_job_gets_arguments_and_logs(glue: Glue) -> None:
    name = glue.job(
        """
        import sys
        from awsglue.utils import getResolvedOptions
        print("options", getResolvedOptions(sys.argv, ["day", "table"]))
        print("a warning", file=sys.stderr)
        """,
        kind="pythonshell",
        DefaultArguments={"--day": "2013-01-01", "--table": "flights"},
    )
    run = glue.run(name, day="2013-01-02")
    assert run["JobRunState"] == "SUCCEEDED" and "ErrorMessage" not in run
    assert run["Arguments"] == {"--day": "2013-01-02", "--table": "flights"}
    assert run["CompletedOn"] >= run["StartedOn"] and run["MaxCapacity"] == 0.0625
    assert "'day': '2013-01-02'" in glue.output(run) and "'table': 'flights'" in glue.output(run)
    assert "a warning" in glue.output(run, "error")


def test_pythonshell_failure_tells_the_last_exception(glue: Glue) -> None:
    name = glue.job(
        "raise ValueError('3 of 90 partitions are bad\\nflights ds=2013-01-05: empty file')", kind="pythonshell"
    )
    run = glue.run(name)
    assert run["JobRunState"] == "FAILED"
    assert run["ErrorMessage"] == "ValueError: 3 of 90 partitions are bad\nflights ds=2013-01-05: empty file"


def test_a_run_may_name_another_script(glue: Glue) -> None:
    name = glue.job("print('mine')", kind="pythonshell")
    other = put_script(glue.s3, glue.bucket, "scripts/other.py", "import sys; print('other', sys.argv[1:3])")
    assert "other ['--a', '1']\n" in glue.output(glue.run(name, scriptLocation=other, a="1"))


def test_missing_script_fails_the_run_and_names_it(glue: Glue) -> None:
    name = glue.job("", kind="pythonshell")
    glue.s3.delete_object(Bucket=glue.bucket, Key=f"scripts/{name}.py")
    run = glue.run(name)
    assert run["JobRunState"] == "FAILED"
    assert f"bucket: {glue.bucket}, key: scripts/{name}.py" in run["ErrorMessage"]


def test_failed_runs_are_retried_as_often_as_the_job_says(glue: Glue) -> None:
    name = glue.job("raise SystemExit(3)", kind="pythonshell", MaxRetries=1)
    first = glue.run(name)
    runs = wait_for(
        lambda: glue.glue.get_job_runs(JobName=name)["JobRuns"],
        lambda runs: len(runs) == 2 and all(run["JobRunState"] in ENDED for run in runs),
    )
    assert first["ErrorMessage"] == "SystemExit: 3"
    assert (runs[0]["Id"], runs[0]["Attempt"], runs[0]["PreviousRunId"]) == (f"{first['Id']}_attempt_1", 1, first["Id"])


def test_concurrent_runs_are_limited_and_a_run_can_be_stopped(glue: Glue) -> None:
    name = glue.job("import time; print('here', flush=True); time.sleep(600)", kind="pythonshell")
    run_id = glue.start(name)
    with pytest.raises(
        glue.glue.exceptions.ConcurrentRunsExceededException, match=f"Concurrent runs exceeded for {name}"
    ):
        glue.start(name)
    glue.until(name, run_id, "RUNNING")
    stopped = glue.glue.batch_stop_job_run(JobName=name, JobRunIds=[run_id, "jr_unknown"])
    assert stopped["SuccessfulSubmissions"] == [{"JobName": name, "JobRunId": run_id}]
    assert stopped["Errors"][0]["ErrorDetail"]["ErrorCode"] == "EntityNotFoundException"
    assert glue.until(name, run_id, *ENDED)["JobRunState"] == "STOPPED"
    again = glue.glue.batch_stop_job_run(JobName=name, JobRunIds=[run_id])
    assert again["Errors"][0]["ErrorDetail"]["ErrorCode"] == "JobRunInTerminalStateException"


def test_definitions_have_defaults_and_are_replaced_whole(glue: Glue) -> None:
    name = glue.job("", GlueVersion="5.0", DefaultArguments={"--a": "1"}, Description="first")
    job = glue.glue.get_job(JobName=name)["Job"]
    assert (job["Timeout"], job["WorkerType"], job["NumberOfWorkers"], job["MaxCapacity"]) == (480, "G.1X", 10, 10.0)
    assert job["ExecutionProperty"] == {"MaxConcurrentRuns": 1} and job["DefaultArguments"] == {"--a": "1"}
    update = {"Role": ROLE, "Command": job["Command"], "GlueVersion": "5.0", "WorkerType": "G.2X", "NumberOfWorkers": 2}
    glue.glue.update_job(JobName=name, JobUpdate=update)
    job = glue.glue.get_job(JobName=name)["Job"]
    assert job["MaxCapacity"] == 4.0 and "DefaultArguments" not in job and "Description" not in job
    with pytest.raises(glue.glue.exceptions.AlreadyExistsException):
        glue.glue.create_job(Name=name, Role=ROLE, Command=job["Command"])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"extra-jars": "s3://b/x.jar"}, "--extra-jars"),
        ({"conf": "spark.jars.packages=a:b:1"}, "spark.jars.packages"),
        ({"conf": "x"}, "key=value"),
    ],
)
def test_arguments_that_cannot_be_honoured_are_refused(glue: Glue, arguments: dict[str, str], word: str) -> None:
    name = glue.job("")
    with pytest.raises(ClientError, match=word) as caught:
        glue.start(name, **arguments)
    assert caught.value.response["Error"]["Code"] == "InvalidInputException"


def test_other_kinds_of_jobs_are_refused(glue: Glue) -> None:
    with pytest.raises(glue.glue.exceptions.InvalidInputException, match="gluestreaming"):
        glue.job("", kind="gluestreaming")


@pytest.mark.slow
def test_spark_job_reads_and_writes_s3_through_the_glue_context(glue: Glue) -> None:
    glue.s3.put_object(Bucket=glue.bucket, Key="in/a.csv", Body=b"carrier,delay\nUA,5\nUA,7\nB6,1\n")
    modules = io.BytesIO()
    with zipfile.ZipFile(modules, "w") as archive:
        archive.writestr("delays/__init__.py", "def late(minutes):\n    return minutes > 4\n")
    glue.s3.put_object(Bucket=glue.bucket, Key="code/delays.zip", Body=modules.getvalue())
    name = glue.job(
        """
        import sys
        from awsglue.context import GlueContext
        from awsglue.dynamicframe import DynamicFrame
        from awsglue.job import Job
        from awsglue.utils import getResolvedOptions
        from pyspark.context import SparkContext
        from pyspark.sql import functions as F
        import delays

        args = getResolvedOptions(sys.argv, ["JOB_NAME", "bucket"])
        glue = GlueContext(SparkContext.getOrCreate())
        job = Job(glue)
        job.init(args["JOB_NAME"], args)
        frame = glue.create_dynamic_frame.from_options(
            "s3", {"paths": [f"s3://{args['bucket']}/in/"]}, "csv", {"withHeader": True})
        late = F.udf(lambda text: delays.late(int(text)), "boolean")
        rows = frame.toDF().withColumn("late", late("delay"))
        rows.write.mode("overwrite").partitionBy("carrier").parquet(f"s3a://{args['bucket']}/out/")
        glue.write_dynamic_frame.from_options(
            DynamicFrame.fromDF(rows.limit(1), glue, "rows"), "s3", {"path": f"s3://{args['bucket']}/json/"}, "json")
        print("rows", glue.spark_session.read.parquet(f"s3://{args['bucket']}/out/").filter("late").count())
        print("partitions", glue.spark_session.conf.get("spark.sql.shuffle.partitions"))
        job.commit()
        """
    )
    run = glue.run(
        name,
        bucket=glue.bucket,
        **{"extra-py-files": f"s3://{glue.bucket}/code/delays.zip"},
        conf="spark.sql.shuffle.partitions=3 --conf spark.sql.adaptive.enabled=false",
    )
    assert run["JobRunState"] == "SUCCEEDED", glue.output(run, "error")
    assert "rows 2\n" in glue.output(run) and "partitions 3\n" in glue.output(run)
    written = glue.keys("out/")
    assert any(key.startswith("out/carrier=UA/") and key.endswith(".parquet") for key in written)
    assert not [key for key in written if "_temporary" in key or key.endswith(".crc")]
    assert len(glue.keys("json/")) >= 1


@pytest.mark.slow
def test_spark_jobs_share_nothing_and_tell_their_ends(glue: Glue) -> None:
    """One after the other on the same worker: leftovers, a stopped session, exits and failures."""
    leaves = glue.job(
        """
        import os, sys
        from pyspark.sql import SparkSession
        spark = SparkSession.builder.appName("leaves").config("spark.left.over", "yes").getOrCreate()
        spark.range(3).createOrReplaceTempView("left_over")
        os.environ["LEFT_OVER"] = "yes"
        open("left_over", "w").close()
        spark.stop()
        sys.exit(0)
        """
    )
    finds = glue.job(
        """
        import os
        from pyspark.sql import SparkSession
        spark = SparkSession.builder.getOrCreate()
        print("found", spark.conf.get("spark.left.over", "no"), os.environ.get("LEFT_OVER", "no"),
              os.path.exists("left_over"), [t.name for t in spark.catalog.listTables()])
        """
    )
    fails = glue.job(
        """
        from pyspark.sql import SparkSession
        SparkSession.builder.getOrCreate().read.parquet("s3://BUCKET/nowhere/").show()
        """.replace("BUCKET", glue.bucket)
    )
    assert glue.run(leaves)["JobRunState"] == "SUCCEEDED"
    found = glue.run(finds)
    assert "found no no False []\n" in glue.output(found)
    assert glue.run(glue.job("import sys; sys.exit(1)"))["ErrorMessage"] == "SystemExit: 1"
    failed = glue.run(fails)
    assert failed["JobRunState"] == "FAILED"
    assert (
        failed["ErrorMessage"]
        == f"AnalysisException: [PATH_NOT_FOUND] Path does not exist: s3://{glue.bucket}/nowhere."
    )


@pytest.mark.slow
def test_stopping_a_spark_job_spares_the_one_that_waits(glue: Glue) -> None:
    endless = glue.job(
        """
        from pyspark.sql import SparkSession
        print("started", flush=True)
        SparkSession.builder.getOrCreate().range(10**13).selectExpr("sum(id * id % 7)").show()
        """
    )
    after = glue.job("from pyspark.sql import SparkSession\nprint(SparkSession.builder.getOrCreate().range(5).count())")
    run_id = glue.start(endless)
    glue.until(endless, run_id, "RUNNING")
    waiting = glue.start(after)
    wait_for(lambda: glue.output(glue.see(endless, run_id)), lambda text: "started" in text)
    glue.glue.batch_stop_job_run(JobName=endless, JobRunIds=[run_id])
    assert glue.until(endless, run_id, *ENDED)["JobRunState"] == "STOPPED"
    run = glue.until(after, waiting, *ENDED)
    assert run["JobRunState"] == "SUCCEEDED" and "5\n" in glue.output(run)
