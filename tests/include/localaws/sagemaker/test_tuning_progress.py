"""What a tuning job's training jobs have come to, and when that is enough."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from localaws.sagemaker.state import Job, State
from localaws.sagemaker.tuning_progress import Progress

START = datetime(2026, 1, 1, tzinfo=UTC)


def job(number: int, status: str, value: float | None, reason: str | None = None) -> Job:
    """A training job that ended so many minutes after the start."""
    made = record(f"t-{number:03d}", {"HyperParameters": {"x": str(number)}})
    made.status, made.failure_reason, made.ended = status, reason, START + timedelta(minutes=number)
    if value is not None:
        made.results["FinalMetricDataList"] = [{"MetricName": "score", "Value": value}]
    return made


def record(name: str, request: dict[str, Any]) -> Job:
    return Job("training", name, f"arn:{name}", request, name, created=START, modified=START)


def progress(*jobs: Job, kind: str = "Maximize", limits: dict[str, int] | None = None, **criteria: Any) -> Progress:
    config = {
        "HyperParameterTuningJobObjective": {"Type": kind, "MetricName": "score"},
        "ResourceLimits": limits or {},
        "ParameterRanges": {"IntegerParameterRanges": [{"Name": "x"}]},
        "TuningJobCompletionCriteria": criteria,
    }
    return Progress(record("t", {"HyperParameterTuningJobConfig": config, "TrainingJobDefinition": {}}), jobs)


def completed(*values: float) -> list[Job]:
    return [job(number, "Completed", value) for number, value in enumerate(values)]


def test_the_time_of_a_tuning_job_is_limited() -> None:
    found = progress(limits={"MaxRuntimeInSeconds": 120})
    assert not found.enough(START + timedelta(seconds=119))
    assert found.enough(START + timedelta(seconds=120))


@pytest.mark.parametrize(
    ("kind", "values", "count"),
    [
        ("Maximize", [0.5, 0.6, 0.7], 0),
        ("Maximize", [0.5, 0.504, 0.4], 2),  # less than one percent is no improvement
        ("Maximize", [0.5, 0.4, 0.6, 0.1], 1),
        ("Minimize", [0.5, 0.4, 0.6, 0.1], 0),
        ("Minimize", [-1.0, -1.005, -1.02], 0),
    ],
)
def test_jobs_that_do_not_improve_are_counted(kind: str, values: list[float], count: int) -> None:
    assert progress(*completed(*values), kind=kind).not_improving == count


def test_too_many_jobs_without_improvement_are_enough() -> None:
    criteria = {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}}
    assert not progress(*completed(0.5, 0.1, 0.2), **criteria).enough(START)
    assert progress(*completed(0.5, 0.1, 0.2, 0.3), **criteria).enough(START)


@pytest.mark.parametrize(("kind", "target", "enough"), [("Maximize", 0.7, True), ("Minimize", 0.4, False)])
def test_a_target_is_reached_from_its_side(kind: str, target: float, enough: bool) -> None:
    assert progress(*completed(0.5, 0.7), kind=kind, TargetObjectiveMetricValue=target).enough(START) is enough


def test_only_completed_jobs_can_be_the_best_and_stopped_ones_count_by_their_metric() -> None:
    jobs = [job(1, "Completed", 0.5), job(2, "Stopped", 0.9), job(3, "Stopped", None), job(4, "Failed", 0.8, "AlgorithmError: x")]
    jobs += [job(5, "Failed", None, "InternalServerError: x"), job(6, "InProgress", None), job(7, "Stopping", None)]
    found = progress(*jobs)
    assert found.best is jobs[0]
    assert found.counters() == {
        "TrainingJobStatusCounters": {
            "Completed": 1,
            "InProgress": 2,
            "RetryableError": 1,
            "NonRetryableError": 1,
            "Stopped": 2,
        },
        "ObjectiveStatusCounters": {"Succeeded": 2, "Pending": 2, "Failed": 3},
    }


def test_a_state_that_knew_no_tuning_jobs_can_still_be_loaded() -> None:
    state = State()
    state.jobs["training"]["t"] = record("t", {})
    del state.jobs["tuning"], vars(state.jobs["training"]["t"])["launched"]
    loaded = copy.deepcopy(state)  # takes an object apart and puts it together as pickle does
    assert loaded.jobs["tuning"] == {}
    assert loaded.jobs["training"]["t"].launched == ()
