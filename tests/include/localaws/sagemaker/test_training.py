"""Training jobs end to end: real scripts in real processes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

GROUP = "/aws/sagemaker/TrainingJobs"

SUCCESS = """
import argparse, json, os, sys
parser = argparse.ArgumentParser()
parser.add_argument("--max_depth", type=int)
parser.add_argument("--categorical")
parser.add_argument("--checkpoint_dir")
args = parser.parse_args()
print("validation-auc=0.5")
print("epoch 2 validation-auc=0.7312", flush=True)
rows = open(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "part.csv")).read()
told = {name: os.environ[name] for name in os.environ if name.startswith(("SM_", "MY_", "TRAINING", "CUDA"))}
told |= {"args": vars(args), "rows": rows, "cwd": os.getcwd()}
with open(os.path.join(os.environ["SM_MODEL_DIR"], "model.json"), "w") as f:
    json.dump(told, f)
with open(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], "report.txt"), "w") as f:
    f.write("report")
"""

WAITING = """
import os, signal, sys, time
def end(*_):
    open(os.path.join(os.environ["SM_MODEL_DIR"], "half.txt"), "w").write("half")
    sys.exit(1)
signal.signal(signal.SIGTERM, end)
print("waiting", flush=True)
while True:
    time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def done(sm: Any) -> dict[str, Any]:
    """A job that succeeded."""
    sm.put("train/a/part.csv", "1,2\n")
    name = sm.train(
        SUCCESS,
        HyperParameters={"max_depth": "6", "categorical": "carrier,origin", "checkpoint_dir": "/opt/ml/checkpoints"},
        InputDataConfig=[sm.channel("train", "s3://sagemaker-tests/train/a/")],
        Environment={"MY_DIR": "/opt/ml/input", "MY_KEY": "value"},
        AlgorithmSpecification={
            "MetricDefinitions": [
                {"Name": "validation:auc", "Regex": r"validation-auc=([0-9.]+)"},
                {"Name": "never", "Regex": r"never=([0-9.]+)"},
            ]
        },
        Tags=[{"Key": "run_key", "Value": "r1"}],
    )
    return sm.wait("training", name)


def test_a_job_completes_and_tells_what_was_asked_and_what_happened(done: dict[str, Any]) -> None:
    assert done["TrainingJobStatus"] == done["SecondaryStatus"] == "Completed", done
    assert done["Environment"] == {"MY_DIR": "/opt/ml/input", "MY_KEY": "value"}
    assert done["ResourceConfig"]["InstanceType"] == "ml.m5.large"
    assert done["HyperParameters"]["checkpoint_dir"] == "/opt/ml/checkpoints"
    assert done["EnableManagedSpotTraining"] is False
    assert "FailureReason" not in done
    assert [step["Status"] for step in done["SecondaryStatusTransitions"]] == [
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    assert all("EndTime" in step for step in done["SecondaryStatusTransitions"])
    assert done["TrainingStartTime"] <= done["TrainingEndTime"]
    assert done["BillableTimeInSeconds"] == done["TrainingTimeInSeconds"] >= 1


def test_the_last_value_of_each_metric_is_kept(done: dict[str, Any]) -> None:
    assert [(m["MetricName"], round(m["Value"], 4)) for m in done["FinalMetricDataList"]] == [
        ("validation:auc", 0.7312)
    ]


def test_the_script_sees_the_container_contract(sm: Any, done: dict[str, Any]) -> None:
    uri = done["ModelArtifacts"]["S3ModelArtifacts"]
    assert uri == f"s3://sagemaker-tests/out/{done['TrainingJobName']}/output/model.tar.gz"
    told = json.loads(sm.unpacked(uri)["model.json"])
    root = told["SM_MODEL_DIR"].removesuffix("/opt/ml/model")
    assert told["args"] == {
        "max_depth": 6,
        "categorical": "carrier,origin",
        "checkpoint_dir": f"{root}/opt/ml/checkpoints",
    }
    assert told["rows"] == "1,2\n"
    assert told["SM_CHANNELS"] == '["train"]'
    assert (told["SM_CURRENT_HOST"], told["SM_HOSTS"]) == ("algo-1", '["algo-1"]')
    assert (told["SM_HP_MAX_DEPTH"], told["SM_NUM_GPUS"], told["CUDA_VISIBLE_DEVICES"]) == ("6", "0", "")
    assert json.loads(told["SM_HPS"])["max_depth"] == 6
    assert "sagemaker_program" not in told["SM_HPS"]
    assert (told["MY_DIR"], told["MY_KEY"]) == (f"{root}/opt/ml/input", "value")
    assert told["TRAINING_JOB_NAME"] == done["TrainingJobName"]
    assert told["cwd"] == f"{root}/opt/ml/code"


def test_output_data_logs_and_tags_are_where_they_belong(sm: Any, done: dict[str, Any]) -> None:
    name = done["TrainingJobName"]
    assert sm.unpacked(f"s3://sagemaker-tests/out/{name}/output/output.tar.gz") == {"report.txt": "report"}
    assert "epoch 2 validation-auc=0.7312" in sm.messages(GROUP, name)
    assert sm.client.list_tags(ResourceArn=done["TrainingJobArn"])["Tags"] == [{"Key": "run_key", "Value": "r1"}]


def test_a_script_that_raises_fails_the_job_with_the_toolkits_text(sm: Any) -> None:
    job = sm.wait(
        "training", sm.train("def f():\n    raise ValueError('no rows in train')\nf()", HyperParameters={"a": "1"})
    )
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Failed"
    assert job["FailureReason"] == (
        "AlgorithmError: ExecuteUserScriptError:\nExitCode 1\n"
        'ErrorMessage "ValueError: no rows in train"\nCommand "python3 train.py -a 1", exit code: 1'
    )
    assert "ModelArtifacts" not in job or "S3ModelArtifacts" not in job["ModelArtifacts"]
    assert sm.keys(f"out/{job['TrainingJobName']}/") == []
    assert "Traceback (most recent call last):" in sm.messages(GROUP, job["TrainingJobName"])


def test_a_failure_file_is_the_reason(sm: Any) -> None:
    script = "import os, sys\nopen(os.environ['SM_OUTPUT_DIR'] + '/failure', 'w').write('bad labels')\nsys.exit(3)"
    assert sm.wait("training", sm.train(script))["FailureReason"] == "AlgorithmError: bad labels"


def test_an_empty_channel_fails_as_on_aws(sm: Any) -> None:
    name = sm.train("print(1)", InputDataConfig=[sm.channel("train", "s3://sagemaker-tests/nothing/here/")])
    reason = sm.wait("training", name)["FailureReason"]
    assert reason.startswith(
        'ClientError: Data download failed: No S3 objects found under S3 URL "s3://sagemaker-tests/'
    )


def test_an_unknown_image_cannot_be_pulled(sm: Any) -> None:
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1"
    job = sm.wait("training", sm.train("print(1)", AlgorithmSpecification={"TrainingImage": image}))
    assert f"Requested image {image} not found" in job["FailureReason"]


def test_code_and_requirements_that_are_missing_are_named(sm: Any) -> None:
    missing = {"sagemaker_submit_directory": "s3://sagemaker-tests/no/such.tar.gz"}
    reason = sm.wait("training", sm.train("print(1)", HyperParameters=missing))["FailureReason"]
    assert "s3://sagemaker-tests/no/such.tar.gz" in reason
    reason = sm.wait("training", sm.train("print(1)", HyperParameters={"sagemaker_program": "other.py"}))[
        "FailureReason"
    ]
    assert "'other.py', which is not in the source directory (it holds: train.py)" in reason


def test_stop_is_seen_as_stopping_and_keeps_what_the_script_saved(sm: Any) -> None:
    name = sm.train(WAITING)
    sm.wait("training", name, until=lambda job: "waiting" in _logged(sm, name))
    sm.client.stop_training_job(TrainingJobName=name)
    assert sm.client.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] in ("Stopping", "Stopped")
    job = sm.wait("training", name)
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Stopped"
    assert "Stopping" in [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert sm.unpacked(job["ModelArtifacts"]["S3ModelArtifacts"]) == {"half.txt": "half"}
    with pytest.raises(ClientError, match="The request was rejected because the training job is in status Stopped"):
        sm.client.stop_training_job(TrainingJobName=name)


def test_a_job_beyond_its_time_is_stopped_and_says_so(sm: Any) -> None:
    job = sm.wait("training", sm.train(WAITING, StoppingCondition={"MaxRuntimeInSeconds": 1}))
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert "MaxRuntimeInSeconds" in job["SecondaryStatusTransitions"][-1]["StatusMessage"]
    assert job["ModelArtifacts"]["S3ModelArtifacts"].endswith("model.tar.gz")


def test_checkpoints_come_and_go(sm: Any) -> None:
    script = """
import sys

folder = sys.argv[sys.argv.index("--dir") + 1]
step = int(open(folder + "/step").read())
open(folder + "/step", "w").write(str(step + 1))
open(folder + "/deep.txt", "w").write("x")
sys.exit(1)  # an interrupted job leaves its checkpoints too
"""
    sm.put("checkpoints/c1/step", "4")
    name = sm.train(
        script,
        HyperParameters={"dir": "/opt/ml/checkpoints"},
        CheckpointConfig={"S3Uri": "s3://sagemaker-tests/checkpoints/c1"},
    )
    job = sm.wait("training", name)
    assert job["CheckpointConfig"] == {
        "S3Uri": "s3://sagemaker-tests/checkpoints/c1",
        "LocalPath": "/opt/ml/checkpoints",
    }
    assert sm.get("s3://sagemaker-tests/checkpoints/c1/step") == b"5"
    assert sm.get("s3://sagemaker-tests/checkpoints/c1/deep.txt") == b"x"


def test_spot_requests_are_checked_as_on_aws(sm: Any) -> None:
    only_spot = "It is only supported when EnableManagedSpotTraining is set to true"
    with pytest.raises(ClientError, match=only_spot):
        sm.train("", StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 90})
    for condition in ({"MaxRuntimeInSeconds": 60}, {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 59}):
        with pytest.raises(ClientError, match="It must be present and be greater than or equal to MaxRuntimeInSeconds"):
            sm.train("", EnableManagedSpotTraining=True, StoppingCondition=condition)
    condition = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}
    job = sm.wait("training", sm.train("print(1)", EnableManagedSpotTraining=True, StoppingCondition=condition))
    assert (job["TrainingJobStatus"], job["EnableManagedSpotTraining"]) == ("Completed", True)
    assert job["StoppingCondition"] == condition


def test_names_are_unique_and_unknown_ones_are_not_found(sm: Any, done: dict[str, Any]) -> None:
    with pytest.raises(ClientError) as taken:
        sm.train("", TrainingJobName=done["TrainingJobName"])
    assert taken.value.response["Error"]["Code"] == "ResourceInUse"
    assert taken.value.response["Error"]["Message"] == (
        "Training job names must be unique within an AWS account and region, and a training job with this name already "
        f"exists ({done['TrainingJobArn']})"
    )
    with pytest.raises(ClientError) as missing:
        sm.client.describe_training_job(TrainingJobName="never-made")
    assert missing.value.response["Error"]["Code"] == "ValidationException"
    assert missing.value.response["Error"]["Message"] == "Requested resource not found."


@pytest.mark.parametrize(
    ("request_part", "said"),
    [
        (
            {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}},
            "InstanceCount 2",
        ),
        ({"AlgorithmSpecification": {"TrainingInputMode": "Pipe"}}, "TrainingInputMode Pipe"),
        ({"ExperimentConfig": {"ExperimentName": "e"}}, "parameter ExperimentConfig"),
        ({"CheckpointConfig": {"S3Uri": "s3://b/c", "LocalPath": "/checkpoints"}}, "LocalPath /checkpoints"),
    ],
)
def test_what_cannot_run_here_is_refused(sm: Any, request_part: dict[str, Any], said: str) -> None:
    with pytest.raises(ClientError) as refused:
        sm.train("", **request_part)
    assert refused.value.response["Error"]["Code"] == "UnsupportedOperation"
    assert said in refused.value.response["Error"]["Message"]


def test_jobs_are_listed_by_name_status_and_page(sm: Any) -> None:
    names = [sm.train(script, TrainingJobName=sm.name("listed")) for script in ("print(1)", "1 / 0", "print(3)")]
    for name in names:
        sm.wait("training", name)
    every = sm.client.list_training_jobs(NameContains="listed")["TrainingJobSummaries"]
    assert [job["TrainingJobName"] for job in every] == names
    assert {"TrainingJobArn", "CreationTime", "LastModifiedTime", "TrainingEndTime"} <= every[0].keys()
    failed = sm.client.list_training_jobs(NameContains="listed", StatusEquals="Failed")["TrainingJobSummaries"]
    assert [job["TrainingJobName"] for job in failed] == [names[1]]
    pages = sm.client.get_paginator("list_training_jobs").paginate(
        NameContains="listed", SortBy="Name", SortOrder="Descending", PaginationConfig={"PageSize": 2}
    )
    sizes, found = [], []
    for page in pages:
        sizes.append(len(page["TrainingJobSummaries"]))
        found += [job["TrainingJobName"] for job in page["TrainingJobSummaries"]]
    assert (sizes, found) == ([2, 1], sorted(names, reverse=True))


def test_no_more_than_two_jobs_run_at_once_and_a_waiting_one_can_be_stopped(sm: Any) -> None:
    running = [sm.train(WAITING) for _ in range(2)]
    for name in running:
        sm.wait("training", name, until=lambda job: job["SecondaryStatus"] == "Training")
    third = sm.train("print(1)")
    sm.client.stop_training_job(TrainingJobName=third)
    job = sm.wait("training", third)
    assert (job["TrainingJobStatus"], "TrainingStartTime" in job) == ("Stopped", False)
    for name in running:
        sm.client.stop_training_job(TrainingJobName=name)
        sm.wait("training", name)


def test_a_job_that_has_ended_can_be_deleted(sm: Any) -> None:
    name = sm.train("print(1)")
    sm.wait("training", name)
    sm.client.delete_training_job(TrainingJobName=name)
    with pytest.raises(ClientError, match="Requested resource not found"):
        sm.client.describe_training_job(TrainingJobName=name)


def _logged(sm: Any, name: str) -> list[str]:
    try:
        return sm.messages(GROUP, name)
    except ClientError:
        return []
