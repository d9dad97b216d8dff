"""What a training job's log tells of its metrics."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from moto.logs.models import logs_backends

from localaws import ACCOUNT_ID, REGION


def logged(group: str, stream: str, start: int = 0) -> list[tuple[datetime, str]]:
    """What a job has written to its log stream so far, with the time of each line.

    :param start: leave out so many lines at the beginning
    """
    found = logs_backends[ACCOUNT_ID][REGION].groups.get(group)
    if found is None or stream not in found.streams:
        return []
    events = found.streams[stream].events[start:]
    return [(datetime.fromtimestamp(event.timestamp / 1000, UTC), event.message) for event in events]


def metric_values(pattern: re.Pattern[str], line: str) -> Iterator[float]:
    """The finite numbers that a metric's regular expression captures in a line of the log."""
    for match in pattern.finditer(line):
        if (value := _number(match[1])) is not None:
            yield value


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
