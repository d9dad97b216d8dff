"""Managed spot training that is interrupted: the same job goes on, from its checkpoints if it has any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fault_helpers import Faults, job_lines

SPOT = {"EnableManagedSpotTraining": True, "StoppingCondition": {"MaxRuntimeInSeconds": 30, "MaxWaitTimeInSeconds": 60}}

# Begins anew, and waits at epoch 3 until it is told to end; or goes on from where it was told to.
RESUMES = """
import os, signal, sys, time
path = os.path.join(sys.argv[sys.argv.index("--dir") + 1], "epoch")
found = open(path).read() if os.path.exists(path) else "0"
print("begins at", found, flush=True)
open(os.path.join(os.environ["SM_MODEL_DIR"], "from-" + found), "w").write("x")
def end(*_):
    open(path, "w").write("3")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
while found == "0":
    time.sleep(0.05)
"""

# Notes each of its runs in S3, with what it finds on its disk; the first one waits.
FROM_SCRATCH = """
import os, sys, time, boto3
s3 = boto3.client("s3")
runs = s3.list_objects_v2(Bucket="sagemaker-tests", Prefix=sys.argv[-1] + "/").get("KeyCount", 0)
s3.put_object(Bucket="sagemaker-tests", Key=f"{sys.argv[-1]}/{runs}", Body=" ".join(os.listdir(os.environ["SM_MODEL_DIR"])))
open(os.path.join(os.environ["SM_MODEL_DIR"], "left"), "w").write("x")
while runs == 0:
    time.sleep(0.05)
