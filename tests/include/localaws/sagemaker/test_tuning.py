"""Hyperparameter tuning jobs end to end: Optuna's search over real training jobs."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from botocore.exceptions import ClientError

FINAL = ("Completed", "Failed", "Stopped")

# The best is 0, at x = 0.7 and y = 30.
BOWL = """
import sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert sorted(given) == ["-x", "-y"], given
x, y = float(given["-x"]), int(given["-y"])
print("score=%.6f" % -((x - 0.7) ** 2 + ((y - 30) / 100) ** 2))
"""

# Five epochs: a good job climbs, the bad one stays where it is and takes its time.
EPOCHS = """
import sys, time
kind = sys.argv[sys.argv.index("--kind") + 1]
for epoch in range(1, 6):
    print("score=%s" % (0.1 if kind == "bad" else epoch / 10 + 0.2), flush=True)
    time.sleep(30 if kind == "bad" and epoch >= 3 else 0.02)
"""

BY_KIND = """
import sys, time
kind = sys.argv[sys.argv.index("--kind") + 1]
if kind == "broken":
    raise ValueError("kind broken")
if kind == "slow":
    print("score=0.4", flush=True)
    time.sleep(600)
if kind != "silent":
    print("score=" + kind)
"""


class Tuning:
    """Makes tuning jobs of one script, and waits for them."""

    def __init__(self, sm: Any):
        self.sm, self.client = sm, sm.client

    def request(self, script: str, ranges: dict[str, Any], **config: Any) -> dict[str, Any]:
        """A CreateHyperParameterTuningJob request; `most` and `at_once` are its limits."""
        name = self.sm.name("tune")
        code = self.sm.put(f"code/{name}/sourcedir.tar.gz", self.sm.tar_gz({"train.py": script}))
        limits = {"MaxParallelTrainingJobs": config.pop("at_once", 1)}
        if most := config.pop("most", None):
            limits["MaxNumberOfTrainingJobs"] = most
        defaults = {
            "Strategy": "Grid",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "score"},
            "ResourceLimits": limits,
            "ParameterRanges": ranges,
        }
        definition = {
            "StaticHyperParameters": {"sagemaker_program": "train.py", "sagemaker_submit_directory": code},
            "AlgorithmSpecification": {
                "TrainingImage": self.sm.XGBOOST,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "score", "Regex": r"score=(\S+)"}],
            },
            "RoleArn": self.sm.ROLE,
            "OutputDataConfig": {"S3OutputPath": f"s3://{self.sm.BUCKET}/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        }
        return {
            "HyperParameterTuningJobName": name,
            "HyperParameterTuningJobConfig": defaults | config,
            "TrainingJobDefinition": definition,
        }

    def create(self, request: dict[str, Any]) -> str:
        """Starts a tuning job and returns its name."""
        self.client.create_hyper_parameter_tuning_job(**request)
        name: str = request["HyperParameterTuningJobName"]
        return name

    def kinds(self, *kinds: str, script: str = BY_KIND, **config: Any) -> str:
        """Starts a tuning job that tries these values of `kind` in their order."""
        return self.create(self.request(script, kinds_range(*kinds), **config))

    def describe(self, name: str) -> dict[str, Any]:
        """DescribeHyperParameterTuningJob."""
        found: dict[str, Any] = self.client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        return found

    def wait(self, name: str, until: Callable[[dict[str, Any]], bool] | None = None) -> dict[str, Any]:
        """Describes a tuning job until it has ended, or is as asked."""
        deadline = time.monotonic() + 90
        while True:
            job = self.describe(name)
            if until(job) if until else job["HyperParameterTuningJobStatus"] in FINAL:
                return job
            assert time.monotonic() < deadline, f"{name} did not get there in 90 s: {job}"
            time.sleep(0.05)

    def training_jobs(self, name: str, **asked: Any) -> list[dict[str, Any]]:
        """ListTrainingJobsForHyperParameterTuningJob, in the order of their start unless asked otherwise."""
        listing = self.client.list_training_jobs_for_hyper_parameter_tuning_job
        found: list[dict[str, Any]] = listing(HyperParameterTuningJobName=name, **{"MaxResults": 100} | asked)[
            "TrainingJobSummaries"
        ]
        return found


def kinds_range(*kinds: str) -> dict[str, Any]:
    return {"CategoricalParameterRanges": [{"Name": "kind", "Values": list(kinds)}]}


BOWL_RANGES = {
    "ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}],
    "IntegerParameterRanges": [{"Name": "y", "MinValue": "0", "MaxValue": "100"}],
}


def bowl_score(x: float, y: int) -> float:
    return -((x - 0.7) ** 2 + ((y - 30) / 100) ** 2)


@pytest.fixture(scope="session")
def tuning(sm: Any) -> Tuning:
    """Tuning jobs of the session's local AWS."""
    return Tuning(sm)


