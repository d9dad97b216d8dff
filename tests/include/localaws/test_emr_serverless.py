"""EMR Serverless on a real local AWS: applications, job runs, and what is refused."""

from __future__ import annotations

import gzip
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError
from job_helpers import log_text, put_script, wait_for

ROLE = "arn:aws:iam::123456789012:role/emr"
ENDED = ("SUCCESS", "FAILED", "CANCELLED")


class Emr:
    """Clients, a bucket and an application, and short ways to run jobs."""

    def __init__(self, aws: Any):
        self.emr, self.s3, self.logs = aws.client("emr-serverless"), aws.client("s3"), aws.client("logs")
        self.bucket = f"emr-{uuid.uuid4().hex[:12]}"
        self.s3.create_bucket(Bucket=self.bucket)
        self.application = self.create()

    def create(self, **asked: Any) -> str:
        return self.emr.create_application(name="tests", releaseLabel="emr-7.9.0", type="SPARK", **asked)[
            "applicationId"
        ]

    def state(self) -> str:
        return self.emr.get_application(applicationId=self.application)["application"]["state"]

    def start(self, script: str, *arguments: str, parameters: str | None = None, **asked: Any) -> str:
        location = put_script(self.s3, self.bucket, f"scripts/{uuid.uuid4().hex[:8]}.py", script)
        driver: dict[str, Any] = {"entryPoint": location, "entryPointArguments": list(arguments)}
        if parameters:
            driver["sparkSubmitParameters"] = parameters
        asked = {"jobDriver": {"sparkSubmit": driver}} | asked
        return self.emr.start_job_run(applicationId=self.application, executionRoleArn=ROLE, **asked)["jobRunId"]

    def see(self, run_id: str) -> dict[str, Any]:
        return self.emr.get_job_run(applicationId=self.application, jobRunId=run_id)["jobRun"]

    def until(self, run_id: str, *states: str) -> dict[str, Any]:
        return wait_for(lambda: self.see(run_id), lambda run: run["state"] in states)

    def output(self, run_id: str, name: str = "stdout", group: str = "/aws/emr-serverless", prefix: str = "") -> str:
        return log_text(self.logs, group, f"{prefix}/applications/{self.application}/jobs/{run_id}/SPARK_DRIVER/{name}")


@pytest.fixture
def emr(aws: Any) -> Emr:
    return Emr(aws)


def test_application_goes_through_its_states(emr: Emr) -> None:
    application = emr.emr.get_application(applicationId=emr.application)["application"]
    assert (application["state"], application["type"], application["architecture"]) == ("CREATED", "Spark", "X86_64")
    emr.emr.start_application(applicationId=emr.application)
    assert emr.state() == "STARTED"
    with pytest.raises(emr.emr.exceptions.ValidationException, match="CREATED, STOPPED"):
        emr.emr.delete_application(applicationId=emr.application)
    emr.emr.stop_application(applicationId=emr.application)
    assert emr.state() == "STOPPED"
    updated = emr.emr.update_application(
        applicationId=emr.application, maximumCapacity={"cpu": "4 vCPU", "memory": "16 GB"}
    )
    assert updated["application"]["maximumCapacity"]["cpu"] == "4 vCPU"
    emr.emr.delete_application(applicationId=emr.application)
    assert emr.state() == "TERMINATED"
    with pytest.raises(emr.emr.exceptions.ValidationException, match="TERMINATED"):
        emr.start("")


def test_a_client_token_makes_one_application(emr: Emr) -> None:
    token = uuid.uuid4().hex
    assert emr.create(clientToken=token) == emr.create(clientToken=token)


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ("--jars s3://b/x.jar", "spark.jars"),
        ("--conf spark.archives=s3://b/env.tar.gz#env", "spark.archives"),
        ("--colour red", "--colour"),
        ("--conf novalue", "key=value"),
        ("--conf spark.driver.memory=lots", "spark.driver.memory"),
    ],
)
def test_parameters_that_cannot_be_honoured_are_refused(emr: Emr, parameters: str, word: str) -> None:
    with pytest.raises(emr.emr.exceptions.ValidationException, match=word):
        emr.start("", parameters=parameters)
    assert emr.state() == "CREATED"


def test_other_jobs_and_the_dashboard_are_refused(emr: Emr) -> None:
    with pytest.raises(emr.emr.exceptions.ValidationException, match="sparkSubmit"):
        emr.start("", jobDriver={"hive": {"query": "s3://b/q.sql"}})
    with pytest.raises(emr.emr.exceptions.ValidationException, match="at least 5 minutes"):
        emr.start("", executionTimeoutMinutes=1)
    with pytest.raises(emr.emr.exceptions.ResourceNotFoundException):
        emr.see("00unknown00")
    with pytest.raises(ClientError, match="GetDashboardForJobRun"):
        emr.emr.get_dashboard_for_job_run(applicationId=emr.application, jobRunId="0")


def test_missing_script_fails_the_run_and_names_it(emr: Emr) -> None:
    driver = {"sparkSubmit": {"entryPoint": f"s3://{emr.bucket}/no/such.py"}}
    run = emr.until(emr.start("", jobDriver=driver), *ENDED)
    assert run["state"] == "FAILED" and "no/such.py" in run["stateDetails"]


