"""The DAGs of ``flywheel_jobs`` with the amazon provider's own operators, for the comparison that ``compare`` plays.

They start the same jobs and are set as their documentation tells a careful user: they look every second, they cancel what
they can where an option says so, everything else is as it comes. Jobs are named by param ``token``, so that they can be
told apart afterwards; it stays the same from one try to the next, as a name of the user's does.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.amazon.aws.operators.emr import EmrServerlessStartJobOperator
from airflow.providers.amazon.aws.operators.glue import GlueJobOperator
from airflow.providers.amazon.aws.operators.redshift_data import RedshiftDataOperator
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerProcessingOperator,
    SageMakerTrainingOperator,
    SageMakerTransformOperator,
    SageMakerTuningOperator,
)
from airflow.sdk import DAG
from job_parts import INSERT, RUN, SECONDS, SLOW, of_dag, of_task, variants

from flywheel.settings import image_uri, settings

TOKEN = "{{ params.token }}"
IMAGE = image_uri("xgboost", settings().region)
MACHINES = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30}
STOPPING = {"MaxRuntimeInSeconds": 600}
CODE = "/opt/ml/processing/input/code"
INPUT = "s3://{{ params.bucket }}/reliability/input"
#: The waiters' own limit is 25, 60 or 75 looks, which at one look a second is less than the longest job here.
LOOKS = {"waiter_delay": 1, "waiter_max_attempts": 600}
HYPERPARAMETERS = {
    "seconds": SECONDS,
    "sagemaker_program": "train.py",
    "sagemaker_submit_directory": f"{settings().artifacts}/reliability.tar.gz",
    "sagemaker_region": settings().region,
}
TRAINING: dict[str, Any] = {
    "AlgorithmSpecification": {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "objective", "Regex": "objective=([0-9.]+)"}],
    },
    "RoleArn": settings().role_arn,
    "InputDataConfig": [
        {
            "ChannelName": "train",
            "DataSource": {
                "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"{INPUT}/2/", "S3DataDistributionType": "FullyReplicated"}
            },
            "InputMode": "File",
        }
    ],
    "OutputDataConfig": {"S3OutputPath": f"{RUN}/models"},
    "ResourceConfig": MACHINES,
    "StoppingCondition": STOPPING,
}
TUNING = {
    # This operator looks for no free name; with the same name every retry would be refused.
    "HyperParameterTuningJobName": f"{TOKEN}-{{{{ ti.try_number }}}}",
    "HyperParameterTuningJobConfig": {
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "objective"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
        "ParameterRanges": {
            "ContinuousParameterRanges": [{"Name": "x", "MinValue": "0.0", "MaxValue": "1.0", "ScalingType": "Auto"}]
        },
        "TrainingJobEarlyStoppingType": "Off",
    },
    "TrainingJobDefinition": TRAINING | {"StaticHyperParameters": HYPERPARAMETERS},
}
PROCESSING = {
    "ProcessingJobName": TOKEN,
    "AppSpecification": {
        "ImageUri": IMAGE,
        "ContainerEntrypoint": ["python3", f"{CODE}/reliability.py"],
        "ContainerArguments": ["--seconds", SECONDS],
    },
    "RoleArn": settings().role_arn,
    "ProcessingInputs": [
        {
            "InputName": "code",
            "S3Input": {
                "S3Uri": f"{settings().artifacts}/scripts/sagemaker/reliability.py",
                "LocalPath": CODE,
                "S3DataType": "S3Prefix",
                "S3InputMode": "File",
                "S3DataDistributionType": "FullyReplicated",
            },
        }
    ],
    "ProcessingResources": {"ClusterConfig": MACHINES},
    "StoppingCondition": STOPPING,
}
TRANSFORM = {
    "Model": {
        "ModelName": TOKEN,
        "ExecutionRoleArn": settings().role_arn,
        "Containers": [{"ModelPackageName": "{{ params.model }}"}],
    },
    "Transform": {
        "TransformJobName": TOKEN,
        "ModelName": TOKEN,
        "BatchStrategy": "MultiRecord",
        "MaxPayloadInMB": 6,
        "MaxConcurrentTransforms": 1,
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"{INPUT}/{SECONDS}/"}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        "TransformOutput": {"S3OutputPath": f"{RUN}/out", "Accept": "text/csv", "AssembleWith": "Line"},
        "DataProcessing": {"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    },
}
OPERATORS: dict[str, tuple[Any, dict[str, Any]]] = {
    "glue": (
        GlueJobOperator,
        {
            "job_name": settings().glue_job,
            "script_args": {
                "--scriptLocation": f"{settings().artifacts}/scripts/glue/reliability.py",
                "--flywheel_run_name": TOKEN,
                "--seconds": SECONDS,
            },
            "job_poll_interval": 1,
            "stop_job_run_on_kill": True,
            **LOOKS,
        },
    ),
    "emr_serverless": (
        EmrServerlessStartJobOperator,
        {
            "application_id": settings().emr_application_id,
            "execution_role_arn": settings().role_arn,
            "name": TOKEN,
            "job_driver": {
                "sparkSubmit": {
                    "entryPoint": f"{settings().artifacts}/scripts/emr/reliability.py",
                    "entryPointArguments": ["--seconds", SECONDS],
                }
            },
            **LOOKS,
        },
    ),
    "redshift_data": (
        RedshiftDataOperator,
        {
            "workgroup_name": settings().redshift_workgroup,
            "database": settings().redshift_database,
            "sql": [SLOW, INSERT],
            "statement_name": TOKEN,
            "poll_interval": 1,
        },
    ),
    "training": (
        SageMakerTrainingOperator,
        {
            "config": TRAINING | {"TrainingJobName": TOKEN, "HyperParameters": HYPERPARAMETERS},
            "check_interval": 1,
            "max_attempts": 600,
        },
    ),
    "tuning": (SageMakerTuningOperator, {"config": TUNING, "check_interval": 1}),
    "processing": (SageMakerProcessingOperator, {"config": PROCESSING, "check_interval": 1, "max_attempts": 600}),
    "transform": (SageMakerTransformOperator, {"config": TRANSFORM, "check_interval": 1, "max_attempts": 600}),
}
WAYS = {"none": {"wait_for_completion": False}, "blocking": {"deferrable": False}, "deferred": {"deferrable": True}}

for kind, way, limits in variants(OPERATORS, WAYS):
    operator, arguments = OPERATORS[kind]
    with DAG(schedule=None, **of_dag("provider", kind, way, limits)) as dag:
        operator(**of_task(limits), **arguments, **WAYS[way])
    globals()[dag.dag_id] = dag
