"""Processing jobs end to end: inputs, rewritten paths, outputs, messages, limits."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

EVALUATE = """
import argparse, json, os, pathlib

parser = argparse.ArgumentParser()
parser.add_argument("--holdout")
parser.add_argument("--output")
args = parser.parse_args()
rows = [path.read_text() for path in sorted(pathlib.Path(args.holdout).rglob("*.csv"))]
pathlib.Path(args.output, "deep").mkdir(parents=True)
pathlib.Path(args.output, "evaluation.json").write_text(json.dumps({"rows": rows, "env": os.environ["MODEL_DIR"]}))
pathlib.Path(args.output, "deep", "note.txt").write_text("note")
ml = pathlib.Path(os.environ["MODEL_DIR"]).parents[1]
print(json.loads((ml / "config" / "resourceconfig.json").read_text())["current_host"])
"""


def start(sm: Any, script: str, **request: Any) -> str:
    name = request.pop("ProcessingJobName", None) or sm.name("process")
    code = sm.put(f"code/{name}/run.py", script)
    inputs = [put_in("code", code, "/opt/ml/processing/input/code"), *request.pop("ProcessingInputs", [])]
    app = {"ImageUri": sm.SKLEARN, "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/run.py"]}
    defaults = {
        "ProcessingJobName": name,
        "RoleArn": sm.ROLE,
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
        },
    }
    app |= request.pop("AppSpecification", {})
    sm.client.create_processing_job(**defaults | request, ProcessingInputs=inputs, AppSpecification=app)
    return name


def put_in(name: str, uri: str, path: str, **source: Any) -> dict[str, Any]:
    return {
        "InputName": name,
        "S3Input": {"S3Uri": uri, "LocalPath": path, "S3DataType": "S3Prefix", "S3InputMode": "File", **source},
    }


def put_out(name: str, uri: str, path: str, mode: str = "EndOfJob") -> dict[str, Any]:
    return {"OutputName": name, "S3Output": {"S3Uri": uri, "LocalPath": path, "S3UploadMode": mode}}


def test_inputs_paths_and_outputs(sm: Any) -> None:
    sm.put("holdout/p/ds=1/a.csv", "a")
    sm.put("holdout/p/ds=2/b.csv", "b")
    output = f"s3://{sm.BUCKET}/evaluations/e1"
    name = start(
        sm,
        EVALUATE,
        ProcessingInputs=[put_in("holdout", f"s3://{sm.BUCKET}/holdout/p/", "/opt/ml/processing/input/holdout")],
        ProcessingOutputConfig={"Outputs": [put_out("evaluation", output, "/opt/ml/processing/output")]},
        AppSpecification={
            "ContainerArguments": [
                "--holdout",
                "/opt/ml/processing/input/holdout",
                "--output=/opt/ml/processing/output",
            ]
        },
        Environment={"MODEL_DIR": "/opt/ml/processing/model"},
    )
    job = sm.wait("processing", name)
    assert job["ProcessingJobStatus"] == "Completed", job
    assert job["Environment"] == {"MODEL_DIR": "/opt/ml/processing/model"}
    assert job["ProcessingResources"]["ClusterConfig"]["InstanceType"] == "ml.m5.large"
    assert job["ProcessingStartTime"] <= job["ProcessingEndTime"]
    text = sm.get(f"{output}/evaluation.json").decode()
    assert '"rows": ["a", "b"]' in text
    assert "/opt/ml/processing/model" in text
    assert sm.get(f"{output}/deep/note.txt") == b"note"
    assert "algo-1" in sm.messages("/aws/sagemaker/ProcessingJobs", name)


def test_a_failing_command_fails_the_job_and_uploads_nothing(sm: Any) -> None:
    script = "import pathlib, sys\npathlib.Path(sys.argv[1], 'x').write_text('x')\nraise KeyError('auc')"
    name = start(
        sm,
        script,
        ProcessingOutputConfig={
            "Outputs": [put_out("o", f"s3://{sm.BUCKET}/evaluations/e2", "/opt/ml/processing/output")]
        },
        AppSpecification={"ContainerArguments": ["/opt/ml/processing/output"]},
    )
    job = sm.wait("processing", name)
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: KeyError: 'auc', exit code: 1"
    assert sm.keys("evaluations/e2") == []


def test_the_exit_message_is_the_one_the_command_left(sm: Any) -> None:
    script = "import pathlib, sys\npathlib.Path(sys.argv[1]).write_text('holdout is empty')\nsys.exit(4)"
    job = sm.wait("processing", start(sm, script, AppSpecification={"ContainerArguments": ["/opt/ml/output/message"]}))
    assert job["ExitMessage"] == "holdout is empty"
    assert job["FailureReason"] == "AlgorithmError: holdout is empty, exit code: 4"


def test_an_empty_input_is_named(sm: Any) -> None:
    name = start(sm, "", ProcessingInputs=[put_in("h", f"s3://{sm.BUCKET}/no/holdout/", "/opt/ml/processing/input/h")])
    reason = sm.wait("processing", name)["FailureReason"]
    assert reason.startswith("ClientError: Failed to download data.")
    assert f"s3://{sm.BUCKET}/no/holdout/" in reason


def test_continuous_outputs_appear_while_the_job_runs_and_it_can_be_stopped(sm: Any) -> None:
    script = "import pathlib, sys, time\npathlib.Path(sys.argv[1], 'part').write_text('1')\ntime.sleep(60)"
    uri = f"s3://{sm.BUCKET}/continuous/c1"
    name = start(
        sm,
        script,
        ProcessingOutputConfig={"Outputs": [put_out("o", uri, "/opt/ml/processing/output", "Continuous")]},
        AppSpecification={"ContainerArguments": ["/opt/ml/processing/output"]},
    )
    job = sm.wait("processing", name, until=lambda _: sm.keys("continuous/c1") == ["continuous/c1/part"])
    assert job["ProcessingJobStatus"] == "InProgress"
    sm.client.stop_processing_job(ProcessingJobName=name)
    assert sm.wait("processing", name)["ProcessingJobStatus"] == "Stopped"


def test_a_job_beyond_its_time_is_stopped(sm: Any) -> None:
    name = start(sm, "import time\ntime.sleep(60)", StoppingCondition={"MaxRuntimeInSeconds": 1})
    job = sm.wait("processing", name)
    assert job["ProcessingJobStatus"] == "Stopped"
    assert "MaxRuntimeInSeconds" in job["FailureReason"]


def test_requests_that_cannot_be_served_are_refused(sm: Any) -> None:
    with pytest.raises(ClientError, match=r"LocalPath /data must begin with /opt/ml/processing/"):
        start(sm, "", ProcessingInputs=[put_in("h", f"s3://{sm.BUCKET}/x", "/data")])
    item = put_in("h", f"s3://{sm.BUCKET}/x", "/opt/ml/processing/h", S3DataType="ManifestFile")
    with pytest.raises(ClientError, match=r"S3DataType ManifestFile.*use S3Prefix"):
        start(sm, "", ProcessingInputs=[item])
    with pytest.raises(ClientError, match="names must be unique"):
        start(sm, "", ProcessingInputs=[put_in("code", f"s3://{sm.BUCKET}/x", "/opt/ml/processing/h")])


def test_names_are_unique_and_unknown_ones_are_not_found(sm: Any) -> None:
    name = start(sm, "print(1)")
    with pytest.raises(ClientError, match="a job with this name already exists") as taken:
        start(sm, "print(1)", ProcessingJobName=name)
    assert taken.value.response["Error"]["Code"] == "ResourceInUse"
    with pytest.raises(ClientError, match="Could not find requested job with name: never-made"):
        sm.client.describe_processing_job(ProcessingJobName="never-made")
    sm.wait("processing", name)
    listed = sm.client.list_processing_jobs(NameContains=name, StatusEquals="Completed")["ProcessingJobSummaries"]
    assert [job["ProcessingJobName"] for job in listed] == [name]
