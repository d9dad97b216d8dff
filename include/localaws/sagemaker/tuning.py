"""Hyperparameter tuning jobs: the operations on them, and what a request must be like.

Where AWS keeps its ways to itself, these are ours: the search itself (`tuning_search`), what scaling type Auto means
(`tuning_ranges`), from when on jobs are stopped early (`early_stopping`), and some texts of errors. A tuning job that has
reached one of its completion criteria, its MaxRuntimeInSeconds included, stops its training jobs and is Completed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.sagemaker.exceptions import SagemakerClientError

from localaws import objects
from localaws.sagemaker import jobs, state, training
from localaws.sagemaker.container import TUNING_METRIC
from localaws.sagemaker.jobs import TUNING
from localaws.sagemaker.runs import no_objects
from localaws.sagemaker.state import LOCK, Job, Place, invalid, refuse_unserved, unserved
from localaws.sagemaker.tuning_progress import Progress
from localaws.sagemaker.tuning_ranges import Choice, Range, combinations, read_ranges
from localaws.sagemaker.tuning_run import COPIED, TuningRun, training_request

OPERATION = "CreateHyperParameterTuningJob"
MAX_SEARCHED = 30
MAX_HYPERPARAMETERS = 100
MAX_AT_ONCE = 100
MAX_TRAINING_JOBS = {"Bayesian": 750, "Grid": 750, "Random": 10_000}
"""What AWS' quotas can be raised to."""


