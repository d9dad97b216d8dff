"""The kinds of job that waiting_jobs.py can let wait: how such jobs are made, which trigger the provider has, what AWS allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ROLE = "arn:aws:iam::123456789012:role/bench"
BUCKET = "bench"
SCRIPT = f"s3://{BUCKET}/sleep.py"
SECONDS = 86400
#: So many jobs, those that were started first, may be running; all others wait.
RUNNING = 16
PROVIDER = "airflow.providers.amazon.aws.triggers"

Identity = dict[str, str]
Place = dict[str, str]


@dataclass(frozen=True)
class Kind:
    """One kind of job.

    :param client: name of the boto3 client
    :param prepare: makes what so many jobs need and returns their place: the arguments that narrow the list of jobs to it
    :param start: starts the job of a number in the place
    :param stop: stops a job
    :param trigger: class path of the provider's trigger
    :param names: its arguments that identify the job, and what those are called in an identity
    :param interval: its argument for the seconds between polls
    :param others: its further arguments
    :param told: how its log line about an answer of AWS begins; empty: it writes none, but the journal names each job
    :param lists: the operation that lists jobs, of which Flywheel reads ``page`` at once
    :param most: so many can wait at once, on AWS as well; None: any number
    :param limits: what is known of AWS's limits for the calls of both triggers, and from where
    """

    client: str
    prepare: Callable[[Any, int], Place]
    start: Callable[[Any, int, Place], Identity]
    stop: Callable[[Any, Identity], Any]
    trigger: str
    names: dict[str, str]
    interval: str
    others: dict[str, Any]
    told: str
    lists: str
    page: int
    limits: str
    most: int | None = None


def start_training(client: Any, number: int, place: Place) -> Identity:
    """A training job that sleeps as soon as it has one of the two instances."""
    job = {"TrainingJobName": f"waiting-{number:04d}"}
    client.create_training_job(
        **job,
        AlgorithmSpecification={
            "TrainingImage": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.2-0",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["sleep", str(SECONDS)],
        },
        RoleArn=ROLE,
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/models"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": SECONDS},
    )
    return job


def prepare_glue(client: Any, jobs: int) -> Place:
    """A Spark job that may run so often at once."""
    command = {"Name": "glueetl", "ScriptLocation": SCRIPT}
    client.create_job(Name="waiting", Role=ROLE, Command=command, ExecutionProperty={"MaxConcurrentRuns": jobs})
    return {"JobName": "waiting"}


def prepare_emr(client: Any, jobs: int) -> Place:
    """An application."""
    application = client.create_application(name="waiting", releaseLabel="emr-7.9.0", type="SPARK")
    return {"applicationId": application["applicationId"]}


def start_emr(client: Any, number: int, place: Place) -> Identity:
    """A run of the sleeping script."""
    run = client.start_job_run(**place, executionRoleArn=ROLE, jobDriver={"sparkSubmit": {"entryPoint": SCRIPT}})
    return {**place, "jobRunId": run["jobRunId"]}


def prepare_redshift(client: Any, jobs: int) -> Place:
    """A table that is locked by a session's open transaction."""
    place = {"WorkgroupName": "bench", "Database": "bench"}
    client.execute_statement(Sql="CREATE TABLE waiting (n int)", WaitTimeSeconds=30, **place)
    begun = client.execute_statement(Sql="BEGIN", SessionKeepAliveSeconds=SECONDS, WaitTimeSeconds=30, **place)
    client.execute_statement(Sql="LOCK TABLE waiting", SessionId=begun["SessionId"], WaitTimeSeconds=30)
    return place


KINDS = {
    "training": Kind(
        client="sagemaker",
        prepare=lambda client, jobs: {},
        start=start_training,
        stop=lambda client, job: client.stop_training_job(**job),
        trigger=f"{PROVIDER}.sagemaker.SageMakerTrigger",
        names={"job_name": "TrainingJobName"},
        interval="waiter_delay",
        others={"job_type": "training", "waiter_max_attempts": SECONDS},
        told="training job not done yet",
        lists="ListTrainingJobs",
        page=100,
        limits="ListTrainingJobs 2/s an account, not adjustable (aws-solutions/deepracer-on-aws#87, "
        "aws/sagemaker-python-sdk#2071); DescribeTrainingJob: not published",
    ),
    "glue": Kind(
        client="glue",
        prepare=prepare_glue,
        start=lambda client, number, place: {**place, "RunId": client.start_job_run(**place)["JobRunId"]},
        stop=lambda client, job: client.batch_stop_job_run(JobName=job["JobName"], JobRunIds=[job["RunId"]]),
        trigger=f"{PROVIDER}.glue.GlueJobCompleteTrigger",
        names={"job_name": "JobName", "run_id": "RunId"},
        interval="waiter_delay",
        others={"waiter_max_attempts": SECONDS},
        told="Status of AWS Glue job is",
        lists="GetJobRuns",
        page=200,
        limits="not published; GetJobRun does get throttled (moj-analytical-services/etl_manager#84)",
    ),
    "emr_serverless": Kind(
        client="emr-serverless",
        prepare=prepare_emr,
        start=start_emr,
        stop=lambda client, job: client.cancel_job_run(**job),
        trigger=f"{PROVIDER}.emr.EmrServerlessStartJobTrigger",
        names={"application_id": "applicationId", "job_id": "jobRunId"},
        interval="waiter_delay",
        others={"waiter_max_attempts": SECONDS},
        told="Serverless Job status is",
        lists="ListJobRuns",
        page=50,
        limits="in the EMR Serverless User Guide, Endpoints and quotas; gchq/sleeper paces itself to 1/s (its issue #4504)",
    ),
    "redshift_data": Kind(
        client="redshift-data",
        prepare=prepare_redshift,
        start=lambda client, number, place: {"Id": client.execute_statement(Sql="LOCK TABLE waiting", **place)["Id"]},
        stop=lambda client, job: client.cancel_statement(**job),
        trigger=f"{PROVIDER}.redshift_data.RedshiftDataTrigger",
        names={"statement_id": "Id"},
        interval="poll_interval",
        others={"task_id": "waiting"},
        told="",
        lists="ListStatements",
        page=100,
        limits="DescribeStatement 100/s an account and region, not adjustable (jitsucom/jitsu#1462); ListStatements: not found",
        most=480,
    ),
}