@pytest.fixture(scope="module")
def bowl(tuning: Tuning) -> dict[str, Any]:
    """A Bayesian tuning job that has completed."""
    request = tuning.request(BOWL, BOWL_RANGES, Strategy="Bayesian", RandomSeed=5, most=40)  # one at a time: the same every time
    request["Tags"] = [{"Key": "run_key", "Value": "r1"}]
    request["TrainingJobDefinition"]["CheckpointConfig"] = {"S3Uri": f"s3://{tuning.sm.BUCKET}/checkpoints/bowl/"}
    return tuning.wait(tuning.create(request))


def test_bayesian_search_finds_better_values_than_chance_does(tuning: Tuning, bowl: dict[str, Any]) -> None:
    jobs = tuning.training_jobs(bowl["HyperParameterTuningJobName"])
    found = [job["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for job in jobs]
    assert len(found) == 40
    best = bowl["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]
    assert best == {"MetricName": "score", "Value": pytest.approx(max(found))}
    # The first ten are drawn at random; the others are better on average than 99 of 100 random draws of as many.
    chance = random.Random(1)
    draws = sorted(fmean(bowl_score(chance.random(), chance.randint(0, 100)) for _ in found[10:]) for _ in range(1000))
    assert fmean(found[10:]) > draws[990]
    assert max(found) > -0.004  # the median of the best of 40 random draws


def test_a_tuning_job_tells_what_was_asked_and_what_came_of_it(bowl: dict[str, Any]) -> None:
    name = bowl["HyperParameterTuningJobName"]
    assert bowl["HyperParameterTuningJobStatus"] == "Completed"
    assert bowl["HyperParameterTuningJobArn"].endswith(f":hyper-parameter-tuning-job/{name}")
    assert bowl["TrainingJobStatusCounters"] == {
        "Completed": 40,
        "InProgress": 0,
        "RetryableError": 0,
        "NonRetryableError": 0,
        "Stopped": 0,
    }
    assert bowl["ObjectiveStatusCounters"] == {"Succeeded": 40, "Pending": 0, "Failed": 0}
    assert bowl["CreationTime"] < bowl["HyperParameterTuningEndTime"] == bowl["LastModifiedTime"]
    assert bowl["ConsumedResources"]["RuntimeInSeconds"] >= 1
    assert bowl["TuningJobCompletionDetails"]["NumberOfTrainingJobsObjectiveNotImproving"] < 40
    ranges = bowl["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert ranges["ContinuousParameterRanges"] == [{"Name": "x", "MinValue": "0", "MaxValue": "1", "ScalingType": "Auto"}]
    assert bowl["TrainingJobDefinition"]["StaticHyperParameters"]["_tuning_objective_metric"] == "score"
    assert not {"FailureReason", "OverallBestTrainingJob", "WarmStartConfig"} & bowl.keys()


def test_its_training_jobs_are_training_jobs_like_any_other(tuning: Tuning, bowl: dict[str, Any]) -> None:
    name, best = bowl["HyperParameterTuningJobName"], bowl["BestTrainingJob"]
    jobs = tuning.training_jobs(name)
    assert [job["TrainingJobName"][:-9] for job in jobs] == [f"{name}-{number:03d}" for number in range(1, 41)]
    assert all(re.fullmatch(r".*-\d{3}-[0-9a-f]{8}", job["TrainingJobName"]) for job in jobs)
    listed = tuning.client.list_training_jobs(NameContains=f"{name}-0", MaxResults=100)["TrainingJobSummaries"]
    assert [job["TrainingJobName"] for job in listed] == [job["TrainingJobName"] for job in jobs]
    job = tuning.client.describe_training_job(TrainingJobName=best["TrainingJobName"])
    assert job["TuningJobArn"] == bowl["HyperParameterTuningJobArn"]
    tuned = {key: job["HyperParameters"][key] for key in ("x", "y")}
    assert tuned == best["TunedHyperParameters"]
    assert tuned["y"] == str(int(tuned["y"])) and 0 <= float(tuned["x"]) <= 1
    assert job["HyperParameters"]["_tuning_objective_metric"] == "score"  # and the script was not given it
    assert {metric["MetricName"] for metric in job["FinalMetricDataList"]} == {"score", "ObjectiveMetric"}
    assert job["CheckpointConfig"]["S3Uri"] == f"s3://{tuning.sm.BUCKET}/checkpoints/bowl/{job['TrainingJobName']}"
    for arn in (job["TrainingJobArn"], bowl["HyperParameterTuningJobArn"]):
        assert tuning.client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "run_key", "Value": "r1"}]
    alone = tuning.sm.train("print(1)")
    assert "TuningJobArn" not in tuning.sm.wait("training", alone)


@pytest.mark.parametrize("at_once", [1, 2])
def test_no_more_training_jobs_run_at_once_than_allowed(tuning: Tuning, at_once: int) -> None:
    name = tuning.kinds("0.1", "0.2", "0.3", "0.4", at_once=at_once)
    assert tuning.wait(name)["HyperParameterTuningJobStatus"] == "Completed"
    lines = list(journal(tuning.sm.aws.root))
    running, most = 0, 0
    for line in lines:
        if line.get("job") == "training" and line["name"].startswith(f"{name}-"):
            running += 1 if line["state"] == "started" else -1
            most = max(most, running)
    assert (running, most) == (0, at_once)
    own = [(line["state"], line["status"]) for line in lines if line.get("job") == "tuning" and line["name"] == name]
    assert own == [("started", "InProgress"), ("ended", "Completed")]


def test_a_grid_tries_every_combination_once(tuning: Tuning) -> None:
    ranges = {
        "CategoricalParameterRanges": [
            {"Name": "kind", "Values": ["0.1", "0.3", "0.2"]},
            {"Name": "other", "Values": ["a", "b"]},
        ]
    }
    job = tuning.wait(tuning.create(tuning.request(BY_KIND, ranges, at_once=2)))
    jobs = tuning.training_jobs(job["HyperParameterTuningJobName"])
    tried = sorted(tuple(each["TunedHyperParameters"].values()) for each in jobs)
    assert tried == [(kind, other) for kind in ("0.1", "0.2", "0.3") for other in ("a", "b")]
    assert job["BestTrainingJob"]["TunedHyperParameters"]["kind"] == "0.3"


def test_the_lowest_objective_is_the_best_when_minimizing(tuning: Tuning) -> None:
    objective = {"Type": "Minimize", "MetricName": "score"}
    job = tuning.wait(tuning.kinds("0.3", "0.1", "0.2", HyperParameterTuningJobObjective=objective))
    assert job["BestTrainingJob"]["TunedHyperParameters"] == {"kind": "0.1"}


def test_a_bad_training_job_is_stopped_early(tuning: Tuning) -> None:
    values = ("good", "better", "best", "bad")
    name = tuning.kinds(*values, script=EPOCHS, TrainingJobEarlyStoppingType="Auto")
    job = tuning.wait(name)
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    by_kind = {each["TunedHyperParameters"]["kind"]: each for each in tuning.training_jobs(name)}
    assert {kind: each["TrainingJobStatus"] for kind, each in by_kind.items()} == {
        "good": "Completed",
        "better": "Completed",
        "best": "Completed",
        "bad": "Stopped",
    }
    took = by_kind["bad"]["TrainingEndTime"] - by_kind["bad"]["TrainingStartTime"]
    assert took.total_seconds() < 20  # it would have taken a minute and a half
    assert by_kind["bad"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == pytest.approx(0.1)
    assert job["TrainingJobStatusCounters"]["Stopped"] == 1


def test_stop_ends_its_training_jobs_and_keeps_the_best_so_far(tuning: Tuning) -> None:
    name = tuning.kinds("0.2", "0.3", "slow", "0.9", at_once=1)
    tuning.wait(
        name,
        until=lambda job: len(tuning.training_jobs(name)) == 3 and bool(tuning.training_jobs(name, StatusEquals="InProgress")),
    )
    tuning.client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    assert tuning.describe(name)["HyperParameterTuningJobStatus"] in ("Stopping", "Stopped")
    job = tuning.wait(name)
    assert job["HyperParameterTuningJobStatus"] == "Stopped"
    assert [each["TrainingJobStatus"] for each in tuning.training_jobs(name)] == ["Completed", "Completed", "Stopped"]
    assert job["BestTrainingJob"]["TunedHyperParameters"] == {"kind": "0.3"}
    with pytest.raises(ClientError, match="The request was rejected because the hyper parameter tuning job is in status Stopped"):
        tuning.client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)


def test_a_reached_target_ends_the_tuning(tuning: Tuning) -> None:
    name = tuning.kinds("0.2", "0.8", "0.9", TuningJobCompletionCriteria={"TargetObjectiveMetricValue": 0.7})
    job = tuning.wait(name)
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert [each["TunedHyperParameters"]["kind"] for each in tuning.training_jobs(name)] == ["0.2", "0.8"]


def test_a_failed_training_job_does_not_fail_the_tuning(tuning: Tuning) -> None:
    name = tuning.kinds("broken", "0.2", "silent")
    job = tuning.wait(name)
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["NonRetryableError"] == 1
    assert job["ObjectiveStatusCounters"] == {"Succeeded": 1, "Pending": 0, "Failed": 2}
    broken = tuning.training_jobs(name, StatusEquals="Failed")[0]
    assert "ValueError: kind broken" in broken["FailureReason"]
    assert broken["ObjectiveStatus"] == "Failed"
    assert job["BestTrainingJob"]["TunedHyperParameters"] == {"kind": "0.2"}


def test_when_all_training_jobs_fail_the_tuning_fails(tuning: Tuning) -> None:
    job = tuning.wait(tuning.kinds("broken"))
    assert job["HyperParameterTuningJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("All training jobs failed.")
    assert "BestTrainingJob" not in job


def test_after_five_failures_nothing_more_is_tried(tuning: Tuning) -> None:
    ranges = kinds_range("broken") | {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}]}
    job = tuning.wait(tuning.create(tuning.request(BY_KIND, ranges, Strategy="Random", most=9, at_once=1)))
    assert job["FailureReason"].startswith("No training job succeeded after 5 attempts.")
    assert job["TrainingJobStatusCounters"]["NonRetryableError"] == 5


def test_training_jobs_without_the_metric_fail_the_tuning(tuning: Tuning) -> None:
    job = tuning.wait(tuning.kinds("silent"))
    assert job["HyperParameterTuningJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("No objective metrics found after running 1 training jobs.")


def test_training_jobs_are_listed_by_their_objective_and_in_pages(tuning: Tuning) -> None:
    name = tuning.kinds("0.2", "broken", "0.9", "0.4")
    tuning.wait(name)
    pages = tuning.client.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName=name,
        SortBy="FinalObjectiveMetricValue",
        SortOrder="Descending",
        PaginationConfig={"PageSize": 2},
    )
    found = [[each["TunedHyperParameters"]["kind"] for each in page["TrainingJobSummaries"]] for page in pages]
    assert found == [["0.9", "0.4"], ["0.2"]]


def test_tuning_jobs_are_listed_and_deleted(tuning: Tuning) -> None:
    names = [tuning.kinds(kind) for kind in ("0.1", "broken")]
    for name in names:
        tuning.wait(name)
    listing = tuning.client.list_hyper_parameter_tuning_jobs
    found = listing(StatusEquals="Completed", NameContains=names[0])["HyperParameterTuningJobSummaries"]
    assert [(job["HyperParameterTuningJobName"], job["Strategy"]) for job in found] == [(names[0], "Grid")]
    assert found[0]["TrainingJobStatusCounters"]["Completed"] == 1
    job = tuning.training_jobs(names[0])[0]["TrainingJobName"]
    tuning.client.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName=names[0])
    assert listing(NameContains=names[0])["HyperParameterTuningJobSummaries"] == []
    assert tuning.client.describe_training_job(TrainingJobName=job)["TrainingJobStatus"] == "Completed"


