"""Jobs whose process is killed, and what the journal tells of SageMaker's jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fault_helpers import Faults, job_lines

SLEEPS = "import time; print('on', flush=True); time.sleep(600)"
SLOW_MODEL = "import time\ndef model_fn(d):\n    return 1\ndef transform_fn(m, body, t, a):\n    time.sleep(600)"


@pytest.fixture
def faults(sm: Any) -> Iterator[Faults]:
    found = Faults(sm.aws.endpoint)
    yield found
    found.clear()


def start_training(sm: Any) -> str:
    return sm.train(SLEEPS)


def start_processing(sm: Any) -> str:
    name = sm.name("killed-process")
    sm.client.create_processing_job(
        ProcessingJobName=name,
        RoleArn=sm.ROLE,
        ProcessingResources={"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}},
        AppSpecification={"ImageUri": sm.SKLEARN, "ContainerEntrypoint": ["python3", "-c", SLEEPS]},
    )
    return name


def start_transform(sm: Any) -> str:
    name = sm.name("killed-transform")
    data = sm.put(f"models/{name}.tar.gz", sm.tar_gz({"code/inference.py": SLOW_MODEL}))
    container = {"Image": sm.SKLEARN, "ModelDataUrl": data, "Environment": {"SAGEMAKER_PROGRAM": "inference.py"}}
    sm.client.create_model(ModelName=name, ExecutionRoleArn=sm.ROLE, PrimaryContainer=container)
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": sm.put(f"in/{name}.csv", "1\n")}}
    sm.client.create_transform_job(
        TransformJobName=name,
        ModelName=name,
        TransformInput={"DataSource": source, "ContentType": "text/csv"},
        TransformOutput={"S3OutputPath": f"s3://{sm.BUCKET}/predictions/{name}"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    return name


@pytest.mark.parametrize(
    ("kind", "start", "reason"),
    [
        ("training", start_training, "AlgorithmError: ExecuteUserScriptError:\nExitCode 137\n"),
        ("processing", start_processing, "AlgorithmError: on, exit code: 137"),
        ("transform", start_transform, "AlgorithmError: See job logs for more information"),
    ],
)
def test_a_killed_job_fails_as_one_whose_container_died(
    sm: Any, faults: Faults, kind: str, start: Callable[[Any], str], reason: str
) -> None:
    fault = faults.add(job=kind, do={"kill": {"after_seconds": 1}})
    began = time.monotonic()
    name = start(sm)
    job = sm.wait(kind, name)
    assert job[f"{kind.title()}JobStatus"] == "Failed"
    assert job["FailureReason"].startswith(reason)
    assert time.monotonic() - began >= 1
    assert faults.see(fault)["hits"] == 1
    started, ended = job_lines(sm.aws.root, name)
    assert (started["job"], started["state"], started["status"]) == (kind, "started", "InProgress")
    assert (ended["job"], ended["state"], ended["status"]) == (kind, "ended", "Failed")
    assert ended["reason"] == job["FailureReason"]
    assert (ended["fault"], started["id"], ended["id"]) == (f"{fault}: kill", *[job[f"{kind.title()}JobArn"]] * 2)


def test_a_strike_that_came_too_late_is_left_for_the_next_job(sm: Any, faults: Faults) -> None:
    fault = faults.add(job="training", match="^late-", do={"kill": {"after_seconds": 2}})
    short, long = sm.name("late"), sm.name("late")
    sm.train("print(1)", TrainingJobName=short)
    assert sm.wait("training", short)["TrainingJobStatus"] == "Completed"
    assert faults.see(fault)["hits"] == 0
    sm.train(SLEEPS, TrainingJobName=long)
    assert sm.wait("training", long)["TrainingJobStatus"] == "Failed"
    assert faults.see(fault)["hits"] == 1


def test_a_fault_that_is_removed_kills_nothing(sm: Any, faults: Faults) -> None:
    name = sm.name("spared")
    fault = faults.add(job="training", match=f"^{name}$", do={"kill": {"after_seconds": 1}})
    sm.train("import time\ntime.sleep(2)", TrainingJobName=name)
    sm.wait("training", name, until=lambda job: job["SecondaryStatus"] == "Training")
    faults.ask("DELETE", f"/{fault}")
    assert sm.wait("training", name)["TrainingJobStatus"] == "Completed"


def test_the_journal_tells_the_start_and_the_end_of_every_job(sm: Any) -> None:
    done, stopped, late = sm.train("print(1)"), sm.train(SLEEPS), sm.train(SLEEPS, StoppingCondition={"MaxRuntimeInSeconds": 1})
    sm.wait("training", stopped, until=lambda job: job["SecondaryStatus"] == "Training")
    assert [line["state"] for line in job_lines(sm.aws.root, stopped)] == ["started"]
    sm.client.stop_training_job(TrainingJobName=stopped)
    arns = {name: sm.wait("training", name)["TrainingJobArn"] for name in (done, stopped, late)}
    ends = {
        done: ("Completed", None),
        stopped: ("Stopped", None),
        late: ("Stopped", "Training job runtime exceeded MaxRuntimeInSeconds provided"),
    }
    for name, (status, reason) in ends.items():
        started, ended = job_lines(sm.aws.root, name)
        assert started | {"time": ""} == {
            "time": "", "job": "training", "name": name, "id": arns[name], "state": "started", "status": "InProgress",
            "reason": None,
        }  # fmt: skip
        assert ended | {"time": ""} == started | {"time": "", "state": "ended", "status": status, "reason": reason}
        assert started["time"] < ended["time"]
