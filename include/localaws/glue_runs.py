"""Glue's jobs and job runs: what a definition holds, how a run is started, and how its end is told."""

from __future__ import annotations

import contextlib
import importlib.metadata
import secrets
import shlex
import sys
import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from moto.core.utils import utcnow
from moto.glue.exceptions import ConcurrentRunsExceededException, InvalidInputException, JobRunNotFoundException
from moto.glue.models import FakeJob

from localaws import job_events, persistence, processes
from localaws.spark import conf
from localaws.spark.code import CodeMissing, adopt_written, open_logs, stage_file, stage_modules, visible_buckets
from localaws.spark.failure import describe_exit
from localaws.spark.pool import Outcome, SparkJob, shared_pool

KINDS = ("glueetl", "pythonshell")
ACTIVE = ("STARTING", "RUNNING", "STOPPING", "WAITING")
SHIM = Path(__file__).parent / "spark" / "shim"
DPU_OF_WORKER = {"Standard": 1, "G.025X": 0.25, "G.1X": 1, "G.2X": 2, "G.4X": 4, "G.8X": 8, "G.12X": 12, "G.16X": 16}
DPU_OF_WORKER |= {"R.1X": 1, "R.2X": 2, "R.4X": 4, "R.8X": 8, "Z.2X": 2}

# Arguments that Glue's own launcher takes out before the script sees the rest.
CONSUMED = (
    "--conf",
    "--extra-py-files",
    "--extra-files",
    "--additional-python-modules",
    "--job-language",
    "--scriptLocation",
)
REFUSED = {
    "--extra-jars": "jars cannot be loaded into the local Spark's running JVM",
    "--datalake-formats": "the local Spark has no Hudi, Delta or Iceberg",
    "--class": "the local Glue runs Python scripts only",
}

_starting = threading.Lock()
_stopping: dict[str, processes.JobProcess] = {}
_root: list[Path] = []


def use_root(root: Path) -> None:
    """Keep the working folders of runs below ``root/jobs/glue``."""
    _root[:] = [root / "jobs" / "glue"]


class JobRun:
    """One run of a job, as ``GetJobRun`` tells it. Times are naive UTC, as everywhere in moto."""

    def __init__(self, job: Job, arguments: dict[str, str], capacity: dict[str, Any], retry_of: JobRun | None):
        self.job_name = job.name
        self.attempt: int = retry_of.attempt + 1 if retry_of else 0
        first = retry_of.job_run_id.partition("_attempt_")[0] if retry_of else f"jr_{secrets.token_hex(32)}"
        self.job_run_id: str = f"{first}_attempt_{self.attempt}" if retry_of else first
        self.previous_run_id: str | None = retry_of.job_run_id if retry_of else None
        self.arguments = arguments
        self.capacity = capacity
        self.kind: str = job.kind
        self.glue_version: str | None = job.glue_version
        self.log_group = "/aws-glue/python-jobs" if job.kind == "pythonshell" else "/aws-glue/jobs"
        self.status = "STARTING"
        self.error_message: str | None = None
        self.started_on: datetime = utcnow()
        self.running_since: datetime | None = None
        self.modified_on: datetime = self.started_on
        self.completed_on: datetime | None = None

    @property
    def name(self) -> str:
        """What whoever started the run recognises it by: the argument ``--flywheel_run_name``, else its id."""
        return self.arguments.get("--flywheel_run_name") or self.job_run_id

    @property
    def timeout_minutes(self) -> int:
        """The time limit (minutes)."""
        return int(self.capacity["Timeout"])

    def to(self, status: str, error_message: str | None = None) -> None:
        """Take the next state; a terminal state is never left again."""
        if self.status not in ACTIVE:
            return
        self.status = status
        self.modified_on = utcnow()
        if status == "RUNNING":
            self.running_since = self.modified_on
            job_events.running("glue", self.name, self.job_run_id, kill=lambda: kill(self))
        if status not in ACTIVE:
            self.completed_on = self.modified_on
            self.error_message = error_message
            job_events.ended("glue", self.name, self.job_run_id, status, error_message)
        persistence.touch("glue")

    def as_dict(self) -> dict[str, Any]:
        """The run as the API shows it."""
        end = self.completed_on or utcnow()
        told = {
            "Id": self.job_run_id,
            "Attempt": self.attempt,
            "PreviousRunId": self.previous_run_id,
            "JobName": self.job_name,
            "JobMode": "SCRIPT",
            "JobRunQueuingEnabled": False,
            "StartedOn": self.started_on,
            "LastModifiedOn": self.modified_on,
            "CompletedOn": self.completed_on,
            "JobRunState": self.status,
            "Arguments": self.arguments or None,
            "ErrorMessage": self.error_message,
            "PredecessorRuns": [],
            "ExecutionTime": int((end - self.running_since).total_seconds() + 0.5) if self.running_since else 0,
            "LogGroupName": self.log_group,
            "GlueVersion": self.glue_version,
            **self.capacity,
        }
        return {key: value for key, value in told.items() if value is not None}


