"""The DAGs of docs/examples are DAGs."""

from __future__ import annotations

from pathlib import Path

import pytest
from rendering import render

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture(scope="module")
def examples(dagbag: object) -> dict[str, object]:
    """The DAGs by id, as Airflow reads them."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(EXAMPLES))
    assert bag.import_errors == {}
    return dict(bag.dags)


def test_every_example_is_read_and_told_of(examples: dict[str, object]) -> None:
    assert sorted(examples) == sorted(path.stem for path in EXAMPLES.glob("*.py"))
    page = (EXAMPLES.parent / "sensors.md").read_text()
    assert all(f"(examples/{name}.py)" in page for name in examples)


def test_their_sensors_are_rendered(examples: dict[str, object]) -> None:
    psi = render(examples["retrain_on_drift"], "psi_drift")
    assert psi.parameters["model_version"] == "3" and "monitoring.drift_decisions" in psi.sql
    hold = render(examples["hold_report"], "accuracy_drift", params={"version": "3", "start": "2013-04-01", "end": "2013-04-28"})
    assert hold.parameters["period_end"] == "2013-04-28" and "monitoring.accuracy_decisions" in hold.sql
