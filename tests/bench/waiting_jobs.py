"""What many waiting jobs cost a triggerer and AWS: Flywheel's JobTrigger beside the provider's own. Runs with Airflow's Python.

    python tests/bench/waiting_jobs.py                                   1000 training jobs, then 1000 Glue runs; one table
    python tests/bench/waiting_jobs.py --kinds emr_serverless --jobs 300 --poll 5

For each kind the two triggers take turns, each with a local AWS and a triggerer of its own:

- The jobs are in the local AWS and wait for their turn there: it runs two training jobs and one Spark job at a time, and those
  sleep. All others stay in Starting (training), STARTING (Glue), PENDING (EMR Serverless). Statements wait for a table that a
  session has locked, as STARTED or SUBMITTED.
- The triggers run in Airflow's TriggerRunner below its TriggerRunnerSupervisor, both unchanged but for the database (see
  waiting_triggerer.py); all are handed over at once. Connections come from the environment: a lookup in Airflow's database or in
  a secrets backend is not measured. Memory and CPU are those of the TriggerRunner's process.
- Requests are counted in the local AWS's journal, for ``--seconds`` from when AWS was asked for every job. Nothing is throttled.
- Then ``--ends`` jobs, chosen at random, are stopped one by one while the others wait on. A delay lasts from the job's ``ended``
  in the journal to the moment when the supervisor has the event; the TriggerRunner hands its events over once a second.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import psutil
from waiting_kinds import BUCKET, KINDS, RUNNING, SECONDS, Identity, Kind, Place

ROOT = Path(__file__).resolve().parents[2]
SIDES = ("provider", "flywheel")
REGION, KEY = "us-east-1", "bench"
MB = 1024 * 1024
#: Seconds after the last end in which its event must come.
PATIENCE = 300
BLOCKED = re.compile(r"async thread was blocked for ([\d.]+) seconds")


@dataclass
class Result:
    """What one side needed. Times in seconds, memory in MB.

    :param first: from handing the triggers over until AWS had been asked for every job
    :param calls: requests per second while all jobs waited, by operation
    :param busiest: requests in the busiest second of that time
    :param answer: how long the local AWS took for one of them (median)
    :param memory: of the process before it had a trigger, at the end of the waiting, and at the most
    :param cpu_first: CPU time until ``first``
    :param cpu: CPU time per minute of waiting
    :param blocked: how long the TriggerRunner's watchdog found the event loop blocked, each time
    :param delays: from the ends of jobs to their events
    :param lost: jobs that have ended without an event, as far as the benchmark's patience goes
    :param wrong: failures, and events for jobs that had not ended
    :param others: part of the machine's CPU time that processes outside this benchmark took meanwhile
    """

    first: float
    calls: dict[str, float]
    busiest: int
    answer: float
    memory: tuple[float, float, float]
    cpu_first: float
    cpu: float
    blocked: list[float]
    delays: list[float]
    lost: int
    wrong: int
    others: float


class Lines(list[dict[str, Any]]):
    """The whole lines of a file of JSON lines that grows; ``read`` adds those that have come."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self._read = path, 0

    def read(self) -> Lines:
        """Reads on. The journal's times become seconds since 1970."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._read)
                whole = file.read().rpartition(b"\n")[0]
            self._read += len(whole) + 1 if whole else 0
            for text in whole.splitlines():
                line = json.loads(text)
                if isinstance(line.get("time"), str):
                    line["time"] = datetime.fromisoformat(line["time"]).timestamp()
                self.append(line)
        return self


class LocalAws:
    """A local AWS of its own below a folder."""

    def __init__(self, folder: Path):
        self.journal = Lines(folder / "journal.jsonl")
        command = [ROOT / ".venv-jobs/bin/python", "-m", "localaws", "serve", "--root", folder, "--port", "0"]
        environment = clean_environment() | {"PYTHONPATH": str(ROOT / "include")}
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        found = re.search(r"http://127\.0\.0\.1:\d+", self.process.stdout.readline())
        if not found:
            raise RuntimeError("the local AWS did not start; it said why above")
        self.endpoint = found.group()

    def client(self, service: str) -> Any:
        """A boto3 client."""
        keys = {"aws_access_key_id": KEY, "aws_secret_access_key": KEY}
        return boto3.client(service, endpoint_url=self.endpoint, region_name=REGION, **keys)

    def stop(self) -> None:
        """Ends it and its jobs; if it takes long, whatever it still does, for its folder goes as well."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Triggerer:
    """A triggerer of its own (waiting_triggerer.py), watched from outside."""

    def __init__(self, folder: Path, endpoint: str, triggers: list[tuple[str, dict[str, Any]]]):
        self.events, self.log = Lines(folder / "events.jsonl"), Lines(folder / "log.jsonl")
        self.peak = 0.0
        (folder / "triggers.json").write_text(json.dumps(triggers))
        extra = {"region_name": REGION, "endpoint_url": endpoint}
        environment = clean_environment() | {
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps({"conn_type": "aws", "login": KEY, "password": KEY, "extra": extra}),
            "PYTHONPATH": str(ROOT / "plugins"),
        }
        command = [sys.executable, Path(__file__).with_name("waiting_triggerer.py"), folder]
        with (folder / "triggerer.txt").open("w") as log:
            self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log)
        pid = folder / "pid"
        while not pid.exists():
            if self.process.poll() is not None:
                raise RuntimeError("the triggerer did not start:\n" + (folder / "triggerer.txt").read_text())
            time.sleep(0.1)
        self.runner = psutil.Process(int(pid.read_text()))

    def hand_over(self) -> None:
        """Lets the triggers begin."""
        assert self.process.stdin
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def watch(self, seconds: float, until: Callable[[], Any] = lambda: False) -> None:
        """Lets so much time pass, or less if something has come true, and watches the memory."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            self.memory()
            time.sleep(max(0.0, min(0.5, end - time.monotonic())))

    def memory(self) -> float:
        """Resident memory of the TriggerRunner (MB)."""
        now = self.runner.memory_info().rss / MB
        self.peak = max(self.peak, now)
        return now

    def cpu(self) -> float:
        """CPU time of the TriggerRunner so far (s)."""
        times = self.runner.cpu_times()
        return times.user + times.system

    def stop(self) -> None:
        """Ends both processes."""
        self.process.terminate()
        self.process.wait(60)


def measure(name: str, side: str, options: argparse.Namespace, folder: Path) -> Result:
    """One side's turn: so many jobs of a kind wait, and some of them end."""
    kind = KINDS[name]

    def say(what: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {name}, {side}: {what}", file=sys.stderr, flush=True)

    number = min(options.jobs, kind.most or options.jobs)
    with ExitStack() as at_end:
        aws = LocalAws(folder / "aws")
        at_end.callback(aws.stop)
        say(f"starting {number} jobs")
        client, storage = aws.client(kind.client), aws.client("s3")
        storage.create_bucket(Bucket=BUCKET)
        storage.put_object(Bucket=BUCKET, Key="sleep.py", Body=f"import time\n\ntime.sleep({SECONDS})\n".encode())
        place = kind.prepare(client, number)
        jobs = [kind.start(client, count, place) for count in range(number)]
        triggerer = Triggerer(folder, aws.endpoint, [trigger(name, side, job, place, options.poll) for job in jobs])
        at_end.callback(triggerer.stop)
        say("handing their triggers over")
        before, cpu, began, machine = triggerer.memory(), triggerer.cpu(), time.time(), cpu_of_others()
        triggerer.hand_over()
        triggerer.watch(1800, lambda: asked_for_all(kind, side, number, aws, triggerer, began))
        first, cpu_first, since = asked_for_all(kind, side, number, aws, triggerer, began), triggerer.cpu(), time.time()
        if first is None:
            raise TimeoutError(f"{name}, {side}: expected that AWS is asked for {number} jobs within half an hour")
        say(f"waiting {options.seconds} s")
        triggerer.watch(options.seconds)
        memory, cpu_waiting, until = triggerer.memory(), triggerer.cpu(), time.time()
        say(f"stopping {options.ends} of them")
        chosen = random.Random(1).sample(range(min(RUNNING, number // 2), number), options.ends)
        for count in chosen:
            kind.stop(client, jobs[count])
            triggerer.watch(random.uniform(0.5, 1.5))
        triggerer.watch(PATIENCE, lambda: len(triggerer.events.read()) >= options.ends)
        triggerer.watch(2)
        others = (cpu_of_others() - machine) / (time.time() - began) / (os.cpu_count() or 1)
    calls = [line for line in aws.journal.read() if since <= line["time"] < until and "operation" in line]
    delays, wrong = heard(jobs, aws.journal, triggerer.events.read(), began)
    return Result(
        first=first - began,
        calls={called: count / (until - since) for called, count in Counter(call["operation"] for call in calls).most_common()},
        busiest=busiest_second([call["time"] for call in calls]),
        answer=statistics.median(call["ms"] for call in calls) / 1000,
        memory=(before, memory, triggerer.peak),
        cpu_first=cpu_first - cpu,
        cpu=60 * (cpu_waiting - cpu_first) / (until - since),
        blocked=[float(found.group(1)) for line in triggerer.log.read() if (found := BLOCKED.search(line["event"]))],
        delays=delays,
        lost=len(chosen) - len(delays),
        wrong=wrong,
        others=others,
    )


def trigger(name: str, side: str, job: Identity, place: Place, poll: float) -> tuple[str, dict[str, Any]]:
    """Class path and arguments of the trigger for a job."""
    kind = KINDS[name]
    if side == "provider":
        names = {argument: job[part] for argument, part in kind.names.items()}
        return kind.trigger, {**names, **kind.others, kind.interval: poll}
    # As JobOperator passes it on.
    config = {"retries": {"mode": "standard", "total_max_attempts": 12}}
    connection = {"aws_conn_id": "aws_default", "region_name": None, "verify": None, "botocore_config": config}
    arguments = {"kind": name, "identity": job, "poll_seconds": poll, "connection": connection, "listing": place}
    return "flywheel.triggers.job.JobTrigger", arguments


def asked_for_all(kind: Kind, side: str, number: int, aws: LocalAws, triggerer: Triggerer, began: float) -> float | None:
    """When AWS had been asked for every job; None: not yet."""
    calls = [line for line in aws.journal.read() if line["time"] >= began and "operation" in line]
    if side == "flywheel":
        lists = [call["time"] for call in calls if call["operation"] == kind.lists]
        pages = math.ceil(number / kind.page)
        return lists[pages - 1] if len(lists) >= pages else None
    first: dict[Any, float] = {}
    if kind.told:
        for line in triggerer.log.read():
            if line["event"].startswith(kind.told):
                first.setdefault(line["trigger_id"], datetime.fromisoformat(line["timestamp"]).timestamp())
    else:
        for call in calls:
            first.setdefault(call["resource"], call["time"])
    return max(first.values()) if len(first) == number else None


def heard(jobs: list[Identity], journal: Lines, events: Lines, began: float) -> tuple[list[float], int]:
    """The delays of the events for jobs that have ended, and the number of all other events and of failures."""
    ended = [line for line in journal if line.get("state") == "ended" and line["time"] > began]
    ends = {line["id"].rpartition("/")[2]: line["time"] for line in ended}
    delays, wrong = [], 0
    for event in events:
        *_, key = jobs[event["id"] - 1].values()
        if key in ends and "event" in event:
            delays.append(event["time"] - ends[key])
        else:
            wrong += 1
    return sorted(delays), wrong


def cpu_of_others() -> float:
    """CPU time (s) that everything but this benchmark has taken since the machine was started."""
    machine, here = psutil.cpu_times(), psutil.Process()
    own = [process.cpu_times() for process in [here, *here.children(recursive=True)]]
    return sum(machine) - machine.idle - getattr(machine, "iowait", 0.0) - sum(times.user + times.system for times in own)


def busiest_second(times: list[float]) -> int:
    """The most calls that lie within one second."""
    most = first = 0
    times = sorted(times)
    for last, moment in enumerate(times):
        while times[first] <= moment - 1:
            first += 1
        most = max(most, last - first + 1)
    return most


#: Label, unit and value of each row of the table.
ROWS: list[tuple[str, str, Callable[[Result], float]]] = [
    ("requests a second while waiting", "", lambda result: sum(result.calls.values())),
    ("  in the busiest second", "", lambda result: result.busiest),
    ("until AWS was asked for every job", "s", lambda result: result.first),
    ("  CPU time of that", "s", lambda result: result.cpu_first),
    ("CPU time a minute of waiting", "s", lambda result: result.cpu),
    ("event loop blocked, in all", "s", lambda result: sum(result.blocked)),
    ("  at a time, at most", "s", lambda result: max(result.blocked, default=0)),
    ("memory without a trigger", "MB", lambda result: result.memory[0]),
    ("memory with all", "MB", lambda result: result.memory[1]),
    ("  at the most", "MB", lambda result: result.memory[2]),
    ("from a job's end to its event: median", "s", lambda result: quantile(result.delays, 0.5)),
    ("  95 %", "s", lambda result: quantile(result.delays, 0.95)),
    ("  at the most", "s", lambda result: quantile(result.delays, 1)),
    ("ends without an event", "", lambda result: result.lost),
    ("events without an end, failures", "", lambda result: result.wrong),
    ("taken by other processes of the machine", "%", lambda result: 100 * result.others),
]


def print_table(name: str, options: argparse.Namespace, results: dict[str, Result]) -> None:
    """The sides beside each other, and what AWS allows."""
    kind = KINDS[name]
    number = min(options.jobs, kind.most or options.jobs)
    print(f"\n{number} jobs of kind {name} wait, polled every {options.poll:g} s; {options.ends} of them end")
    print(f"  {'':40} {'provider':>12} {'Flywheel':>12} {'ratio':>7}   (provider: {kind.trigger.rpartition('.')[2]})")
    for label, unit, value in ROWS:
        found = [value(results[side]) for side in SIDES]
        texts = [f"{each:>9.{0 if each >= 100 or each % 1 == 0 else 2}f} {unit:2}" for each in found]
        ratio = f"{found[0] / found[1]:.1f}" if min(found) > 0 else "-"
        print(f"  {label:40} {texts[0]} {texts[1]} {ratio:>7}")
    for side in SIDES:
        result = results[side]
        calls = ", ".join(f"{called} {rate:.1f}/s" for called, rate in result.calls.items())
        print(f"  {side}: {calls} (answered by the local AWS within {1000 * result.answer:.0f} ms, median)")
    print(f"  AWS allows: {kind.limits}")


def quantile(values: list[float], part: float) -> float:
    """The smallest of the sorted values that this part of them does not exceed; NaN where there is none."""
    return values[max(0, math.ceil(part * len(values)) - 1)] if values else math.nan


def clean_environment() -> dict[str, str]:
    """The environment without what would lead to a real account or to another Airflow."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW", "_AIRFLOW", "PYTHON"))}


def main() -> None:
    """Measures what is asked for and prints a table for each kind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["training", "glue"])
    parser.add_argument("--jobs", type=int, default=1000, help="how many wait at once (50 or more)")
    parser.add_argument("--poll", type=float, default=10, help="seconds between polls")
    parser.add_argument("--seconds", type=float, default=60, help="how long requests are counted")
    parser.add_argument("--ends", type=int, default=50, help="how many of the jobs end")
    options = parser.parse_args()
    if options.jobs < 50 or options.ends > options.jobs // 2:
        parser.error(f"--jobs {options.jobs} --ends {options.ends}: expected 50 jobs or more, and at most half of them to end")
    for name in options.kinds:
        results = {}
        for side in SIDES:
            with tempfile.TemporaryDirectory(prefix="waiting-jobs-") as folder:
                results[side] = measure(name, side, options, Path(folder))
        print_table(name, options, results)


if __name__ == "__main__":
    main()
