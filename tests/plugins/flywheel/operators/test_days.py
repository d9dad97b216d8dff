"""The days of a run, and the events that Airflow leaves out."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset

from flywheel.operators.days import ResolveDaysOperator

SOURCE = Asset(name="processed/test", uri="flywheel://processed/test")


class Inlets:
    """Asset events as Airflow's accessor gives them: those after a time."""

    def __init__(self, events: list[SimpleNamespace]):
        self.events = events

    def after(self, timestamp: str) -> list[SimpleNamespace]:
        return [event for event in self.events if event.timestamp > datetime.fromisoformat(timestamp)]


def event(second: int, day: str) -> SimpleNamespace:
    return SimpleNamespace(timestamp=datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC), extra={"start": day, "end": day})


def resolve(params: dict[str, Any], triggering: list[SimpleNamespace], all_events: list[SimpleNamespace]) -> dict[str, str]:
    context: dict[str, Any] = {
        "params": params,
        "triggering_asset_events": {SOURCE: triggering} if triggering else {},
        "inlet_events": {SOURCE: Inlets(all_events)},
    }
    return ResolveDaysOperator(task_id="resolve_days", source=SOURCE).execute(context)  # type: ignore[arg-type]


def test_events_that_came_while_another_run_was_active_are_taken_along() -> None:
    earlier, told, untold = event(1, "2013-06-01"), event(5, "2013-06-03"), event(6, "2013-06-02")
    assert resolve({}, [told], [earlier, told, untold]) == {"start": "2013-06-02", "end": "2013-06-03"}


def test_params_go_first() -> None:
    asked = {"start": "2013-01-01", "end": "2013-01-31"}
    assert resolve(asked, [], [event(1, "2013-06-01")]) == asked


@pytest.mark.parametrize("days", [{"start": "2013-02-01"}, {}])
def test_without_days_it_fails(days: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"found start without end|to take its days from"):
        resolve(days, [], [])
