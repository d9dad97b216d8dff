"""Plays the reliability tests' faults on Flywheel's operators and on the amazon provider's own, and tells both side by side.

    PYTHONPATH=plugins:include:tests/reliability .venv-jobs/bin/python tests/reliability/compare.py [--kinds training glue] …

A stack of its own runs for it, on free ports. Nothing is asserted: what a case has come to is told in letters, which
``MARKS`` explains; every job of it stands in the JSON file.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import scenarios
from lab import CREATE, HERE, SETTINGS, TASK_OVER, Case, Job, Lab, wait_for
from test_matrix import ALL, KINDS
from verdicts import JOBS_SECONDS, MARKS, SCENARIOS, Result, judge, line, record, summary, table

from laptop import aws, stack
from laptop.environment import Place

FAMILIES = ("flywheel", "provider")
#: Seconds that a task has to come to an end.
TASK_SECONDS = 120
THROTTLED = {"error": {"code": "ThrottlingException", "message": "Rate exceeded", "status": 400}}
LIMITS = {"task_timed_out": "limited", "run_timed_out": "bounded"}


class NotOver(AssertionError):
    """A task, or a job that it does not wait for, had its time and has not ended."""


class Stand(Lab):
    """The lab, with an end to every case."""

    def wait_for_end(self, case: Case, limits: str = "", seconds: float = TASK_SECONDS) -> None:
        """As in the tests, but not for longer than the comparison waits.

        :raises NotOver: it has not ended by then
        """
        try:
            super().wait_for_end(case, limits, min(seconds, TASK_SECONDS))
        except AssertionError as error:
            raise NotOver(str(error)) from None

    def play(self, case: Case, scenario: Callable[[Lab, Case], Any]) -> Result:
        """Plays a case until its jobs have ended or had their time, and leaves nothing behind that runs."""
        began, limits = time.monotonic(), LIMITS.get(case.scenario, "")
        result = Result(case, marks=["?"])
        try:
            try:
                scenario(self, case)
            except NotOver as error:
                result.note = str(error)  # what came instead is the result
            if SCENARIOS[case.scenario][1]:  # the others have waited already
                with contextlib.suppress(AssertionError):
                    wait_for(lambda: not self.running(case, limits), "", JOBS_SECONDS)
            if not result.note and case.scenario != "run_deleted":
                # A job may end before this lab has read that its task is over.
                with contextlib.suppress(AssertionError):
                    wait_for(lambda: self.task(case, limits).get("state") in TASK_OVER, "", 10)
            task = self.task(case, limits)
            result.state, result.tries = task.get("state"), task.get("try_number", 0)
            result.jobs = [Job(**vars(job)) for job in self.jobs(case, limits)]
            result.marks = judge(case, result.state, task.get("end_date"), result.jobs)
        except Exception as error:
            result.note = repr(error)
        result.seconds = time.monotonic() - began
        with contextlib.suppress(Exception):  # what cannot be stopped ends by itself, two minutes later
            self.end(case, limits)
        return result

    def end(self, case: Case, limits: str) -> None:
        """Stops what a case has left."""
        if self.task(case, limits).get("state") not in TASK_OVER:
            path = f"/dags/{case.dag_id(limits)}/dagRuns/{case.run_id}"
            self._ask_airflow(lambda: self.api.request("PATCH", path, json={"state": "failed"}))
        for key, job in list(self._jobs.items()):
            kind, _, number = key.partition(" ")
            if kind == case.kind and job.ended is None and job.name.startswith(case.prefix(limits)):
                self._stop(kind, number, job.name)

    def _stop(self, kind: str, number: str, name: str) -> None:
        if kind == "glue":
            aws.client(self.place, "glue").batch_stop_job_run(JobName="reliability", JobRunIds=[number])
        elif kind == "emr_serverless":
            application = aws.settings(self.place)["emr_application_id"]
            aws.client(self.place, "emr-serverless").cancel_job_run(applicationId=application, jobRunId=number)
        elif kind == "redshift_data":
            aws.client(self.place, "redshift-data").cancel_statement(Id=number)
        elif kind == "tuning":
            aws.client(self.place, "sagemaker").stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        else:
            stop = getattr(aws.client(self.place, "sagemaker"), f"stop_{kind}_job")
            stop(**{f"{kind.title()}JobName": name})


def cleared_while_waiting(lab: Lab, case: Case) -> None:
    """As in the tests; but that no second job is started is a result here."""
    lab.start(case, seconds=scenarios.LONG)
    lab.wait_until_waiting(case)
    lab.clear(case)
    with contextlib.suppress(AssertionError):
        wait_for(lambda: len(lab.jobs(case)) > 1, "", 30)
    lab.wait_until_waiting(case)
    lab.set_state(case, "failed")
    scenarios.stopped(lab, case)


def scenario_of(case: Case) -> Callable[[Lab, Case], Any]:
    """What is played in a case."""
    return cleared_while_waiting if case.scenario == "cleared_while_waiting" else getattr(scenarios, case.scenario)  # type: ignore[no-any-return]


# -- faults that strike all at once --


@contextlib.contextmanager
def triggerer_killed(lab: Lab, cases: Sequence[Case]) -> Iterator[None]:
    """The triggerer is killed while all wait in it, and another takes over."""
    for case in cases:
        lab.start(case, seconds=20)
    with contextlib.suppress(AssertionError):
        wait_for(lambda: all(lab.task(case).get("state") == "deferred" for case in cases), "all deferred", 30)
    lab.restart("triggerer")
    yield


@contextlib.contextmanager
def throttled(lab: Lab, cases: Sequence[Case]) -> Iterator[None]:
    """Every call of their services is refused for a minute."""
    with contextlib.ExitStack() as rules:
        for service in {CREATE[case.kind][0] for case in cases}:
            rules.enter_context(lab.fault(service=service, operation=".*", times=None, seconds=60, do=THROTTLED))
        for case in cases:
            lab.start(case)
        yield


GROUPS = {"triggerer_killed": triggerer_killed, "throttled": throttled}


def play_group(lab: Stand, name: str, cases: Sequence[Case]) -> Iterator[Result]:
    """Plays a fault that strikes all of them at once."""
    with GROUPS[name](lab, cases), ThreadPoolExecutor(len(cases)) as pool:
        # Only the waiting is left; each has its time from now on.
        yield from pool.map(lambda case: lab.play(case, scenarios.ended), cases)


def compare(lab: Stand, asked: argparse.Namespace) -> Iterator[Result]:
    """Plays all that was asked for; gives each result when it is there."""
    plan = planned(asked)
    pool = ThreadPoolExecutor(asked.at_once)
    try:
        # What ends the scheduler, and with it the tasks that run, is played by itself.
        for alone in (False, True):
            now = [case for case in plan if case.scenario not in GROUPS and (case.scenario == "run_deleted") == alone]
            for done in as_completed([pool.submit(lab.play, case, scenario_of(case)) for case in now]):
                yield done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    for name, way, family in itertools.product(GROUPS, ALL, asked.families):
        group = [case for case in plan if (case.scenario, case.way, case.family) == (name, way, family)]
        if group:
            yield from play_group(lab, name, group)


def planned(asked: argparse.Namespace) -> list[Case]:
    """The cases that were asked for."""
    return [
        Case(name, kind, way, family)
        for name in asked.scenarios
        for way in SCENARIOS[name][0]
        if way in asked.ways
        for kind in asked.kinds
        for family in asked.families
    ]


def both_families(folder: Path) -> Path:
    """A DAG folder with the DAGs of the tests and those of the provider's operators, which the tests do without."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in (*(HERE / "dags").glob("*.py"), *(HERE / "provider").glob("*.py")):
        (folder / source.name).symlink_to(source)
    return folder