def test_names_are_unique_and_unknown_ones_are_not_found(tuning: Tuning) -> None:
    name = tuning.kinds("0.1")
    request = tuning.request(BY_KIND, kinds_range("0.1")) | {"HyperParameterTuningJobName": name}
    with pytest.raises(ClientError) as taken:
        tuning.create(request)
    assert taken.value.response["Error"] == {
        "Code": "ResourceInUse",
        "Message": f"A hyperparameter tuning job with the name, {name}, already exists. Choose a different name.",
    }
    with pytest.raises(ClientError) as missing:
        tuning.describe("never-made")
    assert missing.value.response["Error"] == {
        "Code": "ResourceNotFound",
        "Message": "Amazon SageMaker can't find a tuning job called never-made. Type another name.",
    }
    with pytest.raises(ClientError, match="Member must have length less than or equal to 32"):
        tuning.create(request | {"HyperParameterTuningJobName": "n" * 33})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config.HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "auc"}}, "A metric is required for this"),
        ({"config.ResourceLimits": {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 4}}, "MaxParallelTrainingJobs"),
        ({"config.ResourceLimits": {"MaxParallelTrainingJobs": 1}}, "must have MaxNumberOfTrainingJobs"),
        ({"config.Strategy": "Grid"}, "only categorical hyperparameters, got x, y"),
        ({"config.ParameterRanges": {}}, "ParameterRanges is required"),
        ({"config.ParameterRanges": kinds_range("a", "b")}, r"\[2.0\] must be equal or greater than .* MaxNumberOfJobs, \[3\]"),
        ({"x": {"MinValue": "1"}}, "MinValue of the continuous hyperparameter x must be less"),
        ({"x": {"MinValue": "low"}}, "must be a number, got 'low'"),
        ({"x": {"ScalingType": "Logarithmic"}}, "Logarithmic scaling of x works only for ranges with values greater than 0"),
        ({"x": {"ScalingType": "ReverseLogarithmic"}}, "within 0<=x<1.0"),
        ({"x": {"Name": "y"}}, "one range each"),
        ({"x": {"Name": "sagemaker_program"}}, "both static and searched"),
        ({"definition.ResourceConfig": None}, "ResourceConfig is required"),
        ({"definition.InputDataConfig": "s3://sagemaker-tests/nothing/here/"}, "No S3 objects found under S3 URL"),
        ({"definition.EnableManagedSpotTraining": True}, "Invalid MaxWaitTimeInSeconds"),
    ],
)
def test_requests_are_checked_as_on_aws(tuning: Tuning, change: dict[str, Any], said: str) -> None:
    refused = refusal(tuning, change)
    assert refused["Code"] == "ValidationException"
    assert re.search(said, refused["Message"]), refused["Message"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"TrainingJobDefinitions": True}, "parameter TrainingJobDefinitions"),
        ({"WarmStartConfig": {"ParentHyperParameterTuningJobs": [{}], "WarmStartType": "TransferLearning"}}, "WarmStartConfig"),
        ({"Autotune": {"Mode": "Enabled"}}, "parameter Autotune"),
        ({"config.Strategy": "Hyperband"}, "Strategy Hyperband"),
        (
            {"config.TuningJobCompletionCriteria": {"ConvergenceDetected": {"CompleteOnConvergence": "Enabled"}}},
            "ConvergenceDetected",
        ),
        (
            {"definition.ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}},
            "InstanceCount 2",
        ),
        ({"definition.TuningObjective": {"Type": "Maximize", "MetricName": "score"}}, "TrainingJobDefinition.TuningObjective"),
    ],
)
def test_what_cannot_run_here_is_refused(tuning: Tuning, change: dict[str, Any], said: str) -> None:
    refused = refusal(tuning, change)
    assert refused["Code"] == "UnsupportedOperation"
    assert said in refused["Message"]


