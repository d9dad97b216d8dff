"""Creates what the DAGs expect to find on AWS, uploads the jobs' artifacts, and prints Flywheel's settings.

    PYTHONPATH=plugins python include/infra/provision.py --bucket my-bucket > flywheel.env

Idempotent: what exists is kept or brought up to date, nothing is deleted but alarms of models that are gone. It makes the
bucket, one role for all jobs, the Glue job, the EMR Serverless application, the alerts topic, an alarm for each model whose
monitoring must not fall silent, and Redshift's schemas and tables, those of ``include/features`` and ``include/models``
included (so provision again for a new model or feature version); the Redshift workgroup has to exist. On
standard output there is one ``KEY=VALUE`` line for each setting (environment variables of Airflow; on MWAA give them as
configuration options: ``AIRFLOW__FLYWHEEL__BUCKET`` is ``flywheel.bucket``); what it does goes to standard error.

Credentials, region and endpoint come from the environment, as boto3 reads them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from flywheel.core.artifacts import artifacts_version, build_artifacts
from flywheel.core.features import load_feature_groups
from flywheel.core.specs import load_model_specs

INCLUDE = Path(__file__).resolve().parents[1]
sys.path.append(str(INCLUDE))  # run as a file it finds only what lies beside it

from infra.alarms import ensure_alarms  # noqa: E402

SERVICES = ["glue.amazonaws.com", "emr-serverless.amazonaws.com", "sagemaker.amazonaws.com", "redshift.amazonaws.com",
            "redshift-serverless.amazonaws.com"]  # fmt: skip
#: The newest release with Spark 3.5, which Glue 5.0 has too.
EMR_RELEASE = "emr-7.9.0"


def say(text: str) -> None:
    """Progress, kept apart from the settings on standard output."""
    print(text, file=sys.stderr, flush=True)


def ensure_bucket(bucket: str, region: str) -> None:
    """The project's one bucket, private and versioned as MWAA wants its bucket."""
    s3 = boto3.client("s3")
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
            raise
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=bucket, **place)
        say(f"bucket {bucket}: created")
    s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True,
        },
    )  # fmt: skip


def ensure_role(name: str, bucket: str) -> str:
    """The role that the jobs run under: the bucket, their logs, their metrics, and nothing else. Returns its ARN."""
    iam = boto3.client("iam")
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": SERVICES}, "Action": "sts:AssumeRole"}],
    }
    try:
        arn = iam.get_role(RoleName=name)["Role"]["Arn"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchEntity":
            raise
        arn = iam.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=json.dumps(trust),
            Description="Flywheel's Glue, EMR, SageMaker and Redshift jobs",
        )["Role"]["Arn"]
        say(f"role {name}: created")
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket", "s3:GetBucketLocation"],
                "Resource": f"arn:aws:s3:::{bucket}",
            },
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
                "Resource": f"arn:aws:s3:::{bucket}/*",
            },
            {
                "Effect": "Allow",
                "Action": [
                    "logs:CreateLogGroup",
                    "logs:CreateLogStream",
                    "logs:PutLogEvents",
                    "logs:DescribeLogStreams",
                ],
                "Resource": ["arn:aws:logs:*:*:log-group:/aws-glue/*", "arn:aws:logs:*:*:log-group:/aws/*"],
            },
            {"Effect": "Allow", "Action": "logs:DescribeLogGroups", "Resource": "*"},
            {
                "Effect": "Allow",
                "Action": "cloudwatch:PutMetricData",
                "Resource": "*",
                "Condition": {"StringLike": {"cloudwatch:namespace": ["Glue", "/aws/sagemaker/*", "Flywheel"]}},
            },
            {
                "Effect": "Allow",
                "Action": [
                    "ecr:GetAuthorizationToken",
                    "ecr:BatchCheckLayerAvailability",
                    "ecr:GetDownloadUrlForLayer",
                    "ecr:BatchGetImage",
                ],
                "Resource": "*",
            },
        ],
    }
    iam.put_role_policy(RoleName=name, PolicyName="flywheel-jobs", PolicyDocument=json.dumps(policy))
    return arn


