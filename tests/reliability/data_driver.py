"""Starts drivers of Spark jobs that are to die: a process that has everything imported and forks one child for each job.

A child attaches to a JVM that is there already, writes down what it is about to do, and may be told the moment at which it kills
itself with SIGKILL: nothing of Python's runs after it, and what Spark was told before goes on, as executors do without a driver.
One line of JSON comes in for each job, and the child's process id goes out. Exit statuses lie in files beside the job's log.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

import build_features
import ingest_dataset
from data_phases import COMMITTED, COMMITTING, PHASES, READING, WRITING
from lake.partitions import Partitions
from lake.zones import Zones
from py4j.clientserver import ClientServerConnection
from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

JOBS = {"ingest": ingest_dataset.main, "features": build_features.main}
ZONES_OF_A_JOB = 2
"""Zones that each of the jobs fills: two datasets, or features and labels."""


class Progress:
    """How far the job has come, in its log: one line for each step before it is made; and the moment of its death.

    :param death: ``{"phase", "call"}``: at this call to the JVM since the phase began; ``{"put", "call"}``: at this call since it
        began to write that small file; with ``"sent": true`` once the call is sent, else instead of it; with ``"stop": true`` it
        does not die but stands still there until it gets SIGCONT. None: it lives.
    """

    def __init__(self, log: Path, death: dict[str, Any] | None):
        self._file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._death = death or {}
        self._lock = threading.Lock()
        self.phase, self.calls, self.puts, self.done = READING, dict.fromkeys(PHASES, 0), 0, 0
        self._doomed = threading.local()
        self.tell("phase", READING)

    def tell(self, what: str, which: Any) -> None:
        """Writes a line that outlives the process."""
        os.write(self._file, f"{what} {which}\n".encode())

    def enter(self, phase: str) -> None:
        """A phase begins, if it is a later one."""
        with self._lock:
            if PHASES.index(phase) > PHASES.index(self.phase):
                self.phase = phase
                self.tell("phase", phase)

    def put(self, key: str) -> None:
        """A small file is about to be written."""
        with self._lock:
            self.puts += 1
            self.tell("put", key)
            if self.puts == self._death.get("put"):
                self._doomed.calls = self._death["call"]

    def call(self) -> bool:
        """A call is about to be sent to the JVM. Returns whether it is the last one, to be sent."""
        with self._lock:
            self.calls[self.phase] += 1
            now = self.phase == self._death.get("phase") and self.calls[self.phase] == self._death["call"]
            if left := getattr(self._doomed, "calls", 0):
                self._doomed.calls = left - 1
                now = left == 1
        if now and self._death.get("stop"):
            os.kill(os.getpid(), signal.SIGSTOP)
        elif now:
            if self._death.get("sent"):
                return True
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    def instrument(self) -> None:
        """From now on the job's steps are told here."""
        write, copy, commit, write_text = Partitions.write, Partitions.copy, Partitions.commit, Zones.write_text
        send_command = ClientServerConnection.send_command

        def told_write(partitions: Partitions, *arguments: Any) -> Any:
            self.enter(WRITING)
            return write(partitions, *arguments)

        def told_copy(partitions: Partitions, *arguments: Any) -> Any:
            self.enter(WRITING)
            return copy(partitions, *arguments)

        def told_commit(partitions: Partitions, commits: Any) -> None:
            for made in commits:
                self.tell("commit", made.folder)
            self.enter(COMMITTING)
            commit(partitions, commits)
            with self._lock:
                self.done += 1
                last = self.done == ZONES_OF_A_JOB
            if last:
                self.enter(COMMITTED)

        def told_write_text(zones: Zones, key: str, text: str) -> None:
            self.put(key)
            write_text(zones, key, text)

        def told_send(connection: ClientServerConnection, command: str) -> Any:
            if self.call():
                connection.socket.sendall(command.encode())
                os.kill(os.getpid(), signal.SIGKILL)
            return send_command(connection, command)

        Partitions.write, Partitions.copy, Partitions.commit = told_write, told_copy, told_commit  # type: ignore[method-assign]
        Zones.write_text = told_write_text  # type: ignore[method-assign]
        ClientServerConnection.send_command = told_send  # type: ignore[method-assign]


def attach(gateway: dict[str, str]) -> None:
    """Makes the session that the job's ``getOrCreate`` finds, in the JVM that is there."""
    os.environ.update(gateway)
    there = launch_gateway()
    assert there.jvm
    java_context = there.jvm.JavaSparkContext(there.jvm.org.apache.spark.SparkContext.getOrCreate())
    context = SparkContext(gateway=there, jsc=java_context, conf=SparkConf(_jconf=java_context.getConf()))
    SparkSession(context)


def drive(job: dict[str, Any]) -> int:
    """Runs one job in this process; its exit code."""
    attach(job["gateway"])
    progress = Progress(Path(job["log"]), job["death"])
    progress.instrument()
    try:
        JOBS[job["job"]](job["arguments"])
    except Exception:
        traceback.print_exc()
        return 1
    progress.tell("calls", json.dumps(progress.calls))
    progress.tell("puts", progress.puts)
    return 0


def reap(_signal: int, _frame: FrameType | None) -> None:
    """Writes down how children ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        written = Path(sys.argv[1]) / f".{pid}"
        written.write_text(str(os.waitstatus_to_exitcode(status)))
        written.rename(Path(sys.argv[1]) / f"{pid}.exit")


def main() -> None:
    """Forks a child for each line, until the input ends."""
    signal.signal(signal.SIGCHLD, reap)
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid:
            print(pid, flush=True)
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        output = os.open(f"{job['log']}.out", os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = 1
        try:
            code = drive(job)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