def create_hyper_parameter_tuning_job(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Checks a request as AWS does, records the tuning job and starts it.

    :raises SagemakerClientError: ValidationException, ResourceInUse, ResourceLimitExceeded, or UnsupportedOperation for
        what cannot run here
    """
    served = "HyperParameterTuningJobName HyperParameterTuningJobConfig TrainingJobDefinition Tags".split()
    refuse_unserved(OPERATION, request, served)
    if not request.get("TrainingJobDefinition"):
        raise invalid("TrainingJobDefinition is required")
    config, definition = request["HyperParameterTuningJobConfig"], request["TrainingJobDefinition"]
    _check_config(config)
    ranges = read_ranges(config["ParameterRanges"])
    _check_ranges(ranges, definition.get("StaticHyperParameters") or {})
    _check_numbers(config, ranges)
    _check_definition(request, ranges)
    _check_channels(place, definition)
    job = jobs.create(place, TUNING, _completed(request), TuningRun)
    return {"HyperParameterTuningJobArn": job.arn}


def describe_hyper_parameter_tuning_job(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, as AWS completes it, and what its training jobs have come to."""
    with LOCK:
        answer = jobs.describe(place, TUNING, request)
        return answer | _progress(place, jobs.find(place, TUNING, request[TUNING.name])).described()


def list_hyper_parameter_tuning_jobs(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Tuning jobs by name, status and time."""
    columns: state.Columns[Job] = state.Columns(
        identity=lambda job: job.name,
        name=lambda job: job.name,
        created=lambda job: job.created,
        modified=lambda job: job.modified,
        status=lambda job: job.status,
    )
    with LOCK:
        found, token = state.page(place.flywheel.jobs[TUNING.key].values(), {"SortBy": "Name", **request}, columns)
        summaries = [_summary(place, job) for job in found]
    return {"HyperParameterTuningJobSummaries": summaries, **state.described(NextToken=token)}


def list_training_jobs_of_tuning_job(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """The training jobs that a tuning job has launched."""
    with LOCK:
        progress = _progress(place, jobs.find(place, TUNING, request[TUNING.name]))
        columns: state.Columns[Job] = state.Columns(
            identity=lambda job: job.name,
            name=lambda job: job.name,
            created=lambda job: job.created,
            status=lambda job: job.status,
            other={"FinalObjectiveMetricValue": progress.objective},
        )
        listed = progress.launched
        if request.get("SortBy") == "FinalObjectiveMetricValue":
            listed = [job for job in listed if progress.objective(job) is not None]
        found, token = state.page(listed, {"SortBy": "Name", **request}, columns)
        summaries = [progress.summary(job) for job in found]
    return {"TrainingJobSummaries": summaries, **state.described(NextToken=token)}


def stop_hyper_parameter_tuning_job(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Stops a tuning job and the training jobs that it has launched; the best one so far stays."""
    return jobs.stop(place, TUNING, request)


def delete_hyper_parameter_tuning_job(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Forgets a tuning job that has ended; its training jobs stay."""
    return jobs.delete(place, TUNING, request)


OPERATIONS: dict[str, Callable[[Any, dict[str, Any]], dict[str, Any]]] = {
    "CreateHyperParameterTuningJob": create_hyper_parameter_tuning_job,
    "DescribeHyperParameterTuningJob": describe_hyper_parameter_tuning_job,
    "ListHyperParameterTuningJobs": list_hyper_parameter_tuning_jobs,
    "ListTrainingJobsForHyperParameterTuningJob": list_training_jobs_of_tuning_job,
    "StopHyperParameterTuningJob": stop_hyper_parameter_tuning_job,
    "DeleteHyperParameterTuningJob": delete_hyper_parameter_tuning_job,
}


def _progress(place: Place, job: Job) -> Progress:
    known = place.flywheel.jobs["training"]
    return Progress(job, [known[name] for name in job.launched if name in known])


def _summary(place: Place, job: Job) -> dict[str, Any]:
    full = jobs.describe(place, TUNING, {TUNING.name: job.name})
    times = ("CreationTime", "LastModifiedTime", "HyperParameterTuningEndTime")
    config = job.request["HyperParameterTuningJobConfig"]
    return {
        **{key: full[key] for key in (TUNING.name, f"{TUNING.noun}Arn", TUNING.status, *times) if key in full},
        "Strategy": config["Strategy"],
        "ResourceLimits": config["ResourceLimits"],
        **_progress(place, job).counters(),
    }


def _check_config(config: dict[str, Any]) -> None:
    where = "HyperParameterTuningJobConfig"
    if config["Strategy"] == "Hyperband":
        raise unserved(f"{where}.Strategy Hyperband of sagemaker:{OPERATION}; use Bayesian, Random or Grid")
    served = (
        "Strategy HyperParameterTuningJobObjective ResourceLimits ParameterRanges TrainingJobEarlyStoppingType "
        "TuningJobCompletionCriteria RandomSeed"
    )
    refuse_unserved(OPERATION, config, served.split(), where)
    for needed in ("HyperParameterTuningJobObjective", "ParameterRanges"):
        if not config.get(needed):
            raise invalid(f"{where}.{needed} is required")
    served = "IntegerParameterRanges ContinuousParameterRanges CategoricalParameterRanges"
    refuse_unserved(OPERATION, config["ParameterRanges"], served.split(), f"{where}.ParameterRanges")
    criteria = config.get("TuningJobCompletionCriteria") or {}
    if (criteria.get("ConvergenceDetected") or {}).get("CompleteOnConvergence") == "Enabled":
        raise unserved(f"{where}.TuningJobCompletionCriteria.ConvergenceDetected of sagemaker:{OPERATION}")


def _check_ranges(ranges: list[Range], static: dict[str, str]) -> None:
    names = [each.name for each in ranges]
    if not names:
        raise invalid("ParameterRanges must have at least one hyperparameter to search")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise invalid(f"Hyperparameters must have one range each, but these have several: {', '.join(repeated)}")
    fixed = sorted(set(names) & set(static))
    if fixed:
        raise invalid(f"Hyperparameters cannot be both static and searched: {', '.join(fixed)}")
    if len(names) > MAX_SEARCHED:
        raise _exceeded("hyperparameters that can be searched", MAX_SEARCHED, len(names))
    # AWS adds the objective's name.
    if (total := len(names) + len({*static, TUNING_METRIC})) > MAX_HYPERPARAMETERS:
        raise invalid(f"Static and searched hyperparameters must not be more than {MAX_HYPERPARAMETERS}, got {total}")


def _check_numbers(config: dict[str, Any], ranges: list[Range]) -> None:
    limits, strategy = config["ResourceLimits"], config["Strategy"]
    most, at_once, total = limits.get("MaxNumberOfTrainingJobs"), limits["MaxParallelTrainingJobs"], combinations(ranges)
    if strategy == "Grid":
        numeric = sorted(each.name for each in ranges if not isinstance(each, Choice))
        if numeric:
            raise invalid(f"The Grid strategy supports only categorical hyperparameters, got {', '.join(numeric)}")
        if most is not None and most != total:
            raise invalid(
                f"With the Grid strategy, MaxNumberOfTrainingJobs must be the number of combinations of the categorical "
                f"hyperparameters, [{int(total)}], or be left out, got [{most}]"
            )
        most = int(total)
    elif most is None and "MaxRuntimeInSeconds" not in limits and not config.get("TuningJobCompletionCriteria"):
        raise invalid("ResourceLimits must have MaxNumberOfTrainingJobs or MaxRuntimeInSeconds")
    if most is not None and at_once > most:
        raise invalid(
            f"The value of MaxParallelTrainingJobs, [{at_once}], must be less than or equal to the value of "
            f"MaxNumberOfTrainingJobs, [{most}]"
        )
    if most is not None and most > total:
        raise invalid(
            "You don't have enough combinations of hyperparameter ranges. The total number of hyperparameter combinations "
            f"for the provided ranges [{float(total)}] must be equal or greater than the value of MaxNumberOfJobs, "
            f"[{most}]. Provide additional ranges."
        )
    if (most or 0) > MAX_TRAINING_JOBS[strategy]:
        raise _exceeded("training jobs per hyperparameter tuning job", MAX_TRAINING_JOBS[strategy], most or 0)
    if at_once > MAX_AT_ONCE:
        raise _exceeded("parallel training jobs per hyperparameter tuning job", MAX_AT_ONCE, at_once)


def _check_definition(request: dict[str, Any], ranges: list[Range]) -> None:
    definition, where = request["TrainingJobDefinition"], "TrainingJobDefinition"
    refuse_unserved(OPERATION, definition, ("DefinitionName", "StaticHyperParameters", *COPIED), where)
    served = ("TrainingImage", "TrainingInputMode", "MetricDefinitions")
    refuse_unserved(OPERATION, definition["AlgorithmSpecification"], served, f"{where}.AlgorithmSpecification")
    # What a training job may be like is checked with one of those that may be launched.
    first = {each.name: each.texts[0] if isinstance(each, Choice) else each.written(each.low) for each in ranges}
    training.check_request(training_request(request, request["HyperParameterTuningJobName"], first))


def _check_channels(place: Place, definition: dict[str, Any]) -> None:
    for channel in definition.get("InputDataConfig") or ():
        uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
        try:
            found = objects.list_objects(uri)
        except (objects.NoSuchKey, ValueError):
            found = []
        if not found:
            bucket = uri.removeprefix("s3://").split("/", 1)[0]
            raise invalid(no_objects(uri, bucket, role=definition["RoleArn"], region=place.region_name))


def _completed(request: dict[str, Any]) -> dict[str, Any]:
    """The request with what AWS adds to it."""
    config, definition = request["HyperParameterTuningJobConfig"], request["TrainingJobDefinition"]
    ranges = config["ParameterRanges"]
    for kind in ("IntegerParameterRanges", "ContinuousParameterRanges"):
        for each in ranges.get(kind) or ():
            each.setdefault("ScalingType", "Auto")
    metric = config["HyperParameterTuningJobObjective"]["MetricName"]
    static = (definition.get("StaticHyperParameters") or {}) | {TUNING_METRIC: metric}
    flags = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining")
    completed = dict.fromkeys(flags, False) | definition | {"StaticHyperParameters": static}
    return request | {"TrainingJobDefinition": completed}


def _exceeded(what: str, limit: int, asked: int) -> SagemakerClientError:
    message = f"The limit on the number of {what} is {limit}, with a request of {asked}."
    return SagemakerClientError("ResourceLimitExceeded", message)
