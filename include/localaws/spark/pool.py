"""The queue of Spark jobs, and the warm workers that serve it.

Each worker serves one job at a time; further jobs wait in the order in which they came. A job that is stopped or that
runs into its time limit takes its worker with it, and the next job starts a new one. A worker without work leaves after
a while.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from moto.logs.models import logs_backends

from localaws import ACCOUNT_ID, REGION, processes
from localaws.object_layout import INCOMING, remove_bodies_of_the_dead
from localaws.spark import conf
from localaws.spark.failure import describe_exit
from localaws.spark.worker import JobGateway, SparkWorker, WorkerLost

IDLE_S = 600.0
"""How long (s) a worker waits for a job before it leaves; the variable LOCALAWS_SPARK_IDLE_SECONDS changes it."""

MEMORY = "2g"
"""The heap of a worker's JVM as Java writes it; the variable LOCALAWS_SPARK_MEMORY changes it."""

WARM_UP_LOG = "/localaws/spark"
"""The log group of what the pool runs for itself."""

STOP_GRACE_S = 5.0
MOST_ERROR_LINES = 20_000


@dataclass(frozen=True)
class Outcome:
    """How a Spark job ended.

    :param exit_code: the script's exit code; None: it was never started.
    :param stopped: it ended because of :meth:`SparkPool.stop`.
    :param timed_out: it ended because it ran into its time limit.
    :param reason: the script's last exception as ``Class: message``, or why it could not be started; None: it did not
        fail.
    :param ended_at: when it ended (UTC, aware).
    """

    exit_code: int | None
    stopped: bool = False
    timed_out: bool = False
    reason: str | None = None
    ended_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass
class SparkJob:
    """One run of a Python script on Spark.

    :param job_id: unique in the pool.
    :param script: the script's file; it runs with its folder as ``sys.path[0]``.
    :param arguments: its arguments.
    :param folder: the job's working folder.
    :param settings: its ``spark.*`` settings, over the defaults.
    :param s3_root: the folder whose subfolders are the buckets; ``buckets`` names those that the job may see.
    :param modules: folders and archives for ``sys.path`` of the script and of Spark's Python workers.
    :param environment: environment variables of its own, for the script.
    :param stdout: (log group, log stream) for the script's stdout; ``stderr`` for its stderr and for the JVM's output.
    :param timeout_s: end it when the script runs longer (s); None: no limit.
    :param on_scheduled: called when a worker has been found for it, ``on_running`` when the script starts.
    :param on_end: called once with the outcome, but not when the server shuts down.
    """

    job_id: str
    script: Path
    arguments: list[str]
    folder: Path
    settings: dict[str, str]
    s3_root: Path
    buckets: list[str]
    stdout: tuple[str, str]
    stderr: tuple[str, str]
    on_end: Callable[[Outcome], object]
    modules: list[Path] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    timeout_s: float | None = None
    on_scheduled: Callable[[], None] = lambda: None
    on_running: Callable[[], None] = lambda: None


