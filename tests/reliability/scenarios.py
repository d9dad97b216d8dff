"""What befalls a task and its job: each function plays one scenario to its end. What must come of it is in ``test_matrix``."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lab import Case, Lab, Outcome, wait_for

Scenario = Callable[[Lab, Case], Outcome]
#: Seconds in which a job must have been stopped.
STOPPED_WITHIN = 60
#: A job that would run on.
LONG = 120


def killed_before_create(lab: Lab, case: Case) -> Outcome:
    """The process dies when the create call is on its way; AWS never carries it out."""
    with lab.create_fault(case, {"hold": {"when": "before"}}) as look:
        lab.start(case)
        wait_for(lambda: look()["held"], f"{case}: the create call")
        lab.kill_task(case)
    return ended(lab, case)


def killed_after_create(lab: Lab, case: Case) -> Outcome:
    """The process dies when the job exists and the answer has not been read."""
    with lab.create_fault(case, {"hold": {"when": "after"}}) as look:
        lab.start(case)
        wait_for(lambda: look()["held"], f"{case}: the create call")
        lab.kill_task(case)
    return ended(lab, case)


def killed_while_polling(lab: Lab, case: Case) -> Outcome:
    """The process dies while it waits for the job."""
    lab.start(case, seconds=4)
    lab.wait_until_waiting(case)
    lab.kill_task(case)
    return ended(lab, case)


def killed_after_success(lab: Lab, case: Case) -> Outcome:
    """The process dies when the job has succeeded and XCom has not been written."""
    lab.start(case, die=True)
    return ended(lab, case)


def answer_lost(lab: Lab, case: Case) -> Outcome:
    """The connection ends before the answer of the create call."""
    with lab.create_fault(case, {"lose": True}):
        lab.start(case)
        return ended(lab, case)


def error_after_create(lab: Lab, case: Case) -> Outcome:
    """The create call is answered with a 5xx although the job exists."""
    with lab.create_fault(case, {"error_after": {"code": "InternalFailure", "message": "", "status": 500}}):
        lab.start(case)
        return ended(lab, case)


def error_before_create(lab: Lab, case: Case) -> Outcome:
    """The create call is answered with a 5xx, and there is no job."""
    with lab.create_fault(case, {"error": {"code": "InternalFailure", "message": "", "status": 500}}):
        lab.start(case)
        return ended(lab, case)


def job_killed(lab: Lab, case: Case) -> Outcome:
    """The job itself dies; Airflow's retry starts another."""
    # A search fails when all of its training jobs do; their names begin with its own.
    kind, times = ("training", 2) if case.kind == "tuning" else (case.kind, 1)
    with lab.fault(job=kind, match=f"^{case.prefix()}", times=times, do={"kill": {"after_seconds": 0.5}}):
        lab.start(case)
        return ended(lab, case)


def spot_interrupted(lab: Lab, case: Case) -> Outcome:
    """The spot instance is taken away once; the same job goes on."""
    with lab.fault(job="training", match=f"^{case.prefix()}", times=1, do={"interrupt": {"after_seconds": 0.5}}):
        lab.start(case)
        return ended(lab, case)


def cleared_after_success(lab: Lab, case: Case) -> Outcome:
    """A person clears a task that has succeeded."""
    lab.start(case)
    lab.wait_for_end(case)
    # Cleared in the moment in which the scheduler ends it, a run stays ended, with a task that nobody starts (Airflow 3.3.1).
    wait_for(lambda: lab.api.run(case.dag_id(), case.run_id)["state"] == "success", f"{case}: end of the run")
    lab.clear(case)
    wait_for(lambda: lab.task(case).get("try_number") == 2, f"{case}: the second try")
    return ended(lab, case)


def cleared_while_waiting(lab: Lab, case: Case) -> Outcome:
    """A person clears a task whose job runs, then marks it failed, which ends the test's long job."""
    lab.start(case, seconds=LONG)
    lab.wait_until_waiting(case)
    lab.clear(case)
    wait_for(lambda: len(lab.jobs(case)) > 1, f"{case}: the job of the second try", STOPPED_WITHIN)
    lab.wait_until_waiting(case)
    lab.set_state(case, "failed")
    return stopped(lab, case)


def marked_failed(lab: Lab, case: Case) -> Outcome:
    """A person marks a task failed whose job runs."""
    lab.start(case, seconds=LONG)
    lab.wait_until_waiting(case)
    lab.set_state(case, "failed")
    return stopped(lab, case)


def marked_failed_at_once(lab: Lab, case: Case) -> Outcome:
    """A person marks a task failed in the moment in which it is handed over from the worker to the triggerer."""
    lab.start(case, seconds=LONG)
    wait_for(lambda: lab.task(case).get("state") == "deferred", f"{case}: deferred")
    lab.set_state(case, "failed")
    return stopped(lab, case)


def run_deleted(lab: Lab, case: Case) -> Outcome:
    """A person ends and deletes the DAG run of a task whose job runs (Airflow deletes no run that has not ended)."""
    lab.start(case, seconds=LONG)
    lab.wait_until_waiting(case)
    lab.end_and_delete_run(case)
    return stopped(lab, case)


def last_try_killed(lab: Lab, case: Case) -> Outcome:
    """The process of the last try dies while its job runs: no try comes after it to join the job."""
    lab.start(case, seconds=LONG)
    for number in (1, 2, 3):
        wait_for(lambda number=number: lab.task(case).get("try_number") == number, f"{case}: try {number}")  # type: ignore[misc]
        lab.wait_until_waiting(case)
        lab.kill_task(case)
    return stopped(lab, case)


def task_timed_out(lab: Lab, case: Case) -> Outcome:
    """``execution_timeout`` is over while the job runs; so is that of each retry."""
    lab.start(case, "limited", seconds=LONG)
    return stopped(lab, case, "limited", until_over=True)


def run_timed_out(lab: Lab, case: Case) -> Outcome:
    """``dagrun_timeout`` is over while the job runs."""
    lab.start(case, "bounded", seconds=LONG)
    wait_for(lambda: lab.jobs(case, "bounded"), f"{case}: the job")
    return stopped(lab, case, "bounded", until_over=True)


def ended(lab: Lab, case: Case) -> Outcome:
    """Waits for the end of the task and its job."""
    lab.wait_for_end(case)
    return lab.outcome(case)


def stopped(lab: Lab, case: Case, limits: str = "", *, until_over: bool = False) -> Outcome:
    """Waits until no job of the case runs, for as long as a stop may take."""
    if until_over:
        lab.wait_for_end(case, limits)
    try:
        wait_for(lambda: not lab.running(case, limits), f"{case}: end of the job", STOPPED_WITHIN)
    except AssertionError:
        pass  # the outcome tells
    return lab.outcome(case, limits)


def play(lab: Lab, plan: dict[Case, Scenario], at_once: int = 8) -> dict[Case, Outcome | BaseException]:
    """Plays the cases, several at once; what went wrong with one is its result."""

    def one(case: Case) -> Outcome | BaseException:
        began, result = time.monotonic(), None
        try:
            result = plan[case](lab, case)
            return result
        except Exception as error:
            result = error
            return error
        finally:
            print(f"{case} [{time.monotonic() - began:.0f} s]: {result!r}", flush=True)

    with ThreadPoolExecutor(at_once) as pool:
        return dict(zip(plan, pool.map(one, plan), strict=True))
