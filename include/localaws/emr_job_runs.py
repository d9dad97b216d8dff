"""Job runs of EMR Serverless: what a run holds, how it is started, and how its end is told."""

from __future__ import annotations

import gzip
import math
import re
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from moto.core.utils import utcnow
from moto.emrserverless.exceptions import ValidationException
from moto.emrserverless.models import Application, JobRun
from moto.logs.models import logs_backends

from localaws import ACCOUNT_ID, REGION, job_events, objects, persistence
from localaws.spark import conf
from localaws.spark.code import CodeMissing, adopt_written, open_logs, stage_file, stage_modules, visible_buckets
from localaws.spark.pool import Outcome, SparkJob, shared_pool

ACTIVE = ("SUBMITTED", "QUEUED", "PENDING", "SCHEDULED", "RUNNING", "CANCELLING")
DETAILS = {
    "SUBMITTED": "Job is submitted",
    "PENDING": "Waiting for a worker",
    "SCHEDULED": "A worker is being prepared",
    "RUNNING": "Job is running",
    "SUCCESS": "Job completed successfully",
    "CANCELLING": "Job is being cancelled",
    "CANCELLED": "Job was cancelled",
}
MAX_DETAILS = 256
DEFAULT_LOG_GROUP = "/aws/emr-serverless"

# What EMR Serverless gives a job that asks for nothing (its Spark defaults), and what it charges beyond.
_DEFAULT_CORES = "4"
_DEFAULT_MEMORY = "14G"
_DEFAULT_EXECUTORS = "3"
_OVERHEAD = 0.1
_FREE_STORAGE_GB = 20

_root: list[Path] = []


def use_root(root: Path) -> None:
    """Keep the working folders of runs below ``root/jobs/emr-serverless``."""
    _root[:] = [root / "jobs" / "emr-serverless"]


class Run(JobRun):
    """A job run, its states and its times (naive UTC, as everywhere in moto)."""

    def __init__(self, *, mode: str | None, request: dict[str, Any], application: RunningApplication, **kwargs: Any):
        super().__init__(**kwargs)
        self.request = request
        self.application = application
        self.mode = mode or "BATCH"
        self.attempt = 1
        self.created_by = f"arn:aws:iam::{ACCOUNT_ID}:root"
        self.created_at = self.updated_at = self.attempt_created_at = self.attempt_updated_at = utcnow()
        self.started_at: datetime | None = None
        self.ended_at: datetime | None = None
        self.queued_duration_milliseconds = 0
        self.tags: dict[str, str] = kwargs.get("tags") or {}
        self.state, self.state_details = "SUBMITTED", DETAILS["SUBMITTED"]
        self.settings: dict[str, str] = {}
        # Told once the run has ended, from the time that it really took.
        self.total_execution_duration_seconds: int | None = None  # type: ignore[assignment]
        self.billed_resource_utilization: dict[str, float] | None = None  # type: ignore[assignment]
        self.total_resource_utilization: dict[str, float] | None = None

    def to(self, state: str, details: str | None = None) -> None:
        """Take the next state; a terminal state is never left again, and CANCELLING only for one."""
        if self.state not in ACTIVE or (self.state == "CANCELLING" and state in ACTIVE):
            return
        now = utcnow()
        self.state = state
        self.state_details = _cut(details or DETAILS[state])
        self.updated_at = self.attempt_updated_at = now
        if state == "RUNNING":
            self.started_at = now
            self.queued_duration_milliseconds = int((now - self.created_at).total_seconds() * 1000)
            job_events.running("emr_serverless", self.name or self.id, self.id, kill=lambda: shared_pool().kill(self.id))
        elif state not in ACTIVE:
            self.ended_at = now
            self._account(now)
            job_events.ended("emr_serverless", self.name or self.id, self.id, state, self.state_details if details else None)
        self.application.last_used = now
        persistence.touch("emrserverless")

    def _account(self, end: datetime) -> None:
        """Reckon what EMR Serverless would tell for the workers asked for and the time that the run really took."""
        seconds = math.ceil((end - self.started_at).total_seconds()) if self.started_at else 0
        workers = 1 + int(self.settings.get("spark.executor.instances", _DEFAULT_EXECUTORS))
        cores, memory_gb = worker_size(self.settings, "driver")
        executor_cores, executor_memory_gb = worker_size(self.settings, "executor")
        cores += (workers - 1) * executor_cores
        memory_gb += (workers - 1) * executor_memory_gb
        hours, billed = seconds / 3600, (max(seconds, 60) / 3600 if seconds else 0.0)
        self.total_execution_duration_seconds = seconds
        self.total_resource_utilization = {
            "vCPUHour": round(cores * hours, 3),
            "memoryGBHour": round(memory_gb * hours, 3),
            "storageGBHour": round(workers * _FREE_STORAGE_GB * hours, 3),
        }
        self.billed_resource_utilization = {
            "vCPUHour": round(cores * billed, 3),
            "memoryGBHour": round(memory_gb * billed, 3),
            "storageGBHour": 0.0,
        }


