"""What the comparison makes of a case: the letters, and the table."""

from __future__ import annotations

import pytest
from lab import Case, Job
from verdicts import Result, judge, summary, table

GOOD, BAD = "Completed", "Failed"


def at(second: int) -> str:
    return f"2026-01-01T00:{second // 60:02}:{second % 60:02}+00:00"


def job(started: int, ended: int | None, status: str | None = GOOD) -> Job:
    return Job("a", at(started), None if ended is None else at(ended), None if ended is None else status)


def marks(scenario: str, state: str | None, over: int | None, *jobs: Job, way: str = "blocking") -> str:
    return "".join(judge(Case(scenario, "training", way), state, None if over is None else at(over), jobs))


@pytest.mark.parametrize(
    ("scenario", "jobs"),
    [
        ("killed_after_create", [job(0, 5)]),
        ("job_killed", [job(0, 2, BAD), job(4, 6)]),
        ("cleared_after_success", [job(0, 2), job(4, 6)]),
    ],
)
def test_what_is_wanted_gets_no_mark(scenario: str, jobs: list[Job]) -> None:
    assert marks(scenario, "success", 10, *jobs) == ""


def test_a_job_that_was_stopped_in_time_gets_no_mark() -> None:
    assert marks("marked_failed", "failed", 2, job(0, 30, "Stopped")) == ""


def test_a_task_that_does_not_wait_may_be_over_before_its_job() -> None:
    assert marks("killed_after_create", "success", 2, job(0, 5), way="none") == ""


def test_two_jobs_at_once_or_one_success_too_many_are_duplicates() -> None:
    assert marks("killed_while_polling", "success", 20, job(0, 9), job(5, 14, BAD)) == "D"
    assert marks("killed_after_success", "success", 20, job(0, 2), job(5, 7)) == "D"


def test_a_job_that_ran_on_is_an_orphan() -> None:
    assert marks("marked_failed", "failed", 2, job(0, None)) == "O"
    assert marks("marked_failed", "failed", 2, job(0, 50)) == "O"
    assert marks("answer_lost", "failed", 2, job(0, 9)) == "OF"


def test_green_without_a_job_that_succeeded_is_a_false_success() -> None:
    assert marks("job_killed", "success", 9, job(0, 2, BAD)) == "S"
    assert marks("killed_after_create", "success", 9, way="none") == "S"
    assert marks("cleared_after_success", "success", 9, job(0, 2)) == "S"
    assert marks("killed_while_polling", "success", 2, job(0, 9)) == "OS"


def test_red_where_green_was_possible_is_a_false_failure() -> None:
    assert marks("throttled", "failed", 9) == "F"
    assert marks("task_timed_out", "failed", 9, job(0, 5, "Stopped")) == ""


def test_a_task_without_an_end_hangs_and_its_job_is_no_orphan() -> None:
    assert marks("task_timed_out", "deferred", None, job(0, None)) == "H"


def test_a_clear_that_started_nothing_is_told() -> None:
    assert marks("cleared_while_waiting", "failed", 9, job(0, 10, "Stopped")) == "N"
    assert marks("cleared_while_waiting", "failed", 9, job(0, 3, "Stopped"), job(4, 10, "Stopped")) == ""


def test_a_deleted_run_has_no_task_that_could_hang() -> None:
    assert marks("run_deleted", "deferred", None, job(0, 5, "Stopped")) == ""
    assert marks("run_deleted", "deferred", None, job(0, None)) == "O"


def test_the_table_holds_a_letter_for_each_way_of_waiting_unless_all_are_alike() -> None:
    found = [("marked_failed", "blocking", ["O"]), ("marked_failed", "deferred", ["D", "O"]), ("answer_lost", "none", []),
             ("answer_lost", "blocking", [])]  # fmt: skip
    results = [Result(Case(name, "training", way, "provider"), "success", 1, marks=letters) for name, way, letters in found]
    assert table(results, "provider").splitlines() == [
        "| fault (ways of waiting)              | training |",
        "| ------------------------------------ | -------- |",
        "| answer lost (none/blocking/deferred) | ·        |",
        "| marked failed (blocking/deferred)    | O/DO     |",
    ]
    assert summary(results, "provider") == "provider: 2 of 4 cases as they should be; duplicate 1, orphan 2"
