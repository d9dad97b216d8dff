"""One small DAG for each of Flywheel's job operators and each way of waiting: what the reliability tests strike at.

Param ``seconds`` is how long the job runs, ``die`` makes the first try kill itself after its success, before its XCom is
written. The DAGs ``…_limited`` have an ``execution_timeout``, the DAGs ``…_bounded`` a ``dagrun_timeout``, of some seconds.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG
from job_parts import INSERT, RUN, SECONDS, SLOW, of_dag, of_task, variants

from flywheel.core.specs import Compute, ContinuousRange, Tuning
from flywheel.operators.redshift import RedshiftStatementsOperator
from flywheel.operators.sagemaker import ProcessOperator, TrainOperator, TransformOperator, TuneOperator
from flywheel.operators.spark import EmrServerlessSparkOperator, GlueScriptOperator

COMPUTE = Compute(instance_type="ml.m5.large", max_runtime_seconds=600)
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

for kind, way, limits in variants(OPERATORS, WAYS):
    operator, arguments = OPERATORS[kind]
    with DAG(schedule=None, **of_dag("flywheel", kind, way, limits)) as dag:
        operator(**of_task(limits), **arguments, **WAYS[way])
    globals()[dag.dag_id] = dag
