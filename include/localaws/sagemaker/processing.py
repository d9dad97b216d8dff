"""Processing jobs: inputs downloaded, a command run with its container paths rewritten, outputs uploaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from localaws import objects
from localaws.sagemaker import container, jobs
from localaws.sagemaker.folders import SyncedFolder
from localaws.sagemaker.jobs import PROCESSING
from localaws.sagemaker.runs import JobFailed, JobRun, download
from localaws.sagemaker.state import MAX_REASON, Place, invalid, refuse_unserved, unserved

OPERATION = "CreateProcessingJob"
LOCAL_ROOT = "/opt/ml/processing"
DAY_S = 86400

SERVED_PARAMETERS = (
    "ProcessingInputs ProcessingOutputConfig ProcessingJobName ProcessingResources StoppingCondition AppSpecification "
    "Environment NetworkConfig RoleArn Tags"
).split()


def create_processing_job(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Checks a request as AWS does, records the job and starts it.

    :raises SagemakerClientError: ValidationException, ResourceInUse, or UnsupportedOperation for what cannot run here
    """
    refuse_unserved(OPERATION, request, SERVED_PARAMETERS)
    cluster = request["ProcessingResources"].get("ClusterConfig") or {}
    refuse_unserved(OPERATION, request["ProcessingResources"], ("ClusterConfig",), "ProcessingResources")
    if cluster.get("InstanceCount", 1) > 1:
        raise unserved(
            f"ClusterConfig.InstanceCount {cluster['InstanceCount']} of sagemaker:{OPERATION}: "
            "it runs a processing job on one host"
        )
    if not request["AppSpecification"].get("ContainerEntrypoint"):
        raise unserved(
            f"sagemaker:{OPERATION} without AppSpecification.ContainerEntrypoint: an image's own one is not known"
        )
    inputs = request.get("ProcessingInputs") or []
    outputs = (request.get("ProcessingOutputConfig") or {}).get("Outputs") or []
    for kind, items in (("Input", inputs), ("Output", outputs)):
        names = [item[f"{kind}Name"] for item in items]
        if len(set(names)) < len(names):
            raise invalid(f"Processing {kind.lower()} names must be unique, found: {', '.join(names)}")
    for item in inputs:
        _check_input(item)
    for item in outputs:
        _check_output(item)
    job = jobs.create(place, PROCESSING, request, ProcessingRun)
    return {"ProcessingJobArn": job.arn}


