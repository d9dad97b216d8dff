"""The requests that SageMaker gets: what the spec's compute block says, as AWS wants it (botocore checks the shapes)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.session import get_session
from botocore.validate import ParamValidator

from flywheel.core.specs import CategoricalRange, Compute, ContinuousRange, IntegerRange, Spot, Tuning, load_model_spec
from flywheel.operators.job import JobFailed
from flywheel.operators.sagemaker import ProcessOperator, TrainOperator, TransformOperator, TuneOperator

SPEC = load_model_spec(Path(__file__).parents[4] / "include" / "models" / "flight_delay.yaml")


def check(operation: str, request: dict[str, Any]) -> None:
    """Holds a request to botocore's own model of the operation."""
    shape = get_session().get_service_model("sagemaker").operation_model(operation).input_shape
    report = ParamValidator().validate(request, shape)
    assert not report.has_errors(), report.generate_report()


def train(compute: Compute) -> dict[str, Any]:
    operator = TrainOperator(
        task_id="train", script="xgboost_classifier", framework="xgboost", compute=compute, channels={"train": "s3://b/train/"},
        hyperparameters={"max_depth": 6, "verbose": True}, output_uri="s3://b/models/k", metrics={"auc": "auc=(.*)"},
    )  # fmt: skip
    request = operator.request("name-1")
    check("CreateTrainingJob", request)
    return request


def test_compute_block_reaches_the_training_request() -> None:
    compute = Compute(
        instance_type="ml.g5.2xlarge",
        instance_count=2,
        volume_gb=50,
        max_runtime_seconds=600,
        spot=Spot(max_wait_seconds=900),
        checkpoints=True,
    )
    request = train(compute)
    assert request["ResourceConfig"] == {"InstanceType": "ml.g5.2xlarge", "InstanceCount": 2, "VolumeSizeInGB": 50}
    assert request["EnableManagedSpotTraining"] is True
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 900}
    assert request["CheckpointConfig"] == {"S3Uri": "s3://b/models/k/checkpoints", "LocalPath": "/opt/ml/checkpoints"}
    assert request["HyperParameters"]["max_depth"] == "6"
    assert request["HyperParameters"]["verbose"] == "true"
    assert (
        request["AlgorithmSpecification"]["TrainingImage"]
        == "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.2-0"
    )


def test_without_spot_and_checkpoints_nothing_is_asked_for() -> None:
    request = train(Compute(instance_type="ml.m5.large"))
    assert not {"EnableManagedSpotTraining", "CheckpointConfig"} & set(request)
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600}


def test_a_search_asks_for_what_the_spec_says() -> None:
    tuning = Tuning(
        metric="validation:auc", max_jobs=6, parallel_jobs=2, early_stopping=True, seed=7,
        ranges={
            "eta": ContinuousRange(type="continuous", min=0.01, max=0.3, scaling="reverse_logarithmic"),
            "max_depth": IntegerRange(type="integer", min=3, max=9),
            "grow_policy": CategoricalRange(type="categorical", values=("depthwise", "lossguide")),
        },
    )  # fmt: skip
    operator = TuneOperator(
        task_id="tune", script="xgboost_classifier", framework="xgboost", tuning=tuning, channels={"train": "s3://b/train/"},
        compute=Compute(instance_type="ml.m5.large", spot=Spot(max_wait_seconds=7200)),
        hyperparameters={"max_depth": 6, "seed": 7},
        output_uri="s3://b/models/k", metrics={"validation:auc": "auc=(.*)"},
    )  # fmt: skip
    request = operator.request("tune-1")
    check("CreateHyperParameterTuningJob", request)
    config, definition = request["HyperParameterTuningJobConfig"], request["TrainingJobDefinition"]
    assert config["ResourceLimits"] == {"MaxNumberOfTrainingJobs": 6, "MaxParallelTrainingJobs": 2}
    assert config["HyperParameterTuningJobObjective"] == {"Type": "Maximize", "MetricName": "validation:auc"}
    assert (config["Strategy"], config["TrainingJobEarlyStoppingType"], config["RandomSeed"]) == ("Bayesian", "Auto", 7)
    assert config["ParameterRanges"]["ContinuousParameterRanges"] == [
        {"Name": "eta", "MinValue": "0.01", "MaxValue": "0.3", "ScalingType": "ReverseLogarithmic"}
    ]
    assert config["ParameterRanges"]["CategoricalParameterRanges"] == [
        {"Name": "grow_policy", "Values": ["depthwise", "lossguide"]}
    ]
    assert "max_depth" not in definition["StaticHyperParameters"], "AWS refuses a parameter that is fixed and searched"
    assert definition["StaticHyperParameters"]["seed"] == "7" and definition["EnableManagedSpotTraining"] is True


@pytest.mark.parametrize("champion", ["", "s3://b/champion/model.tar.gz"])
def test_evaluation_takes_a_champion_if_there_is_one(champion: str) -> None:
    operator = ProcessOperator(
        task_id="evaluate", script="evaluate.py", framework="xgboost", compute=SPEC.promotion.compute,
        inputs={"holdout": "s3://b/holdout/", "champion": champion}, output_uri="s3://b/evaluations",
    )  # fmt: skip
    request = operator.request("name-1")
    check("CreateProcessingJob", request)
    names = [item["InputName"] for item in request["ProcessingInputs"]]
    assert names == ["code", "core", "holdout", *(["champion"] if champion else [])]


def test_transform_sends_whole_files_and_so_the_features_as_they_are() -> None:
    operator = TransformOperator(
        task_id="transform", framework="xgboost", compute=SPEC.scoring.compute, model_name="m-v1", model_package_arn="arn",
        input_uri="s3://b/in/", output_uri="s3://b/out/",
    )  # fmt: skip
    request = operator.request("name-1")
    check("CreateTransformJob", request)
    assert request["TransformInput"]["ContentType"] == "application/x-parquet"
    assert request["TransformInput"]["SplitType"] == "None" and request["BatchStrategy"] == "SingleRecord"
    assert request["MaxPayloadInMB"] * request["MaxConcurrentTransforms"] <= 100, "SageMaker's limit"


def test_a_create_call_whose_answer_was_lost_makes_one_job(aws: Any) -> None:
    operator = TrainOperator(
        task_id="lost", script="xgboost_classifier", framework="xgboost", compute=Compute(instance_type="ml.m5.large"),
        channels={"train": "s3://flywheel-tests/nothing/"}, hyperparameters={}, output_uri="s3://flywheel-tests/models/lost",
    )  # fmt: skip
    first = operator.start(operator.client, "lost-answer-1")
    assert operator.start(operator.client, "lost-answer-1") == first == {"TrainingJobName": "lost-answer-1"}
    jobs = aws.client("sagemaker").list_training_jobs(NameContains="lost-answer")["TrainingJobSummaries"]
    assert len(jobs) == 1


def test_a_failed_job_fails_the_task_with_the_reason_that_aws_gives(aws: Any, runner: Any) -> None:
    operator = TrainOperator(
        task_id="no_data", script="xgboost_classifier", framework="xgboost", compute=Compute(instance_type="ml.m5.large"),
        channels={"train": "s3://flywheel-tests/nothing/"}, hyperparameters={}, output_uri="s3://flywheel-tests/models/none",
    )  # fmt: skip
    with pytest.raises(JobFailed, match=r"Failed: ClientError: Data download failed.*nothing/"):
        runner.run(operator)
