"""Requests are checked as AWS checks them, whatever the client lets through."""

from __future__ import annotations

import http.client

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

TRAINING = {
    "TrainingJobName": "valid-name",
    "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
    "RoleArn": "arn:aws:iam::123456789012:role/flywheel",
    "OutputDataConfig": {"S3OutputPath": "s3://b/o"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}


@pytest.fixture(scope="module")
def unchecked(aws):
    """A client that sends what it is given, unchecked."""

    def client(service):
        config = Config(parameter_validation=False, retries={"max_attempts": 1})
        keys = {"aws_access_key_id": "t", "aws_secret_access_key": "t", "region_name": "us-east-1"}
        return boto3.client(service, endpoint_url=aws.endpoint, config=config, **keys)

    return client


def refused(call, **parameters) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def test_a_pattern_in_awss_words(unchecked):
    wrong = TRAINING | {"TrainingJobName": "with_underscore"}
    code, message = refused(unchecked("sagemaker").create_training_job, **wrong)
    assert code == "ValidationException"
    assert message.startswith(
        "1 validation error detected: Value 'with_underscore' at 'trainingJobName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: "
    )


def test_everything_that_is_wrong_is_told_at_once(unchecked):
    wrong = TRAINING | {
        "ResourceConfig": {"InstanceType": "ml.none.large", "VolumeSizeInGB": 1, "InstanceCount": -1},
        "RoleArn": None,
        "TrainingJobName": "x" * 64,
    }
    code, message = refused(unchecked("sagemaker").create_training_job, **wrong)
    assert code == "ValidationException"
    assert message.startswith("5 validation errors detected: ")
    for told in (
        "Value null at 'roleArn' failed to satisfy constraint: Member must not be null",
        "at 'trainingJobName' failed to satisfy constraint: Member must have length less than or equal to 63",
        "at 'trainingJobName' failed to satisfy constraint: Member must satisfy regular expression pattern",
        "Value 'ml.none.large' at 'resourceConfig.instanceType' failed to satisfy constraint: Member must satisfy enum",
        "Value '-1' at 'resourceConfig.instanceCount' failed to satisfy constraint: Member must have value greater",
    ):
        assert told in message


def test_wrong_types_are_told(unchecked):
    wrong = TRAINING | {"StoppingCondition": {"MaxRuntimeInSeconds": "sixty"}}
    code, message = refused(unchecked("sagemaker").create_training_job, **wrong)
    assert code == "SerializationException"
    assert message == "stoppingCondition.maxRuntimeInSeconds: expected an integer, found a string"


def test_rest_services_are_checked_too(unchecked):
    code, message = refused(unchecked("emr-serverless").get_job_run, applicationId="UPPER", jobRunId="1")
    assert code == "ValidationException" and "at 'applicationId'" in message


def test_unknown_members_are_passed_over(aws):
    connection = http.client.HTTPConnection(aws.endpoint.removeprefix("http://"), timeout=20)
    headers = {
        "X-Amz-Target": "AWSGlue.GetDatabases",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": "AWS4-HMAC-SHA256 Credential=t/20260101/us-east-1/glue/aws4_request, Signature=0",
    }
    connection.request("POST", "/", b'{"NotAMember": 1}', headers)
    assert connection.getresponse().status == 200
    connection.close()