def test_limits_that_no_quota_raises_are_kept(tuning: Tuning) -> None:
    limits = {"MaxNumberOfTrainingJobs": 751, "MaxParallelTrainingJobs": 1}
    refused = refusal(tuning, {"config.Strategy": "Bayesian", "config.ResourceLimits": limits})
    assert refused["Code"] == "ResourceLimitExceeded"
    assert "750, with a request of 751" in refused["Message"]


def test_a_tuning_that_the_server_took_down_has_failed(tuning: Tuning, tmp_path: Path) -> None:
    sm = tuning.sm
    sm = type(sm)(type(sm.aws)(tmp_path))
    try:
        sm.s3.create_bucket(Bucket=sm.BUCKET)
        before = Tuning(sm)
        name = before.kinds("0.2", "slow", "0.9")
        before.wait(name, until=lambda job: "BestTrainingJob" in job and len(before.training_jobs(name)) == 2)
        assert sm.aws.stop() == 0
        sm = type(sm)(type(sm.aws)(tmp_path))
        after = Tuning(sm)
        job = after.describe(name)
        assert job["HyperParameterTuningJobStatus"] == "Failed"
        assert "the local AWS was stopped while this job ran" in job["FailureReason"]
        assert job["BestTrainingJob"]["TunedHyperParameters"] == {"kind": "0.2"}
        assert job["TrainingJobStatusCounters"]["RetryableError"] == 1
        again = after.wait(after.kinds("0.5"))
        assert again["HyperParameterTuningJobStatus"] == "Completed"
    finally:
        sm.aws.stop()


def refusal(tuning: Tuning, change: dict[str, Any]) -> dict[str, str]:
    """The error of a request in which something is changed: `config.Field`, `definition.Field`, `x` or `Field`."""
    request = tuning.request(BOWL, json.loads(json.dumps(BOWL_RANGES)), Strategy="Random", most=3)
    config, definition = request["HyperParameterTuningJobConfig"], request["TrainingJobDefinition"]
    for path, value in change.items():
        where, _, field = path.rpartition(".")
        if path == "x":
            config["ParameterRanges"]["ContinuousParameterRanges"][0] |= value
        elif path == "TrainingJobDefinitions":
            request[path] = [definition]
        elif field == "InputDataConfig":
            definition[field] = [tuning.sm.channel("train", value)]
        elif value is None:
            del definition[field]
        else:
            {"config": config, "definition": definition, "": request}[where][field] = value
    with pytest.raises(ClientError) as refused:
        tuning.create(request)
    error: dict[str, str] = refused.value.response["Error"]
    return error


def journal(root: Path) -> Iterable[dict[str, Any]]:
    return (json.loads(line) for line in (root / "journal.jsonl").read_text().splitlines())
