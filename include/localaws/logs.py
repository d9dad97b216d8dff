"""moto's CloudWatch Logs, saved cheaply: jobs write thousands of lines, and the state is saved while they do.

A stream's events are packed as plain tuples, and packed anew only when the stream has grown.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from moto.logs.models import LogEvent, LogStream


def install(root: Path) -> None:
    """Make moto's log streams cheap to save. ``root`` is not used: logs have no files of their own."""
    LogStream.__getstate__ = _packed  # type: ignore[method-assign]
    LogStream.__setstate__ = _unpack  # type: ignore[attr-defined]


def _packed(stream: LogStream) -> dict[str, Any]:
    state = dict(stream.__dict__)
    events = list(state.pop("events"))
    size, packed = state.pop("_packed", (-1, b""))
    if size != len(events):
        packed = pickle.dumps([(e.ingestion_time, e.timestamp, e.message, e.event_id) for e in events], protocol=5)
        stream._packed = (len(events), packed)  # type: ignore[attr-defined]
    return state | {"_packed": (len(events), packed)}


def _unpack(stream: LogStream, state: dict[str, Any]) -> None:
    stream.__dict__.update(state)
    stream.events = []
    for ingestion_time, timestamp, message, event_id in pickle.loads(state["_packed"][1]):  # noqa: S301 - our own state
        event = LogEvent.__new__(LogEvent)
        event.ingestion_time, event.timestamp, event.message, event.event_id = (
            ingestion_time,
            timestamp,
            message,
            event_id,
        )
        stream.events.append(event)
        # Ids are counted by the class; those of new events go on from there.
        LogEvent._event_id = max(LogEvent._event_id, event_id + 1)