class RunningApplication(Application):
    """An application that starts when it is used and stops by itself, as its configuration says."""

    def __init__(self, *, extra: dict[str, Any], **kwargs: Any):
        super().__init__(**kwargs)
        self.created_at = self.updated_at = self.last_used = utcnow()
        self.state = "CREATED"
        self.architecture = extra.get("architecture") or "X86_64"
        self.runtime_configuration = extra.get("runtimeConfiguration")
        self.monitoring_configuration = extra.get("monitoringConfiguration")
        self.scheduler_configuration = extra.get("schedulerConfiguration")

    def to(self, state: str) -> None:
        """Take a state."""
        self.state = state
        self.updated_at = self.last_used = utcnow()
        persistence.touch("emrserverless")

    def started(self) -> None:
        """Take the end of a start that waited for a worker, unless someone stopped the application meanwhile."""
        if self.state == "STARTING":
            self.to("STARTED")

    def stop_when_idle(self, busy: bool) -> None:
        """Stop an application that nobody used for as long as its auto-stop configuration allows."""
        stop: Any = self.auto_stop_configuration
        if busy or self.state != "STARTED" or not stop.get("enabled", True):
            return
        if utcnow() - self.last_used > timedelta(minutes=stop.get("idleTimeoutMinutes", 15)):
            self.to("STOPPED")


def worker_size(settings: Mapping[str, str], role: str) -> tuple[int, float]:
    """Give vCPUs and memory (GB, overhead included) of a driver or executor as the settings ask for it."""
    cores = int(settings.get(f"spark.{role}.cores", _DEFAULT_CORES))
    memory = settings.get(f"spark.{role}.memory", _DEFAULT_MEMORY)
    found = re.fullmatch(r"(\d+)([kmgt]?)b?", memory.strip().lower())
    if not found:
        raise ValidationException(f"spark.{role}.memory: found {memory!r}, expected a size like 4g")
    gigabytes = int(found[1]) * {"k": 1 / 2**20, "": 1 / 2**10, "m": 1 / 2**10, "g": 1, "t": 2**10}[found[2]]
    return cores, math.ceil(gigabytes * (1 + _OVERHEAD))


def read_settings(application: RunningApplication, request: Mapping[str, Any]) -> conf.SubmitParameters:
    """Give a run's settings: the application's, over them the run's overrides, over them its submit parameters.

    Raises ``ValidationException`` for what the local EMR Serverless cannot run.
    """
    driver = (request.get("jobDriver") or {}).get("sparkSubmit")
    if not driver:
        raise ValidationException("Flywheel's local AWS runs jobs with a jobDriver of sparkSubmit only (Hive is not there)")
    entry_point = driver["entryPoint"]
    if not (entry_point.startswith(("s3://", "s3a://")) and entry_point.endswith(".py")):
        raise ValidationException(f"entryPoint: found {entry_point!r}; the local Spark runs Python scripts at s3://.../*.py")
    if request.get("mode") == "STREAMING":
        raise ValidationException("mode: found STREAMING; Flywheel's local AWS runs BATCH jobs only")
    overrides = (request.get("configurationOverrides") or {}).get("applicationConfiguration") or []
    merged: dict[str, str] = {}
    for configuration in [*(application.runtime_configuration or []), *overrides]:
        if configuration["classification"] == "spark-defaults":
            merged |= configuration.get("properties") or {}
    try:
        submitted = conf.parse_submit_parameters(driver.get("sparkSubmitParameters"))
        from_configuration = conf.take_files(merged)
    except ValueError as error:
        raise ValidationException(str(error)) from error
    both = conf.SubmitParameters(
        conf=from_configuration.conf | submitted.conf,
        py_files=submitted.py_files or from_configuration.py_files,
        files=submitted.files or from_configuration.files,
    )
    for role in ("driver", "executor"):
        worker_size(both.conf, role)
    return both


