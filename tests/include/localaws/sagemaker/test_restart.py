"""What SageMaker remembers when the local AWS is stopped, or killed, and started again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_records_survive_and_running_jobs_are_failed_with_a_reason(
    aws: Any, sm: Any, tmp_path: Path, kill: bool
) -> None:
    sm = start(aws, sm, tmp_path)
    try:
        before = fill(sm)
        if kill:
            wait_until_saved(tmp_path, before["running"])
            sm.aws.kill()
        else:
            assert sm.aws.stop() == 0
        sm = start(aws, sm, tmp_path)
        check(sm, before)
    finally:
        sm.aws.stop()


def start(aws: Any, sm: Any, root: Path) -> Any:
    """A local AWS of its own, and its SageMaker."""
    return type(sm)(type(aws)(root))


def fill(sm: Any) -> dict[str, Any]:
    sm.s3.create_bucket(Bucket=sm.BUCKET)
    done = sm.train("import os\nopen(os.environ['SM_MODEL_DIR'] + '/m', 'w').write('m')")
    uri = sm.wait("training", done)["ModelArtifacts"]["S3ModelArtifacts"]
    sm.client.create_model_package_group(ModelPackageGroupName="flight-delay")
    package = sm.client.create_model_package(
        ModelPackageGroupName="flight-delay",
        InferenceSpecification={"Containers": [{"Image": sm.XGBOOST, "ModelDataUrl": uri}]},
        ModelApprovalStatus="Approved",
        CustomerMetadataProperties={"run_key": "r1"},
    )["ModelPackageArn"]
    sm.client.create_model(ModelName="m", ExecutionRoleArn=sm.ROLE, PrimaryContainer={"ModelPackageName": package})
    running = sm.train("import time\nprint('on')\ntime.sleep(600)", Tags=[{"Key": "k", "Value": "v"}])
    sm.wait("training", running, until=lambda job: job["SecondaryStatus"] == "Training")
    return {"done": done, "running": running, "package": package, "uri": uri}


def wait_until_saved(root: Path, name: str) -> None:
    deadline = time.monotonic() + 30
    while not any(name.encode() in file.read_bytes() for file in (root / "state").glob("sagemaker*.pickle")):
        assert time.monotonic() < deadline, "the state was not saved"
        time.sleep(0.1)


def check(sm: Any, before: dict[str, Any]) -> None:
    job = sm.client.describe_training_job(TrainingJobName=before["done"])
    assert job["TrainingJobStatus"] == "Completed"
    assert sm.unpacked(job["ModelArtifacts"]["S3ModelArtifacts"]) == {"m": "m"}
    job = sm.client.describe_training_job(TrainingJobName=before["running"])
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Failed"
    assert "the local AWS was stopped while this job ran" in job["FailureReason"]
    assert sm.client.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"] == [{"Key": "k", "Value": "v"}]
    package = sm.client.describe_model_package(ModelPackageName=before["package"])
    assert package["CustomerMetadataProperties"] == {"run_key": "r1"}
    second = sm.client.create_model_package(
        ModelPackageGroupName="flight-delay",
        InferenceSpecification={"Containers": [{"Image": sm.XGBOOST, "ModelDataUrl": before["uri"]}]},
    )["ModelPackageArn"]
    assert second.endswith("/2")
    assert sm.client.describe_model(ModelName="m")["PrimaryContainer"]["ModelPackageName"] == before["package"]
    again = sm.train("print(1)")  # the names that this process gives are new ones
    assert sm.wait("training", again)["TrainingJobStatus"] == "Completed"
