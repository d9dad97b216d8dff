"""A report that is only sent while its model is as good as it was: both sensors in a DAG that has nothing else of Flywheel.

The sensors read what ``monitor_<model>`` has written; champion and days come from the run's params.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param, TriggerRule, chain, timezone

from flywheel.sensors.drift import AccuracyDriftSensor, PsiDriftSensor
from flywheel.settings import include_dir

JUDGED = {
    "model": "flight_delay",
    "model_version": "{{ params.version }}",
    "start": "{{ params.start }}",
    "end": "{{ params.end }}",
}

with DAG(
    "hold_report",
    doc_md=__doc__,
    schedule=None,
    start_date=timezone.datetime(2013, 1, 1),
    params={name: Param(type="string") for name in ("version", "start", "end")},
    template_searchpath=[str(include_dir() / "sql")],
    default_args={"owner": "reports", "retries": 2, "execution_timeout": timedelta(hours=1)},
):
    # A breach succeeds, none skips, "cannot tell" fails.
    accuracy_drift = AccuracyDriftSensor(task_id="accuracy_drift", **JUDGED)
    # Broken columns and moved scores, but not the shifts that a retraining takes care of.
    psi_drift = PsiDriftSensor(task_id="psi_drift", levels=["alert"], **JUDGED)

    hold_report = EmptyOperator(task_id="hold_report", trigger_rule=TriggerRule.ONE_SUCCESS)
    send_report = EmptyOperator(task_id="send_report", trigger_rule=TriggerRule.ALL_SKIPPED)
    for sensor in (accuracy_drift, psi_drift):
        chain(sensor, [hold_report, send_report])
