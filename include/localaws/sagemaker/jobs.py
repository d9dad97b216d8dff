"""What training, processing, transform and tuning jobs have in common: their records and the operations on them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from moto.sagemaker.exceptions import SagemakerClientError

from localaws import job_events
from localaws.sagemaker import state
from localaws.sagemaker.state import FINAL, LOCK, MAX_REASON, Job, Place, now


@dataclass(frozen=True)
class Kind:
    """The names that differ between the kinds of job.

    :param noun: prefix of the fields, e.g. `TrainingJob` in `TrainingJobName`
    :param phase: prefix of the times, e.g. `Training` in `TrainingStartTime`
    :param exists: the text when a name is taken: with `{name}` in it, or else before the job's ARN
    """

    key: str
    noun: str
    phase: str
    resource: str
    log_group: str
    exists: str
    list_order: str
    summary: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The field with the job's name."""
        return f"{self.noun}Name"

    @property
    def status(self) -> str:
        """The field with the job's status."""
        return f"{self.noun}Status"

    def missing(self, name: str) -> SagemakerClientError:
        """The error for a job that does not exist."""
        if self.key == "training":
            return state.invalid("Requested resource not found.")
        if self.key == "tuning":
            message = f"Amazon SageMaker can't find a tuning job called {name}. Type another name."
            return SagemakerClientError("ResourceNotFound", message)
        return state.invalid(f"Could not find requested job with name: {name}")

    def taken(self, job: Job) -> SagemakerClientError:
        """The error for a name that a job has already."""
        message = self.exists.format(name=job.name) if "{name}" in self.exists else f"{self.exists} ({job.arn})"
        return SagemakerClientError("ResourceInUse", message)


_JOB_EXISTS = "Job name must be unique within an AWS account and region, and a job with this name already exists"
TRAINING = Kind(
    "training",
    "TrainingJob",
    "Training",
    "training-job",
    "/aws/sagemaker/TrainingJobs",
    "Training job names must be unique within an AWS account and region, "
    "and a training job with this name already exists",
    "Ascending",
    ("SecondaryStatus",),
)
PROCESSING = Kind(
    "processing",
    "ProcessingJob",
    "Processing",
    "processing-job",
    "/aws/sagemaker/ProcessingJobs",
    _JOB_EXISTS,
    "Ascending",
    ("FailureReason", "ExitMessage"),
)
TRANSFORM = Kind(
    "transform",
    "TransformJob",
    "Transform",
    "transform-job",
    "/aws/sagemaker/TransformJobs",
    _JOB_EXISTS,
    "Descending",
    ("FailureReason",),
)
TUNING = Kind(
    "tuning",
    "HyperParameterTuningJob",
    "HyperParameterTuning",
    "hyper-parameter-tuning-job",
    "",  # its training jobs log, it has no log of its own
    "A hyperparameter tuning job with the name, {name}, already exists. Choose a different name.",
    "Ascending",
)
KINDS = {kind.key: kind for kind in (TRAINING, PROCESSING, TRANSFORM, TUNING)}


STOP_REQUESTED, MAX_RUNTIME, MAX_WAIT = "StopRequested", "MaxRuntimeExceeded", "MaxWaitTimeExceeded"


class Run(Protocol):
    """What the operations need of a job that is being run."""

    def start(self) -> None:
        """Starts it; it waits for a free slot by itself."""

    def ask_to_stop(self, cause: str) -> None:
        """Makes it end as Stopped."""


RUNNING: dict[str, Run] = {}
"""The jobs of this process that have not ended, by ARN."""


def create(place: Place, kind: Kind, request: dict[str, Any], run: Callable[[Place, Kind, Job], Run]) -> Job:
    """Records a new job under its name and starts it.

    :raises SagemakerClientError: ResourceInUse, the name is taken
    """
    name = request[kind.name]
    with LOCK:
        jobs = place.flywheel.jobs[kind.key]
        if name in jobs:
            raise kind.taken(jobs[name])
        moment = now()
        job = Job(
            kind=kind.key,
            name=name,
            arn=state.arn(place, kind.resource, name),
            request={key: value for key, value in request.items() if key != "Tags"},
            run_id=f"{name}-{uuid.uuid4().hex[:8]}",
            created=moment,
            modified=moment,
        )
        jobs[name] = job
        place.flywheel.tags[job.arn] = state.tag_map(request.get("Tags"))
        job_events.accepted(kind.key, name, job.arn, job.status)
        RUNNING[job.arn] = run(place, kind, job)
    RUNNING[job.arn].start()
    return job


def find(place: Place, kind: Kind, name: str) -> Job:
    """The job of this name.

    :raises SagemakerClientError: ValidationException with the text that AWS gives for its kind
    """
    job = place.flywheel.jobs[kind.key].get(name)
    if job is None:
        raise kind.missing(name)
    return job