class Job(FakeJob):
    """A job definition with AWS's defaults filled in, and its runs."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.job_runs: list[JobRun] = []  # type: ignore[assignment]
        self.extra: dict[str, Any] = {}

    @property
    def kind(self) -> str:
        """``glueetl`` or ``pythonshell``."""
        return self.command["Name"]  # type: ignore[index]

    def as_dict(self) -> dict[str, Any]:
        """The definition as the API shows it."""
        told = super().as_dict() | {"JobMode": "SCRIPT", "MaxRetries": self.max_retries or 0} | self.extra | self.capacity({})
        told["ExecutionProperty"] = {"MaxConcurrentRuns": self.max_concurrent_runs}
        told["GlueVersion"] = self.glue_version
        return {key: value for key, value in told.items() if value not in (None, {})}

    @property
    def max_concurrent_runs(self) -> int:
        """How many runs may be active at the same time."""
        return int(self.execution_property.get("MaxConcurrentRuns", 1))

    def capacity(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What a run is given: capacity, limits and class, asked for with the run, else by the job, else AWS's
        defaults."""
        new = self.glue_version == "auto" or float(self.glue_version or 0) >= 5.0
        told: dict[str, Any] = {
            "Timeout": asked.get("Timeout") or self.timeout or (480 if new else 2880),
            "ExecutionClass": asked.get("ExecutionClass") or self.execution_class,
            "SecurityConfiguration": asked.get("SecurityConfiguration") or self.security_configuration,
            "NotificationProperty": asked.get("NotificationProperty") or self.notification_property,
        }
        worker_type = asked.get("WorkerType") or self.worker_type
        workers = asked.get("NumberOfWorkers") or self.number_of_workers
        max_capacity = asked.get("MaxCapacity") or self.max_capacity or asked.get("AllocatedCapacity") or self.allocated_capacity
        if self.kind == "pythonshell":
            max_capacity = max_capacity or 0.0625
        elif worker_type or not max_capacity:
            worker_type, workers = worker_type or "G.1X", workers or 10
            max_capacity = DPU_OF_WORKER.get(worker_type, 1) * workers
            told |= {"WorkerType": worker_type, "NumberOfWorkers": workers}
        return told | {"MaxCapacity": float(max_capacity), "AllocatedCapacity": int(max_capacity)}

    def start_job_run(  # type: ignore[override]
        self, arguments: Mapping[str, str] | None, asked: Mapping[str, Any], previous_run_id: str | None = None
    ) -> str:
        """Start a run and give its id; ``asked`` is the request, for the capacity that it asks for.

        Raises ``ConcurrentRunsExceededException``, ``JobRunNotFoundException`` for an unknown run to retry, and
        ``InvalidInputException`` for arguments that the local Glue cannot honour.
        """
        merged = {**self.default_arguments, **(arguments or {}), **(self.non_overridable_arguments or {})}
        check_arguments(merged)
        return self._start(merged, self.capacity(asked), self.get_job_run(previous_run_id) if previous_run_id else None)

    def _start(self, arguments: dict[str, str], capacity: dict[str, Any], retry_of: JobRun | None) -> str:
        with _starting:
            active = sum(run.status in ACTIVE for run in self.job_runs)
            if active >= self.max_concurrent_runs:
                raise ConcurrentRunsExceededException(f"Concurrent runs exceeded for {self.name}")
            run = JobRun(self, arguments, capacity, retry_of)
            self.job_runs.append(run)
            job_events.accepted("glue", run.name, run.job_run_id, run.status)
        launch(self, run)
        return run.job_run_id

    def get_job_run(self, run_id: str) -> JobRun:  # type: ignore[override]
        """Give the run, or raise ``JobRunNotFoundException``."""
        for run in self.job_runs:
            if run.job_run_id == run_id:
                return run
        raise JobRunNotFoundException(run_id)

    def get_job_runs(self) -> list[JobRun]:  # type: ignore[override]
        """Give all runs, the newest first."""
        return list(reversed(self.job_runs))

    def ended(self, run: JobRun) -> None:
        """Retry a failed run if the job's MaxRetries asks for it."""
        if run.status == "FAILED" and run.attempt < (self.max_retries or 0):
            # Someone may have started a run meanwhile: as on AWS the retry is dropped then.
            with contextlib.suppress(ConcurrentRunsExceededException):
                self._start(run.arguments, run.capacity, run)


def check_arguments(arguments: Mapping[str, str]) -> None:
    """Raise ``InvalidInputException`` for job arguments that ask for what the local Glue does not have."""
    for name, why in REFUSED.items():
        if arguments.get(name):
            raise InvalidInputException("StartJobRun", f"Flywheel's local AWS does not serve the job argument {name}: {why}")
    if arguments.get("--job-language", "python") != "python":
        raise InvalidInputException("StartJobRun", f"--job-language: {REFUSED['--class']}")
    try:
        conf.check_supported(conf.parse_conf_argument(arguments.get("--conf", "")))
    except ValueError as error:
        raise InvalidInputException("StartJobRun", str(error)) from error


def stop(run: JobRun) -> None:
    """Stop an active run; it is STOPPING until its process has ended."""
    run.to("STOPPING")
    process = _stopping.get(run.job_run_id)
    if process is not None:
        process.stop(5.0)
    elif not shared_pool().stop(run.job_run_id):
        run.to("STOPPED")


def kill(run: JobRun) -> bool:
    """Kill a running run's process. False: it does not run."""
    process = _stopping.get(run.job_run_id)
    return process.kill() if process is not None else shared_pool().kill(run.job_run_id)


def launch(job: Job, run: JobRun) -> None:
    """Bring the run's code and start it; whatever prevents that becomes the run's failure."""
    folder = _root[0] / run.job_run_id
    streams = [(f"{run.log_group}/{name}", run.job_run_id) for name in ("output", "error")]
    open_logs(*streams)
    try:
        script = stage_file(run.arguments.get("--scriptLocation") or job.command["ScriptLocation"], folder)  # type: ignore[index]
        modules = [*_modules(run.arguments, folder), SHIM]
        for uri in _listed(run.arguments.get("--extra-files")):
            stage_file(uri, folder)
    except (CodeMissing, ValueError, OSError) as error:
        _end(job, run, "FAILED", f"LAUNCH ERROR | {error}")
        return
    argv = script_arguments(job, run)
    environment = _pairs(run.arguments.get("--customer-driver-env-vars"))
    limit_s = run.timeout_minutes * 60.0
    if run.kind == "pythonshell":
        process = processes.JobProcess(
            [sys.executable, str(script), *argv],
            env=processes.job_environment(PYTHONPATH=":".join(map(str, modules)), **environment),
            cwd=folder,
            log_streams=streams,
            on_exit=lambda result: _conclude(job, run, _outcome(result)),
            timeout_s=limit_s,
            grace_s=5.0,
        )
        _stopping[run.job_run_id] = process
        process.start()
        run.to("RUNNING")
        return
    settings = conf.parse_conf_argument(run.arguments.get("--conf", ""))
    for name, value in _pairs(run.arguments.get("--customer-executor-env-vars")).items():
        settings[f"spark.executorEnv.{name}"] = value
    s3_root, buckets = visible_buckets()
    shared_pool().submit(
        SparkJob(
            job_id=run.job_run_id,
            script=script,
            arguments=argv,
            folder=folder,
            settings={"spark.app.name": f"nativespark-{job.name}-{run.job_run_id}"} | settings,
            s3_root=s3_root,
            buckets=buckets,
            modules=modules,
            environment=environment,
            stdout=streams[0],
            stderr=streams[1],
            timeout_s=limit_s,
            on_running=lambda: run.to("RUNNING"),
            on_end=lambda outcome: _conclude(job, run, outcome),
        )
    )


