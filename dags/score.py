"""# Score

Scores the entities of a window with the champion (SageMaker Batch Transform) and publishes the predictions in Redshift.

| | |
|---|---|
| Runs | when features are loaded (asset) or by the clock, as the spec says; by hand with `start` and `end` |
| Reads | the champion in the model registry; `features.<group>_v<N>` in Redshift, of the version that it was trained on |
| Writes | `predictions/<model>/<run_key>/` on S3, `predictions.<model>` in Redshift |
| Run again | replaces the champion's predictions of the same days; those of other versions stay |
| On failure | what was published stays. Clear the failed task |
| Skipped | as long as there is no champion; when only features of other versions than the champion's were loaded |
"""

from __future__ import annotations

from airflow.sdk import DAG, AssetAny, chain, dag

from flywheel.core.specs import ModelSpec
from flywheel.defaults import MARGIN, Stage, clock, features_asset, model_specs, of_model, predictions_asset
from flywheel.operators.days import ResolveDaysOperator
from flywheel.operators.redshift import RedshiftStatementsOperator
from flywheel.operators.registry import ResolveChampionOperator
from flywheel.operators.sagemaker import TransformOperator

PREDICTIONS = "s3://{{ settings.bucket }}/predictions/{{ model.name }}/{{ run_key() }}"


def score_dag(model: ModelSpec) -> DAG:
    """The DAG that scores with one model's champion."""
    after_features = model.scoring.schedule == "after_features"
    sources = [features_asset(definition) for definition in model.feature_versions.values()]

    @dag(
        f"score_{model.name}",
        schedule=AssetAny(*sources) if after_features else clock(model.scoring.schedule, until=model.end_date),
        doc_md=__doc__,
        **of_model(model, Stage.SCORE),
    )
    def score() -> None:
        resolve_champion = ResolveChampionOperator(task_id="resolve_champion", model=model, if_none="skip")

        resolve_days = ResolveDaysOperator(task_id="resolve_days", sources=sources, only="features/{{ features().table }}")

        export_features = RedshiftStatementsOperator(task_id="export_features", sql=["scoring/unload_features.sql"])

        transform_features = TransformOperator(
            task_id="transform_features",
            framework=model.training.framework,
            compute=model.scoring.compute,
            execution_timeout=model.scoring.compute.longest + MARGIN,
            model_name="{{ champion('name') }}",
            model_package_arn="{{ champion('arn') }}",
            input_uri=f"{PREDICTIONS}/input/",
            output_uri=f"{PREDICTIONS}/output/",
        )

        publish_predictions = RedshiftStatementsOperator(
            task_id="publish_predictions",
            sql=[
                "scoring/lock_predictions.sql",
                "scoring/stage_predictions.sql",
                "scoring/copy_predictions.sql",
                "scoring/delete_predictions.sql",
                "scoring/insert_predictions.sql",
                "scoring/check_predictions.sql",
                "checks/require_checks.sql",
                "checks/record_checks.sql",
            ],
            outlets=[predictions_asset(model)],
            asset_extra={"start": "{{ window().start }}", "end": "{{ window().end }}"},
        )

        chain(resolve_champion, resolve_days, export_features, transform_features, publish_predictions)

    return score()


for model in model_specs():
    globals()[f"score_{model.name}"] = score_dag(model)