def describe_processing_job(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, and what happened."""
    answer = jobs.describe(place, PROCESSING, request)
    answer.setdefault("StoppingCondition", {"MaxRuntimeInSeconds": DAY_S})
    return answer


def list_processing_jobs(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Processing jobs by name, status and time."""
    return jobs.list_jobs(place, PROCESSING, request)


def stop_processing_job(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """SIGTERM to the command; its outputs are not uploaded."""
    return jobs.stop(place, PROCESSING, request)


def delete_processing_job(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Forgets a job that has ended."""
    return jobs.delete(place, PROCESSING, request)


OPERATIONS: dict[str, Callable[[Any, dict[str, Any]], dict[str, Any]]] = {
    "CreateProcessingJob": create_processing_job,
    "DescribeProcessingJob": describe_processing_job,
    "ListProcessingJobs": list_processing_jobs,
    "StopProcessingJob": stop_processing_job,
    "DeleteProcessingJob": delete_processing_job,
}


def _check_input(item: dict[str, Any]) -> None:
    where = f"ProcessingInputs[{item['InputName']}]"
    refuse_unserved(OPERATION, item, ("InputName", "S3Input", *_if_false(item, "AppManaged")), where)
    source = item.get("S3Input")
    if not source:
        raise invalid(f"{where} must have an S3Input")
    for key, served in (
        ("S3DataType", ("S3Prefix",)),
        ("S3InputMode", ("File",)),
        ("S3CompressionType", ("None",)),
    ):
        if source.get(key, served[0]) not in served:
            raise unserved(f"{where}.S3Input.{key} {source[key]} of sagemaker:{OPERATION}; use {served[0]}")
    _check_path(where, source.get("LocalPath"))


def _check_output(item: dict[str, Any]) -> None:
    where = f"ProcessingOutputConfig.Outputs[{item['OutputName']}]"
    refuse_unserved(OPERATION, item, ("OutputName", "S3Output", *_if_false(item, "AppManaged")), where)
    if not item.get("S3Output"):
        raise invalid(f"{where} must have an S3Output")
    _check_path(where, item["S3Output"].get("LocalPath"))


def _check_path(where: str, path: str | None) -> None:
    if not path:
        raise invalid(f"{where}: LocalPath is required")
    if path != LOCAL_ROOT and not path.startswith(f"{LOCAL_ROOT}/"):
        raise invalid(f"{where}: LocalPath {path} must begin with {LOCAL_ROOT}/")


def _if_false(item: dict[str, Any], key: str) -> tuple[str, ...]:
    return () if item.get(key) else (key,)


class ProcessingRun(JobRun):
    """Runs one processing job."""

    @property
    def app(self) -> dict[str, Any]:
        """What is to be run."""
        return self.job.request["AppSpecification"]

    def image(self) -> str:
        """The processing image."""
        return self.app["ImageUri"]

    def work(self) -> None:
        """Inputs, the command, outputs."""
        request = self.job.request
        instance = request["ProcessingResources"]["ClusterConfig"]["InstanceType"]
        for item in request.get("ProcessingInputs") or ():
            source = item["S3Input"]
            download(
                source["S3Uri"],
                self.layout.at(source["LocalPath"]),
                role=request["RoleArn"],
                region=self.region,
                prefix="ClientError: Failed to download data. ",
            )
        config = self.layout.ml / "config"
        container.write_json(config / "resourceconfig.json", container.resource_config(instance))
        container.write_json(config / "processingjobconfig.json", {"ProcessingJobArn": self.job.arn, **request})
        self.layout.output.mkdir(parents=True, exist_ok=True)
        folders = [
            (item["S3Output"], SyncedFolder(self.layout.at(item["S3Output"]["LocalPath"]), item["S3Output"]["S3Uri"]))
            for item in (request.get("ProcessingOutputConfig") or {}).get("Outputs") or ()
        ]
        continuous = [folder for output, folder in folders if output["S3UploadMode"] == "Continuous"]
        self.check_stop()

        def upload_continuously() -> None:
            for folder in continuous:
                self._upload(folder.sync_now_and_then, folder.uri)

        words = [*self.app["ContainerEntrypoint"], *(self.app.get("ContainerArguments") or ())]
        result = self.run_process(
            [self.layout.rewrite(word) for word in words],
            {**self.layout.rewrite_all(request.get("Environment") or {}), **container.visible_gpus(instance)},
            self.layout.root,
            upload_continuously if continuous else None,
        )
        message = self._exit_message()
        self.check_stop()
        if result.exit_code != 0:
            code = 128 - result.exit_code if result.exit_code < 0 else result.exit_code
            said = message or container.exception_text(result.last_error_lines)
            raise JobFailed(f"AlgorithmError: {said[: MAX_REASON - 50]}, exit code: {code}")
        for _, folder in folders:
            self._upload(folder.sync, folder.uri)

    def _upload(self, upload: Callable[[], None], uri: str) -> None:
        try:
            upload()
        except (objects.NoSuchKey, ValueError) as error:
            raise JobFailed(f"ClientError: Failed to upload data to {uri}: {error}") from error

    def _exit_message(self) -> str:
        """What the command left in `/opt/ml/output/message`, which Describe shows as ExitMessage."""
        file = self.layout.output / "message"
        text = file.read_text(encoding="utf-8", errors="replace").strip() if file.is_file() else ""
        if text:
            self.job.results["ExitMessage"] = text[:MAX_REASON]
        return text
