"""How a job runs: a thread that waits for a free slot, brings the inputs, watches the container's process, and brings
the outputs away. Only this thread ends a job.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from localaws import job_events, objects
from localaws.processes import JobProcess, JobResult, job_environment, write_log
from localaws.sagemaker import jobs, state
from localaws.sagemaker.container import ContainerError, Layout, missing_image
from localaws.sagemaker.state import LOCK, Job, Place, now

log = logging.getLogger(__name__)

MAX_RUNNING = 2
"""So many jobs run at once; the others wait in Starting, as for an instance that is not there yet."""

STOP_GRACE_S = 30.0
"""Seconds between SIGTERM and SIGKILL (120 on AWS)."""

NEW_INSTANCE_S = 1.0
"""Seconds until there is another instance for an interrupted spot job (minutes to hours on AWS)."""

WATCH_S = 0.1

LOOK_S = 5.0
"""Seconds after which a job that waits for its slot looks by itself whether it was stopped."""

_root: Path | None = None


class Slots:
    """So many jobs run at once. Those that wait for their turn sleep: hundreds may."""

    def __init__(self, number: int):
        self._free = number
        self._changed = threading.Condition()

    def take(self, timeout_s: float) -> bool:
        """Take a slot, the longest waiting first. False: there was none when the time was over, or `wake` was called."""
        with self._changed:
            if not self._free:
                self._changed.wait(timeout_s)
            if not self._free:
                return False
            self._free -= 1
            return True

    def give_back(self) -> None:
        """Let the next one have it."""
        with self._changed:
            self._free += 1
            self._changed.notify()

    def wake(self) -> None:
        """Let all that wait look whether they were stopped."""
        with self._changed:
            self._changed.notify_all()


_slots = Slots(MAX_RUNNING)


class JobFailed(Exception):
    """The job ends as Failed; the text is its FailureReason."""


class JobStopped(Exception):
    """The job ends as Stopped: somebody asked for it, or its time was over."""

    def __init__(self, cause: str):
        super().__init__(cause)
        self.cause = cause


class Interrupted(Exception):
    """The job's spot instance was taken back: the job runs again on another one."""


def use_root(root: Path) -> None:
    """Sets the folder below which jobs get theirs (`jobs/sagemaker-<kind>/<id>`)."""
    global _root
    _root = Path(root)


