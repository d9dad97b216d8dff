"""The sensors' three answers, from decisions in the local Redshift (accuracy's: tests of its measuring)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from flywheel.operators.redshift import RedshiftStatementsOperator
from flywheel.sensors.drift import CannotTell, PsiDriftSensor

SQL = Path(__file__).parents[4] / "include" / "sql" / "monitoring"
Run = Callable[[Any], Any]
PERIOD = {"start": "2013-04-01", "end": "2013-04-28"}


def measured(run: Run, model: str, table: str, values: list[str]) -> None:
    """Writes measurements of version 1 of a model for the period."""
    rows = ", ".join(f"('{model}', 1, '2013-04-01', '2013-04-28', {row}, 'key')" for row in values)
    run(RedshiftStatementsOperator(task_id=f"measured_{model}", sql=[f"INSERT INTO monitoring.{table} VALUES {rows}"]))


def psi_sensor(model: str, **options: Any) -> PsiDriftSensor:
    sensor = PsiDriftSensor(task_id=f"psi_{model}", model=model, model_version="1", **PERIOD, **options)
    sensor.sql = (SQL / "select_drift_decision.sql").read_text()  # Airflow reads it when it loads the DAG
    return sensor


@pytest.mark.parametrize("level", ["retrain", "alert"])
def test_drift_that_wants_a_retraining_or_a_person_is_a_breach_with_its_reason(
    aws: Any, runner: Any, run: Run, level: str
) -> None:
    measured(
        run,
        f"psi_{level}",
        "drift_decisions",
        [f"'{level}', 'carrier shift, seats unit', 'seats', 'carrier has shifted: PSI 0.31 over 0.20'"],
    )
    reason = runner.run(psi_sensor(f"psi_{level}"))
    assert reason.startswith("carrier has shifted: PSI 0.31 over 0.20; 2013-04-01 to 2013-04-28")
    assert runner.ti.xcom == runner.ti.xcom | {
        "reason": reason, "level": level, "held_by": "seats", "causes": ["carrier shift", "seats unit"],
    }  # fmt: skip


@pytest.mark.parametrize("level", ["none", "note"])
def test_a_note_is_no_breach_unless_asked_for(aws: Any, runner: Any, run: Run, level: str) -> None:
    measured(run, f"psi_{level}", "drift_decisions", [f"'{level}', 'temp shift', '', 'temp has shifted (context)'"])
    with pytest.raises(AirflowSkipException, match="temp has shifted"):
        runner.run(psi_sensor(f"psi_{level}"))
    assert "reason" not in runner.ti.xcom
    if level == "note":
        assert "temp" in run(psi_sensor("psi_note", levels=["note"]))


def test_drift_that_was_not_measured_is_no_all_clear(aws: Any, run: Run) -> None:
    with pytest.raises(CannotTell, match="nothing was measured"):
        run(psi_sensor("psi_nothing"))
    measured(run, "psi_few", "drift_decisions", ["'unknown', '', '', 'cannot tell: too few independent rows to judge carrier'"])
    with pytest.raises(CannotTell, match="too few independent rows to judge carrier"):
        run(psi_sensor("psi_few"))
