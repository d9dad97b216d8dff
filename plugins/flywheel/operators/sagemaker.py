"""SageMaker jobs: training, tuning, processing, batch transform; requests are built from the spec's compute blocks.

The provider's SageMaker operators take one untyped ``config`` dict, are not resumable, make a new job name on every retry and
report a failed deferred transform as a success (apache/airflow PR #69042); so these build on :class:`JobOperator` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from flywheel.core.specs import CategoricalRange, Compute, Tuning
from flywheel.hooks.jobs import Identity
from flywheel.operators.job import JobFailed, JobOperator
from flywheel.settings import image_uri, settings

CONTENT_TYPE, PARQUET = "text/csv", "application/x-parquet"
#: A file of a transform job is one request. SageMaker takes up to 100 MB; Redshift unloads files of at most 16.
LARGEST_FILE_MB = 64
CHECKPOINTS = "/opt/ml/checkpoints"


class SageMakerJobOperator(JobOperator):
    """What the four have in common: AWS takes a job's name once.

    :param framework: framework of the container, key of ``images.json``
    :param compute: machines and limits, from the spec
    """

    def __init__(self, *, framework: str, compute: Compute, **kwargs: Any):
        super().__init__(**kwargs)
        self.framework, self.compute = framework, compute

    @property
    def name_key(self) -> str:
        """The identity's one key, e.g. ``TrainingJobName``."""
        return self.job_kind.status.removesuffix("Status") + "Name"

    def image(self) -> str:
        """URI of the framework's container in this region."""
        return image_uri(self.framework, self.region_name or settings().region)

    def create(self, call: Callable[..., Any], request: dict[str, Any]) -> Identity:
        """Creates the job. One that exists under this name is the one wanted: the answer that said so was lost."""
        try:
            call(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceInUse":
                raise
            self.log.warning("%s exists already: an earlier call for it got through, its answer did not", request[self.name_key])
        return {self.name_key: request[self.name_key]}


class TrainOperator(SageMakerJobOperator):
    """Trains a model in script mode (API: ``CreateTrainingJob``).

    Hyperparameters of the container contract (``sagemaker_program``, ``sagemaker_submit_directory``) are added here. Managed
    spot training and checkpoints are asked for as the compute block says.

    :param script: folder of ``include/scripts/sagemaker`` that holds ``train.py`` and ``inference.py``
    :param channels: ``{channel: S3 prefix}`` (templated)
    :param hyperparameters: the script's own (templated)
    :param output_uri: S3 prefix for ``<job name>/output/model.tar.gz`` (templated)
    :param metrics: ``{metric name: regular expression}`` over the log
    Returns ``{"job", "model_data", "image", "metrics": {name: value}, "billable_seconds"}``.
    """

    kind = "training"
    template_fields: Sequence[str] = (*JobOperator.template_fields, "channels", "hyperparameters", "output_uri")

    def __init__(
        self,
        *,
        script: str,
        channels: Mapping[str, str],
        hyperparameters: Mapping[str, Any],
        output_uri: str,
        metrics: Mapping[str, str] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.script, self.channels, self.hyperparameters, self.output_uri = (
            script,
            dict(channels),
            dict(hyperparameters),
            output_uri,
        )
        self.metrics = dict(metrics or {})

    def request(self, name: str) -> dict[str, Any]:
        """The whole request for a job of this name."""
        source = f"{settings().artifacts}/{self.script}.tar.gz"
        stopping = {"MaxRuntimeInSeconds": self.compute.max_runtime_seconds}
        request: dict[str, Any] = {
            "TrainingJobName": name,
            "AlgorithmSpecification": {
                "TrainingImage": self.image(),
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": key, "Regex": regex} for key, regex in self.metrics.items()],
            },
            "RoleArn": settings().role_arn,
            "HyperParameters": {
                **{key: _text(value) for key, value in self.hyperparameters.items()},
                "sagemaker_program": "train.py",
                "sagemaker_submit_directory": source,
                "sagemaker_region": self.region_name or settings().region,
            },
            "InputDataConfig": [
                {"ChannelName": channel, "DataSource": {"S3DataSource": _s3_prefix(uri)}, "InputMode": "File"}
                for channel, uri in self.channels.items()
            ],
            "OutputDataConfig": {"S3OutputPath": self.output_uri},
            "ResourceConfig": _machines(self.compute),
            "StoppingCondition": stopping,
        }
        if self.compute.spot:
            request["EnableManagedSpotTraining"] = True
            stopping["MaxWaitTimeInSeconds"] = self.compute.spot.max_wait_seconds
        if self.compute.checkpoints:
            # Beside the task's output, not below the job's name: the next attempt resumes from it.
            request["CheckpointConfig"] = {"S3Uri": f"{self.output_uri}/checkpoints", "LocalPath": CHECKPOINTS}
            request["HyperParameters"]["checkpoint_dir"] = CHECKPOINTS
        return request

    def start(self, client: Any, name: str) -> Identity:
        """Creates the job; its name is its idempotency."""
        settings().need("bucket", "role_arn")
        return self.create(client.create_training_job, self.request(name))

    def result(self, client: Any, identity: Identity, description: Mapping[str, Any]) -> Any:
        """What the next tasks need to know of the trained model.

        :raises JobFailed: the script ended well but left no model
        """
        model_data = description.get("ModelArtifacts", {}).get("S3ModelArtifacts")
        if not model_data:
            raise JobFailed(
                f"training job {description['TrainingJobName']} completed without a model: train.py has to write to SM_MODEL_DIR"
            )
        return {
            "job": description["TrainingJobName"],
            "model_data": model_data,
            "image": description["AlgorithmSpecification"]["TrainingImage"],
            "metrics": {m["MetricName"]: m["Value"] for m in description.get("FinalMetricDataList", [])},
            "billable_seconds": description.get("BillableTimeInSeconds"),
        }


class TuneOperator(TrainOperator):
    """Searches for hyperparameters (API: ``CreateHyperParameterTuningJob``); the best training job is the result.

    Instead of the provider's SageMakerTuningOperator, which takes one untyped ``config``, starts a second search on every retry
    and leaves the first one running.

    :param tuning: what is searched, and within which limits
    Returns what :class:`TrainOperator` returns of the best training job, with ``"tuning_job"``, ``"hyperparameters"`` (those
    that were searched) and ``"objective"`` besides.
    """

    kind = "tuning"

    def __init__(self, *, tuning: Tuning, **kwargs: Any):
        super().__init__(**kwargs)
        self.tuning = tuning

    def request(self, name: str) -> dict[str, Any]:
        """The whole request for a search of this name."""
        definition = super().request(name)
        del definition["TrainingJobName"]
        static = definition.pop("HyperParameters")
        searched = self.tuning.ranges
        return {
            self.name_key: name,
            "HyperParameterTuningJobConfig": {
                "Strategy": self.tuning.strategy.title(),
                "HyperParameterTuningJobObjective": {"Type": self.tuning.goal.title(), "MetricName": self.tuning.metric},
                "ResourceLimits": {
                    "MaxNumberOfTrainingJobs": self.tuning.max_jobs,
                    "MaxParallelTrainingJobs": self.tuning.parallel_jobs,
                },
                "ParameterRanges": _ranges(self.tuning),
                "TrainingJobEarlyStoppingType": "Auto" if self.tuning.early_stopping else "Off",
                **({"RandomSeed": self.tuning.seed} if self.tuning.seed is not None else {}),
            },
            "TrainingJobDefinition": {
                **definition,
                "StaticHyperParameters": {key: value for key, value in static.items() if key not in searched},
            },
        }

    def start(self, client: Any, name: str) -> Identity:
        """Creates the search; its name is its idempotency."""
        settings().need("bucket", "role_arn")
        return self.create(client.create_hyper_parameter_tuning_job, self.request(name))

    def result(self, client: Any, identity: Identity, description: Mapping[str, Any]) -> Any:
        """The best training job.

        :raises JobFailed: no training job gave the metric that was searched for
        """
        best = description.get("BestTrainingJob")
        if not best:
            raise JobFailed(f"{identity[self.name_key]}: no training job reported {self.tuning.metric}; see the jobs' logs")
        trained = client.describe_training_job(TrainingJobName=best["TrainingJobName"])
        return {
            **super().result(client, identity, trained),
            "tuning_job": identity[self.name_key],
            "hyperparameters": best["TunedHyperParameters"],
            "objective": best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"],
        }


class ProcessOperator(SageMakerJobOperator):
    """Runs a script of ``include/scripts/sagemaker`` as a processing job (API: ``CreateProcessingJob``).

    :param script: file name of the script
    :param arguments: its command line (templated)
    :param inputs: ``{name: S3 prefix or object}``, found at ``/opt/ml/processing/input/<name>``; empty ones
        are left out (templated)
    :param output_uri: S3 prefix that gets ``/opt/ml/processing/output`` when the job ends (templated)
    """

    kind = "processing"
    template_fields: Sequence[str] = (*JobOperator.template_fields, "arguments", "inputs", "output_uri")

    def __init__(self, *, script: str, arguments: Sequence[str] = (), inputs: Mapping[str, str], output_uri: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.script, self.arguments, self.inputs, self.output_uri = script, list(arguments), dict(inputs), output_uri

    def request(self, name: str) -> dict[str, Any]:
        """The whole request for a job of this name."""
        artifacts = settings().artifacts
        root = "/opt/ml/processing"
        inputs = {
            "code": f"{artifacts}/scripts/sagemaker/{self.script}",
            "core": f"{artifacts}/flywheel_core.zip",
            **self.inputs,
        }
        return {
            "ProcessingJobName": name,
            "AppSpecification": {
                "ImageUri": self.image(),
                "ContainerEntrypoint": ["python3", f"{root}/input/code/{self.script}"],
                **({"ContainerArguments": self.arguments} if self.arguments else {}),
            },
            "Environment": {"PYTHONPATH": f"{root}/input/core/flywheel_core.zip"},
            "RoleArn": settings().role_arn,
            "ProcessingInputs": [
                {
                    "InputName": key,
                    "S3Input": {
                        "S3Uri": uri,
                        "LocalPath": f"{root}/input/{key}",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                        "S3DataDistributionType": "FullyReplicated",
                    },
                }
                for key, uri in inputs.items()
                if uri
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "output",
                        "S3Output": {
                            "S3Uri": self.output_uri,
                            "LocalPath": f"{root}/output",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ]
            },
            "ProcessingResources": {"ClusterConfig": _machines(self.compute)},
            "StoppingCondition": {"MaxRuntimeInSeconds": self.compute.max_runtime_seconds},
        }

    def start(self, client: Any, name: str) -> Identity:
        """Creates the job; its name is its idempotency."""
        settings().need("bucket", "role_arn")
        return self.create(client.create_processing_job, self.request(name))

    def result(self, client: Any, identity: Identity, description: Mapping[str, Any]) -> Any:
        """The job's name and where its output lies."""
        return {"job": identity["ProcessingJobName"], "output": self.output_uri}


class TransformOperator(SageMakerJobOperator):
    """Scores Parquet files with a registered model (API: ``CreateModel`` if need be, ``CreateTransformJob``).

    Each file goes to the model whole, as the bytes that the features are, and becomes lines of an entity's id and its score. So
    the files must be of moderate size: as small as :data:`LARGEST_FILE_MB`.

    :param model_name: name of the model to score with, made when there is none (templated)
    :param model_package_arn: the registered version that it is made from (templated)
    :param input_uri: S3 prefix of the Parquet files (templated)
    :param output_uri: S3 prefix for ``<file>.out`` (templated)
    """

    kind = "transform"
    template_fields: Sequence[str] = (
        *JobOperator.template_fields,
        "model_name",
        "model_package_arn",
        "input_uri",
        "output_uri",
    )

    def __init__(self, *, model_name: str, model_package_arn: str, input_uri: str, output_uri: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.model_name, self.model_package_arn, self.input_uri, self.output_uri = (
            model_name,
            model_package_arn,
            input_uri,
            output_uri,
        )

    def request(self, name: str) -> dict[str, Any]:
        """The whole request for a job of this name."""
        return {
            "TransformJobName": name,
            "ModelName": self.model_name,
            "BatchStrategy": "SingleRecord",
            "MaxPayloadInMB": LARGEST_FILE_MB,
            "MaxConcurrentTransforms": 1,
            "TransformInput": {
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": self.input_uri}},
                "ContentType": PARQUET,
                "SplitType": "None",
            },
            "TransformOutput": {"S3OutputPath": self.output_uri, "Accept": CONTENT_TYPE, "AssembleWith": "None"},
            "TransformResources": {
                "InstanceType": self.compute.instance_type,
                "InstanceCount": self.compute.instance_count,
            },
        }

    def start(self, client: Any, name: str) -> Identity:
        """Makes sure that the model exists (its name holds the package's version, so it is the same model), starts the job."""
        settings().need("bucket", "role_arn")
        if not self._model_exists(client):
            try:
                client.create_model(
                    ModelName=self.model_name,
                    ExecutionRoleArn=settings().role_arn,
                    Containers=[{"ModelPackageName": self.model_package_arn}],
                )
            except ClientError:
                # Another run was quicker, or an earlier call got through and its answer did not.
                if not self._model_exists(client):
                    raise
        return self.create(client.create_transform_job, self.request(name))

    def _model_exists(self, client: Any) -> bool:
        try:
            client.describe_model(ModelName=self.model_name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("ValidationException", "ResourceNotFound"):
                raise
            return False
        return True

    def result(self, client: Any, identity: Identity, description: Mapping[str, Any]) -> Any:
        """The job's name and where its output lies."""
        return {"job": identity["TransformJobName"], "output": self.output_uri}


def _ranges(tuning: Tuning) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for name, searched in tuning.ranges.items():
        if isinstance(searched, CategoricalRange):
            values: dict[str, Any] = {"Values": [_text(value) for value in searched.values]}
        else:
            scaling = "".join(part.title() for part in searched.scaling.split("_"))
            values = {"MinValue": _text(searched.min), "MaxValue": _text(searched.max), "ScalingType": scaling}
        found.setdefault(f"{searched.type.title()}ParameterRanges", []).append({"Name": name, **values})
    return found


def _text(value: Any) -> str:
    """A hyperparameter as SageMaker wants it: everything is text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _s3_prefix(uri: str) -> dict[str, str]:
    return {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}


def _machines(compute: Compute) -> dict[str, Any]:
    return {
        "InstanceType": compute.instance_type,
        "InstanceCount": compute.instance_count,
        "VolumeSizeInGB": compute.volume_gb,
    }
