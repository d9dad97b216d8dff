"""What a case of the comparison has come to: letters for what is not as it should be, a table, a summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from lab import SUCCEEDED, TASK_OVER, Case, Job, most_at_once
from test_matrix import ALL, KINDS, ONE_JOB, STOPPING, WAITING

MARKS = {
    "D": "duplicate: more jobs at once, or more successes, than wanted",
    "O": "orphan: a job ran on, with nobody waiting for it and nobody stopping it",
    "S": "false success: the task is green, but no job has succeeded for it (where it does not wait: was started for it)",
    "F": "false failure: the task is red although a retry, or patience, would have brought it to a good end",
    "N": "not anew: a Clear went on with the job that ran instead of starting another",
    "H": "hangs on: two minutes after the fault the task is not over",
    "?": "could not be played",
}
#: Seconds that jobs have to end when their task is over.
JOBS_SECONDS = 60
#: Seconds by which clocks and reports may differ.
SLACK = 1.5
#: The ways of waiting that each scenario can befall, and how many successes it wants; none: the job is to be stopped.
SCENARIOS = {
    **{scenario.__name__: (ways, 1) for scenario, ways in ONE_JOB.items()},
    "job_killed": (WAITING, 1),
    "triggerer_killed": (("deferred",), 1),
    "throttled": (ALL, 1),
    "cleared_after_success": (ALL, 2),
    "cleared_while_waiting": (WAITING, 0),
    **{scenario.__name__: (ways, 0) for scenario, ways in STOPPING.items()},
}


@dataclass
class Result:
    """What a case has come to.

    :param marks: letters of :data:`MARKS`; none: all is as it should be
    :param note: what did not come within its time, or what went wrong
    """

    case: Case
    state: str | None = None
    tries: int = 0
    jobs: list[Job] = field(default_factory=list)
    seconds: float = 0.0
    note: str = ""
    marks: list[str] = field(default_factory=list)


def judge(case: Case, state: str | None, task_end: str | None, jobs: Sequence[Job]) -> list[str]:
    """The marks of a case whose jobs have ended, or have had a minute for it.

    :param task_end: when the task was over, ISO 8601
    """
    _, wanted = SCENARIOS[case.scenario]
    ended = state in TASK_OVER or case.scenario == "run_deleted"
    over = _moment(task_end) if task_end and state in TASK_OVER else None
    good = [job for job in jobs if job.status in SUCCEEDED]
    marks = []
    if most_at_once(list(jobs)) > 1 or len(good) > max(wanted, 1):
        marks.append("D")
    if not wanted and ended and (good or any(job.ended is None for job in jobs)):
        marks.append("O")
    if wanted and over and case.way != "none" and any(_ran_on(job, over) for job in jobs):
        marks.append("O")
    if wanted and over and state == "success":
        told = jobs if case.way == "none" else [job for job in good if _moment(job.ended) <= over + SLACK]
        if len(told) < wanted:
            marks.append("S")
    if wanted and ended and state != "success":
        marks.append("F")
    if not wanted and state == "success":
        marks.append("S")
    if case.scenario == "cleared_while_waiting" and len(jobs) < 2:
        marks.append("N")
    if not ended:
        marks.append("H")
    return marks


def _ran_on(job: Job, over: float) -> bool:
    """Whether a job went on after its task was over, to its own end or for more than a minute."""
    return job.ended is None or _moment(job.ended) > over + (SLACK if job.status in SUCCEEDED else JOBS_SECONDS)


def _moment(text: str | None) -> float:
    assert text is not None
    return datetime.fromisoformat(text).timestamp()


def table(results: Sequence[Result], family: str) -> str:
    """A Markdown table of one family: faults down, kinds across, letters for each way of waiting unless all are alike."""
    found = {result.case: "".join(result.marks) or "·" for result in results}
    kinds = [kind for kind in KINDS if any(result.case.kind == kind for result in results)]
    rows = [["fault (ways of waiting)", *kinds]]
    for name, (ways, _) in SCENARIOS.items():
        cells = [[found[case] for way in ways if (case := Case(name, kind, way, family)) in found] for kind in kinds]
        if any(cells):
            label = f"{name.replace('_', ' ')} ({'/'.join(ways)})"
            rows.append([label, *(cell[0] if len(set(cell)) == 1 else "/".join(cell) for cell in cells)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows)


def summary(results: Sequence[Result], family: str) -> str:
    """One line on a family."""
    own = [result for result in results if result.case.family == family]
    counts = {mark: sum(mark in result.marks for result in own) for mark in MARKS}
    told = ", ".join(f"{MARKS[mark].partition(':')[0]} {count}" for mark, count in counts.items() if count)
    good = sum(not result.marks for result in own)
    return f"{family}: {good} of {len(own)} cases as they should be" + (f"; {told}" if told else "")


def line(result: Result) -> str:
    """One result for a reader who waits."""
    jobs = ", ".join(job.status or "still running" for job in result.jobs) or "none"
    return (
        f"{result.case.family:8} {result.case} ({result.seconds:.0f} s): {''.join(result.marks) or '·':2} "
        f"task {result.state}, tries {result.tries}, jobs {jobs}" + (f"; {result.note}" if result.note else "")
    )


def record(results: Iterable[Result]) -> list[dict[str, Any]]:
    """The results as JSON values."""
    return [
        asdict(result) | {"seconds": round(result.seconds, 1), "most_at_once": most_at_once(result.jobs)} for result in results
    ]
