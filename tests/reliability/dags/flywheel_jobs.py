"""One small DAG for each of Flywheel's job operators and each way of waiting: what the reliability tests strike at.

Param ``seconds`` is how long the job runs, ``die`` makes the first try kill itself after its success, before its XCom is
written. The DAGs ``…_limited`` have an ``execution_timeout``, the DAGs ``…_bounded`` a ``dagrun_timeout``, of five seconds.
"""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG

from flywheel.core.specs import Compute, ContinuousRange, Tuning
from flywheel.operators.redshift import RedshiftStatementsOperator
from flywheel.operators.sagemaker import ProcessOperator, TrainOperator, TransformOperator, TuneOperator
from flywheel.operators.spark import EmrServerlessSparkOperator, GlueScriptOperator
from flywheel.settings import settings

SECONDS = "{{ params.seconds }}"
RUN = "s3://{{ params.bucket }}/reliability/{{ run_id }}"
COMPUTE = Compute(instance_type="ml.m5.large", max_runtime_seconds=600)
LIMIT = timedelta(seconds=5)
#: ``rounds`` take about a second: there is no statement that sleeps.
SLOW = """
WITH RECURSIVE rounds (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM rounds WHERE n < {{ params.seconds * params.rounds }})
SELECT COUNT(*) FROM rounds
"""
INSERT = "INSERT INTO monitoring.reliability VALUES ('{{ run_id }}')"
SAGEMAKER: dict[str, Any] = {"framework": "xgboost", "compute": COMPUTE}
TRAINING = SAGEMAKER | {
    "script": "reliability",
    "channels": {"train": "s3://{{ params.bucket }}/reliability/input/2/"},
    "hyperparameters": {"seconds": SECONDS},
    "output_uri": f"{RUN}/models",
    "metrics": {"objective": "objective=([0-9.]+)"},
}
TUNING = Tuning(
    metric="objective", max_jobs=2, parallel_jobs=2, ranges={"x": ContinuousRange(type="continuous", min=0.0, max=1.0)}
)
SPOT = {"compute": Compute(**COMPUTE.model_dump(exclude={"spot"}), spot={"max_wait_seconds": 900})}
OPERATORS: dict[str, tuple[Any, dict[str, Any]]] = {
    "glue": (GlueScriptOperator, {"script": "reliability.py", "arguments": {"seconds": SECONDS}}),
    "emr_serverless": (EmrServerlessSparkOperator, {"script": "reliability.py", "arguments": ["--seconds", SECONDS]}),
    "redshift_data": (RedshiftStatementsOperator, {"sql": [SLOW, INSERT]}),
    "training": (TrainOperator, TRAINING),
    "spot": (TrainOperator, TRAINING | SPOT),
    "tuning": (TuneOperator, TRAINING | {"tuning": TUNING}),
    "processing": (
        ProcessOperator,
        SAGEMAKER | {"script": "reliability.py", "arguments": ["--seconds", SECONDS], "inputs": {}, "output_uri": f"{RUN}/out"},
    ),
    "transform": (
        TransformOperator,
        SAGEMAKER
        | {
            "model_name": "reliability",
            "model_package_arn": "{{ params.model }}",
            "input_uri": f"s3://{{{{ params.bucket }}}}/reliability/input/{SECONDS}/",
            "output_uri": f"{RUN}/out",
        },
    ),
}
WAYS: dict[str, dict[str, bool]] = {
    "none": {"wait_for_completion": False},
    "blocking": {"deferrable": False},
    "deferred": {},
}


def die_after_success(context: Any, result: Any) -> None:
    """Ends the first try as a killed worker would: the job has succeeded, and nobody has heard of it."""
    if context["params"]["die"] and context["ti"].try_number == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def job_dag(kind: str, way: str, limits: str) -> DAG:
    """The DAG of one operator and one way of waiting."""
    operator, arguments = OPERATORS[kind]
    with DAG(
        "_".join(filter(None, [f"flywheel_{kind}_{way}", limits])),
        schedule=None,
        start_date=datetime(2013, 1, 1, tzinfo=UTC),
        dagrun_timeout=LIMIT if limits == "bounded" else None,
        max_active_runs=50,
        params={"seconds": 2, "die": False, "rounds": 200_000, "bucket": settings().bucket, "model": ""},
    ) as dag:
        operator(
            task_id="job",
            retries=2,
            retry_delay=timedelta(seconds=1),
            execution_timeout=LIMIT if limits == "limited" else None,
            post_execute=die_after_success,
            **arguments,
            **WAYS[way],
        )
    return dag


for kind in OPERATORS:
    for way in WAYS:
        for limits in ("", "limited", "bounded"):
            if (kind != "spot" or not limits) and (way != "none" or not limits):
                dag = job_dag(kind, way, limits)
                globals()[dag.dag_id] = dag
