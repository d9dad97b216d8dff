"""The state survives a stop, and a kill but for the last moment."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest


def fill(aws: Any) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="kept")
    told = {"Metadata": {"who": "me"}, "ContentType": "text/csv", "Tagging": "a=b"}
    s3.put_object(Bucket="kept", Key="with/meta", Body=b"1", **told)
    s3.put_object(Bucket="kept", Key="folder/", Body=b"")
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="kept", Key="v", Body=b"old")
    s3.put_object(Bucket="kept", Key="v", Body=b"new")
    iam = aws.client("iam")
    iam.create_role(RoleName="kept", AssumeRolePolicyDocument="{}")
    iam.attach_role_policy(RoleName="kept", PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
    topic = aws.client("sns").create_topic(Name="kept")["TopicArn"]
    queue = aws.client("sqs").create_queue(QueueName="kept")["QueueUrl"]
    arn = aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    aws.client("ssm").put_parameter(Name="kept", Value="1", Type="String")
    aws.client("secretsmanager").create_secret(Name="kept", SecretString="x")
    aws.client("glue").create_database(DatabaseInput={"Name": "kept"})
    aws.client("cloudwatch").put_metric_data(Namespace="Kept", MetricData=[{"MetricName": "m", "Value": 1}])
    aws.client("dynamodb").create_table(
        TableName="kept",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    logs = aws.client("logs")
    logs.create_log_group(logGroupName="/kept")
    logs.create_log_stream(logGroupName="/kept", logStreamName="s")
    logs.put_log_events(
        logGroupName="/kept", logStreamName="s", logEvents=[{"timestamp": int(time.time() * 1000), "message": "hi"}]
    )
    aws.client("sns").publish(TopicArn=topic, Message="queued")
    aws.client("kms").create_key(Description="kept")
    aws.client("kinesis").create_stream(StreamName="kept", ShardCount=1)
    aws.client("kinesis").put_record(StreamName="kept", Data=b"1", PartitionKey="1")
    aws.client("events").put_rule(Name="kept", EventPattern='{"source": ["aws.s3"]}')
    aws.client("firehose").create_delivery_stream(
        DeliveryStreamName="kept",
        S3DestinationConfiguration={"RoleARN": "arn:aws:iam::123456789012:role/kept", "BucketARN": "arn:aws:s3:::kept"},
    )


def check(aws: Any) -> None:
    s3 = aws.client("s3")
    head = s3.head_object(Bucket="kept", Key="with/meta")
    assert head["Metadata"] == {"who": "me"} and head["ContentType"] == "text/csv"
    assert s3.get_object_tagging(Bucket="kept", Key="with/meta")["TagSet"] == [{"Key": "a", "Value": "b"}]
    versions = s3.list_object_versions(Bucket="kept", Prefix="v")["Versions"]
    bodies = {s3.get_object(Bucket="kept", Key="v", VersionId=v["VersionId"])["Body"].read() for v in versions}
    assert bodies == {b"old", b"new"}
    assert s3.get_object(Bucket="kept", Key="v")["Body"].read() == b"new"
    assert s3.head_object(Bucket="kept", Key="folder/")["ContentLength"] == 0
    attached = aws.client("iam").list_attached_role_policies(RoleName="kept")["AttachedPolicies"]
    assert [policy["PolicyName"] for policy in attached] == ["AmazonS3FullAccess"]
    queue = aws.client("sqs").get_queue_url(QueueName="kept")["QueueUrl"]
    assert "queued" in aws.client("sqs").receive_message(QueueUrl=queue)["Messages"][0]["Body"]
    assert aws.client("ssm").get_parameter(Name="kept")["Parameter"]["Value"] == "1"
    assert aws.client("secretsmanager").get_secret_value(SecretId="kept")["SecretString"] == "x"
    assert aws.client("glue").get_database(Name="kept")["Database"]["Name"] == "kept"
    assert aws.client("cloudwatch").list_metrics(Namespace="Kept")["Metrics"]
    assert aws.client("dynamodb").list_tables()["TableNames"] == ["kept"]
    assert aws.client("kms").list_keys()["Keys"]
    assert aws.client("kinesis").list_streams()["StreamNames"] == ["kept"]
    assert aws.client("events").describe_rule(Name="kept")["EventPattern"] == '{"source": ["aws.s3"]}'
    assert aws.client("firehose").list_delivery_streams()["DeliveryStreamNames"] == ["kept"]
    assert aws.client("logs").get_log_events(logGroupName="/kept", logStreamName="s")["events"][0]["message"] == "hi"


def test_everything_is_there_after_a_stop(start_local_aws, tmp_path: Path):
    first = start_local_aws(tmp_path)
    fill(first)
    assert first.stop() == 0 and first.errors == []
    second = start_local_aws(tmp_path)
    check(second)
    assert second.stop() == 0 and second.errors == []


def test_a_kill_loses_at_most_the_last_moment(start_local_aws, tmp_path: Path):
    first = start_local_aws(tmp_path)
    fill(first)
    time.sleep(2.0)
    first.client("s3").put_object(Bucket="kept", Key="in/the/last/moment", Body=b"safe")
    first.kill()
    (tmp_path / "s3/kept/written-while-down").write_bytes(b"found")
    second = start_local_aws(tmp_path)
    check(second)
    s3 = second.client("s3")
    assert s3.get_object(Bucket="kept", Key="in/the/last/moment")["Body"].read() == b"safe"
    assert s3.get_object(Bucket="kept", Key="written-while-down")["Body"].read() == b"found"
    second.stop()


def test_without_any_saved_state_the_objects_are_there(start_local_aws, tmp_path: Path):
    first = start_local_aws(tmp_path)
    s3 = first.client("s3")
    s3.create_bucket(Bucket="only-files")
    for key in ("a/b", "a", "folder/", "dots/../up"):
        s3.put_object(Bucket="only-files", Key=key, Body=key.encode())
    first.kill()
    for file in (tmp_path / "state").iterdir():
        file.unlink()
    second = start_local_aws(tmp_path)
    s3 = second.client("s3")
    for key in ("a/b", "a", "folder/", "dots/../up"):
        assert s3.get_object(Bucket="only-files", Key=key)["Body"].read() == key.encode()
    second.stop()


def test_a_state_that_cannot_be_read_stops_the_start_and_is_named(start_local_aws, tmp_path: Path):
    first = start_local_aws(tmp_path)
    first.client("sns").create_topic(Name="t")
    first.stop()
    file = next((tmp_path / "state").glob("sns*.pickle"))
    file.write_bytes(b"damaged")
    with pytest.raises(RuntimeError, match=r"sns\.sns_backends.*cannot be read.*move it away"):
        start_local_aws(tmp_path)
    assert file.read_bytes() == b"damaged"
    file.unlink()
    assert start_local_aws(tmp_path).stop() == 0