def describe(place: Place, kind: Kind, request: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for, and what happened to it."""
    job = find(place, kind, request[kind.name])
    return {
        **job.request,
        **job.results,
        **state.described(FailureReason=job.failure_reason, LastModifiedTime=job.modified, CreationTime=job.created),
        **state.described(**{f"{kind.phase}StartTime": job.started, f"{kind.phase}EndTime": job.ended}),
        f"{kind.noun}Arn": job.arn,
        kind.status: job.status,
    }


def list_jobs(place: Place, kind: Kind, request: Mapping[str, Any]) -> dict[str, Any]:
    """The List operation of a kind of job."""
    columns: state.Columns[Job] = state.Columns(
        identity=lambda job: job.name,
        name=lambda job: job.name,
        created=lambda job: job.created,
        modified=lambda job: job.modified,
        status=lambda job: job.status,
        order=kind.list_order,
    )
    with LOCK:
        found, token = state.page(place.flywheel.jobs[kind.key].values(), request, columns)
        summaries = [_summary(place, kind, job) for job in found]
    return {f"{kind.noun}Summaries": summaries, **state.described(NextToken=token)}


def _summary(place: Place, kind: Kind, job: Job) -> dict[str, Any]:
    full = describe(place, kind, {kind.name: job.name})
    if job.transitions:
        full["SecondaryStatus"] = job.transitions[-1]["Status"]
    common = (kind.name, f"{kind.noun}Arn", kind.status, "CreationTime", "LastModifiedTime", f"{kind.phase}EndTime")
    return {key: full[key] for key in (*common, *kind.summary) if key in full}


def stop(place: Place, kind: Kind, request: Mapping[str, Any]) -> dict[str, Any]:
    """Asks a job to end; it is Stopping until its process is gone.

    :raises SagemakerClientError: it has ended already
    """
    with LOCK:
        job = find(place, kind, request[kind.name])
        if job.status in FINAL:
            noun = kind.resource.replace("-", " ")
            raise state.invalid(f"The request was rejected because the {noun} is in status {job.status}.")
        if job.status == "InProgress":
            job.status = "Stopping"
            job.enter("Stopping", f"Stopping the {kind.phase.lower()} job")
        run = RUNNING.get(job.arn)
    if run:
        run.ask_to_stop(STOP_REQUESTED)
    return {}


def delete(place: Place, kind: Kind, request: Mapping[str, Any]) -> dict[str, Any]:
    """Removes the record of a job that has ended.

    :raises SagemakerClientError: ResourceInUse, it has not ended
    """
    with LOCK:
        job = find(place, kind, request[kind.name])
        if job.status not in FINAL:
            noun = kind.resource.replace("-", " ")
            raise SagemakerClientError(
                "ResourceInUse", f"The {noun} {job.name} is in status {job.status}; stop it first."
            )
        del place.flywheel.jobs[kind.key][job.name]
        place.flywheel.tags.pop(job.arn, None)
    return {}


def recover(place: Place) -> None:
    """After a restart: jobs whose process went down with the server are Failed, with a reason that says so."""
    with LOCK:
        for jobs in place.flywheel.jobs.values():
            for job in jobs.values():
                if job.status not in FINAL and job.arn not in RUNNING:
                    reason = "InternalServerError: the local AWS was stopped while this job ran. Start the job again."
                    record_end(KINDS[job.kind], job, "Failed", reason)


def record_end(kind: Kind, job: Job, status: str, reason: str | None, cause: str | None = None) -> None:
    """Ends a job's record.

    :param status: Completed, Failed or Stopped
    :param cause: of a stopped job: whether it was asked to, or which of its limits was over
    """
    phase = kind.phase.lower()
    messages = {
        "Completed": f"{kind.phase} job completed",
        "Failed": f"{kind.phase} job failed",
        "Stopped": f"{kind.phase} job stopped",
    }
    secondary, message = status, messages[status]
    if cause in (MAX_RUNTIME, MAX_WAIT):
        limit = "MaxRuntimeInSeconds" if cause == MAX_RUNTIME else "MaxWaitTimeInSeconds"
        secondary, message = cause, f"{kind.phase} job runtime exceeded {limit} provided"
        reason = reason or (f"The {phase} job exceeded {limit}." if kind is not TRAINING else None)
    job.enter(secondary, message)
    job.transitions[-1] = {**job.transitions[-1], "EndTime": job.modified}
    job.status, job.ended = status, job.modified
    job.failure_reason = reason[:MAX_REASON] if reason else None
    job_events.ended(kind.key, job.name, job.arn, status, job.failure_reason or (message if secondary != status else None))
