"""# Load features

Computes a model's features from the processed partitions and loads them into Redshift.

| | |
|---|---|
| Runs | when the source's processed partitions are there (asset), or by hand with `start` and `end` |
| Reads | `processed/<dataset>/ds=…` on S3 |
| Writes | `features/<group>/v<N>/ds=…`, `labels/<group>/v<N>/ds=…` on S3; `features.<group>_v<N>`, `labels.<model>` in Redshift |
| Run again | replaces the same days, in S3 and in Redshift, and changes no others |
| On failure | Redshift keeps what it had (one transaction). Read the task's last log lines, mend, clear the task |
"""

from __future__ import annotations

from airflow.sdk import DAG, chain, dag

from flywheel.core.specs import ModelSpec
from flywheel.defaults import Stage, features_asset, model_specs, of_model, processed_asset
from flywheel.operators.days import ResolveDaysOperator
from flywheel.operators.redshift import RedshiftStatementsOperator
from flywheel.operators.spark import EmrServerlessSparkOperator


def load_features_dag(model: ModelSpec) -> DAG:
    """The DAG that computes and loads the features of one model."""

    @dag(
        f"load_features_{model.name}",
        schedule=[processed_asset(model.source)],
        doc_md=__doc__,
        **of_model(model, Stage.FEATURES),
    )
    def load_features() -> None:
        resolve_days = ResolveDaysOperator(task_id="resolve_days", source=processed_asset(model.source))

        build_features = EmrServerlessSparkOperator(
            task_id="build_features",
            script="build_features.py",
            py_files=["emr/features.zip"],
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
                "--start", "{{ window().start }}",
                "--end", "{{ window().end }}",
                "--run-key", "{{ run_key() }}",
            ],
        )  # fmt: skip

        load_redshift = RedshiftStatementsOperator(
            task_id="load_redshift",
            sql=[
                "features/create_features.sql",
                "features/create_labels.sql",
                "features/stage_features.sql",
                "features/copy_features.sql",
                "features/delete_features.sql",
                "features/insert_features.sql",
                "features/record_features.sql",
                "features/stage_labels.sql",
                "features/copy_labels.sql",
                "features/delete_labels.sql",
                "features/insert_labels.sql",
                "features/record_labels.sql",
            ],
            outlets=[features_asset(model)],
            asset_extra={"start": "{{ window().start }}", "end": "{{ window().end }}"},
        )

        chain(resolve_days, build_features, load_redshift)

    return load_features()


for model in model_specs():
    globals()[f"load_features_{model.name}"] = load_features_dag(model)