@pytest.mark.slow
def test_job_run_reads_and_writes_s3_and_starts_its_application(emr: Emr) -> None:
    put_script(emr.s3, emr.bucket, "code/rules.py", "def double(x):\n    return 2 * x\n")
    run_id = emr.start(
        """
        import os, sys
        from pyspark.sql import SparkSession
        import rules
        spark = SparkSession.builder.appName("mine").getOrCreate()
        target = sys.argv[sys.argv.index("--target") + 1]
        doubled = spark.sparkContext.parallelize(range(4)).map(lambda x: (x, rules.double(x)))
        spark.createDataFrame(doubled, "x int, y int").write.mode("overwrite").parquet(target)
        print("sum", spark.read.parquet(target).agg({"y": "sum"}).first()[0], os.environ["COLOUR"],
              spark.conf.get("spark.sql.shuffle.partitions"))
        """,
        "--target",
        f"s3://{emr.bucket}/out/",
        parameters=f"--py-files s3://{emr.bucket}/code/rules.py --conf spark.sql.shuffle.partitions=5 "
        "--conf spark.executor.instances=1 --conf spark.emr-serverless.driverEnv.COLOUR=red",
        name="doubling",
        tags={"stage": "test"},
        configurationOverrides={
            "monitoringConfiguration": {
                "s3MonitoringConfiguration": {"logUri": f"s3://{emr.bucket}/logs"},
                "cloudWatchLoggingConfiguration": {
                    "enabled": True,
                    "logGroupName": "/tests",
                    "logStreamNamePrefix": "p",
                },
            }
        },
    )
    run = emr.until(run_id, *ENDED)
    text = emr.output(run_id, group="/tests", prefix="p")
    assert run["state"] == "SUCCESS", emr.output(run_id, "stderr", "/tests", "p")
    assert "sum 12 red 5\n" in text
    assert (run["name"], run["tags"], run["mode"], run["attempt"]) == ("doubling", {"stage": "test"}, "BATCH", 1)
    assert run["startedAt"] <= run["endedAt"] and run["totalExecutionDurationSeconds"] >= 1
    # Two workers of 4 vCPUs each, a minute at least.
    assert run["billedResourceUtilization"]["vCPUHour"] >= 0.133
    assert emr.state() == "STARTED"
    listed = emr.s3.list_objects_v2(Bucket=emr.bucket, Prefix="out/")["Contents"]
    assert any(found["Key"].endswith(".parquet") for found in listed)
    log = f"logs/applications/{emr.application}/jobs/{run_id}/SPARK_DRIVER/stdout.gz"
    assert gzip.decompress(emr.s3.get_object(Bucket=emr.bucket, Key=log)["Body"].read()).decode() == text


@pytest.mark.slow
def test_initial_capacity_is_started_with_the_application(emr: Emr) -> None:
    worker = {"workerCount": 1, "workerConfiguration": {"cpu": "4 vCPU", "memory": "16 GB"}}
    emr.application = emr.create(initialCapacity={"Driver": worker})
    emr.emr.start_application(applicationId=emr.application)
    wait_for(emr.state, lambda state: state == "STARTED")
    run = emr.until(emr.start("print('hello')"), *ENDED)
    assert run["state"] == "SUCCESS"


@pytest.mark.slow
def test_client_token_and_failure_and_cancel(emr: Emr) -> None:
    token = uuid.uuid4().hex
    script = "raise RuntimeError('the weather is missing for 2013-02-08')"
    first = emr.start(script, clientToken=token)
    driver = emr.see(first)["jobDriver"]
    assert emr.start(script, clientToken=token, jobDriver=driver) == first
    with pytest.raises(emr.emr.exceptions.ConflictException):
        emr.start(script, clientToken=token, jobDriver=driver, name="other")
    failed = emr.until(first, *ENDED)
    assert failed["state"] == "FAILED"
    assert failed["stateDetails"] == (
        "Job failed, please check complete logs in configured logging destination. ExitCode: 1. "
        "Last few exceptions: RuntimeError: the weather is missing for 2013-02-08..."
    )
    endless = emr.start("import time; print('here', flush=True); time.sleep(600)")
    emr.until(endless, "RUNNING")
    with pytest.raises(emr.emr.exceptions.ValidationException, match="active job runs"):
        emr.emr.stop_application(applicationId=emr.application)
    emr.emr.cancel_job_run(applicationId=emr.application, jobRunId=endless)
    assert emr.until(endless, *ENDED)["state"] == "CANCELLED"
    with pytest.raises(emr.emr.exceptions.ValidationException, match="CANCELLED"):
        emr.emr.cancel_job_run(applicationId=emr.application, jobRunId=endless)
    runs = emr.emr.list_job_runs(applicationId=emr.application)["jobRuns"]
    assert [(run["id"], run["state"]) for run in runs] == [(endless, "CANCELLED"), (first, "FAILED")]
    failed_ones = emr.emr.list_job_runs(applicationId=emr.application, states=["FAILED"])["jobRuns"]
    assert [run["id"] for run in failed_ones] == [first]
