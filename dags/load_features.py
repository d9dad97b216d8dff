"""# Load features

Computes a feature group from the processed partitions and loads it into Redshift, in chunks of days: one Spark job and one
transaction each. Each version of the group goes its own way (`v1.…`, `v2.…`): one that fails holds back no other.

| | |
|---|---|
| Runs | when the source's processed partitions are there (asset), or by hand with `start` and `end` |
| Reads | `processed/<dataset>` on S3 |
| Writes | `features/<group>/v<N>`, `labels/<group>/v<N>` on S3, and their tables in the Data Catalog |
| Loads | `features.<group>_v<N>`, `labels.<group>_v<N>` in Redshift |
| Run again | takes days that are not built and loaded, or whose inputs have changed since; `overwrite` takes all days |
| On failure | Redshift keeps what it had of the chunk. Read the task's last log lines, mend, clear the failed chunk alone |
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow.sdk import DAG, TriggerRule, chain, dag, task_group

from flywheel.core.features import Features
from flywheel.defaults import contracts_by_name, feature_groups, features_asset, of_group, processed_asset
from flywheel.macros import CHUNK
from flywheel.operators.chunks import PlanFeaturesOperator
from flywheel.operators.days import ResolveDaysOperator
from flywheel.operators.partitions import PublishedZone, PublishPartitionsOperator
from flywheel.operators.redshift import RedshiftStatementsOperator
from flywheel.operators.spark import EmrServerlessSparkOperator


def load_features_dag(group: str, versions: Mapping[int, Features]) -> DAG:
    """The DAG that computes and loads all versions of one feature group."""
    contracts = contracts_by_name()
    newest = versions[max(versions)]

    def load_version(definition: Features) -> None:
        """The tasks of one version, whose templates know it as ``{{ features() }}``."""
        plan_chunks = PlanFeaturesOperator(
            task_id="plan_chunks",
            definition=definition,
            datasets={name: contracts[name] for name in {*definition.inputs, *definition.label_inputs}},
            sql="features/select_loaded.sql",
            first_day="{{ window().start }}",
            last_day="{{ window().end }}",
        )

        @task_group(prefix_group_id=False)
        def chunk(days: dict[str, str]) -> None:
            """The tasks take their days from ``{{ chunk() }}``."""

            build_features = EmrServerlessSparkOperator(
                task_id=f"v{definition.version}.build_features",
                script="build_features.py",
                py_files=["lake.zip", "emr/features.zip"],
                arguments=[
                    "--zones-root", "s3://{{ settings.bucket }}",
                    "--group", definition.group,
                    "--version", str(definition.version),
                    "--module", definition.module,
                    "--inputs", ",".join(definition.inputs),
                    "--label-inputs", ",".join(definition.label_inputs),
                    "--columns", ",".join(f"{name}:{column.type}" for name, column in definition.columns.items()),
                    "--lookback-days", str(definition.lookback_days),
                    "--label-lag-days", str(definition.label.lag_days),
                    "--label-type", definition.label.type,
                    "--start", "{{ chunk().start }}",
                    "--end", "{{ chunk().end }}",
                    "--run-key", "{{ run_key() }}",
                ],
                map_index_template=CHUNK,
                max_active_tis_per_dagrun=4,
            )  # fmt: skip

            load_redshift = RedshiftStatementsOperator(
                task_id=f"v{definition.version}.load_redshift",
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
                    "checks/record_checks.sql",
                ],
                map_index_template=CHUNK,
            )

            chain(build_features, load_redshift)

        publish_partitions = PublishPartitionsOperator(
            task_id="publish_partitions",
            job=f"features-{definition.group}-v{definition.version}",
            zones=[
                PublishedZone(f"features/{definition.zone}"),
                PublishedZone(f"labels/{definition.zone}", definition.label.lag_days),
            ],
            outlets=[features_asset(definition)],
            trigger_rule=TriggerRule.NONE_FAILED,
        )

        chain(plan_chunks, chunk.expand(days=plan_chunks.output), publish_partitions)

    @dag(
        f"load_features_{group}",
        schedule=[processed_asset(newest.source)],
        doc_md=__doc__,
        **of_group(versions),
    )
    def load_features() -> None:
        resolve_days = ResolveDaysOperator(task_id="resolve_days", sources=[processed_asset(newest.source)])

        for version, definition in versions.items():
            in_version = task_group(
                group_id=f"v{version}", tooltip=definition.description, default_args={"owner": definition.owner}
            )
            chain(resolve_days, in_version(load_version)(definition))

    return load_features()


for group, versions in feature_groups().items():
    globals()[f"load_features_{group}"] = load_features_dag(group, versions)
