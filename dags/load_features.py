"""# Load features

Computes a model's features from the processed partitions and loads them into Redshift, in chunks of days: one Spark job and one
transaction each.

| | |
|---|---|
| Runs | when the source's processed partitions are there (asset), or by hand with `start` and `end` |
| Reads | `processed/<dataset>` on S3 |
| Writes | `features/<group>/v<N>`, `labels/<group>/v<N>` on S3, and their tables in the Data Catalog |
| Loads | `features.<group>_v<N>`, `labels.<model>` in Redshift |
| Run again | takes days that are not built and loaded, or whose inputs have changed since; `overwrite` takes all days |
| On failure | Redshift keeps what it had of the chunk. Read the task's last log lines, mend, clear the failed chunk alone |
"""

from __future__ import annotations

from airflow.sdk import DAG, TriggerRule, chain, dag, task_group

from flywheel.core.specs import ModelSpec
from flywheel.defaults import Stage, chunk_params, contracts_by_name, features_asset, model_specs, of_model, processed_asset
from flywheel.macros import CHUNK
from flywheel.operators.chunks import PlanFeaturesOperator
from flywheel.operators.days import ResolveDaysOperator
from flywheel.operators.partitions import PublishedZone, PublishPartitionsOperator
from flywheel.operators.redshift import RedshiftStatementsOperator
from flywheel.operators.spark import EmrServerlessSparkOperator


def load_features_dag(model: ModelSpec) -> DAG:
    """The DAG that computes and loads the features of one model."""
    group = f"{model.features.group}/v{model.features.version}"
    contracts = contracts_by_name()

    @dag(
        f"load_features_{model.name}",
        schedule=[processed_asset(model.source)],
        doc_md=__doc__,
        **of_model(model, Stage.FEATURES) | {"params": chunk_params()},
    )
    def load_features() -> None:
        resolve_days = ResolveDaysOperator(task_id="resolve_days", source=processed_asset(model.source))

        plan_chunks = PlanFeaturesOperator(
            task_id="plan_chunks",
            model=model,
            datasets={name: contracts[name] for name in {*model.features.inputs, *model.features.label_inputs}},
            chunk_days=contracts[model.source].chunk_days,
            sql="features/select_loaded.sql",
            first_day="{{ window().start }}",
            last_day="{{ window().end }}",
        )

        @task_group(prefix_group_id=False)
        def chunk(days: dict[str, str]) -> None:
            """The tasks take their days from ``{{ chunk() }}``."""

            build_features = EmrServerlessSparkOperator(
                task_id="build_features",
                script="build_features.py",
                py_files=["lake.zip", "emr/features.zip"],
                arguments=[
                    "--zones-root", "s3://{{ settings.bucket }}",
                    "--group", model.features.group,
                    "--version", str(model.features.version),
                    "--module", model.features.module,
                    "--inputs", ",".join(model.features.inputs),
                    "--label-inputs", ",".join(model.features.label_inputs),
                    "--columns", ",".join(f"{name}:{column.type}" for name, column in model.features.columns.items()),
                    "--lookback-days", str(model.features.lookback_days),
                    "--label-lag-days", str(model.label.lag_days),
                    "--start", "{{ chunk().start }}",
                    "--end", "{{ chunk().end }}",
                    "--run-key", "{{ run_key() }}",
                ],
                map_index_template=CHUNK,
                max_active_tis_per_dagrun=4,
            )  # fmt: skip

            load_redshift = RedshiftStatementsOperator(
                task_id="load_redshift",
                sql=[
                    "features/lock_tables.sql",
                    "features/stage_features.sql",
                    "features/copy_features.sql",
                    "features/expect_features.sql",
                    "features/copy_expected_features.sql",
                    "features/delete_features.sql",
                    "features/insert_features.sql",
                    "features/stage_labels.sql",
                    "features/copy_labels.sql",
                    "features/expect_labels.sql",
                    "features/copy_expected_labels.sql",
                    "features/delete_labels.sql",
                    "features/insert_labels.sql",
                    "features/check_tables.sql",
                    "checks/require_checks.sql",
                    "checks/record_loads.sql",
                    "checks/record_checks.sql",
                ],
                map_index_template=CHUNK,
            )

            chain(build_features, load_redshift)

        publish_partitions = PublishPartitionsOperator(
            task_id="publish_partitions",
            job="features",
            zones=[PublishedZone(f"features/{group}"), PublishedZone(f"labels/{group}", model.label.lag_days)],
            outlets=[features_asset(model)],
            trigger_rule=TriggerRule.NONE_FAILED,
        )

        chain(resolve_days, plan_chunks, chunk.expand(days=plan_chunks.output), publish_partitions)

    return load_features()


for model in model_specs():
    globals()[f"load_features_{model.name}"] = load_features_dag(model)