def main(argv: Sequence[str] | None = None) -> int:
    """Plays and prints. Returns 0; 130 when it was interrupted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--ways", nargs="+", default=ALL, choices=ALL, metavar="WAY", help=", ".join(ALL))
    parser.add_argument(
        "--scenarios", nargs="+", default=SCENARIOS, choices=SCENARIOS, metavar="SCENARIO", help=", ".join(SCENARIOS)
    )
    parser.add_argument("--families", nargs="+", default=FAMILIES, choices=FAMILIES, metavar="FAMILY", help=", ".join(FAMILIES))
    parser.add_argument("--at-once", type=int, default=6, help="cases that are played side by side (default: 6)")
    target = Place().home / "reliability.json"
    parser.add_argument("--json", type=Path, default=target, help=f"file for the results (default: {target})")
    parser.add_argument("--home", type=Path, help="an empty folder for the stack, which is kept with all its logs")
    asked = parser.parse_args(argv)
    home = asked.home or Path(tempfile.mkdtemp(prefix="flywheel-reliability-"))
    place = Place(
        home=home,
        airflow_port=stack.free_port(),
        aws_port=stack.free_port(),
        dags=both_families(home / "dags"),
        settings=SETTINGS,
    )
    lab, began, results, code = Stand(place), time.monotonic(), list[Result](), 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with stack.exclusive(place, "the comparison of reliability"):
            try:
                lab.open()
                opened = time.monotonic()
                for result in compare(lab, asked):
                    results.append(result)
                    print(
                        f"[{time.monotonic() - opened:5.0f} s] {len(results):3}/{len(planned(asked))} {line(result)}", flush=True
                    )
            finally:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                print("Stopping the stack ...", flush=True)
                lab.close()
    except KeyboardInterrupt:
        print("Interrupted; the stack is stopped.", flush=True)
        code = 130
    finally:
        if asked.home is None:
            shutil.rmtree(home, ignore_errors=True)
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(record(results), indent=1) + "\n", encoding="utf-8")
    for family in asked.families:
        print(f"\n{family.title()}\n\n{table(results, family)}")
    print("\n· as it should be\n" + "\n".join(f"{mark} {meaning}" for mark, meaning in MARKS.items()) + "\n")
    for family in asked.families:
        print(summary(results, family))
    print(f"\n{len(results)} cases in {time.monotonic() - began:.0f} s; every job of them is told in {asked.json}")
    return code


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    if code == 130:
        os._exit(code)  # threads still wait for cases of the stack that is gone
    raise SystemExit(code)
