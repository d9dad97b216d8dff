"""`make demo`: one whole turn of the wheel on the flights of 2013, through Airflow's API.

The demo does what a source team, the calendar and a person would do: it lands data, starts the ingest DAG for the days that are
new, and starts the first training. All else happens by itself: assets hand the days on from ingest to features, scores and
monitoring, and monitoring starts the retraining. It goes forward month by month until a retraining has come and one more month
was scored with whoever is champion then; with ``--year`` to the end of the year. The report is read back from Redshift, the
registry and S3.

Interrupted, it goes on where it was: run ids are the same every time, and a run that has succeeded is not started again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from laptop import aws, overhead, stack
from laptop.airflow_api import AirflowApi, TaskEnd
from laptop.environment import Place
from laptop.landing import LAST_DAY, land

MODEL = "flight_delay"
SOURCE = "flights"
DAGS = (f"ingest_{SOURCE}", f"load_features_{MODEL}", f"train_{MODEL}", f"score_{MODEL}", f"monitor_{MODEL}")


@dataclass(frozen=True)
class Calendar:
    """The demo's days: the first chunk, and how far each step goes.

    :param first: first day of the first chunk
    :param first_end: its last day; the first champion is trained on its days up to the last with labels
    :param steps: windows to go forward by, in their order, both days inclusive
    """

    first: date
    first_end: date
    steps: tuple[tuple[date, date], ...]

    @classmethod
    def year(cls) -> Calendar:
        """January to March as one chunk, then month by month to the end of the year."""
        starts = [date(2013, month, 1) for month in range(4, 13)]
        ends = [start - timedelta(days=1) for start in starts[1:]] + [LAST_DAY - timedelta(days=1)]
        return cls(date(2013, 1, 1), date(2013, 3, 31), tuple(zip(starts, ends, strict=True)))


@dataclass
class Stage:
    """One DAG run of the demo, for the table of times.

    :param seconds: from its cause's end, or the request, to its own end
    :param cpu_seconds: what all processes of the stack computed meanwhile
    """

    name: str
    dag_id: str
    run_id: str
    seconds: float = 0.0
    cpu_seconds: float = 0.0


@dataclass
class Demo:
    """The demo while it plays."""

    place: Place
    api: AirflowApi
    calendar: Calendar
    to_the_end: bool = False
    stages: list[Stage] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """A line of progress with the time since the demo's start."""
        print(f"[{time.monotonic() - self.began:6.1f} s] {text}", flush=True)

    def play(self) -> None:
        """The whole turn. Raises StackError and AirflowApiError kinds when a run fails or does not come."""
        for dag_id in DAGS:
            self.api.unpause(dag_id)
        first, first_end = self.calendar.first, self.calendar.first_end
        self._advance(f"{first:%B} to {first_end:%B}: the first chunk", first, first_end, scored=False)
        trained_until = first_end - timedelta(days=1)  # the labels of the last day come a day later
        self._run(
            "training of the first champion",
            f"train_{MODEL}",
            "demo__first_champion",
            {"start": first.isoformat(), "end": trained_until.isoformat(), "reason": "first champion"},
        )
        retrained = False
        for start, end in self.calendar.steps:
            monitor_run = self._advance(f"{start:%B}", start, end, scored=True)
            was_retrained, retrained = retrained, self._follow_retraining(monitor_run, end) or retrained
            if was_retrained and not self.to_the_end:
                break

    def _follow_retraining(self, monitor_run: str, end: date) -> bool:
        """Waits for the retraining that a monitoring run has started; False if it started none."""
        if self._task_state(f"monitor_{MODEL}", monitor_run, "start_retraining") != "success":
            self.say("  no breach, or too soon after the last training: the champion stays as it is")
            return False
        run_id = f"drift__{(end - timedelta(days=1)).isoformat()}"
        self.say(f"  the data have drifted: {self.api.run(f'train_{MODEL}', run_id)['conf']['reason']}")
        with self._stage("retraining", f"train_{MODEL}", run_id):
            self._wait(f"train_{MODEL}", run_id)
        return True

    def remember(self) -> None:
        """Writes how long the stages took, for the report and the benchmark; all else they read from the services."""
        seconds = time.monotonic() - self.began
        runs = overhead.measure(
            self.api, lambda service: aws.client(self.place, service), [(stage.dag_id, stage.run_id) for stage in self.stages]
        )
        content = json.dumps({"seconds": seconds, "stages": [vars(s) for s in self.stages], "runs": [vars(r) for r in runs]})
        (self.place.home / "demo.json").write_text(content, encoding="utf-8")

    def _advance(self, title: str, start: date, end: date, *, scored: bool) -> str:
        """Data of some days arrive and go through the DAGs. Returns the id of the last run of the chain."""
        self.say(f"{title} ({start} to {end})")
        files = land(aws.client(self.place, "s3"), aws.settings(self.place)["bucket"], start, end)
        self.say(f"  landed {sum(files.values())} files: " + ", ".join(f"{name} {count}" for name, count in files.items()))
        run_id = f"demo__{start}_{end}"
        self._run("ingest", f"ingest_{SOURCE}", run_id, {"start": start.isoformat(), "end": end.isoformat()})
        chain = [
            ("features", f"load_features_{MODEL}"),
            ("scoring", f"score_{MODEL}"),
            ("monitoring", f"monitor_{MODEL}"),
        ]
        for name, dag_id in chain if scored else chain[:1]:
            source = run_id
            with self._stage(name, dag_id, "") as stage:
                run_id = self.api.run_caused_by(dag_id, source, timeout=120, check=self._check)["dag_run_id"]
                stage.run_id = run_id
                self._wait(dag_id, run_id)
        return run_id

    def _run(self, name: str, dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
        """A run that somebody asks for, from the request to its end. One that failed before is cleared and goes on."""
        with self._stage(name, dag_id, run_id):
            run = self.api.trigger(dag_id, run_id, conf=conf)
            if run["state"] == "failed":
                self.say(f"  {dag_id} {run_id} failed before; clearing what failed")
                self.api.clear_failed(dag_id, run_id)
            self._wait(dag_id, run_id)

    def _wait(self, dag_id: str, run_id: str) -> None:
        def tell(end: TaskEnd) -> None:
            seconds = f"{end.seconds:6.1f} s" if end.seconds is not None else " " * 8
            self.say(f"  {dag_id + '.' + end.task_id:54} {end.state:10} {seconds}")

        self.api.wait(dag_id, run_id, timeout=1200, on_task=tell, check=self._check)

    def _check(self) -> None:
        stack.check(self.place)

    def _task_state(self, dag_id: str, run_id: str, task_id: str) -> str:
        states = {task["task_id"]: task["state"] for task in self.api.task_instances(dag_id, run_id)}
        return str(states[task_id])

    @contextmanager
    def _stage(self, name: str, dag_id: str, run_id: str) -> Iterator[Stage]:
        stage = Stage(name, dag_id, run_id)
        began, cpu = time.monotonic(), stack.cpu_seconds(self.place)
        yield stage
        stage.seconds, stage.cpu_seconds = time.monotonic() - began, stack.cpu_seconds(self.place) - cpu
        self.stages.append(stage)


def main(place: Place, argv: list[str]) -> int:
    """Play the demo and write the report. Returns 0 only if every stage did what it says."""
    from laptop import report

    parser = argparse.ArgumentParser(prog="make demo")
    parser.add_argument("--keep-up", action="store_true", help="leave Airflow and the local AWS running afterwards")
    parser.add_argument(
        "--year", action="store_true", help="go on to the end of the year instead of one month after a retraining"
    )
    arguments = parser.parse_args(argv)
    with stack.exclusive(place, "make demo"):
        started = stack.start(place)
        try:
            demo = Demo(place, stack.client(place), Calendar.year(), to_the_end=arguments.year)
            demo.play()
            demo.say("reading back what was done")
            demo.remember()
            facts = report.read_facts(place, demo.api)
            path: Path = report.write_report(facts, place.home / "report.html")
            print(report.table(facts))
            failures = [check for check in facts.checks if not check.passed]
            print(f"\nReport: {path}")
        finally:
            if started and not arguments.keep_up:
                stack.shut_down(place)
    for check in failures:
        print(f"NOT AS IT SHOULD BE: {check.what}: {check.found}")
    print(f"{len(facts.checks) - len(failures)} of {len(facts.checks)} checks passed.")
    return 1 if failures else 0