def script_arguments(job: Job, run: JobRun) -> list[str]:
    """Give what the script finds in ``sys.argv[1:]``: the run's arguments and those that Glue adds."""
    argv: list[str] = []
    for name, value in run.arguments.items():
        if name not in CONSUMED:
            argv += [name, value]
    argv += ["--JOB_ID", f"j_{job.name}", "--JOB_RUN_ID", run.job_run_id, "--JOB_NAME", job.name]
    if "--job-bookmark-option" not in run.arguments and run.kind == "glueetl":
        argv += ["--job-bookmark-option", "job-bookmark-disable"]
    return argv


def _conclude(job: Job, run: JobRun, outcome: Outcome) -> None:
    adopt_written()
    if outcome.timed_out:
        _end(job, run, "TIMEOUT", "Job run timed out.")
    elif outcome.stopped:
        _end(job, run, "STOPPED")
    elif outcome.exit_code == 0:
        _end(job, run, "SUCCEEDED")
    elif outcome.exit_code is not None and outcome.exit_code < 0:
        _end(job, run, "FAILED", f"Command failed with exit code {128 - outcome.exit_code}: {outcome.reason}")
    else:
        _end(job, run, "FAILED", outcome.reason)


def _end(job: Job, run: JobRun, status: str, message: str | None = None) -> None:
    _stopping.pop(run.job_run_id, None)
    run.to(status, message)
    job.ended(run)


def _outcome(result: processes.JobResult) -> Outcome:
    reason = describe_exit(result.exit_code, result.last_error_lines)
    return Outcome(result.exit_code, result.stopped, result.timed_out, reason, result.ended_at)


def _modules(arguments: Mapping[str, str], folder: Path) -> list[Path]:
    """The run's extra modules; an additional module must be installed already, for jobs here install nothing."""
    uris = _listed(arguments.get("--extra-py-files"))
    for wanted in _listed(arguments.get("--additional-python-modules")):
        if wanted.startswith("s3://"):
            uris.append(wanted)
            continue
        name, _, version = wanted.partition("==")
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed = None
        if installed is None or (version and version != installed):
            found = f"has {installed}" if installed else "does not have it"
            raise ValueError(
                f"--additional-python-modules: {wanted} is asked for and the local jobs' environment {found}; "
                "add it to the group `jobs` of pyproject.toml"
            )
    return stage_modules(uris, folder)


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _pairs(text: str | None) -> dict[str, str]:
    """``CUSTOMER_A=1,CUSTOMER_B="x y"`` as a dictionary."""
    words = shlex.shlex(text or "", posix=True)
    words.whitespace, words.whitespace_split = ",", True
    return dict(word.split("=", 1) for word in words if "=" in word)