class JobRun(ABC):
    """One job being run by a thread of its own.

    A subclass does the work in `work` and raises JobFailed or JobStopped where it must end early.
    """

    def __init__(self, place: Place, kind: jobs.Kind, job: Job):
        if _root is None:
            raise RuntimeError("localaws.sagemaker.install(root) must be called before a job is created")
        self.job, self.kind_of_job = job, kind
        self.layout = Layout(_root / "jobs" / f"sagemaker-{kind.key}" / job.run_id)
        self.stream = f"{job.name}/{self.stream_name()}"
        self.region, self.account = place.region_name, place.account_id
        self._stopping = threading.Event()
        self._interrupted = threading.Event()
        self._ran_s = self._waited_s = 0.0  # in processes that have ended; for another instance
        self._waiting_since: float | None = None
        self._cause = jobs.STOP_REQUESTED
        self._thread = threading.Thread(target=self._main, name=f"sagemaker {job.name}", daemon=True)

    @abstractmethod
    def work(self) -> None:
        """Brings the inputs, runs the container, brings the outputs away."""

    @abstractmethod
    def image(self) -> str:
        """The image that the job asks for."""

    def stream_name(self) -> str:
        """The part of the log stream's name after the job's."""
        return f"algo-1-{int(self.job.created.timestamp())}"

    def runtime_limit(self) -> float | None:
        """Seconds that the job may run."""
        return (self.job.request.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds")

    def wait_limit(self) -> float | None:
        """Seconds from the job's creation to its end, waiting for an instance included; spot training jobs have one."""
        return (self.job.request.get("StoppingCondition") or {}).get("MaxWaitTimeInSeconds")

    def start(self) -> None:
        """Starts the thread; the job waits for its slot there."""
        self._thread.start()

    def ask_to_stop(self, cause: str) -> None:
        """Makes the job end as Stopped as soon as its process has been told."""
        if not self._stopping.is_set():
            self._cause = cause
            self._stopping.set()
            _slots.wake()

    def interrupt(self, container: Container) -> bool:
        """Takes a spot job's instance back: its process is told (SIGTERM), and the job runs again on another one.

        False: the job is being stopped, or its process has ended.
        """
        if self.stopping or container.ended.is_set():
            return False
        self._interrupted.set()
        return True

    @property
    def waited_s(self) -> float:
        """Seconds without an instance since the job first had one."""
        return self._waited_s + (time.monotonic() - self._waiting_since if self._waiting_since else 0.0)

    def enter(self, status: str, message: str) -> None:
        """Goes to the next secondary status, unless the job is being stopped."""
        with LOCK:
            if self.job.status == "InProgress":
                self.job.enter(status, message)
        state.save()

    def check_stop(self) -> None:
        """:raises JobStopped: the job was asked to stop."""
        if self._stopping.is_set():
            raise JobStopped(self._cause)

    def check_interrupted(self) -> None:
        """:raises Interrupted: the job's instance was taken back."""
        if self._interrupted.is_set() and not self.stopping:
            raise Interrupted

    @property
    def stopping(self) -> bool:
        """Whether the job was asked to stop."""
        return self._stopping.is_set()

    def say(self, *lines: str) -> None:
        """Writes lines of the service itself into the job's log stream."""
        write_log(self.kind_of_job.log_group, self.stream, list(lines))

    def run_process(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, on_watch: Callable[[], None] | None = None
    ) -> JobResult:
        """Runs the container's process to its end and returns how it ended.

        When the job is stopped or interrupted or its time is over, the process gets SIGTERM, and SIGKILL after the
        grace; the caller still brings away what it left and then calls `check_interrupted` and `check_stop`.

        :param on_watch: called about ten times a second while the process runs
        """
        with self.process(argv, env, cwd) as container:
            while not container.ended.wait(WATCH_S):
                if on_watch:
                    on_watch()
                self._watch_time()
                if self.stopping:
                    self._show_stopping()
                    container.stop()
                elif self._interrupted.is_set():
                    container.stop()
            return container.result()

    @contextmanager
    def process(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> Iterator[Container]:
        """The container's process while the block runs; it is stopped when the block is left."""
        container = Container(argv, self._environment(env), cwd, self.kind_of_job.log_group, self.stream)
        try:
            container.start()
        except OSError as error:
            raise ContainerError(f'exec: "{argv[0]}": {error.strerror or error}, exit code: 127') from error
        self._started_at = time.monotonic()
        job_events.running(self.kind_of_job.key, self.job.name, self.job.arn, **self.faults_of(container))
        try:
            yield container
        finally:
            container.stop()
            container.ended.wait()
            self._ran_s += time.monotonic() - self._started_at

    def faults_of(self, container: Container) -> dict[str, Callable[[], bool]]:
        """What fault injection may do to the job while this process runs."""
        return {"kill": container.kill}

    def _watch_time(self) -> None:
        runtime = self.runtime_limit()
        if runtime is not None and self._ran_s + time.monotonic() - self._started_at > runtime:
            self.ask_to_stop(jobs.MAX_RUNTIME)
        elif self._waited_too_long():
            self.ask_to_stop(jobs.MAX_WAIT)

    def _waited_too_long(self) -> bool:
        wait = self.wait_limit()
        return wait is not None and (now() - self.job.created).total_seconds() > wait

    def _show_stopping(self) -> None:
        with LOCK:
            if self.job.status != "InProgress":
                return
            self.job.status = "Stopping"
            self.job.enter("Stopping", f"Stopping the {self.kind_of_job.phase.lower()} job")
        state.save()

    def _environment(self, env: Mapping[str, str]) -> dict[str, str]:
        return {**job_environment(), "AWS_DEFAULT_REGION": self.region, "AWS_REGION": self.region, **env}

    @contextmanager
    def _slot(self) -> Iterator[None]:
        self._check_waiting()
        while not _slots.take(self._left_to_wait()):
            self._check_waiting()
        try:
            self.check_stop()
            yield
        finally:
            _slots.give_back()

    def _left_to_wait(self) -> float:
        """Seconds until the job has waited too long, but some seconds at most: a stop may come just before the sleep."""
        wait = self.wait_limit()
        return LOOK_S if wait is None else min(LOOK_S, max(0.0, wait - (now() - self.job.created).total_seconds()))

    def _check_waiting(self) -> None:
        self.check_stop()
        if self._waited_too_long():
            raise JobStopped(jobs.MAX_WAIT)

    def _run_on_instance(self) -> bool:
        """Runs the job as soon as there is a slot. False: it was interrupted."""
        with self._slot():
            self._waited_s, self._waiting_since = self.waited_s, None
            if why := missing_image(self.image()):
                raise JobFailed(f"ClientError: {why}")
            with LOCK:
                self.job.started = self.job.started or now()
            try:
                self.work()
                self.check_stop()
            except Interrupted:
                return False
            return True

    def _wait_for_instance(self) -> None:
        """After an interruption: nothing is left of the old instance, and the new one is not there at once."""
        self._waiting_since = time.monotonic()
        self.enter("Interrupted", "The job stopped because the managed spot training instances were interrupted.")
        shutil.rmtree(self.layout.root, ignore_errors=True)
        while time.monotonic() < self._waiting_since + NEW_INSTANCE_S:
            self._check_waiting()
            time.sleep(WATCH_S)
        self._interrupted.clear()
        self.enter("Starting", "Launching requested ML instances")

    def _main(self) -> None:
        status, reason, cause = "Completed", None, None
        try:
            while not self._run_on_instance():
                self._wait_for_instance()
        except JobStopped as stopped:
            status, cause = "Stopped", stopped.cause
        except JobFailed as failed:
            status, reason = "Failed", str(failed)
        except ContainerError as error:
            status, reason = "Failed", f"AlgorithmError: {error}"
        except Exception as error:  # whatever goes wrong in the service itself ends the job, never silently
            log.exception("%s %s failed inside the local AWS", self.kind_of_job.noun, self.job.name)
            status, reason = "Failed", f"InternalServerError: {type(error).__name__}: {error}"
        finally:
            self._end(status, reason, cause)

    def _end(self, status: str, reason: str | None, cause: str | None) -> None:
        with LOCK:
            jobs.record_end(self.kind_of_job, self.job, status, reason, cause)
            self.at_end()
            jobs.RUNNING.pop(self.job.arn, None)
        state.save()
        # Like the instance, the folder goes with the job; that of a failed one stays to be looked at.
        if status != "Failed":
            shutil.rmtree(self.layout.root, ignore_errors=True)

    def at_end(self) -> None:  # noqa: B027 - most kinds have nothing to add
        """Completes the job's results when its end has been recorded."""


class Container:
    """A job's process with an event that says when it has ended."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, group: str, stream: str):
        self.ended = threading.Event()
        self._result: JobResult | None = None
        self._told = False
        self._process = JobProcess(
            list(argv),
            env=dict(env),
            cwd=cwd,
            log_streams=[(group, stream)],
            on_exit=self._on_exit,
        )

    def start(self) -> None:
        """Starts the process."""
        self._process.start()

    def stop(self) -> None:
        """SIGTERM to the process group now, SIGKILL after the grace; does nothing the second time."""
        if not self._told and not self.ended.is_set():
            self._told = True
            self._process.stop(STOP_GRACE_S)

    def kill(self) -> bool:
        """SIGKILL to the process group. False: it has ended already."""
        return self._process.kill()

    def result(self) -> JobResult:
        """How the process ended; only after `ended` is set."""
        if self._result is None:
            raise RuntimeError("the process has not ended")
        return self._result

    def _on_exit(self, result: JobResult) -> None:
        self._result = result
        self.ended.set()


def download(uri: str, destination: Path, *, role: str, region: str, prefix: str) -> list[Path]:
    """Brings all objects under an S3 prefix.

    :param prefix: how the failure reason begins, e.g. `ClientError: Data download failed: `
    :raises JobFailed: there are none
    """
    try:
        return objects.download_prefix(uri, destination)
    except (objects.NoSuchKey, ValueError) as error:
        bucket = uri.removeprefix("s3://").split("/", 1)[0]
        raise JobFailed(f"{prefix}{no_objects(uri, bucket, role=role, region=region)}") from error


def no_objects(uri: str, bucket: str, *, role: str, region: str) -> str:
    """AWS' text for an S3 prefix that holds nothing."""
    return (
        f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket exists in '
        f'the selected region ({region}), that objects exist under that S3 prefix, and that the role "{role}" has '
        f'"s3:ListBucket" permissions on bucket "{bucket}".'
    )
