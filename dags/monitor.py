"""# Monitor

Measures drift of the features (PSI against the champion's training data) and accuracy of the predictions that were served, says
whether either is in breach, raises the alarm and starts the training DAG; without a breach, too, when the model has got old.

| | |
|---|---|
| Runs | when predictions are published (asset) or by the clock, as the spec says; by hand with `start` and `end` |
| Reads | `predictions.*`, `features.*` and `labels.*` of the champion's version in Redshift; its profile on S3 |
| Writes | `monitoring.feature_drift`, `.drift_decisions`, `.accuracy`; a message to the alerts topic; a run of `train_<model>` |
| Run again | replaces the same periods; a retraining that was already started for them is not started twice |
| On failure | a failed sensor means *cannot tell* (no profile, too few labels): read its log; nothing is retrained on a guess |
"""

from __future__ import annotations

from airflow.providers.amazon.aws.operators.sns import SnsPublishOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, TriggerRule, chain, dag

from flywheel.core.specs import ModelSpec
from flywheel.defaults import Stage, clock, model_specs, of_model, predictions_asset
from flywheel.operators.days import ResolveDaysOperator
from flywheel.operators.drift import MeasureDriftOperator
from flywheel.operators.redshift import RedshiftStatementsOperator
from flywheel.operators.registry import ResolveChampionOperator
from flywheel.operators.retraining import RespectCooldownOperator
from flywheel.sensors.age import ModelAgeSensor
from flywheel.sensors.drift import AccuracyDriftSensor, PsiDriftSensor
from flywheel.settings import settings

#: What the sensors have found, one after the other.
REASON = "{{ ti.xcom_pull(['psi_drift', 'accuracy_drift', 'model_age'], key='reason') | select | join('; ') }}"

#: What each wants: PSI as it has decided, the others a retraining.
LEVELS = (
    "{{ [ti.xcom_pull('psi_drift', key='level'), "
    "'retrain' if ti.xcom_pull(['accuracy_drift', 'model_age'], key='reason') | select | list else none] | tojson }}"
)


def monitor_dag(model: ModelSpec) -> DAG:
    """The DAG that watches one model."""
    after_scoring = model.monitoring.schedule == "after_scoring"

    @dag(
        f"monitor_{model.name}",
        schedule=[predictions_asset(model)] if after_scoring else clock(model.monitoring.schedule, until=model.end_date),
        doc_md=__doc__,
        **of_model(model, Stage.MONITOR),
    )
    def monitor() -> None:
        resolve_days = ResolveDaysOperator(task_id="resolve_days", sources=[predictions_asset(model)])

        resolve_champion = ResolveChampionOperator(task_id="resolve_champion", model=model)

        measure_drift = MeasureDriftOperator(
            task_id="measure_drift",
            model=model,
            table="features.{{ features().table }}",
            context="{{ features().context() | tojson }}",
            model_version="{{ champion('version') }}",
            profile="{{ champion('metadata').profile }}",
            periods="{{ periods() | tojson }}",
            output_uri="s3://{{ settings.bucket }}/monitoring/{{ model.name }}/{{ run_key() }}",
            run_key="{{ run_key() }}",
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
        measure_accuracy = RedshiftStatementsOperator(
            task_id="measure_accuracy", sql=["monitoring/delete_accuracy.sql", "monitoring/insert_accuracy.sql"]
        )

        judged = {
            "start": "{{ judged().start }}",
            "end": "{{ judged().end }}",
            "model_version": "{{ champion('version') }}",
        }
        psi_drift = PsiDriftSensor(task_id="psi_drift", model=model.name, **judged)
        accuracy_drift = AccuracyDriftSensor(
            task_id="accuracy_drift",
            model=model.name,
            baseline_auc="{{ champion('metadata').auc_holdout }}",
            max_drop=model.monitoring.accuracy_drop,
            min_labels=model.monitoring.min_labels,
            min_coverage=model.monitoring.min_coverage,
            **judged,
        )

        raise_alarm = SnsPublishOperator(
            task_id="raise_alarm",
            target_arn=settings().alerts_topic_arn,
            subject=f"{model.name} has drifted",
            message=f"{REASON}\nRun {{{{ run_key() }}}} of {{{{ dag.dag_id }}}}: {{{{ ti.log_url }}}}",
            trigger_rule=TriggerRule.ONE_SUCCESS,
        )
        respect_cooldown = RespectCooldownOperator(
            task_id="respect_cooldown",
            levels=LEVELS,
            held_by="{{ ti.xcom_pull('psi_drift', key='held_by') or '' }}",
            last_trained_until="{{ champion('last_trained_until') }}",
            judged_until="{{ judged().end }}",
            cooldown_days=model.monitoring.cooldown_days,
            trigger_rule=TriggerRule.ONE_SUCCESS,
        )
        start_retraining = TriggerDagRunOperator(
            task_id="start_retraining",
            trigger_dag_id=f"train_{model.name}",
            trigger_run_id="drift__{{ judged().end }}",
            conf={
                "start": f"{{{{ judged().last({model.training.window_days}).start }}}}",
                "end": "{{ judged().end }}",
                "reason": REASON,
            },
            skip_when_already_exists=True,
        )

        for measure in (measure_drift, measure_accuracy):
            chain([resolve_days, resolve_champion], measure)
        chain(measure_drift, record_drift, psi_drift)
        chain(measure_accuracy, accuracy_drift)
        chain([psi_drift, accuracy_drift], raise_alarm, respect_cooldown, start_retraining)
        if model.monitoring.max_age_days is not None:
            model_age = ModelAgeSensor(
                task_id="model_age",
                last_trained_until="{{ champion('last_trained_until') }}",
                judged_until="{{ judged().end }}",
                max_age_days=model.monitoring.max_age_days,
                trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
            )
            # After the others, for what they have found may hold a retraining back.
            chain([resolve_champion, psi_drift, accuracy_drift], model_age, respect_cooldown)

    return monitor()


for model in model_specs():
    globals()[f"monitor_{model.name}"] = monitor_dag(model)
