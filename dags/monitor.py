"""# Monitor

Measures drift of the features (PSI against the champion's training data) and accuracy of the predictions that were served, says
whether either is in breach, tells people once and starts the training DAG; without a breach, too, when the model has got old.

| | |
|---|---|
| Runs | when predictions are published (asset) or by the clock, as the spec says; by hand with `start` and `end` |
| Reads | `predictions.*`, `features.*` and `labels.*` of the champion's version in Redshift; its profile on S3 |
| Writes | `monitoring.*`, `monitoring/<model>/<run_key>/drift.html`, metrics, a message to people, a run of `train_<model>` |
| Run again | replaces the same periods; no retraining is started twice for them, and nobody is told twice |
| On failure | a failed sensor means *cannot tell* (no profile, too few labels): read its log; nothing is retrained on a guess |
"""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, TriggerRule, chain, dag

from flywheel.core.specs import ModelSpec
from flywheel.defaults import Stage, clock, model_specs, of_model, predictions_asset
from flywheel.operators.accuracy import MeasureAccuracyOperator
from flywheel.operators.alarm import RaiseAlarmOperator
from flywheel.operators.days import ResolveDaysOperator
from flywheel.operators.drift import PAGE, MeasureDriftOperator
from flywheel.operators.metrics import PublishMetricsOperator
from flywheel.operators.redshift import RedshiftStatementsOperator
from flywheel.operators.registry import ResolveChampionOperator
from flywheel.operators.retraining import RespectLimitsOperator, retraining_run_id
from flywheel.operators.spark import EmrServerlessSparkOperator
from flywheel.sensors.age import ModelAgeSensor
from flywheel.sensors.drift import AccuracyDriftSensor, PsiDriftSensor

#: What the sensors have found, by sensor.
BREACHES = """{
{%- for name in ('psi_drift', 'accuracy_drift') -%}
"{{ name }}": {"reason": {{ ti.xcom_pull(name, key='reason') | tojson }},
"causes": {{ (ti.xcom_pull(name, key='causes') or []) | tojson }}}{{ ',' if not loop.last }}
{%- endfor -%}
}"""

#: Why a training is wanted.
REASON = "{{ ti.xcom_pull(['psi_drift', 'accuracy_drift', 'model_age'], key='reason') | select | join('; ') }}"

#: What each breach wants, and an age.
LEVELS = (
    "{{ [ti.xcom_pull('psi_drift', key='level'), ti.xcom_pull('accuracy_drift', key='level'), "
    "'retrain' if ti.xcom_pull('model_age', key='reason') else none] | tojson }}"
)
OUTPUT = "s3://{{ settings.bucket }}/monitoring/{{ model.name }}/{{ run_key() }}"


