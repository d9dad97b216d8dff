"""The days of a run, and the events that Airflow leaves out."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowSkipException

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
    """A run with one source."""
    context: dict[str, Any] = {
        "params": params,
        "triggering_asset_events": {SOURCE: triggering} if triggering else {},
        "inlet_events": {SOURCE: Inlets(all_events)},
    }
    return ResolveDaysOperator(task_id="resolve_days", sources=[SOURCE]).execute(context)  # type: ignore[arg-type]


def test_events_that_came_while_another_run_was_active_are_taken_along() -> None:
    earlier, told, untold = event(1, "2013-06-01"), event(5, "2013-06-03"), event(6, "2013-06-02")
    assert resolve({}, [told], [earlier, told, untold]) == {"start": "2013-06-02", "end": "2013-06-03"}


def test_params_go_first() -> None:
    asked = {"start": "2013-01-01", "end": "2013-01-31"}
    assert resolve(asked, [], [event(1, "2013-06-01")]) == asked


V1, V2 = (Asset(name=f"features/test_v{version}", uri=f"flywheel://features/test_v{version}") for version in (1, 2))


def resolve_version(
    triggering: dict[Asset, list[SimpleNamespace]], of_v1: list[SimpleNamespace], only: str = V1.name, **params: str
) -> dict[str, str]:
    """A run after features of two versions, for a champion of one of them."""
    context: dict[str, Any] = {
        "params": params,
        "triggering_asset_events": triggering,
        "inlet_events": {V1: Inlets(of_v1), V2: Inlets([event for events in triggering.values() for event in events])},
    }
    operator = ResolveDaysOperator(task_id="resolve_days", sources=[V1, V2], only=only)
    return operator.execute(context)  # type: ignore[arg-type]


def test_only_events_of_the_champions_version_count() -> None:
    mine, other = event(1, "2013-06-01"), event(2, "2013-03-01")
    assert resolve_version({V1: [mine], V2: [other]}, [mine]) == {"start": "2013-06-01", "end": "2013-06-01"}


def test_a_run_that_only_another_version_has_triggered_is_skipped_with_a_sentence() -> None:
    said = r"nothing to do: this run was triggered by features/test_v2; events of features/test_v1 count"
    with pytest.raises(AirflowSkipException, match=said):
        resolve_version({V2: [event(2, "2013-03-01")]}, [event(1, "2013-06-01")])


def test_an_event_that_queued_under_one_of_another_version_is_not_lost() -> None:
    untold = event(6, "2013-06-02")
    assert resolve_version({V2: [event(5, "2013-03-01")]}, [event(1, "2013-06-01"), untold]) == {
        "start": "2013-06-02",
        "end": "2013-06-02",
    }


def test_a_person_who_asks_for_days_gets_them_whichever_version_counts() -> None:
    assert resolve_version({}, [], start="2013-01-01", end="2013-01-02") == {"start": "2013-01-01", "end": "2013-01-02"}


def test_a_version_whose_features_are_no_source_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected one of features/test_v1, features/test_v2, found 'features/test_v3'"):
        resolve_version({V1: [event(1, "2013-06-01")]}, [], only="features/test_v3")


@pytest.mark.parametrize("days", [{"start": "2013-02-01"}, {}])
def test_without_days_it_fails(days: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"found start without end|to take its days from"):
        resolve(days, [], [])