class SparkPool:
    """Serves :class:`SparkJob` after :class:`SparkJob` with as few JVMs as possible. All methods may be called
    anywhere."""

    def __init__(self, folder: Path, max_workers: int | None = None, idle_s: float | None = None):
        """Make a pool; no JVM is started yet.

        :param folder: for the workers' own logs.
        :param max_workers: how many jobs may run at the same time; by default 1, or 2 from four cores on.
        :param idle_s: see :data:`IDLE_S`.
        """
        self._folder = folder
        self._max_workers = max_workers or (2 if (os.cpu_count() or 2) >= 4 else 1)
        self._idle_s = idle_s or float(os.environ.get("LOCALAWS_SPARK_IDLE_SECONDS", IDLE_S))
        self._memory = os.environ.get("LOCALAWS_SPARK_MEMORY", MEMORY)
        self._change = threading.Condition()
        self._queue: deque[SparkJob] = deque()
        self._running: dict[str, _Run] = {}
        self._workers: dict[int, SparkWorker] = {}
        self._idle = 0
        self._started = 0
        self._warmed = 0
        self._closed = False

    def submit(self, job: SparkJob) -> None:
        """Queue the job; it starts as soon as a worker is free."""
        with self._change:
            self._queue.append(job)
            self._call_for_worker()

    def warm_up(self, on_ready: Callable[[], object]) -> None:
        """See to it that the next job finds a JVM with Spark's classes loaded; ``on_ready`` is called when it would.

        Runs a small script of our own if there is no worker yet.
        """
        with self._change:
            cold = not self._workers
            self._warmed += cold
            name = f"warm-up-{self._warmed}"
        if not cold:
            on_ready()
            return
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        self.submit(
            SparkJob(
                job_id=name,
                script=Path(__file__).parent / "warm_up.py",
                arguments=[str(folder / "numbers")],
                folder=folder,
                settings={},
                s3_root=folder,
                buckets=[],
                stdout=(WARM_UP_LOG, name),
                stderr=(WARM_UP_LOG, name),
                on_end=lambda outcome: on_ready(),
            )
        )

    def stop(self, job_id: str) -> bool:
        """Stop the job, whether it waits or runs; ``on_end`` tells when it is done. False: it does neither."""
        with self._change:
            waiting = next((job for job in self._queue if job.job_id == job_id), None)
            if waiting is not None:
                self._queue.remove(waiting)
            run = self._running.get(job_id)
        if waiting is not None:
            waiting.on_end(Outcome(exit_code=None, stopped=True))
            return True
        if run is not None:
            run.stop()
            return True
        return False

    def kill(self, job_id: str) -> bool:
        """Kill a running job, script and JVM, as if its machine had died; it ends as one that failed. False: it does not run."""
        with self._change:
            run = self._running.get(job_id)
        return run is not None and run.kill()

    def close(self) -> None:
        """End everything because the server ends; no job's ``on_end`` is called any more."""
        with self._change:
            self._closed = True
            self._queue.clear()
            runs, workers = list(self._running.values()), list(self._workers.values())
            self._change.notify_all()
        for run in runs:
            run.stop()
        for worker in workers:
            worker.kill()

    def worker_pids(self) -> list[int]:
        """The process ids of the JVMs that run."""
        with self._change:
            return [worker.pid for worker in self._workers.values() if worker.pid is not None and worker.alive()]

    def _call_for_worker(self) -> None:
        if self._idle >= max(1, len(self._queue)) or len(self._workers) >= self._max_workers:
            self._change.notify()
            return
        self._started += 1
        number = self._started
        self._workers[number] = self._new_worker(number)
        threading.Thread(target=self._serve, args=(number,), name=f"spark-worker-{number}", daemon=True).start()

    def _new_worker(self, number: int) -> SparkWorker:
        return SparkWorker(self._folder / f"worker-{number}.log", processes.job_environment(TZ="UTC"), memory=self._memory)

    def _serve(self, number: int) -> None:
        """A worker's life: take a job, run it, take the next, until there is none for ``idle_s`` seconds."""
        try:
            while (job := self._next_job(number)) is not None:
                run = _Run(job, self._workers[number])
                with self._change:
                    self._running[job.job_id] = run
                outcome = None
                try:
                    outcome = run.run()
                finally:
                    with self._change:
                        self._running.pop(job.job_id, None)
                        if not self._workers[number].alive():
                            self._workers[number] = self._new_worker(number)
                if outcome is None:
                    self._closed = True  # the server is ending: its next start tells the job as failed
                elif not self._closed:
                    job.on_end(outcome)
        finally:
            with self._change:
                self._workers.pop(number, None)

    def _next_job(self, number: int) -> SparkJob | None:
        with self._change:
            self._idle += 1
            try:
                self._change.wait_for(lambda: self._queue or self._closed, timeout=self._idle_s)
            finally:
                self._idle -= 1
            if self._queue and not self._closed:
                return self._queue.popleft()
            # Leaves under the lock: a job submitted from here on finds no worker, and starts one.
            worker = self._workers.pop(number)
        worker.kill()
        return None


_shared: SparkPool | None = None


def use_root(root: Path) -> None:
    """Make the one pool that Glue and EMR Serverless share, its workers' logs below ``root/spark``; again: keep it."""
    global _shared
    if _shared is None:
        _shared = SparkPool(root / "spark")


def shared_pool() -> SparkPool:
    """Give the pool that Glue and EMR Serverless share. Raises ``RuntimeError`` before :func:`use_root`."""
    if _shared is None:
        raise RuntimeError("localaws.spark.pool.use_root(root) must be called first")
    return _shared


def close_shared_pool() -> None:
    """End the shared pool because the server ends."""
    global _shared
    if _shared is not None:
        _shared.close()
        _shared = None


