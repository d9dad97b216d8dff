"""# Ingest

Takes a source's landed partitions through their contracts into the processed zone, in chunks of days: one Spark job each.

| | |
|---|---|
| Runs | daily, for the day that has just ended; by hand with `start` and `end`; as a backfill, a year in a dozen runs |
| Reads | `landing/<dataset>/ds=…` on S3, of the dataset and of those that are delivered with it |
| Writes | `processed/<dataset>` on S3, each partition whole or not at all; its table in the Data Catalog |
| Tells | the alerts topic when deliveries have changed: new columns, columns that are gone, wider types |
| Run again | takes what is missing or was delivered again, which daily runs look for too; `overwrite` takes all days |
| On failure | the log names partition, column, expected, found. Have the day delivered again, clear the failed chunk alone |
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.sdk import DAG, TriggerRule, chain, dag, task_group

from flywheel.core.contracts import Contract
from flywheel.defaults import DEFAULT_ARGS, Stage, chunk_params, clock, day, impact, processed_asset, source_contracts
from flywheel.macros import CHUNK, delivery_names, template_names
from flywheel.operators.chunks import PlanIngestOperator
from flywheel.operators.partitions import PublishedZone, PublishPartitionsOperator
from flywheel.operators.spark import GlueScriptOperator
from flywheel.settings import settings


def ingest_dag(dataset: Contract, companions: list[Contract]) -> DAG:
    """The DAG that ingests one dataset and those that are delivered with it."""
    datasets = [dataset, *companions]
    daily = [contract for contract in datasets if contract.cadence == "daily"]

    @dag(
        f"ingest_{dataset.name}",
        schedule=clock("0 6 * * *", until=dataset.last_partition, chunk_days=dataset.chunk_days),
        start_date=day(dataset.first_partition),
        catchup=False,
        max_active_runs=4,
        default_args=DEFAULT_ARGS | {"owner": dataset.owner},
        params=chunk_params(),
        tags=[Stage.INGEST, impact("tier_2")],
        doc_md=__doc__,
        user_defined_macros=template_names() | delivery_names(dataset, companions),
    )
    def ingest() -> None:
        await_landing = S3KeySensor(
            task_id="await_landing",
            bucket_name=settings().bucket,
            bucket_key=[f"{{{{ last_delivery('{contract.name}') }}}}" for contract in daily],
            wildcard_match=True,
            poke_interval=settings().poll_seconds,
            timeout=timedelta(hours=12).total_seconds(),
            deferrable=True,
        )

        plan_chunks = PlanIngestOperator(
            task_id="plan_chunks", datasets=datasets, first_day="{{ window().start }}", last_day="{{ window().end }}"
        )

        @task_group(prefix_group_id=False)
        def chunk(days: dict[str, str]) -> None:
            """The tasks take their days from ``{{ chunk() }}``."""
            GlueScriptOperator(
                task_id="ingest_partitions",
                script="ingest_dataset.py",
                arguments={
                    "zones_root": "s3://{{ settings.bucket }}",
                    "contracts": "{{ settings.artifacts }}/datasets",
                    "datasets": ",".join(contract.name for contract in datasets),
                    "start": "{{ chunk().start }}",
                    "end": "{{ chunk().end }}",
                    "run_key": "{{ run_key() }}",
                },
                map_index_template=CHUNK,
                max_active_tis_per_dag=4,  # of all runs together: as many as the Glue job runs at once
            )

        publish_partitions = PublishPartitionsOperator(
            task_id="publish_partitions",
            job="ingest",
            zones=[
                PublishedZone(f"processed/{contract.name}", contract.lag_days, contract.cadence == "once")
                for contract in datasets
            ],
            outlets=[processed_asset(dataset.name)],
            trigger_rule=TriggerRule.NONE_FAILED,
        )

        chain(await_landing, plan_chunks, chunk.expand(days=plan_chunks.output), publish_partitions)

    return ingest()


for dataset, companions in source_contracts():
    globals()[f"ingest_{dataset.name}"] = ingest_dag(dataset, companions)