def ensure_glue_job(name: str, role_arn: str, script: str) -> None:
    """One Glue job for all ingestion; each run names its script. Two of the smallest workers, four runs at once."""
    glue = boto3.client("glue")
    definition: dict[str, Any] = {
        "Role": role_arn,
        "Command": {"Name": "glueetl", "ScriptLocation": script, "PythonVersion": "3"},
        "GlueVersion": "5.0",
        "WorkerType": "G.1X",
        "NumberOfWorkers": 2,
        "ExecutionProperty": {"MaxConcurrentRuns": 4},
        "MaxRetries": 0,  # Airflow retries
        "Timeout": 240,
    }
    try:
        glue.get_job(JobName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityNotFoundException":
            raise
        glue.create_job(Name=name, **definition)
        say(f"Glue job {name}: created")
    else:
        glue.update_job(JobName=name, JobUpdate=definition)


def ensure_emr_application(name: str) -> str:
    """The EMR Serverless application for features; it starts by itself and stops when idle. Returns its id."""
    emr = boto3.client("emr-serverless")
    for page in emr.get_paginator("list_applications").paginate(
        states=["CREATING", "CREATED", "STARTING", "STARTED", "STOPPING", "STOPPED"]
    ):
        for application in page["applications"]:
            if application["name"] == name:
                return application["id"]
    created = emr.create_application(
        name=name,
        releaseLabel=EMR_RELEASE,
        type="SPARK",
        clientToken=name,
        autoStartConfiguration={"enabled": True},
        autoStopConfiguration={"enabled": True, "idleTimeoutMinutes": 15},
    )
    say(f"EMR Serverless application {name}: created")
    return created["applicationId"]


def run_setup_sql(workgroup: str, database: str) -> None:
    """Schemas and tables in Redshift: ``include/sql/setup``, its ``features`` for each definition of ``include/features``, its
    ``model`` for each spec of ``include/models``.

    They are made here and not by the loads: a CREATE would take the snapshot of a load's transaction before its LOCK.

    :raises RuntimeError: with Redshift's reason; or a table is there and has not the columns that it should
    """
    redshift = boto3.client("redshift-data")
    target = {"WorkgroupName": workgroup, "Database": database}
    folder = INCLUDE / "sql" / "setup"
    common = sorted(folder.glob("*.sql"), key=lambda path: ("schema" not in path.name, path.name))
    statements = [path.read_text() for path in common]
    _run_batch(redshift, target, "flywheel-setup", statements)
    for statement in statements:
        if "CREATE TABLE" in statement:
            _check_columns(redshift, target, statement)
    templates = Environment(loader=FileSystemLoader(INCLUDE / "sql"), undefined=StrictUndefined, autoescape=False)  # noqa: S701
    definitions = [one for versions in load_feature_groups(INCLUDE / "features").values() for one in versions.values()]
    for kind, name, values in (
        *(("features", definition.table, {"features": definition}) for definition in definitions),
        *(("model", model.name, {"model": model}) for model in load_model_specs(INCLUDE / "models")),
    ):
        files = sorted(path.name for path in (folder / kind).glob("*.sql"))
        statements = [templates.get_template(f"setup/{kind}/{file}").render(values) for file in files]
        _run_batch(redshift, target, f"flywheel-setup-{name}", statements)
        for statement in statements:
            _check_columns(redshift, target, statement)


def _run_batch(redshift: Any, target: dict[str, str], name: str, statements: list[str]) -> None:
    """Runs statements in one transaction, and waits."""
    statement = redshift.batch_execute_statement(Sqls=statements, StatementName=name, **target)
    while (answer := redshift.describe_statement(Id=statement["Id"]))["Status"] not in ("FINISHED", "FAILED", "ABORTED"):
        time.sleep(0.2)
    if answer["Status"] != "FINISHED":
        raise RuntimeError(f"setup of Redshift database {target['Database']}: {answer['Status']}: {answer.get('Error')}")


def _check_columns(redshift: Any, target: dict[str, str], statement: str) -> None:
    """A CREATE TABLE IF NOT EXISTS leaves a table as it is, whatever its columns: those have to be the ones of the statement.

    They are not added. What is in the table was computed without them, and no value would be true for its rows.
    """
    created = re.search(r"^CREATE TABLE IF NOT EXISTS (\w+)\.(\w+) \($", statement, re.MULTILINE)
    assert created, f"expected a CREATE TABLE IF NOT EXISTS, found {statement}"
    schema, table = created.groups()
    expected = set(re.findall(r"^ {4}(\w+) ", statement, re.MULTILINE))
    found = set()
    for page in redshift.get_paginator("describe_table").paginate(Schema=schema, Table=table, **target):
        found |= {column["name"] for column in page["ColumnList"]}
    if expected != found:
        raise RuntimeError(
            f"Redshift table {schema}.{table}: expected the columns of the spec, found none of {sorted(expected - found)} and "
            f"unexpected {sorted(found - expected)}. It was made for another spec or by an older Flywheel: give the features a "
            f"new version, or DROP TABLE {schema}.{table}, provision again and run the days that it shall hold again"
        )


def ensure_catalog(database: str) -> None:
    """The database of the Glue Data Catalog that names the zones' tables."""
    try:
        boto3.client("glue").create_database(DatabaseInput={"Name": database, "Description": "The zones of Flywheel"})
        say(f"Data Catalog database {database}: created")
    except ClientError as error:
        if error.response["Error"]["Code"] != "AlreadyExistsException":
            raise


def upload_artifacts(bucket: str) -> str:
    """Job scripts, packages and contracts under their version; a version that is whole is not uploaded again. Returns it."""
    s3 = boto3.client("s3")
    version = artifacts_version(INCLUDE)
    marker = f"artifacts/{version}/_SUCCESS"
    try:
        s3.head_object(Bucket=bucket, Key=marker)
        return version
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
            raise
    artifacts = build_artifacts(INCLUDE)
    for name, content in artifacts.items():
        s3.put_object(Bucket=bucket, Key=f"artifacts/{version}/{name}", Body=content)
    s3.put_object(Bucket=bucket, Key=marker, Body=b"")
    say(f"artifacts {version}: {len(artifacts)} uploaded")
    return version


def provision(arguments: argparse.Namespace) -> dict[str, str]:
    """Everything in the order of its dependencies; returns the settings."""
    region = boto3.session.Session().region_name or "us-east-1"
    ensure_bucket(arguments.bucket, region)
    version = upload_artifacts(arguments.bucket)
    role = ensure_role(arguments.role, arguments.bucket)
    ensure_glue_job(arguments.glue_job, role, f"s3://{arguments.bucket}/artifacts/{version}/scripts/glue/ingest_dataset.py")
    application = ensure_emr_application(arguments.emr_application)
    topic = boto3.client("sns").create_topic(Name=arguments.alerts_topic)["TopicArn"]
    ensure_alarms(load_model_specs(INCLUDE / "models"), topic, say)
    ensure_catalog(arguments.catalog_database)
    run_setup_sql(arguments.redshift_workgroup, arguments.redshift_database)
    return {
        "bucket": arguments.bucket,
        "region": region,
        "role_arn": role,
        "redshift_role_arn": role,
        "glue_job": arguments.glue_job,
        "emr_application_id": application,
        "catalog_database": arguments.catalog_database,
        "redshift_workgroup": arguments.redshift_workgroup,
        "redshift_database": arguments.redshift_database,
        "alerts_topic_arn": topic,
    }


def main() -> None:
    """Command line; see the module's head."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--bucket", required=True, help="the project's bucket; created when it does not exist")
    parser.add_argument("--role", default="flywheel-jobs", help="name of the jobs' role")
    parser.add_argument("--glue-job", default="flywheel-ingest")
    parser.add_argument("--emr-application", default="flywheel-features")
    parser.add_argument("--alerts-topic", default="flywheel-alerts")
    parser.add_argument("--catalog-database", default="flywheel", help="of the Glue Data Catalog")
    parser.add_argument("--redshift-workgroup", default="flywheel", help="has to exist")
    parser.add_argument("--redshift-database", default="flywheel", help="has to exist")
    for name, value in provision(parser.parse_args()).items():
        print(f"AIRFLOW__FLYWHEEL__{name.upper()}={value}")


if __name__ == "__main__":
    main()