def monitor_dag(model: ModelSpec) -> DAG:
    """The DAG that watches one model."""
    after_scoring = model.monitoring.schedule == "after_scoring"
    train_dag_id = f"train_{model.name}"

    @dag(
        f"monitor_{model.name}",
        schedule=[predictions_asset(model)] if after_scoring else clock(model.monitoring.schedule, until=model.end_date),
        doc_md=__doc__,
        **of_model(model, Stage.MONITOR),
    )
    def monitor() -> None:
        resolve_days = ResolveDaysOperator(task_id="resolve_days", sources=[predictions_asset(model)])

        resolve_champion = ResolveChampionOperator(task_id="resolve_champion", model=model)

        measured = {
            "model": model,
            "model_version": "{{ champion('version') }}",
            "periods": "{{ periods() | tojson }}",
            "output_uri": OUTPUT,
            "run_key": "{{ run_key() }}",
        }
        counted_by_spark = f"{OUTPUT}/feature_counts.json" if model.monitoring.counting == "spark" else ""
        measure_drift = MeasureDriftOperator(
            task_id="measure_drift",
            feature_counts=counted_by_spark,
            table="features.{{ features().table }}",
            context="{{ features().context() | tojson }}",
            profile="{{ champion('metadata').profile }}",
            **measured,
        )
        record_drift = RedshiftStatementsOperator(
            task_id="record_drift",
            sql=[
                "monitoring/delete_feature_drift.sql",
                "monitoring/copy_feature_drift.sql",
                "monitoring/delete_drift_decisions.sql",
                "monitoring/copy_drift_decisions.sql",
            ],
        )
        count_outcomes = RedshiftStatementsOperator(
            task_id="count_outcomes", sql=["monitoring/delete_daily_accuracy.sql", "monitoring/insert_daily_accuracy.sql"]
        )
        measure_accuracy = MeasureAccuracyOperator(
            task_id="measure_accuracy",
            baseline="{{ champion('metadata').get('baseline', '') }}",
            judged_by="{{ features().label.judged_by }}",
            **measured,
        )
        record_accuracy = RedshiftStatementsOperator(
            task_id="record_accuracy",
            sql=[
                "monitoring/delete_accuracy.sql",
                "monitoring/copy_accuracy.sql",
                "monitoring/delete_accuracy_decisions.sql",
                "monitoring/copy_accuracy_decisions.sql",
            ],
        )
        publish_metrics = PublishMetricsOperator(
            task_id="publish_metrics",
            model=model.name,
            metrics="{{ [ti.xcom_pull('measure_drift').metrics, ti.xcom_pull('measure_accuracy').metrics] | tojson }}",
        )

        judged = {
            "model": model.name,
            "model_version": "{{ champion('version') }}",
            "start": "{{ judged().start }}",
            "end": "{{ judged().end }}",
        }
        psi_drift = PsiDriftSensor(task_id="psi_drift", **judged)
        accuracy_drift = AccuracyDriftSensor(task_id="accuracy_drift", **judged)

        respect_limits = RespectLimitsOperator(
            task_id="respect_limits",
            train_dag_id=train_dag_id,
            levels=LEVELS,
            held_by="{{ ti.xcom_pull('psi_drift', key='held_by') or '' }}",
            last_trained_until="{{ champion('last_trained_until') }}",
            judged_until="{{ judged().end }}",
            cooldown_days=model.monitoring.cooldown_days,
            per_month=model.monitoring.retrainings_per_month,
            trigger_rule=TriggerRule.ALL_DONE,
        )
        start_retraining = TriggerDagRunOperator(
            task_id="start_retraining",
            trigger_dag_id=train_dag_id,
            trigger_run_id=retraining_run_id("{{ judged().end }}"),
            conf={
                "start": f"{{{{ judged().last({model.training.window_days}).start }}}}",
                "end": "{{ judged().end }}",
                "reason": REASON,
            },
            skip_when_already_exists=True,
        )
        raise_alarm = RaiseAlarmOperator(
            task_id="raise_alarm",
            model=model.name,
            model_version="{{ champion('version') }}",
            judged="{{ judged().as_dict() | tojson }}",
            breaches=BREACHES,
            retraining="{{ ti.xcom_pull('respect_limits', key='retraining') or '' }}",
            pictures=f"{OUTPUT}/{PAGE}",
            train_dag_id=train_dag_id,
            quiet_days=model.monitoring.quiet_days,
            trigger_rule=TriggerRule.ALL_DONE,
        )
        record_alarm = RedshiftStatementsOperator(
            task_id="record_alarm",
            sql=["monitoring/delete_alarms.sql", "monitoring/insert_alarms.sql"],
            parameters={
                "model": model.name,
                "model_version": "{{ champion('version') }}",
                "judged_until": "{{ judged().end }}",
                "causes": "{{ ti.xcom_pull('raise_alarm').causes | tojson }}",
                "message": "{{ ti.xcom_pull('raise_alarm').message }}",
            },
        )

        for first in (measure_drift, count_outcomes):
            chain([resolve_days, resolve_champion], first)
        if counted_by_spark:
            count_features = EmrServerlessSparkOperator(
                task_id="count_features",
                script="count_features.py",
                py_files=["lake.zip"],
                arguments=[
                    "--zones-root", "s3://{{ settings.bucket }}",
                    "--group", "{{ features().group }}",
                    "--version", "{{ features().version }}",
                    "--profile", "{{ champion('metadata').profile }}",
                    "--days", "{% for days in compared() %}{{ days.start }}:{{ days.end }}{{ ',' if not loop.last }}{% endfor %}",
                    "--output", counted_by_spark,
                ],
            )  # fmt: skip
            chain([resolve_days, resolve_champion], count_features, measure_drift)
        chain(measure_drift, record_drift, psi_drift)
        chain(count_outcomes, measure_accuracy, record_accuracy, accuracy_drift)
        chain([record_drift, record_accuracy], publish_metrics)
        # What one of them has found counts whatever the other says; that it could not tell fails the run.
        chain([psi_drift, accuracy_drift], EmptyOperator(task_id="able_to_tell", trigger_rule=TriggerRule.NONE_FAILED))
        chain([psi_drift, accuracy_drift], respect_limits, start_retraining)
        chain([psi_drift, accuracy_drift, respect_limits], raise_alarm, record_alarm)
        if model.monitoring.max_age_days is not None:
            model_age = ModelAgeSensor(
                task_id="model_age",
                last_trained_until="{{ champion('last_trained_until') }}",
                judged_until="{{ judged().end }}",
                max_age_days=model.monitoring.max_age_days,
                trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
            )
            # After the others, for what they have found may hold a retraining back.
            chain([resolve_champion, psi_drift, accuracy_drift], model_age, respect_limits)

    return monitor()


for model in model_specs():
    globals()[f"monitor_{model.name}"] = monitor_dag(model)
