"""# Ingest

Takes a source's landed partitions through their contracts into the processed zone.

| | |
|---|---|
| Runs | daily, for the day that has just ended; by hand with `start` and `end`: any number of days is one Spark job |
| Reads | `landing/<dataset>/ds=…` on S3, of the dataset and of those that are delivered with it |
| Writes | `processed/<dataset>/ds=…` on S3, each partition whole or not at all; bad ones stay as they were |
| Run again | replaces the same partitions |
| On failure | the log names partition, file, column, expected, found. Have the day delivered again, clear the task |
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.sdk import DAG, chain, dag

from flywheel.core.contracts import Contract
from flywheel.defaults import DEFAULT_ARGS, Stage, clock, day, impact, processed_asset, source_contracts, window_params
from flywheel.macros import delivery_names, template_names
from flywheel.operators.spark import GlueScriptOperator
from flywheel.settings import settings


def ingest_dag(dataset: Contract, companions: list[Contract]) -> DAG:
    """The DAG that ingests one dataset and those that are delivered with it."""
    daily = [contract for contract in (dataset, *companions) if contract.cadence == "daily"]

    @dag(
        f"ingest_{dataset.name}",
        schedule=clock("0 6 * * *", until=dataset.last_partition),
        start_date=day(dataset.first_partition),
        catchup=False,
        max_active_runs=4,
        default_args=DEFAULT_ARGS | {"owner": dataset.owner},
        params=window_params(),
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

        ingest_partitions = GlueScriptOperator(
            task_id="ingest_partitions",
            script="ingest_dataset.py",
            arguments={
                "zones_root": "s3://{{ settings.bucket }}",
                "contracts": "{{ settings.artifacts }}/datasets",
                "datasets": ",".join(contract.name for contract in (dataset, *companions)),
                "start": "{{ window().start }}",
                "end": "{{ window().end }}",
                "run_key": "{{ run_key() }}",
            },
            outlets=[processed_asset(dataset.name)],
            asset_extra={"start": "{{ window().start }}", "end": "{{ window().end }}"},
        )

        chain(await_landing, ingest_partitions)

    return ingest()


for dataset, companions in source_contracts():
    globals()[f"ingest_{dataset.name}"] = ingest_dag(dataset, companions)
