"""Spark jobs whose drivers are killed: one JVM that outlives them, and one process that forks them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_deliveries import DAYS, LAG, Lake
from data_phases import PHASES

from localaws.spark import conf
from localaws.spark.worker import SparkWorker, java_home

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
BUCKET = "lake"
KILLED = -signal.SIGKILL
WINDOW = f"{DAYS[0]}_{DAYS[-1]}"
_PATH = (
    HERE / "jobs",
    HERE,
    *(PROJECT / folder for folder in ("include/scripts/glue", "include/scripts/emr", "include/scripts", "plugins")),
)


@dataclass
class Clean:
    """What a run of a job that nothing befalls is like.

    :param calls: calls to the JVM by phase
    :param puts: small files that it writes
    """

    seconds: float
    calls: dict[str, int]
    puts: int


@dataclass
class Attempt:
    """One driver, running or over."""

    job: str
    lake: str
    run_key: str
    pid: int
    log: Path
    since: float = field(default_factory=time.monotonic)
    exit_code: int | None = None

    def told(self, what: str) -> list[str]:
        """What the driver has written down under this name, in order."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line.partition(" ")[2] for line in lines if line.startswith(f"{what} ")]

    @property
    def phase(self) -> str:
        """How far it had come."""
        return (self.told("phase") or [PHASES[0]])[-1]

    def output(self) -> str:
        """The end of what it printed."""
        path = Path(f"{self.log}.out")
        return path.read_text()[-3000:] if path.exists() else ""

    @property
    def stands_still(self) -> bool:
        """It has been stopped, and waits for SIGCONT."""
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        return False

    def go_on(self) -> None:
        """Ends its standing still."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """``kill -9``, wherever it is."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class Jobs:
    """Starts ingest and feature jobs on one JVM.

    :param folder: for logs; ``s3_root`` is the folder whose subfolders are the buckets
    :ivar clean: by job
    :ivar attempts: all drivers so far
    """

    def __init__(self, folder: Path, s3_root: Path):
        self.folder, self._s3_root = folder, s3_root
        folder.mkdir()
        self.clean: dict[str, Clean] = {}
        self.attempts: list[Attempt] = []
        self._numbers = itertools.count(1)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, _PATH)), "JAVA_HOME": str(java_home())}
        self._forks = subprocess.Popen(
            [sys.executable, str(HERE / "data_driver.py"), str(folder)],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        self._start_jvm()
        assert self._forks.stdout and self._forks.stdin
        assert self._forks.stdout.readline() == "ready\n", "the process that starts drivers has ended"

    def _start_jvm(self) -> None:
        self._worker = SparkWorker(self.folder / "jvm.log", dict(os.environ), memory="1g")
        self._worker.start()
        settings = conf.default_settings(self.folder / "scratch") | conf.s3_settings([BUCKET], self._s3_root)
        # What runs when its driver dies is to be seen by the next one, not to wait for it.
        settings |= {"spark.app.name": "lake", "spark.master": "local[4]", "spark.scheduler.mode": "FAIR"}
        log = (self.folder / "spark.log").open("a", buffering=1)
        self._gateway = self._worker.open_job(settings, lambda line: print(line, file=log)).environment()

    def kill_jvm(self) -> None:
        """``kill -9`` of the JVM; the next one is ready on return."""
        self._worker.kill()
        self._start_jvm()

    def close(self) -> None:
        """Ends both processes, and drivers that a test has left behind."""
        assert self._forks.stdin
        for attempt in self.attempts:
            if attempt.exit_code is None:
                attempt.kill()
        self._forks.stdin.close()
        self._forks.wait(30)
        self._worker.kill()

    def start(self, job: str, lake: Lake, run_key: str, death: dict[str, Any] | None = None) -> Attempt:
        """Starts a driver of a job over all days. See :class:`data_driver.Progress` for ``death``."""
        assert self._forks.stdout and self._forks.stdin
        log = self.folder / f"{next(self._numbers):04d}-{job}"
        arguments = self._arguments(job, lake, run_key)
        order = {"job": job, "arguments": arguments, "gateway": self._gateway, "death": death, "log": str(log)}
        self._forks.stdin.write(json.dumps(order) + "\n")
        attempt = Attempt(job, lake.root.name, run_key, int(self._forks.stdout.readline()), log)
        self.attempts.append(attempt)
        return attempt

    @staticmethod
    def _arguments(job: str, lake: Lake, run_key: str) -> list[str]:
        days = {"start": DAYS[0].isoformat(), "end": DAYS[-1].isoformat()}
        if job == "ingest":
            arguments = {
                "zones_root": lake.uri,
                "datasets": "visits,outcomes",
                "contracts": f"{lake.uri}/contracts",
                "run_key": run_key,
            }
        else:
            arguments = {
                "zones-root": lake.uri,
                "group": "visits",
                "version": "1",
                "module": "visits",
                "inputs": "visits",
                "label-inputs": "outcomes",
                "columns": "version:int,previous:int,amount:double",
                "lookback-days": "1",
                "label-lag-days": str(LAG.days),
                "run-key": run_key,
            }
        return [word for name, value in (arguments | days).items() for word in (f"--{name}", value)]

    def wait(self, attempt: Attempt, seconds: float = 120) -> Attempt:
        """Until it is over; kills it after the time.

        :raises AssertionError: it took longer
        """
        ended = self._end(attempt)
        until = time.monotonic() + seconds
        while not ended.exists():
            if time.monotonic() > until:
                attempt.kill()
                raise AssertionError(f"{attempt.log.name} has not ended within {seconds} s: {attempt.output()}")
            time.sleep(0.005)
        attempt.exit_code = int(ended.read_text())
        ended.unlink()  # process ids come again
        return attempt

    def _end(self, attempt: Attempt) -> Path:
        return self.folder / f"{attempt.pid}.exit"

    def wait_until_still(self, attempt: Attempt) -> None:
        """Until it stands still, or is over without having done so."""
        while not attempt.stands_still and not self._end(attempt).exists():
            time.sleep(0.005)

    def run(self, job: str, lake: Lake, run_key: str) -> Attempt:
        """Runs a job that has to succeed."""
        attempt = self.wait(self.start(job, lake, run_key))
        assert attempt.exit_code == 0, f"{attempt.log.name}: expected exit code 0, found {attempt.exit_code}: {attempt.output()}"
        return attempt

    def measure(self, job: str, lake: Lake, run_key: str) -> None:
        """Runs a job and keeps what it is like: the killed ones are spread over that."""
        attempt = self.run(job, lake, run_key)
        (calls,), (puts,) = attempt.told("calls"), attempt.told("puts")
        self.clean[job] = Clean(time.monotonic() - attempt.since, json.loads(calls), int(puts))