"""

ENDLESS = "import time\nprint('on', flush=True)\nwhile True:\n    time.sleep(0.05)"


@pytest.fixture
def faults(sm: Any) -> Iterator[Faults]:
    found = Faults(sm.aws.endpoint)
    yield found
    found.clear()


def steps(job: dict[str, Any]) -> list[str]:
    return [step["Status"] for step in job["SecondaryStatusTransitions"]]


def test_an_interrupted_job_goes_on_from_its_last_checkpoint(sm: Any, faults: Faults) -> None:
    name = sm.name("spot")
    fault = faults.add(job="training", match=f"^{name}$", do={"interrupt": {"after_seconds": 0.5}})
    checkpoints = f"s3://sagemaker-tests/checkpoints/{name}"
    sm.train(
        RESUMES, TrainingJobName=name, HyperParameters={"dir": "/opt/ml/checkpoints"},
        CheckpointConfig={"S3Uri": checkpoints}, **SPOT,
    )  # fmt: skip
    job = sm.wait("training", name)
    assert job["TrainingJobStatus"] == "Completed", job
    assert steps(job) == [
        "Starting", "Downloading", "Training", "Interrupted",
        "Starting", "Downloading", "Training", "Uploading", "Completed",
    ]  # fmt: skip
    interrupted = job["SecondaryStatusTransitions"][3]
    assert interrupted["StatusMessage"] == ("The job stopped because the managed spot training instances were interrupted.")
    # What the script saved when it was told to end, it found again.
    assert [line for line in sm.messages("/aws/sagemaker/TrainingJobs", name) if "begins" in line] == [
        "begins at 0",
        "begins at 3",
    ]
    assert sm.unpacked(job["ModelArtifacts"]["S3ModelArtifacts"]) == {"from-3": "x"}  # of the second instance only
    # Waiting for it is training time, and not billed.
    waited = (interrupted["EndTime"] - interrupted["StartTime"]).total_seconds()
    assert waited >= 1
    assert 1 <= job["BillableTimeInSeconds"] < job["TrainingTimeInSeconds"]
    took = (job["TrainingEndTime"] - job["TrainingStartTime"]).total_seconds()
    assert took <= job["TrainingTimeInSeconds"] <= took + 1
    assert faults.see(fault)["hits"] == 1
    assert [(line["state"], line["status"]) for line in job_lines(sm.aws.root, name)] == [
        ("started", "InProgress"),
        ("ended", "Completed"),
    ]


def test_a_job_without_checkpoints_starts_from_scratch(sm: Any, faults: Faults) -> None:
    name = sm.name("spot")
    faults.add(job="training", match=f"^{name}$", do={"interrupt": {"after_seconds": 1}})
    sm.train(FROM_SCRATCH, TrainingJobName=name, HyperParameters={"z": f"runs/{name}"}, **SPOT)
    assert sm.wait("training", name)["TrainingJobStatus"] == "Completed"
    assert sm.keys(f"runs/{name}/") == [f"runs/{name}/0", f"runs/{name}/1"]
    assert sm.get(f"s3://sagemaker-tests/runs/{name}/1") == b""


def test_the_longest_wait_counts_across_interruptions(sm: Any, faults: Faults) -> None:
    name = sm.name("spot")
    fault = faults.add(job="training", match=f"^{name}$", times=None, do={"interrupt": {"after_seconds": 0.1}})
    condition = {"MaxRuntimeInSeconds": 3, "MaxWaitTimeInSeconds": 3}
    sm.train(ENDLESS, TrainingJobName=name, **SPOT | {"StoppingCondition": condition})
    job = sm.wait("training", name)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    assert 2 <= steps(job).count("Interrupted") <= faults.see(fault)["hits"]
    assert 3 <= (job["TrainingEndTime"] - job["CreationTime"]).total_seconds() < 10
    assert job["BillableTimeInSeconds"] < job["TrainingTimeInSeconds"]


def test_the_longest_run_counts_across_interruptions(sm: Any, faults: Faults) -> None:
    name = sm.name("spot")
    faults.add(job="training", match=f"^{name}$", do={"interrupt": {"after_seconds": 2}})
    condition = {"MaxRuntimeInSeconds": 3, "MaxWaitTimeInSeconds": 60}
    sm.train(ENDLESS, TrainingJobName=name, **SPOT | {"StoppingCondition": condition})
    job = sm.wait("training", name)
    assert job["SecondaryStatus"] == "MaxRuntimeExceeded"
    trained = [step for step in job["SecondaryStatusTransitions"] if step["Status"] == "Training"]
    first, second = ((step["EndTime"] - step["StartTime"]).total_seconds() for step in trained)
    assert first >= 2 and second < 2


def test_an_interrupted_job_lets_go_of_its_slot(sm: Any, faults: Faults) -> None:
    other = sm.train(ENDLESS)
    name = sm.name("spot")
    checkpoints = {"S3Uri": f"s3://sagemaker-tests/checkpoints/{name}"}
    sm.train(RESUMES, TrainingJobName=name, HyperParameters={"dir": "/opt/ml/checkpoints"}, CheckpointConfig=checkpoints, **SPOT)
    sm.wait("training", name, until=lambda job: job["SecondaryStatus"] == "Training")
    sm.wait("training", other, until=lambda job: job["SecondaryStatus"] == "Training")
    waiting = sm.train("print(1)")
    # A fault that is set now is about jobs that run already, too.
    faults.add(job="training", match=f"^{name}$", do={"interrupt": {"after_seconds": 0}})
    third = sm.wait("training", waiting)
    job = sm.wait("training", name)
    assert (third["TrainingJobStatus"], job["TrainingJobStatus"]) == ("Completed", "Completed")
    assert third["TrainingStartTime"] < job["SecondaryStatusTransitions"][3]["EndTime"]
    sm.client.stop_training_job(TrainingJobName=other)
    sm.wait("training", other)


def test_a_job_can_be_stopped_while_it_waits_for_another_instance(sm: Any, faults: Faults) -> None:
    name = sm.name("spot")
    faults.add(job="training", match=f"^{name}$", do={"interrupt": {}})
    sm.train(ENDLESS, TrainingJobName=name, **SPOT)
    sm.wait("training", name, until=lambda job: job["SecondaryStatus"] == "Interrupted")
    sm.client.stop_training_job(TrainingJobName=name)
    job = sm.wait("training", name)
    assert (job["TrainingJobStatus"], steps(job)[-2:]) == ("Stopped", ["Stopping", "Stopped"])


def test_on_demand_jobs_are_never_interrupted(sm: Any, faults: Faults) -> None:
    name = sm.name("demand")
    fault = faults.add(job="training", match=f"^{name}$", do={"interrupt": {"after_seconds": 0}})
    sm.train("import time\ntime.sleep(0.5)", TrainingJobName=name)
    job = sm.wait("training", name)
    assert steps(job) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert faults.see(fault)["hits"] == 0