def launch(run: Run, parameters: conf.SubmitParameters) -> None:
    """Bring the run's code and queue it; whatever prevents that becomes the run's failure."""
    folder = _root[0] / run.id
    group, (stdout, stderr) = log_streams(run)
    open_logs((group, stdout), (group, stderr))
    run.settings = parameters.conf
    driver: Any = run.job_driver["sparkSubmit"]  # type: ignore[index]
    try:
        script = stage_file(driver["entryPoint"], folder)
        modules = stage_modules(parameters.py_files, folder)
        files = [stage_file(uri.partition("#")[0], folder) for uri in parameters.files]
    except (CodeMissing, ValueError, OSError) as error:
        run.to("FAILED", f"Job failed, please check complete logs in configured logging destination. {error}")
        return
    settings = dict(parameters.conf)
    if files:
        settings["spark.files"] = ",".join(file.as_uri() for file in files)
    s3_root, buckets = visible_buckets()
    shared_pool().submit(
        SparkJob(
            job_id=run.id,
            script=script,
            arguments=list(driver.get("entryPointArguments") or []),
            folder=folder,
            settings=settings,
            s3_root=s3_root,
            buckets=buckets,
            modules=modules,
            environment=conf.driver_environment(settings),
            stdout=(group, stdout),
            stderr=(group, stderr),
            timeout_s=run.execution_timeout_minutes * 60.0,
            on_scheduled=lambda: run.to("SCHEDULED"),
            on_running=lambda: run.to("RUNNING"),
            on_end=lambda outcome: _conclude(run, outcome),
        )
    )
    if run.state == "SUBMITTED":
        run.to("PENDING")


def cancel(run: Run) -> None:
    """Cancel an active run; it is CANCELLING until its process has ended."""
    run.to("CANCELLING")
    if not shared_pool().stop(run.id):
        run.to("CANCELLED")


def log_streams(run: Run) -> tuple[str, tuple[str, str]]:
    """Give the log group of a run and its streams for the driver's stdout and stderr, as EMR Serverless names them."""
    logging = _monitoring(run).get("cloudWatchLoggingConfiguration") or {}
    prefix = logging.get("logStreamNamePrefix", "")
    place = f"{prefix}/applications/{run.application_id}/jobs/{run.id}/SPARK_DRIVER"
    return logging.get("logGroupName") or DEFAULT_LOG_GROUP, (f"{place}/stdout", f"{place}/stderr")


def _monitoring(run: Run) -> dict[str, Any]:
    of_run: dict[str, Any] = (run.configuration_overrides or {}).get("monitoringConfiguration") or {}  # type: ignore[assignment]
    return of_run or run.application.monitoring_configuration or {}


def _conclude(run: Run, outcome: Outcome) -> None:
    adopt_written()
    problem = _store_logs(run)
    shutil.rmtree(_root[0] / run.id / "modules", ignore_errors=True)
    if outcome.timed_out:
        run.to("CANCELLED", f"Job run exceeded its timeout of {run.execution_timeout_minutes} minutes")
    elif outcome.stopped:
        run.to("CANCELLED")
    elif outcome.exit_code == 0:
        run.to("SUCCESS", f"{DETAILS['SUCCESS']}; {problem}" if problem else None)
    elif outcome.exit_code is None:
        run.to("FAILED", f"Job failed: {outcome.reason}")
    else:
        reason = " ".join((outcome.reason or "").split())
        code = 128 - outcome.exit_code if outcome.exit_code < 0 else outcome.exit_code  # of a container, as a shell tells it
        run.to(
            "FAILED",
            "Job failed, please check complete logs in configured logging destination. "
            f"ExitCode: {code}. Last few exceptions: {reason}...",
        )


def _store_logs(run: Run) -> str | None:
    """Write the driver's logs to the S3 folder that the run's monitoring names; give what prevented that."""
    uri = (_monitoring(run).get("s3MonitoringConfiguration") or {}).get("logUri")
    if not uri:
        return None
    group, streams = log_streams(run)
    found = logs_backends[ACCOUNT_ID][REGION].groups.get(group)
    for name in streams:
        events = found.streams[name].events if found and name in found.streams else []
        text = "".join(f"{event.message}\n" for event in events)
        place = f"applications/{run.application_id}/jobs/{run.id}/SPARK_DRIVER/{name.rpartition('/')[2]}.gz"
        try:
            objects.write_object(f"{uri.rstrip('/')}/{place}", gzip.compress(text.encode()))
        except (KeyError, ValueError) as error:
            return f"its logs could not be written to S3: {error}"
    return None


def _cut(text: str) -> str:
    """Keep state details within what the API allows."""
    return text if len(text) <= MAX_DETAILS else text[: MAX_DETAILS - 3] + "..."


def aware(moment: datetime) -> datetime:
    """Read one of moto's naive times as what it is, UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
