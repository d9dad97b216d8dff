"""A job is started once, and its end is told truthfully: every operator, every way of waiting, whatever befalls it.

What is judged is the journal of the local AWS: jobs created, running at once, left running.
"""

from __future__ import annotations

import re

import pytest
import scenarios
from lab import Case, Lab, Outcome, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

KINDS = ("glue", "emr_serverless", "redshift_data", "training", "tuning", "processing", "transform")
ALL, WAITING = ("none", "blocking", "deferred"), ("blocking", "deferred")

#: Faults that end with one job, which succeeded.
ONE_JOB = {
    scenarios.killed_before_create: ALL,
    scenarios.killed_after_create: ALL,
    scenarios.killed_while_polling: ("blocking",),
    scenarios.killed_after_success: ALL,
    scenarios.answer_lost: ALL,
    scenarios.error_after_create: ALL,
    scenarios.error_before_create: ALL,
}
#: What ends a job that would have run on.
STOPPING = {
    scenarios.marked_failed: WAITING,
    scenarios.marked_failed_at_once: ("deferred",),
    scenarios.last_try_killed: ("blocking",),
    scenarios.task_timed_out: WAITING,
    scenarios.run_timed_out: WAITING,
    scenarios.run_deleted: WAITING,
}


def cases(*played: scenarios.Scenario, ways: tuple[str, ...] = WAITING, kinds: tuple[str, ...] = KINDS) -> list[Case]:
    return [Case(scenario.__name__, kind, way) for scenario in played for kind in kinds for way in ways]


@pytest.fixture(scope="module")
def outcomes(lab: Lab, request: pytest.FixtureRequest) -> dict[Case, Outcome | BaseException]:
    """All cases that were asked for, played side by side."""
    asked = [item.callspec.params["case"] for item in request.session.items if "outcome" in getattr(item, "fixturenames", ())]  # type: ignore[attr-defined]
    return scenarios.play(lab, {case: getattr(scenarios, case.scenario) for case in asked})


@pytest.fixture
def outcome(outcomes: dict[Case, Outcome | BaseException], case: Case) -> Outcome:
    """What the test's case has come to."""
    found = outcomes[case]
    if isinstance(found, BaseException):
        raise found
    return found


@pytest.mark.parametrize("case", [c for s, ways in ONE_JOB.items() for c in cases(s, ways=ways)], ids=str)
def test_one_job_is_started_and_succeeds(case: Case, outcome: Outcome) -> None:
    assert outcome.state == "success"
    assert (len(outcome.jobs), outcome.succeeded) == (1, 1), outcome


@pytest.mark.parametrize("case", cases(scenarios.job_killed), ids=str)
def test_a_job_that_failed_is_followed_by_one_new_one_and_its_reason_is_kept(case: Case, outcome: Outcome) -> None:
    assert outcome.state == "success" and outcome.tries == 2
    assert (len(outcome.jobs), outcome.succeeded, outcome.most_at_once) == (2, 1, 1), outcome
    (reason,) = outcome.reasons
    assert re.match(r"(FAILED|Failed|ABORTED|Stopped): .", reason) and "no reason" not in reason


@pytest.mark.parametrize("case", cases(scenarios.spot_interrupted, kinds=("spot",)), ids=str)
def test_a_spot_interruption_is_no_failure(case: Case, outcome: Outcome) -> None:
    assert (outcome.state, outcome.tries) == ("success", 1)
    assert (len(outcome.jobs), outcome.succeeded) == (1, 1), outcome


@pytest.mark.parametrize("case", cases(scenarios.cleared_after_success, ways=ALL), ids=str)
def test_clear_runs_the_job_again(case: Case, outcome: Outcome) -> None:
    assert outcome.state == "success"
    assert (len(outcome.jobs), outcome.succeeded, outcome.most_at_once) == (2, 2, 1), outcome


@pytest.mark.parametrize("case", cases(scenarios.cleared_while_waiting), ids=str)
def test_clear_stops_the_running_job_before_it_starts_another(case: Case, outcome: Outcome) -> None:
    assert (len(outcome.jobs), outcome.succeeded, outcome.left_running, outcome.most_at_once) == (2, 0, 0, 1), outcome


@pytest.mark.parametrize("case", [c for s, ways in STOPPING.items() for c in cases(s, ways=ways)], ids=str)
def test_the_job_of_a_task_that_was_ended_is_stopped(case: Case, outcome: Outcome) -> None:
    """A task that ran out of time is tried again: each of its jobs, one after the other."""
    assert outcome.state != "success"
    assert len(outcome.jobs) == (2 if case.scenario == "task_timed_out" else 1)
    assert (outcome.succeeded, outcome.left_running, outcome.most_at_once) == (0, 0, 1), outcome


def test_the_rows_are_those_of_the_jobs_that_succeeded(lab: Lab, outcomes: dict[Case, Outcome | BaseException]) -> None:
    """Each statement inserts one row after its time: none was written by a job that failed, none twice."""
    wanted = {
        case.run_id: found.succeeded
        for case, found in outcomes.items()
        if case.kind == "redshift_data" and isinstance(found, Outcome) and found.succeeded
    }
    found = {
        run_id: int(rows) for run_id, rows in lab.run_sql("SELECT run_id, COUNT(*) FROM monitoring.reliability GROUP BY run_id")
    }
    assert {run_id: rows for run_id, rows in found.items() if run_id in {case.run_id for case in outcomes}} == wanted


def test_a_triggerer_that_is_killed_is_replaced_and_no_job_is_lost(lab: Lab) -> None:
    waiting = [Case("triggerer_killed", kind, "deferred") for kind in KINDS]
    for case in waiting:
        lab.start(case, seconds=4)
    wait_for(lambda: all(lab.task(case).get("state") == "deferred" for case in waiting), "all deferred")
    lab.restart("triggerer")
    for case in waiting:
        lab.wait_for_end(case)
    found = {case.kind: lab.outcome(case) for case in waiting}
    assert {kind: (o.state, o.tries, o.jobs.count(None), o.succeeded, len(o.jobs)) for kind, o in found.items()} == dict.fromkeys(
        KINDS, ("success", 1, 0, 1, 1)
    )


def test_a_minute_of_throttling_is_waited_out(lab: Lab) -> None:
    """Every call of every service is refused for a minute."""
    throttled = {"error": {"code": "ThrottlingException", "message": "Rate exceeded", "status": 400}}
    struck = [Case("throttled", kind, way) for kind in KINDS for way in ALL]
    rules = [lab.fault(service=s, operation=".*", times=None, seconds=60, do=throttled) for s in SERVICES]
    for rule in rules:
        rule.__enter__()
    try:
        for case in struck:
            lab.start(case)
        for case in struck:
            lab.wait_for_end(case)
    finally:
        for rule in rules:
            rule.__exit__(None, None, None)
    found = {str(case): lab.outcome(case) for case in struck}
    assert {name: (o.state, o.succeeded, len(o.jobs)) for name, o in found.items()} == dict.fromkeys(found, ("success", 1, 1))


SERVICES = ("glue", "emr-serverless", "redshift-data", "sagemaker")
