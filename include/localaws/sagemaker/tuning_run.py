"""How a tuning job runs: a thread that launches training jobs, waits for their ends, and decides what is tried next.

A training job of a tuning job is one like any other; it waits for its slot among all jobs.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from moto.sagemaker.exceptions import SagemakerClientError

from localaws.sagemaker import jobs, state
from localaws.sagemaker.container import TUNING_METRIC
from localaws.sagemaker.early_stopping import Course, is_hopeless
from localaws.sagemaker.jobs import TRAINING, TUNING
from localaws.sagemaker.state import FINAL, LOCK, Job, Place, now
from localaws.sagemaker.training import TrainingRun
from localaws.sagemaker.tuning_progress import Progress
from localaws.sagemaker.tuning_ranges import read_ranges
from localaws.sagemaker.tuning_search import Search, Suggestion

log = logging.getLogger(__name__)

WATCH_S = 0.5
"""How often the logs of running training jobs are read when bad ones are to be stopped early."""

OBJECTIVE = "ObjectiveMetric"
"""The metric that AWS adds to those that are defined: the objective under a name that is the same everywhere."""

COPIED = (
    "AlgorithmSpecification RoleArn InputDataConfig VpcConfig OutputDataConfig ResourceConfig StoppingCondition "
    "EnableNetworkIsolation EnableInterContainerTrafficEncryption EnableManagedSpotTraining CheckpointConfig "
    "Environment RetryStrategy"
).split()


def training_request(request: dict[str, Any], name: str, tuned: dict[str, str]) -> dict[str, Any]:
    """The CreateTrainingJob request of one training job of a tuning job.

    :param request: the tuning job's
    :param tuned: the values of the hyperparameters that are searched
    """
    definition, objective = request["TrainingJobDefinition"], _objective(request)
    made = {key: definition[key] for key in COPIED if key in definition}
    made["TrainingJobName"] = name
    static = definition.get("StaticHyperParameters") or {}
    made["HyperParameters"] = {**static, **tuned, TUNING_METRIC: objective["MetricName"]}
    algorithm = made["AlgorithmSpecification"]
    named = [metric for metric in algorithm.get("MetricDefinitions") or () if metric["Name"] != OBJECTIVE]
    added = [{"Name": OBJECTIVE, "Regex": objective_pattern(request)}]
    made["AlgorithmSpecification"] = {**algorithm, "MetricDefinitions": named + added}
    if checkpoints := made.get("CheckpointConfig"):
        # Training jobs that ran at once would overwrite each other's.
        made["CheckpointConfig"] = {**checkpoints, "S3Uri": f"{checkpoints['S3Uri'].rstrip('/')}/{name}"}
    return made


def objective_pattern(request: dict[str, Any]) -> str:
    """The regular expression of a tuning job's objective.

    :raises SagemakerClientError: ValidationException, no metric of this name is defined
    """
    name = _objective(request)["MetricName"]
    for metric in request["TrainingJobDefinition"]["AlgorithmSpecification"].get("MetricDefinitions") or ():
        if metric["Name"] == name:
            return str(metric["Regex"])
    raise state.invalid(
        "A metric is required for this hyperparameter tuning job objective. Provide a metric in the metric definitions."
    )


def _objective(request: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    return found


class TunedTrainingRun(TrainingRun):
    """A training job that says when it has ended.

    :param on_end: called once the end is recorded
    """

    def __init__(self, place: Place, kind: jobs.Kind, job: Job, *, on_end: Callable[[], None]):
        super().__init__(place, kind, job)
        self._on_end = on_end

    def at_end(self) -> None:
        """Completes the results and says so."""
        super().at_end()
        self._on_end()


@dataclass
class Trial:
    """A training job that was launched, and what it tries.

    :param course: its objective epoch by epoch
    :param told: whether the search knows what came of it
    """

    job: Job
    suggestion: Suggestion
    course: Course
    told: bool = field(default=False)


class TuningRun:
    """Runs one tuning job. Only its thread launches training jobs, and only it ends the tuning job."""

    def __init__(self, place: Place, kind: jobs.Kind, job: Job):
        self.place, self.job = place, job
        config = job.request["HyperParameterTuningJobConfig"]
        limits = config["ResourceLimits"]
        self._most, self._at_once = limits.get("MaxNumberOfTrainingJobs"), limits["MaxParallelTrainingJobs"]
        self._runtime = limits.get("MaxRuntimeInSeconds")
        self._stops_early = config.get("TrainingJobEarlyStoppingType") == "Auto"
        self._pattern = objective_pattern(job.request)
        self._trials: list[Trial] = []
        self._exhausted = False
        self._stopping = threading.Event()
        self._changed = threading.Event()
        self._thread = threading.Thread(target=self._main, name=f"sagemaker {job.name}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def ask_to_stop(self, cause: str) -> None:
        """Makes the tuning job end as Stopped, when its training jobs have been stopped."""
        self._stopping.set()
        self._changed.set()

    def _main(self) -> None:
        try:
            status, reason = self._tune()
        except Exception as error:  # whatever goes wrong in the service itself ends the job, never silently
            log.exception("tuning job %s failed inside the local AWS", self.job.name)
            status, reason = "Failed", f"InternalServerError: {type(error).__name__}: {error}"
        self._stop_training_jobs()
        with LOCK:
            jobs.record_end(TUNING, self.job, status, reason)
            jobs.RUNNING.pop(self.job.arn, None)
        state.save()

    def _tune(self) -> tuple[str, str | None]:
        """Launches training jobs until there is an end to it, and returns the status and the reason of a failure."""
        config = self.job.request["HyperParameterTuningJobConfig"]
        ranges = read_ranges(config["ParameterRanges"])
        maximize = self._progress().maximize
        search = Search(config["Strategy"], ranges, maximize=maximize, seed=config.get("RandomSeed"))
        while True:
            self._changed.clear()
            self._tell_ended(search)
            progress = self._progress()
            if self._stopping.is_set():
                return "Stopped", None
            if reason := progress.failure(over=self._over):
                return "Failed", reason
            if progress.enough(now()) or self._over:
                return "Completed", None
            if self._stops_early:
                self._stop_hopeless(maximize)
            self._launch(search)
            if not self._over:
                self._changed.wait(self._wait_s())

    @property
    def _over(self) -> bool:
        """Whether nothing runs and nothing is left to launch."""
        left = not self._exhausted and (self._most is None or len(self._trials) < self._most)
        return not left and not self._running()

    def _running(self) -> list[Trial]:
        return [trial for trial in self._trials if trial.job.status not in FINAL]

    def _progress(self) -> Progress:
        return Progress(self.job, [trial.job for trial in self._trials])

    def _wait_s(self) -> float | None:
        left = None if self._runtime is None else max(0.0, self._runtime - self._progress().runtime(now()))
        if not self._stops_early:
            return left
        return WATCH_S if left is None else min(WATCH_S, left)

    def _tell_ended(self, search: Search) -> None:
        progress = self._progress()
        for trial in self._trials:
            if not trial.told and trial.job.status in FINAL:
                completed = trial.job.status == "Completed"
                search.tell(trial.suggestion, progress.objective(trial.job), completed=completed)
                trial.told = True

    def _launch(self, search: Search) -> None:
        while len(self._running()) < self._at_once and (self._most is None or len(self._trials) < self._most):
            suggestion = search.ask()
            if suggestion is None:
                self._exhausted = True
                return
            name = f"{self.job.name}-{len(self._trials) + 1:03d}-{uuid.uuid4().hex[:8]}"
            request = training_request(self.job.request, name, suggestion.hyperparameters)
            request["TuningJobArn"] = self.job.arn
            with LOCK:
                tags = self.place.flywheel.tags.get(self.job.arn) or {}
                request["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
                job = jobs.create(self.place, TRAINING, request, partial(TunedTrainingRun, on_end=self._changed.set))
                run = jobs.RUNNING[job.arn]  # it cannot have ended, that takes the lock
                self.job.launched += (name,)
            assert isinstance(run, TunedTrainingRun)
            self._trials.append(Trial(job, suggestion, Course(TRAINING.log_group, run.stream, self._pattern)))
        state.save()

    def _stop_hopeless(self, maximize: bool) -> None:
        earlier = [trial.course.read() for trial in self._trials if trial.job.status == "Completed"]
        for trial in self._running():
            if trial.job.status == "InProgress" and is_hopeless(trial.course.read(), earlier, maximize=maximize):
                _stop(self.place, trial.job)

    def _stop_training_jobs(self) -> None:
        """Stops what still runs, and waits until it has ended."""
        for trial in self._running():
            _stop(self.place, trial.job)
        while self._running():
            self._changed.wait()
            self._changed.clear()


def _stop(place: Place, job: Job) -> None:
    try:
        jobs.stop(place, TRAINING, {"TrainingJobName": job.name})
    except SagemakerClientError:
        if job.status not in FINAL:
            raise
