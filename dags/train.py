"""# Train

Trains a challenger, lets it meet the champion on a holdout that neither has seen, and promotes the better one.

| | |
|---|---|
| Runs | weekly, when monitoring asks for it (`reason` says why), or by hand with `start` and `end` |
| Reads | `features.<group>_v<N>`, `labels.<group>_v<N>` in Redshift; the champion in the registry, its version's features |
| Writes | `snapshots/`, `models/`, `evaluations/<model>/<run_key>/` on S3; a version in the model registry |
| Run again | trains on the snapshot that the run has pinned, whatever became of the tables; the registry gets no second version |
| On failure | the champion stays. Airflow's retry joins a job that still runs; clear the failed task to run its job again |
"""

from __future__ import annotations

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Param, chain, dag

from flywheel.core.specs import ModelSpec
from flywheel.defaults import MARGIN, Stage, champion_asset, clock, contracts_by_name, model_specs, of_model, window_params
from flywheel.operators.registry import (
    DecidePromotionOperator,
    RegisterChallengerOperator,
    ResolveChampionOperator,
    SettleChallengerOperator,
)
from flywheel.operators.sagemaker import ProcessOperator, TrainOperator, TuneOperator
from flywheel.operators.snapshots import PinSnapshotOperator

SNAPSHOT = "s3://{{ settings.bucket }}/snapshots/{{ model.name }}/{{ run_key() }}"
MODELS = "s3://{{ settings.bucket }}/models/{{ model.name }}/{{ run_key() }}"
EVALUATION = "s3://{{ settings.bucket }}/evaluations/{{ model.name }}/{{ run_key() }}"
#: Whether the champion was trained on other features than the challenger: it is judged with its own, on the same entities.
APART = "features().version != model.features.version"
CHALLENGER = "{{ ti.xcom_pull('register_challenger')['arn'] }}"
DECISION = "{{ ti.xcom_pull('decide_promotion', key='decision')['reason'] }}"
REASON = Param("schedule", type="string", description="Why this training was started")
#: What is read from the training's log, for each kind of label.
METRICS = {
    "class": {
        "validation:auc": r"validation-auc[=:]\s*([0-9.]+)",
        "validation:logloss": r"validation-logloss[=:]\s*([0-9.]+)",
    },
    "number": {
        "validation:rmse": r"validation-rmse[=:]\s*([0-9.]+)",
        "validation:mae": r"validation-mae[=:]\s*([0-9.]+)",
    },
}


def train_dag(model: ModelSpec) -> DAG:
    """The DAG that trains, judges and promotes one model."""
    contracts = contracts_by_name()

    @dag(
        f"train_{model.name}",
        schedule=clock(model.training.schedule, until=model.end_date),
        doc_md=__doc__,
        **of_model(model, Stage.TRAIN) | {"params": window_params() | {"reason": REASON}},
    )
    def train() -> None:
        resolve_champion = ResolveChampionOperator(task_id="resolve_champion", model=model, if_none="pass")

        pin_snapshot = PinSnapshotOperator(
            task_id="pin_snapshot",
            model=model,
            contracts={name: contracts[name] for name in (*model.features.inputs, *model.features.label_inputs)},
            snapshot=SNAPSHOT,
            sql=[
                "training/unload_train.sql",
                "training/unload_holdout.sql",
                "training/unload_holdout_champion.sql",
                "training/describe_snapshot.sql",
            ],
        )

        searched = {"tuning": model.training.tuning} if model.training.tuning else {}
        train_challenger = (TuneOperator if searched else TrainOperator)(
            task_id="train_challenger",
            **searched,
            script=model.training.script,
            framework=model.training.framework,
            compute=model.training.compute,
            execution_timeout=model.training.longest + MARGIN,
            channels={"train": f"{SNAPSHOT}/train/"},
            hyperparameters={
                **model.training.hyperparameters,
                "categorical": ",".join(model.features.names("category")),
            },
            output_uri=MODELS,
            metrics=METRICS[model.label.kind],
        )

        evaluate = ProcessOperator(
            task_id="evaluate",
            script="evaluate.py",
            arguments=[
                "--root", "/opt/ml/processing",
                "--segments", ",".join(model.monitoring.segments),
                "--label-kind", model.label.kind,
            ],
            framework=model.training.framework,
            compute=model.promotion.compute,
            execution_timeout=model.promotion.compute.longest + MARGIN,
            inputs={
                "holdout": f"{SNAPSHOT}/holdout/",
                "holdout_champion": f"{{% if {APART} %}}{SNAPSHOT}/holdout_champion/{{% endif %}}",
                "challenger": "{{ ti.xcom_pull('train_challenger')['model_data'] }}",
                "champion": "{{ ti.xcom_pull('resolve_champion')['model_data'] or '' }}",
            },
            output_uri=EVALUATION,
        )  # fmt: skip

        register_challenger = RegisterChallengerOperator(
            task_id="register_challenger",
            model=model,
            run_key="{{ run_key() }}",
            model_data="{{ ti.xcom_pull('train_challenger')['model_data'] }}",
            image="{{ ti.xcom_pull('train_challenger')['image'] }}",
            evaluation=f"{EVALUATION}/evaluation.json",
            metadata={
                "reason": "{{ params.reason }}",
                "snapshot": SNAPSHOT,
                "snapshot_hash": "{{ ti.xcom_pull('pin_snapshot')['content_hash'] }}",
                "profile": f"{EVALUATION}/profile.json",
                "baseline": f"{EVALUATION}/baseline.json",
                "training_job": "{{ ti.xcom_pull('train_challenger')['job'] }}",
                "trained_from": "{{ training().start }}",
                "trained_until": "{{ holdout().end }}",
                "feature_group": model.features.group,
                "feature_version": str(model.features.version),
            },
        )

        decide_promotion = DecidePromotionOperator(
            task_id="decide_promotion",
            model=model,
            evaluation=f"{EVALUATION}/evaluation.json",
            if_won="promote_challenger" if model.promotion.approval == "auto" else "approve_promotion",
            if_lost="reject_challenger",
        )

        promote_challenger = SettleChallengerOperator(
            task_id="promote_challenger",
            model=model,
            arn=CHALLENGER,
            status="Approved",
            reason=DECISION,
            outlets=[champion_asset(model)],
            asset_extra={
                "version": "{{ ti.xcom_pull('register_challenger')['version'] }}",
                "run_key": "{{ run_key() }}",
            },
        )
        reject_challenger = SettleChallengerOperator(
            task_id="reject_challenger", model=model, arn=CHALLENGER, status="Rejected", reason=DECISION
        )

        chain(resolve_champion, pin_snapshot, train_challenger, evaluate, register_challenger, decide_promotion)
        chain(decide_promotion, reject_challenger)
        if model.promotion.approval == "manual":
            approve_promotion = ApprovalOperator(
                task_id="approve_promotion", subject=f"Promote the challenger of {model.name}?", body=DECISION
            )
            chain(decide_promotion, approve_promotion, promote_challenger)
        else:
            chain(decide_promotion, promote_challenger)

    return train()


for model in model_specs():
    globals()[f"train_{model.name}"] = train_dag(model)
