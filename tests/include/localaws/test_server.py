"""Starting, stopping, and what a call meets before it reaches its service."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

INCLUDE = Path(__file__).resolve().parents[3] / "include"


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "localaws", "serve", *arguments]
    return subprocess.run(command, env={"PYTHONPATH": str(INCLUDE)}, capture_output=True, text=True, timeout=60)


def post(aws, path: str = "/", headers: dict[str, str] | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection(aws.endpoint.removeprefix("http://"), timeout=20)
    connection.request("POST", path, b"Action=GetCallerIdentity", headers or {})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_it_tells_where_it_answers_and_ends_cleanly(start_local_aws, tmp_path):
    running = start_local_aws(tmp_path / "root")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", running.endpoint)
    assert running.client("sts").get_caller_identity()["Account"] == "123456789012"
    assert running.stop() == 0
    assert running.errors == []


def test_a_port_that_is_taken_is_named_with_what_to_do(aws, tmp_path):
    port = aws.endpoint.rpartition(":")[2]
    ended = start("--root", str(tmp_path / "other"), "--port", port)
    assert ended.returncode == 2 and ended.stdout == ""
    assert ended.stderr == (
        f"The local AWS cannot start: port {port} on 127.0.0.1 is already taken by another local AWS (process "
        f"{aws.process.pid}, root {aws.root}); `make down` ends it. End it, or start with another --port\n"
    )


def test_a_port_that_another_program_holds_is_told_too(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = start("--root", str(tmp_path / "root"), "--port", str(port))
    assert ended.returncode == 2
    assert f"port {port} on 127.0.0.1 is already taken by another program; `lsof -nP -iTCP:{port}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_second_server_on_the_same_root_is_refused(aws):
    ended = start("--root", str(aws.root), "--port", "0")
    assert ended.returncode == 2
    assert f"{aws.root} is in use by another local AWS (process {aws.process.pid} at {aws.endpoint})" in ended.stderr
    assert aws.client("sts").get_caller_identity()["Account"]


def test_only_this_machine_and_no_page_may_call(aws):
    assert post(aws, headers={"Host": "evil.example.com"})[0] == 403
    assert post(aws, headers={"Origin": "https://evil.example.com"})[0] == 403
    assert post(aws, "/moto-api/reset")[0] == 403
    assert "answers only to 127.0.0.1" in post(aws, headers={"Host": "evil.example.com"})[1]


def test_state_only_services_work(aws):
    role = aws.client("iam").create_role(RoleName="flywheel", AssumeRolePolicyDocument="{}")["Role"]
    aws.client("iam").attach_role_policy(RoleName="flywheel", PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
    session = aws.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="test")
    assert session["Credentials"]["AccessKeyId"]
    topic = aws.client("sns").create_topic(Name="alerts")["TopicArn"]
    queue = aws.client("sqs").create_queue(QueueName="alerts")["QueueUrl"]
    arn = aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    aws.client("sns").publish(TopicArn=topic, Message="drift")
    message = aws.client("sqs").receive_message(QueueUrl=queue)["Messages"][0]
    assert json.loads(message["Body"])["Message"] == "drift"
    metric = {"MetricName": "psi", "Value": 0.2, "Unit": "None"}
    aws.client("cloudwatch").put_metric_data(Namespace="Flywheel", MetricData=[metric])
    assert aws.client("cloudwatch").list_metrics(Namespace="Flywheel")["Metrics"][0]["MetricName"] == "psi"
    logs = aws.client("logs")
    logs.create_log_group(logGroupName="/g")
    logs.create_log_stream(logGroupName="/g", logStreamName="s")
    event = {"timestamp": int(time.time() * 1000), "message": "hi"}
    logs.put_log_events(logGroupName="/g", logStreamName="s", logEvents=[event])
    assert logs.get_log_events(logGroupName="/g", logStreamName="s")["events"][0]["message"] == "hi"
    aws.client("secretsmanager").create_secret(Name="s", SecretString="x")
    assert aws.client("secretsmanager").get_secret_value(SecretId="s")["SecretString"] == "x"


def test_every_call_is_in_the_journal(aws):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="journal-bucket")
    s3.list_objects_v2(Bucket="journal-bucket")
    s3.put_object(Bucket="journal-bucket", Key="a/b", Body=b"")
    upload = s3.create_multipart_upload(Bucket="journal-bucket", Key="m")["UploadId"]
    s3.upload_part(Bucket="journal-bucket", Key="m", UploadId=upload, PartNumber=1, Body=b"x")
    s3.copy_object(Bucket="journal-bucket", Key="c", CopySource="journal-bucket/a/b")
    with pytest.raises(ClientError):
        s3.get_object(Bucket="journal-bucket", Key="none")
    aws.client("sns").create_topic(Name="journal-topic")
    aws.client("cloudwatch").put_metric_data(Namespace="N", MetricData=[{"MetricName": "m", "Value": 1}])
    glue = aws.client("glue")
    glue.create_database(DatabaseInput={"Name": "journal_database"})
    glue.get_database(Name="journal_database")
    with pytest.raises(ClientError):
        aws.client("emr-serverless").get_application(applicationId="00journal")
    entries = [json.loads(line) for line in (aws.root / "journal.jsonl").read_text().splitlines()]
    lines = [entry for entry in entries if "service" in entry]  # the others tell of jobs
    found = [(line["service"], line["operation"], line["resource"], line["error"]) for line in lines]
    for expected in [
        ("s3", "CreateBucket", "journal-bucket", None),
        ("s3", "ListObjectsV2", "journal-bucket", None),
        ("s3", "PutObject", "journal-bucket/a/b", None),
        ("s3", "CreateMultipartUpload", "journal-bucket/m", None),
        ("s3", "UploadPart", "journal-bucket/m", None),
        ("s3", "CopyObject", "journal-bucket/c", None),
        ("s3", "GetObject", "journal-bucket/none", "NoSuchKey"),
        ("sns", "CreateTopic", "journal-topic", None),
        ("cloudwatch", "PutMetricData", "N", None),
        ("glue", "GetDatabase", "journal_database", None),
        ("emr-serverless", "GetApplication", "00journal", "ResourceNotFoundException"),
    ]:
        assert expected in found
    assert all(line["request_id"] and line["time"] and line["ms"] >= 0 for line in lines if line["status"] == 200)
