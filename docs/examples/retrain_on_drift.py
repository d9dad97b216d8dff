"""Another team's retraining: their own pipeline starts when Flywheel's watch says so, at most once for any 30 days.

Runs when ``monitor_flight_delay`` is due anyway (every morning, after it); the champion's version is looked up in the registry.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, TriggerRule, chain, timezone

from flywheel.defaults import model_specs
from flywheel.macros import template_names
from flywheel.operators.registry import ResolveChampionOperator
from flywheel.operators.retraining import RespectLimitsOperator, retraining_run_id
from flywheel.sensors.drift import PsiDriftSensor
from flywheel.settings import include_dir

(MODEL,) = [model for model in model_specs() if model.name == "flight_delay"]

with DAG(
    "retrain_on_drift",
    doc_md=__doc__,
    schedule="0 7 * * *",
    catchup=False,
    start_date=timezone.datetime(2013, 1, 1),
    end_date=timezone.datetime(2013, 12, 31),
    template_searchpath=[str(include_dir() / "sql")],
    user_defined_macros=template_names(MODEL),
    default_args={"owner": "pricing", "retries": 2, "execution_timeout": timedelta(hours=1)},
):
    resolve_champion = ResolveChampionOperator(task_id="resolve_champion", model=MODEL)
    psi_drift = PsiDriftSensor(
        task_id="psi_drift",
        model=MODEL.name,
        model_version="{{ champion('version') }}",
        start="{{ judged().start }}",
        end="{{ judged().end }}",
        levels=["retrain"],
    )
    respect_limits = RespectLimitsOperator(
        task_id="respect_limits",
        train_dag_id="train_prices",
        levels="{{ [ti.xcom_pull('psi_drift', key='level')] | tojson }}",
        held_by="{{ ti.xcom_pull('psi_drift', key='held_by') }}",
        last_trained_until="{{ champion('last_trained_until') }}",
        judged_until="{{ judged().end }}",
        cooldown_days=14,
        per_month=1,
    )
    start_retraining = TriggerDagRunOperator(
        task_id="start_retraining",
        trigger_dag_id="train_prices",
        trigger_run_id=retraining_run_id("{{ judged().end }}"),
        conf={"reason": "{{ ti.xcom_pull('psi_drift', key='reason') }}"},
        skip_when_already_exists=True,
        trigger_rule=TriggerRule.ALL_SUCCESS,
    )
    chain(resolve_champion, psi_drift, respect_limits, start_retraining)