class _Run:
    """One job on one worker, from start to end."""

    def __init__(self, job: SparkJob, worker: SparkWorker):
        self._job = job
        self._worker = worker
        self._process: processes.JobProcess | None = None
        self._stopped = False
        self._killed = False
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Stop the script, or see to it that it is not started."""
        with self._lock:
            self._stopped = True
            process = self._process
        if process is not None:
            process.stop(STOP_GRACE_S)

    def kill(self) -> bool:
        """Kill the script, and the worker after it. False: the script does not run."""
        with self._lock:
            process = self._process
            self._killed = process is not None and process.kill()
            return self._killed

    def run(self) -> Outcome | None:
        """Run the job to its end and leave the worker fit for the next job, or dead. None: the server ended it."""
        try:
            self._job.on_scheduled()
            return self._run()
        except (WorkerLost, OSError) as error:
            self._worker.kill()
            return Outcome(exit_code=None, stopped=self._stopped, reason=str(error))
        except Exception as error:
            # A fault of ours must not leave the job running for ever in the eyes of whoever waits for it.
            self._worker.kill()
            return Outcome(exit_code=None, stopped=self._stopped, reason=f"the local AWS failed: {type(error).__name__}: {error}")
        finally:
            remove_bodies_of_the_dead(self._job.s3_root.parent / INCOMING)

    def _error_lines(self, result: processes.JobResult) -> list[str]:
        """What the script last wrote to stderr; all that is in the log where the process kept too few lines.

        A message may be longer than what a process keeps, and its first line is the one that counts.
        """
        if len(result.last_error_lines) < processes.LAST_LINES:
            return result.last_error_lines
        group, stream = self._job.stderr
        found = logs_backends[ACCOUNT_ID][REGION].groups.get(group)
        events = found.streams[stream].events if found and stream in found.streams else []
        return [event.message for event in events[-MOST_ERROR_LINES:]]

    def _open(self, settings: dict[str, str]) -> JobGateway:
        """Open the worker for the job, starting its JVM where there is none, or none any more."""

        def log(line: str) -> None:
            processes.write_log(*self._job.stderr, [line])

        if self._worker.alive():
            try:
                return self._worker.open_job(settings, log)
            except WorkerLost:
                # Someone ended the JVM while it was idle. Nothing of the job has run yet: take a new one.
                self._worker.kill()
        self._worker.start()
        return self._worker.open_job(settings, log)

    def _run(self) -> Outcome | None:
        job = self._job
        scratch = job.folder / "spark-scratch"
        settings, ignored = conf.split_capacity(job.settings)
        if ignored:
            asked = ", ".join(f"{key}={value}" for key, value in sorted(ignored.items()))
            processes.write_log(*job.stderr, [f"The local Spark has {conf.local_cores()} task slots; not applied: {asked}"])
        settings = {"spark.app.name": job.script.name} | settings
        settings = conf.default_settings(scratch) | conf.s3_settings(job.buckets, job.s3_root) | settings
        path = os.pathsep.join(str(module) for module in job.modules)
        if path:
            settings["spark.executorEnv.PYTHONPATH"] = os.pathsep.join(
                filter(None, [path, settings.get("spark.executorEnv.PYTHONPATH", "")])
            )
        scratch.mkdir(parents=True, exist_ok=True)
        gateway = self._open(settings)
        environment = processes.job_environment(TZ="UTC") | job.environment | gateway.environment()
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [path, job.environment.get("PYTHONPATH", "")]))
        environment["PYSPARK_PYTHON"] = environment["PYSPARK_DRIVER_PYTHON"] = sys.executable
        results: list[processes.JobResult] = []
        process = processes.JobProcess(
            [sys.executable, str(job.script), *job.arguments],
            env=environment,
            cwd=job.folder,
            log_streams=[job.stdout, job.stderr],
            on_exit=results.append,
            timeout_s=job.timeout_s,
            grace_s=STOP_GRACE_S,
        )
        with self._lock:
            if self._stopped:
                self._worker.close_job()
                return Outcome(exit_code=None, stopped=True)
            process.start()
            self._process = process
        job.on_running()
        process.wait()
        result = results[0] if results else None
        if result is None or result.stopped or result.timed_out or self._killed:
            # Its tasks may still be running in the JVM and must not write on.
            self._worker.kill()
        else:
            self._worker.close_job()
        shutil.rmtree(scratch, ignore_errors=True)
        if result is None:
            return None
        return Outcome(
            exit_code=result.exit_code,
            stopped=result.stopped,
            timed_out=result.timed_out,
            reason=describe_exit(result.exit_code, self._error_lines(result)),
            ended_at=result.ended_at,
        )
