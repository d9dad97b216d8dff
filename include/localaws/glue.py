"""AWS Glue: jobs that run, over moto's data catalog.

``glueetl`` jobs run on the Spark pool, ``pythonshell`` jobs as plain Python processes. Databases, tables and partitions
are moto's; how partitions are listed is ours. Crawlers, triggers, workflows, sessions, transforms, data quality and the
schema registry are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.glue import models, urls
from moto.glue.exceptions import AlreadyExistsException, InvalidInputException
from moto.glue.models import GlueBackend, glue_backends
from moto.glue.responses import GlueResponse

from localaws import glue_runs
from localaws.glue_runs import ACTIVE, KINDS, Job, JobRun
from localaws.spark import pool

SERVED = frozenset(
    [
        "CreateJob",
        "UpdateJob",
        "GetJob",
        "GetJobs",
        "ListJobs",
        "BatchGetJobs",
        "DeleteJob",
        "StartJobRun",
        "GetJobRun",
        "GetJobRuns",
        "BatchStopJobRun",
        "GetPartitions",
    ]
)
"""The operations on jobs and their runs, and GetPartitions, which moto answers without pages and segments; what moto only
has to remember is listed in ``localaws.served``."""

# What CreateJob and UpdateJob take and moto has no place for.
_EXTRA = ("JobMode", "JobRunQueuingEnabled", "MaintenanceWindow")

# moto's attribute of a definition for each member of Glue's JobUpdate.
_ATTRIBUTES = {
    "Description": "description",
    "LogUri": "log_uri",
    "Role": "role",
    "ExecutionProperty": "execution_property",
    "Command": "command",
    "DefaultArguments": "default_arguments",
    "NonOverridableArguments": "non_overridable_arguments",
    "Connections": "connections",
    "MaxRetries": "max_retries",
    "AllocatedCapacity": "allocated_capacity",
    "Timeout": "timeout",
    "MaxCapacity": "max_capacity",
    "WorkerType": "worker_type",
    "NumberOfWorkers": "number_of_workers",
    "SecurityConfiguration": "security_configuration",
    "NotificationProperty": "notification_property",
    "GlueVersion": "glue_version",
    "CodeGenConfigurationNodes": "code_gen_configuration_nodes",
    "ExecutionClass": "execution_class",
    "SourceControlDetails": "source_control_details",
}
_EMPTY: dict[str, Any] = {"execution_property": {}, "default_arguments": {}, "execution_class": "STANDARD"}


class Glue(GlueBackend):
    """moto's Glue whose jobs are definitions of ours."""

    _url_module = urls

    def create_job(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Store a definition. Raises ``AlreadyExistsException``, ``InvalidInputException`` for what cannot run."""
        if name in self.jobs:
            raise AlreadyExistsException(f"Job with name: {name}")
        check_command(kwargs["command"])
        if not kwargs.get("glue_version"):
            kwargs["glue_version"] = "6.0"
        super().create_job(name, *args, **kwargs)

    def update_job(self, name: str, update: dict[str, Any]) -> None:
        """Replace a definition whole, as Glue does: what the update does not name goes back to its default."""
        job = self.get_job(name)
        check_command(update.get("Command"))
        for member, attribute in _ATTRIBUTES.items():
            setattr(job, attribute, update.get(member) or _EMPTY.get(attribute))
        if not job.glue_version:
            job.glue_version = "6.0"
        job.extra = {key: update[key] for key in _EXTRA if key in update}  # type: ignore[attr-defined]
        job.last_modified_on = utcnow()

    def delete_job(self, name: str) -> None:
        """Forget a definition and its runs; active runs are stopped."""
        for run in runs_of(self, name):
            if run.status in ACTIVE:
                glue_runs.stop(run)
        super().delete_job(name)


class GlueApi(GlueResponse):
    """moto's request handling, with the operations that it lacks."""

    def create_job(self) -> ActionResult:
        """CreateJob."""
        answer = super().create_job()
        job = self.glue_backend.get_job(self.parameters["Name"])
        job.extra = {key: self.parameters[key] for key in _EXTRA if key in self.parameters}  # type: ignore[attr-defined]
        return answer

    def update_job(self) -> ActionResult:
        """UpdateJob."""
        name = self.parameters["JobName"]
        self.glue_backend.update_job(name, self.parameters["JobUpdate"])  # type: ignore[attr-defined]
        return ActionResult({"JobName": name})

    def get_partitions(self) -> ActionResult:
        """GetPartitions, in pages and segments: moto gives all partitions in each."""
        asked, begin = self.parameters, 0
        found = self.glue_backend.get_partitions(asked["DatabaseName"], asked["TableName"], asked.get("Expression"))
        if segment := asked.get("Segment"):
            if segment["SegmentNumber"] >= segment["TotalSegments"]:
                raise InvalidInputException("GetPartitions", "SegmentNumber should be less than TotalSegments")
            found = found[segment["SegmentNumber"] :: segment["TotalSegments"]]
        if token := asked.get("NextToken"):
            if not token.isdecimal():
                raise InvalidInputException("GetPartitions", "NextToken is not valid")
            begin = int(token)
        end = begin + (asked.get("MaxResults") or 1000)
        partitions = [partition.as_dict() for partition in found[begin:end]]
        if asked.get("ExcludeColumnSchema"):
            partitions = [_without_columns(partition) for partition in partitions]
        return ActionResult({"Partitions": partitions, **({"NextToken": str(end)} if end < len(found) else {})})

    def start_job_run(self) -> ActionResult:
        """StartJobRun."""
        asked = dict(self.parameters)
        if asked.get("AllocatedCapacity") and asked.get("MaxCapacity"):
            raise InvalidInputException("StartJobRun", "Please set only Allocated Capacity or Max Capacity")
        job = self.glue_backend.get_job(asked["JobName"])
        run_id = job.start_job_run(  # type: ignore[call-arg]
            previous_run_id=asked.get("JobRunId"),
            arguments=asked.get("Arguments"),
            asked={key: value for key, value in asked.items() if value is not None},
        )
        return ActionResult({"JobRunId": run_id})

    def batch_stop_job_run(self) -> ActionResult:
        """BatchStopJobRun."""
        name = self.parameters["JobName"]
        runs = {run.job_run_id: run for run in runs_of(self.glue_backend, name)}
        stopped, errors = [], []
        for run_id in self.parameters["JobRunIds"]:
            run = runs.get(run_id)
            if run is None:
                code, message = "EntityNotFoundException", f"Job run {run_id} not found for job {name}"
            elif run.status not in ACTIVE:
                code, message = "JobRunInTerminalStateException", f"Job run {run_id} is in terminal state {run.status}"
            else:
                glue_runs.stop(run)
                stopped.append({"JobName": name, "JobRunId": run_id})
                continue
            error = {"ErrorCode": code, "ErrorMessage": message}
            errors.append({"JobName": name, "JobRunId": run_id, "ErrorDetail": error})
        return ActionResult({"SuccessfulSubmissions": stopped, "Errors": errors})


def _without_columns(partition: dict[str, Any]) -> dict[str, Any]:
    storage = {key: value for key, value in partition.get("StorageDescriptor", {}).items() if key != "Columns"}
    return {**partition, "StorageDescriptor": storage}


def runs_of(backend: GlueBackend, name: str) -> list[JobRun]:
    """Give the runs of a job, none for a job that is not there."""
    job: Any = backend.jobs.get(name)
    return list(job.job_runs) if job else []


def check_command(command: dict[str, str] | None) -> None:
    """Raise ``InvalidInputException`` for a job command that the local Glue cannot run."""
    kind, script = (command or {}).get("Name"), (command or {}).get("ScriptLocation")
    if kind not in KINDS:
        raise InvalidInputException(
            "CreateJob", f"Flywheel's local AWS runs jobs with a command named {' or '.join(KINDS)}, not {kind!r}"
        )
    if not script:
        raise InvalidInputException("CreateJob", "Command.ScriptLocation is missing; expected the s3:// address of a script")


def install(root: Path) -> None:
    """Put the executing Glue in the place of moto's; working folders below ``root/jobs/glue``."""
    pool.use_root(root)
    glue_runs.use_root(root)
    models.FakeJob = Job  # type: ignore[misc]
    glue_backends.backend = Glue
    urls.url_paths["{0}/$"] = GlueApi.dispatch


def recover() -> None:
    """After a start: tell runs that were active when the server ended as failed."""
    for regions in list(glue_backends.values()):
        for backend in list(regions.values()):
            for name in backend.jobs:
                for run in runs_of(backend, name):
                    run.to("FAILED", "The local AWS was stopped while this job run was active; start the job again.")


def shutdown() -> None:
    """End the Spark workers because the server ends."""
    pool.close_shared_pool()
