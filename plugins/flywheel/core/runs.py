"""Which days a run covers, and the one name that a run carries everywhere.

A window is a pair of calendar days, both inclusive. A run takes it from, in this order: its params ``start`` and ``end``; the
asset events that triggered it (the days from the first to the last that they name); its data interval.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from flywheel.core.errors import WindowError


@dataclass(frozen=True)
class Window:
    """The days ``start`` to ``end``, both inclusive.

    :raises WindowError: when start lies after end
    """

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.start > self.end:
            raise WindowError(f"window: expected start <= end, found start {self.start} after end {self.end}")

    @property
    def days(self) -> int:
        """Number of days covered."""
        return (self.end - self.start).days + 1

    def shift(self, days: int) -> Window:
        """The window moved by ``days`` (negative: into the past)."""
        return Window(self.start + timedelta(days=days), self.end + timedelta(days=days))

    def year_before(self) -> Window:
        """The same days of the week of the same weeks a year before."""
        return self.shift(-52 * 7)

    def last(self, days: int) -> Window:
        """The trailing ``days`` that end where this window ends."""
        return Window(self.end - timedelta(days=days - 1), self.end)

    def weeks(self) -> list[Window]:
        """The ISO weeks (Monday to Sunday) that lie wholly inside, oldest first."""
        monday = self.start + timedelta(days=-self.start.weekday() % 7)
        weeks = []
        while monday + timedelta(days=6) <= self.end:
            weeks.append(Window(monday, monday + timedelta(days=6)))
            monday += timedelta(days=7)
        return weeks

    def as_dict(self) -> dict[str, str]:
        """``{"start": "YYYY-MM-DD", "end": "YYYY-MM-DD"}``, as asset events and XCom carry it."""
        return {"start": self.start.isoformat(), "end": self.end.isoformat()}


def parse_day(value: object, name: str) -> date:
    """A day from ``YYYY-MM-DD`` (or a date, or a datetime's date).

    :raises WindowError: naming ``name`` when it is none
    """
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise WindowError(f"{name}: expected a day as YYYY-MM-DD, found {value!r}") from None


def resolve_window(
    params: Mapping[str, object],
    asset_extras: Iterable[Mapping[str, object]],
    interval: tuple[datetime | None, datetime | None],
) -> Window:
    """The window of a run; see the module's docstring for the order.

    :param params: the run's params; ``start`` and ``end`` count, together or not at all
    :param asset_extras: ``extra`` of each asset event that triggered the run
    :param interval: data interval; its days are those that ended in it: a daily one from 6 to 6 o'clock has one, the first;
        one too short for any day stands for the last day that had ended
    :raises WindowError: only one of start and end given, or nothing gives a date
    """
    start, end = params.get("start"), params.get("end")
    if start and end:
        return Window(parse_day(start, "param start"), parse_day(end, "param end"))
    if start or end:
        given, missing = ("start", "end") if start else ("end", "start")
        raise WindowError(f"params: expected start and end together, found {given} without {missing}")
    windows = [Window(parse_day(e["start"], "asset start"), parse_day(e["end"], "asset end")) for e in asset_extras if e]
    if windows:
        return Window(min(w.start for w in windows), max(w.end for w in windows))
    first, after = interval
    if first is None or after is None:
        raise WindowError(
            "this run has neither params start and end, nor an asset event, nor a data interval to take its days from"
        )
    last = after.date() - timedelta(days=1)
    return Window(min(first.date(), last), last)


def slug(text: str) -> str:
    """``text`` in lower case with runs of anything but letters and digits as single dashes, for AWS resource names."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def run_key(dag_id: str, run_id: str) -> str:
    """The one name of a pipeline run: readable date and time of the run id if it has one, and a hash that makes it unique.

    The same DAG run always gives the same key, whichever process asks; it fits S3 keys, job names and tags.
    """
    stamp = "".join(re.findall(r"\d", run_id)[:14])
    digest = hashlib.sha256(f"{dag_id}/{run_id}".encode()).hexdigest()[:8]
    return f"{stamp}-{digest}" if len(stamp) >= 8 else digest


def job_prefix(dag_id: str, task_id: str, run_id: str, map_index: int, limit: int = 63) -> str:
    """What the names of all jobs of one task instance begin with; a retry can look for them.

    :param limit: longest name that AWS takes; what :func:`job_name` adds fits below it
    """
    identity = hashlib.sha256(f"{dag_id}/{run_id}/{task_id}/{map_index}".encode()).hexdigest()[:8]
    longest = limit - len(identity) - len("--zzzzzzz-99-99")
    return f"{slug(f'{dag_id}-{task_id}')[:longest].rstrip('-')}-{identity}"


def job_name(prefix: str, run_started: datetime, life: int, number: int) -> str:
    """Deterministic name of a job of a task instance.

    It does not change from try to try, only when a new job is wanted. So a create call that a dead try has sent, however late
    it gets through, and the same call of the try after it ask for one and the same job.

    :param run_started: when the DAG run began: one that is deleted and made anew, or cleared as a whole, has other jobs
    :param life: the try with which the present life of the task began: a person's *Clear* begins another
    :param number: 1 for the first job of a life, one more after each job that ended without success
    """
    return f"{prefix}-{_base36(int(run_started.timestamp()))}-{life}-{number}"


def split_job_name(name: str) -> tuple[str, int]:
    """The part of a job's name that names its life (prefix, start of the run and life), and its number.

    :raises ValueError: it is no such name
    """
    life, _, number = name.rpartition("-")
    return life, int(number)


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits
