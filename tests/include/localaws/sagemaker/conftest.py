"""What the SageMaker tests share: a bucket, tiny scripts packed as source directories, and waiting for a job's end."""

from __future__ import annotations

import io
import itertools
import tarfile
import time
from collections.abc import Callable
from typing import Any

import pytest

XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.2-0"
SKLEARN = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.4-2-cpu-py3"
ROLE = "arn:aws:iam::123456789012:role/flywheel-sagemaker"
BUCKET = "sagemaker-tests"
FINAL = ("Completed", "Failed", "Stopped")

_numbers = itertools.count(1)


def tar_gz(files: dict[str, str]) -> bytes:
    """A tar.gz of text files by name."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return stream.getvalue()


class SageMaker:
    """The SageMaker client of the tests, with S3 and logs beside it, and what requests need."""

    BUCKET, ROLE, XGBOOST, SKLEARN = BUCKET, ROLE, XGBOOST, SKLEARN
    tar_gz = staticmethod(tar_gz)

    def __init__(self, aws: Any):
        self.aws, self.client, self.s3, self.logs = aws, aws.client("sagemaker"), aws.client("s3"), aws.client("logs")

    def name(self, prefix: str) -> str:
        """A name that no other test has."""
        return f"{prefix}-{next(_numbers)}"

    def put(self, key: str, body: str | bytes) -> str:
        """Writes an object and returns its URI."""
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"

    def get(self, uri: str) -> bytes:
        """The bytes of an object."""
        return self.s3.get_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))["Body"].read()

    def keys(self, prefix: str) -> list[str]:
        """The keys below a prefix."""
        return [item["Key"] for item in self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]

    def unpacked(self, uri: str) -> dict[str, str]:
        """The text files of a tar.gz by name."""
        with tarfile.open(fileobj=io.BytesIO(self.get(uri)), mode="r:gz") as tar:
            return {m.name: tar.extractfile(m).read().decode() for m in tar.getmembers() if m.isfile()}  # type: ignore[union-attr]

    def messages(self, group: str, job: str) -> list[str]:
        """Everything a job has logged, stream after stream."""
        found = []
        for stream in self.logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job}/")["logStreams"]:
            events = self.logs.get_log_events(
                logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
            )
            found += [event["message"] for event in events["events"]]
        return found

    def wait(self, kind: str, name: str, until: Callable[[dict[str, Any]], bool] | None = None) -> dict[str, Any]:
        """Describes a job (`training`, `processing`, `transform`) until it has ended, or until it is as asked."""
        noun = f"{kind.title()}Job"
        describe = getattr(self.client, f"describe_{kind}_job")
        deadline = time.monotonic() + 60
        while True:
            job = describe(**{f"{noun}Name": name})
            if until(job) if until else job[f"{noun}Status"] in FINAL:
                return job
            assert time.monotonic() < deadline, f"{name} did not get there in 60 s: {job}"
            time.sleep(0.05)

    def train(self, script: str, **request: Any) -> str:
        """Starts a training job of one script and returns its name."""
        name = request.pop("TrainingJobName", None) or self.name("train")
        code = self.put(f"code/{name}/sourcedir.tar.gz", tar_gz({"train.py": script}))
        parameters = {"sagemaker_program": "train.py", "sagemaker_submit_directory": code}
        parameters |= request.pop("HyperParameters", {})
        algorithm = {"TrainingImage": XGBOOST, "TrainingInputMode": "File"} | request.pop("AlgorithmSpecification", {})
        defaults = {
            "TrainingJobName": name,
            "RoleArn": ROLE,
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        }
        self.client.create_training_job(
            **defaults | request, HyperParameters=parameters, AlgorithmSpecification=algorithm
        )
        return name

    def channel(self, name: str, uri: str) -> dict[str, Any]:
        """One item of InputDataConfig."""
        source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
        return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


@pytest.fixture(scope="session")
def sm(aws: Any) -> SageMaker:
    """SageMaker of the session's local AWS, with the bucket of these tests."""
    found = SageMaker(aws)
    found.s3.create_bucket(Bucket=BUCKET)
    return found
