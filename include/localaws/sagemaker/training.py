"""Training jobs: script mode in a container layout, artefacts, metrics, checkpoints, spot requests and limits."""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from localaws import objects
from localaws.sagemaker import container, jobs
from localaws.sagemaker.container import PROGRAM, SUBMIT_DIRECTORY, ContainerError
from localaws.sagemaker.folders import SyncedFolder
from localaws.sagemaker.jobs import TRAINING
from localaws.sagemaker.metrics import logged, metric_values
from localaws.sagemaker.runs import Container, JobFailed, JobRun, download
from localaws.sagemaker.state import Job, Place, invalid, refuse_unserved, unserved

OPERATION = "CreateTrainingJob"
DOWNLOAD_FAILED = "ClientError: Data download failed: "
CHECKPOINTS = "/opt/ml/checkpoints"
DAY_S = 86400

SERVED_PARAMETERS = (
    "TrainingJobName HyperParameters AlgorithmSpecification RoleArn InputDataConfig OutputDataConfig ResourceConfig "
    "VpcConfig StoppingCondition Tags EnableNetworkIsolation EnableInterContainerTrafficEncryption "
    "EnableManagedSpotTraining CheckpointConfig Environment RetryStrategy InfraCheckConfig"
).split()


def create_training_job(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Checks a request as AWS does, records the job and starts it.

    :raises SagemakerClientError: ValidationException, ResourceInUse, or UnsupportedOperation for what cannot run here
    """
    check_request(request)
    job = jobs.create(place, TRAINING, request, TrainingRun)
    return {"TrainingJobArn": job.arn}


def check_request(request: dict[str, Any]) -> None:
    """Checks what the API's model does not say.

    :raises SagemakerClientError: ValidationException, or UnsupportedOperation for what cannot run here
    """
    refuse_unserved(OPERATION, request, SERVED_PARAMETERS)
    for needed in ("AlgorithmSpecification", "ResourceConfig", "StoppingCondition"):
        if not request.get(needed):
            raise invalid(f"{needed} is required")
    _check_algorithm(request)
    _check_resources(request["ResourceConfig"])
    _check_channels(request.get("InputDataConfig") or [])
    _check_spot(request)
    _check_checkpoints(request.get("CheckpointConfig"))


def describe_training_job(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, as AWS completes it, and what happened."""
    answer = jobs.describe(place, TRAINING, request)
    job = jobs.find(place, TRAINING, request["TrainingJobName"])
    answer["StoppingCondition"] = {"MaxRuntimeInSeconds": DAY_S, **answer["StoppingCondition"]}
    for flag in ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining"):
        answer.setdefault(flag, False)
    if "CheckpointConfig" in answer:
        answer["CheckpointConfig"] = {"LocalPath": CHECKPOINTS, **answer["CheckpointConfig"]}
    answer["SecondaryStatusTransitions"] = job.transitions
    answer["SecondaryStatus"] = job.transitions[-1]["Status"]
    return answer


def list_training_jobs(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Training jobs by name, status and time."""
    refuse_unserved("ListTrainingJobs", request, LIST_PARAMETERS)
    return jobs.list_jobs(place, TRAINING, request)


def stop_training_job(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """SIGTERM to the script; what it left in the model folder is kept."""
    return jobs.stop(place, TRAINING, request)


def delete_training_job(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Forgets a job that has ended."""
    return jobs.delete(place, TRAINING, request)


LIST_PARAMETERS = (
    "NextToken MaxResults CreationTimeAfter CreationTimeBefore LastModifiedTimeAfter LastModifiedTimeBefore "
    "NameContains StatusEquals SortBy SortOrder"
).split()

OPERATIONS: dict[str, Callable[[Any, dict[str, Any]], dict[str, Any]]] = {
    "CreateTrainingJob": create_training_job,
    "DescribeTrainingJob": describe_training_job,
    "ListTrainingJobs": list_training_jobs,
    "StopTrainingJob": stop_training_job,
    "DeleteTrainingJob": delete_training_job,
}


def _check_algorithm(request: dict[str, Any]) -> None:
    algorithm = request["AlgorithmSpecification"]
    served = "TrainingImage TrainingInputMode MetricDefinitions ContainerEntrypoint ContainerArguments "
    refuse_unserved(
        OPERATION, algorithm, (served + "EnableSageMakerMetricsTimeSeries").split(), "AlgorithmSpecification"
    )
    if not algorithm.get("TrainingImage"):
        raise invalid("AlgorithmSpecification must have a TrainingImage")
    if algorithm.get("TrainingInputMode") == "Pipe":
        raise unserved(f"TrainingInputMode Pipe of sagemaker:{OPERATION}; use File or FastFile")
    for metric in algorithm.get("MetricDefinitions") or ():
        try:
            groups = re.compile(metric["Regex"]).groups
        except re.error as error:
            raise invalid(f"Invalid regular expression of metric {metric['Name']}: {error}") from error
        if groups < 1:
            raise invalid(
                f"The regular expression of metric {metric['Name']} must have a group that captures the value"
            )
    parameters = request.get("HyperParameters") or {}
    script = PROGRAM in parameters and SUBMIT_DIRECTORY in parameters
    known = container.missing_image(algorithm["TrainingImage"]) is None
    if known and not script and not algorithm.get("ContainerEntrypoint"):
        raise unserved(
            f"the built-in algorithm of {container.repository(algorithm['TrainingImage'])}: give the hyperparameters "
            f"{PROGRAM} and {SUBMIT_DIRECTORY} (script mode), or AlgorithmSpecification.ContainerEntrypoint"
        )


def _check_resources(resources: dict[str, Any]) -> None:
    served = "InstanceType InstanceCount VolumeSizeInGB VolumeKmsKeyId KeepAlivePeriodInSeconds".split()
    refuse_unserved(OPERATION, resources, served, "ResourceConfig")
    if not resources.get("InstanceType") or not resources.get("InstanceCount"):
        raise invalid("ResourceConfig must have InstanceType and InstanceCount")
    if resources["InstanceCount"] > 1:
        raise unserved(
            f"ResourceConfig.InstanceCount {resources['InstanceCount']} of sagemaker:{OPERATION}: "
            "it runs a training job on one host"
        )


def _check_channels(channels: list[dict[str, Any]]) -> None:
    names = [channel["ChannelName"] for channel in channels]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise invalid(f"Duplicate channel names found: {', '.join(repeated)}. Channel names must be unique.")
    for channel in channels:
        where = f"InputDataConfig[{channel['ChannelName']}]"
        refuse_unserved(
            OPERATION, channel, ("ChannelName", "DataSource", "ContentType", "InputMode", *_none(channel)), where
        )
        if channel.get("InputMode") == "Pipe":
            raise unserved(f"{where}.InputMode Pipe of sagemaker:{OPERATION}; use File or FastFile")
        refuse_unserved(OPERATION, channel["DataSource"], ("S3DataSource",), f"{where}.DataSource")
        source = channel["DataSource"].get("S3DataSource")
        if not source:
            raise invalid(f"{where}.DataSource must have an S3DataSource")
        served = ("S3DataType", "S3Uri", "S3DataDistributionType")
        refuse_unserved(OPERATION, source, served, f"{where}.DataSource.S3DataSource")
        if source["S3DataType"] != "S3Prefix":
            raise unserved(f"{where}: S3DataType {source['S3DataType']} of sagemaker:{OPERATION}; use S3Prefix")


def _none(channel: dict[str, Any]) -> list[str]:
    return [key for key in ("CompressionType", "RecordWrapperType") if channel.get(key) == "None"]


def _check_spot(request: dict[str, Any]) -> None:
    condition, spot = request["StoppingCondition"], request.get("EnableManagedSpotTraining")
    refuse_unserved(OPERATION, condition, ("MaxRuntimeInSeconds", "MaxWaitTimeInSeconds"), "StoppingCondition")
    wait, runtime = condition.get("MaxWaitTimeInSeconds"), condition.get("MaxRuntimeInSeconds", DAY_S)
    if wait is not None and not spot:
        raise invalid(
            "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true"
        )
    if spot and (wait is None or wait < runtime):
        raise invalid(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds"
        )


def _check_checkpoints(config: dict[str, Any] | None) -> None:
    if not config:
        return
    path = config.get("LocalPath", CHECKPOINTS).rstrip("/")
    reserved = ("/opt/ml", "/opt/ml/input", "/opt/ml/model", "/opt/ml/output", "/opt/ml/code")
    if path in reserved or path.startswith(("/opt/ml/input/", "/opt/ml/output/")):
        raise invalid(f"Invalid CheckpointConfig. LocalPath {path} is reserved by SageMaker")
    if not path.startswith("/opt/ml/"):
        raise unserved(f"CheckpointConfig.LocalPath {path} of sagemaker:{OPERATION}: it must be below /opt/ml")


class TrainingRun(JobRun):
    """Runs one training job."""

    def __init__(self, place: Place, kind: jobs.Kind, job: Job):
        super().__init__(place, kind, job)
        self.request = job.request
        self.output_uri = f"{job.request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job.name}/output"
        job.enter("Starting", "Starting the training job")

    def image(self) -> str:
        """The training image."""
        return self.request["AlgorithmSpecification"]["TrainingImage"]

    def faults_of(self, container: Container) -> dict[str, Callable[[], bool]]:
        """A spot job can be interrupted, too."""
        found = super().faults_of(container)
        if self.request.get("EnableManagedSpotTraining"):
            found["interrupt"] = lambda: self.interrupt(container)
        return found

    def work(self) -> None:
        """Downloading, Training, Uploading."""
        self.enter("Downloading", "Downloading input data")
        channels = self._download_channels()
        hyperparameters = container.decode_hyperparameters(
            self.layout.rewrite_all(self.request.get("HyperParameters") or {})
        )
        self._write_config(channels)
        checkpoints = self._checkpoints()
        self.check_stop()
        self.enter("Training", "Training image download completed. Training in progress.")
        command = self._command(hyperparameters)
        asked = self.layout.rewrite_all(self.request.get("Environment") or {})
        environment = {
            **asked,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(self.layout.code), asked.get("PYTHONPATH")])),
            **container.training_environment(
                self.layout,
                job_name=self.job.name,
                job_arn=self.job.arn,
                instance_type=self.request["ResourceConfig"]["InstanceType"],
                hyperparameters=hyperparameters,
                channels=list(channels),
                program=str(hyperparameters.get(PROGRAM, "")),
                input_config=channels,
            ),
        }
        try:
            result = self.run_process(
                command, environment, self.layout.code, checkpoints.sync_now_and_then if checkpoints else None
            )
        finally:
            if checkpoints:
                checkpoints.sync()
        self.check_interrupted()
        self._collect_metrics()
        if result.exit_code == 0 or self.stopping:
            self.enter("Uploading", "Uploading generated training model")
            self._upload_model()
        self._upload_output_data()
        self.check_stop()
        if result.exit_code != 0:
            raise JobFailed(f"AlgorithmError: {self._failure(result.last_error_lines, result.exit_code, command)}")

    def at_end(self) -> None:
        """The times: an interrupted spot job pays nothing while it waits for another instance."""
        if self.job.started and self.job.ended:
            seconds = (self.job.ended - self.job.started).total_seconds()
            self.job.results["TrainingTimeInSeconds"] = max(1, math.ceil(seconds))
            self.job.results["BillableTimeInSeconds"] = max(1, math.ceil(seconds - self.waited_s))

    def _download_channels(self) -> dict[str, dict[str, str]]:
        config = {}
        for channel in self.request.get("InputDataConfig") or ():
            name, source = channel["ChannelName"], channel["DataSource"]["S3DataSource"]
            download(
                source["S3Uri"],
                self.layout.data / name,
                role=self.request["RoleArn"],
                region=self.region,
                prefix=DOWNLOAD_FAILED,
            )
            config[name] = {
                "ContentType": channel.get("ContentType", ""),
                "TrainingInputMode": channel.get("InputMode")
                or self.request["AlgorithmSpecification"].get("TrainingInputMode", "File"),
                "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
                "RecordWrapperType": "None",
            }
        return config

    def _write_config(self, channels: dict[str, dict[str, str]]) -> None:
        parameters = self.layout.rewrite_all(self.request.get("HyperParameters") or {})
        container.write_json(self.layout.config / "hyperparameters.json", parameters)
        container.write_json(self.layout.config / "inputdataconfig.json", channels)
        resources = container.resource_config(self.request["ResourceConfig"]["InstanceType"])
        container.write_json(self.layout.config / "resourceconfig.json", resources)
        for folder in (self.layout.model, self.layout.output / "data", self.layout.code, self.layout.data):
            folder.mkdir(parents=True, exist_ok=True)

    def _checkpoints(self) -> SyncedFolder | None:
        config = self.request.get("CheckpointConfig")
        if not config:
            return None
        folder = SyncedFolder(self.layout.at(config.get("LocalPath", CHECKPOINTS)), config["S3Uri"])
        try:
            folder.fetch()
        except objects.NoSuchKey as error:
            raise JobFailed(f"{DOWNLOAD_FAILED}checkpoints: {error}") from error
        return folder

    def _command(self, hyperparameters: dict[str, Any]) -> list[str]:
        algorithm = self.request["AlgorithmSpecification"]
        if entrypoint := algorithm.get("ContainerEntrypoint"):
            words = [*entrypoint, *(algorithm.get("ContainerArguments") or ())]
            return [self.layout.rewrite(word) for word in words]
        self._fetch_code(str(hyperparameters[SUBMIT_DIRECTORY]), str(hyperparameters[PROGRAM]))
        container.check_requirements(self.layout.code)
        argv = container.arguments(hyperparameters)
        return container.script_command(self.layout.code, str(hyperparameters[PROGRAM]), argv)

    def _fetch_code(self, uri: str, program: str) -> None:
        if not uri.startswith("s3://"):
            local = Path(uri.removeprefix("file://"))
            if not local.is_dir():
                raise ContainerError(f"framework error: \n{SUBMIT_DIRECTORY} {uri} is neither on S3 nor a folder")
            shutil.copytree(local, self.layout.code, dirs_exist_ok=True)
            return
        try:
            archive = objects.object_path(uri)
        except (objects.NoSuchKey, ValueError) as error:
            raise ContainerError(
                "framework error: \nAn error occurred (404) when calling the HeadObject operation: Not Found "
                f"({SUBMIT_DIRECTORY} is {uri})"
            ) from error
        if uri.endswith(".py"):
            shutil.copyfile(archive, self.layout.code / program)
        else:
            container.unpack(archive, self.layout.code, source=uri)

    def _failure(self, last_lines: list[str], exit_code: int, command: list[str]) -> str:
        file = self.layout.output / "failure"
        if file.is_file() and (text := file.read_text(encoding="utf-8", errors="replace").strip()):
            return text
        return container.user_failure(last_lines, exit_code, command)

    def _collect_metrics(self) -> None:
        definitions = self.request["AlgorithmSpecification"].get("MetricDefinitions") or ()
        found: dict[str, dict[str, Any]] = {}
        patterns = [(metric["Name"], re.compile(metric["Regex"])) for metric in definitions]
        for moment, line in logged(self.kind_of_job.log_group, self.stream) if patterns else ():
            for name, pattern in patterns:
                for value in metric_values(pattern, line):
                    found[name] = {"MetricName": name, "Value": value, "Timestamp": moment}
        if found:
            self.job.results["FinalMetricDataList"] = list(found.values())

    def _upload_model(self) -> None:
        if not any(self.layout.model.iterdir()):
            return
        if self.request["OutputDataConfig"].get("CompressionType") == "NONE":
            uri = f"{self.output_uri}/model/"
            self._bring_away(lambda: objects.upload_tree(self.layout.model, uri), uri)
        else:
            uri = f"{self.output_uri}/model.tar.gz"
            archive = self.layout.root / "model.tar.gz"
            container.pack(self.layout.model, archive)
            self._bring_away(lambda: objects.write_object(uri, archive), uri)
        self.job.results["ModelArtifacts"] = {"S3ModelArtifacts": uri}

    def _upload_output_data(self) -> None:
        data = self.layout.output / "data"
        if data.is_dir() and any(data.iterdir()):
            uri, archive = f"{self.output_uri}/output.tar.gz", self.layout.root / "output.tar.gz"
            container.pack(data, archive)
            self._bring_away(lambda: objects.write_object(uri, archive), uri)

    def _bring_away(self, upload: Callable[[], Any], uri: str) -> None:
        try:
            upload()
        except (objects.NoSuchKey, ValueError) as error:
            raise JobFailed(f"ClientError: Artifact upload failed: {error} (writing {uri})") from error
