"""Batch Transform jobs: requests to a model that is loaded once, and their answers put into output files."""

from __future__ import annotations

import gzip
import http.client
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localaws import objects
from localaws.processes import write_log
from localaws.sagemaker import container, jobs, models
from localaws.sagemaker.jobs import TRANSFORM
from localaws.sagemaker.json_path import FilterError
from localaws.sagemaker.records import DataProcessing, RecordError, assemble, batches, lines, media_type
from localaws.sagemaker.runs import WATCH_S, Container, JobFailed, JobRun, no_objects
from localaws.sagemaker.state import Job, Place, invalid, refuse_unserved, unserved

OPERATION = "CreateTransformJob"
WORKER = Path(__file__).with_name("inference_worker.py")
DEFAULT_PAYLOAD_MB = 6
DEFAULT_TIMEOUT_S = 600
MAX_TOTAL_PAYLOAD_MB = 100
START_TIMEOUT_S = 600.0
SEE_LOGS = "See job logs for more information"

SERVED_PARAMETERS = (
    "TransformJobName ModelName MaxConcurrentTransforms ModelClientConfig MaxPayloadInMB BatchStrategy Environment "
    "TransformInput TransformOutput TransformResources DataProcessing Tags"
).split()


def create_transform_job(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Checks a request as AWS does, records the job and starts it.

    :raises SagemakerClientError: ValidationException, ResourceInUse, or UnsupportedOperation for what cannot run here
    """
    refuse_unserved(OPERATION, request, SERVED_PARAMETERS)
    model = models.find_model(place, request["ModelName"])
    _check_input(request["TransformInput"])
    concurrent, payload = request.get("MaxConcurrentTransforms") or 1, request.get("MaxPayloadInMB")
    if concurrent * (DEFAULT_PAYLOAD_MB if payload is None else payload) > MAX_TOTAL_PAYLOAD_MB:
        raise invalid(
            f"The value of MaxConcurrentTransforms * MaxPayloadInMB must not exceed {MAX_TOTAL_PAYLOAD_MB} MB"
        )
    try:
        _processing(request)
    except (FilterError, RecordError) as error:
        raise invalid(str(error)) from error
    accept = media_type(request["TransformOutput"].get("Accept"))
    if request.get("DataProcessing", {}).get("JoinSource") == "Input" and accept:
        asked = media_type(request["TransformInput"].get("ContentType"))
        if (accept == "text/csv") != (asked == "text/csv"):
            raise invalid(
                f"With JoinSource Input, Accept ({accept}) must be of the same format as ContentType ({asked})"
            )
    uri = request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    try:
        found = objects.list_objects(uri)
    except (objects.NoSuchKey, ValueError):
        found = []
    if not found:
        bucket = uri.removeprefix("s3://").split("/", 1)[0]
        role = model.request.get("ExecutionRoleArn", "")
        raise invalid(no_objects(uri, bucket, role=role, region=place.region_name))
    job = jobs.create(place, TRANSFORM, request, TransformRun)
    return {"TransformJobArn": job.arn}


def describe_transform_job(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, and what happened."""
    answer = jobs.describe(place, TRANSFORM, request)
    answer.setdefault("DataProcessing", {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"})
    answer["TransformInput"] = {"CompressionType": "None", "SplitType": "None", **answer["TransformInput"]}
    answer["TransformOutput"] = {"AssembleWith": "None", **answer["TransformOutput"]}
    return answer


def list_transform_jobs(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Transform jobs by name, status and time."""
    return jobs.list_jobs(place, TRANSFORM, request)


def stop_transform_job(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Ends the model's process; output files that are complete stay in S3."""
    return jobs.stop(place, TRANSFORM, request)


OPERATIONS: dict[str, Callable[[Any, dict[str, Any]], dict[str, Any]]] = {
    "CreateTransformJob": create_transform_job,
    "DescribeTransformJob": describe_transform_job,
    "ListTransformJobs": list_transform_jobs,
    "StopTransformJob": stop_transform_job,
}


def _check_input(config: dict[str, Any]) -> None:
    source = config["DataSource"].get("S3DataSource") or {}
    if source.get("S3DataType") != "S3Prefix":
        raise unserved(f"TransformInput.DataSource with S3DataType {source.get('S3DataType')} of sagemaker:{OPERATION}")
    if config.get("SplitType", "None") not in ("None", "Line"):
        raise unserved(f"TransformInput.SplitType {config['SplitType']} of sagemaker:{OPERATION}; use None or Line")
    if config.get("CompressionType", "None") not in ("None", "Gzip"):
        raise unserved(f"TransformInput.CompressionType {config['CompressionType']} of sagemaker:{OPERATION}")


def _processing(request: dict[str, Any]) -> DataProcessing:
    config = request["TransformInput"]
    by_line = config.get("SplitType") == "Line"
    return DataProcessing(request.get("DataProcessing") or {}, config.get("ContentType"), by_line=by_line)


class TransformRun(JobRun):
    """Runs one transform job."""

    def __init__(self, place: Place, kind: jobs.Kind, job: Job):
        super().__init__(place, kind, job)
        self.place = place
        self.request = job.request
        self.by_line = self.request["TransformInput"].get("SplitType") == "Line"
        payload = self.request.get("MaxPayloadInMB")
        self.payload_mb = DEFAULT_PAYLOAD_MB if payload is None else payload
        self.concurrent = self.request.get("MaxConcurrentTransforms") or 1
        self.serving = models.serving_container(place, self._definition())

    def image(self) -> str:
        """The model's image."""
        return self.serving.image

    def stream_name(self) -> str:
        """An instance's name and the time, as Batch Transform names its streams."""
        return f"i-{self.job.run_id[-8:]}-{int(self.job.created.timestamp())}"

    def work(self) -> None:
        """Loads the model, then one input object after the other."""
        processing = _processing(self.request)
        self._fetch_model()
        self.check_stop()
        port_file = self.layout.root / "port"
        with self.process(self._command(port_file), self._worker_environment(), self.layout.model) as worker:
            port = self._wait_until_loaded(worker, port_file)
            strategy = "SINGLE_RECORD" if self._single else "MULTI_RECORD"
            self._tell(
                f"MaxConcurrentTransforms={self.concurrent}, MaxPayloadInMB={self.payload_mb}, BatchStrategy={strategy}"
            )
            client = Client(port, self.request)
            prefix = self.request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
            for uri in objects.list_objects(prefix):
                if not uri.endswith("/"):
                    self.check_stop()
                    self._transform(uri, prefix, processing, client)

    @property
    def _single(self) -> bool:
        return self.request.get("BatchStrategy") == "SingleRecord"

    def _definition(self) -> dict[str, Any]:
        model = models.find_model(self.place, self.request["ModelName"])
        return model.request.get("PrimaryContainer") or model.request["Containers"][0]

    def _fetch_model(self) -> None:
        self.layout.model.mkdir(parents=True, exist_ok=True)
        url = self.serving.model_data_url
        if not url:
            return
        try:
            archive = objects.object_path(url)
        except (objects.NoSuchKey, ValueError) as error:
            raise JobFailed(
                f'ClientError: Failed to download model data for container "container_1" from URL: "{url}". Please '
                "ensure that there is an object located at the URL and that the role passed to CreateModel has "
                "permissions to download the object."
            ) from error
        try:
            container.unpack(archive, self.layout.model, source=url)
        except container.ContainerError as error:
            raise JobFailed(f"ClientError: Failed to extract model data archive: {error}") from error

    def _worker_environment(self) -> dict[str, str]:
        asked = {**self.serving.environment, **(self.request.get("Environment") or {})}
        return {
            **self.layout.rewrite_all(asked),
            "SAGEMAKER_BATCH": "true",
            "SAGEMAKER_BATCH_STRATEGY": self.request.get("BatchStrategy", "MultiRecord"),
            "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": str(self.concurrent),
            "SAGEMAKER_MAX_PAYLOAD_IN_MB": str(self.payload_mb),
            **container.visible_gpus(self.request["TransformResources"]["InstanceType"]),
        }

    def _command(self, port_file: Path) -> list[str]:
        code = self.layout.model / "code"
        submitted = self._worker_environment().get("SAGEMAKER_SUBMIT_DIRECTORY", "")
        if submitted.startswith("s3://"):
            try:
                container.unpack(objects.object_path(submitted), self.layout.code, source=submitted)
            except (objects.NoSuchKey, ValueError) as error:
                raise JobFailed(f"ClientError: SAGEMAKER_SUBMIT_DIRECTORY cannot be read: {error}") from error
            code = self.layout.code
        elif submitted:
            code = Path(submitted)
        container.check_requirements(code)
        framework = "xgboost" if container.repository(self.image()) == "sagemaker-xgboost" else "sklearn"
        paths = {"--model-dir": self.layout.model, "--code-dir": code, "--port-file": port_file}
        options = [word for option, path in paths.items() for word in (option, str(path))]
        return [sys.executable, str(WORKER), "--framework", framework, *options]

    def _wait_until_loaded(self, worker: Container, port_file: Path) -> int:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not port_file.is_file():
            self.check_stop()
            if worker.ended.wait(WATCH_S / 4) or time.monotonic() > deadline:
                said = ""
                if worker.ended.is_set():
                    result = worker.result()
                    code, text = result.exit_code, container.exception_text(result.last_error_lines)
                    said = f" (the container ended with exit code {code}: {text})"
                raise JobFailed(
                    "AlgorithmError: Model container failed to respond to ping; Please ensure /ping endpoint is "
                    f"implemented and responds with an HTTP 200 status code{said}"
                )
        return int(port_file.read_text(encoding="utf-8"))

    def _transform(self, uri: str, prefix: str, processing: DataProcessing, client: Client) -> None:
        config = self.request["TransformInput"]
        data = objects.read_object(uri)
        try:
            if config.get("CompressionType") == "Gzip":
                data = gzip.decompress(data)
            body = self._answers(data, processing, client)
            target = self._target(uri, prefix)
            objects.write_object(target, body)
        except (RecordError, OSError, EOFError) as error:
            self._fail(uri, "ClientError", str(error))
        except BadAnswer as answer:
            kind = "ClientError" if 400 <= answer.status < 500 else "AlgorithmError"
            self._fail(
                uri, kind, f"Bad HTTP status received from algorithm: {answer.status}", "", "Message:", answer.text
            )
        except NoAnswer as error:
            self._fail(uri, "AlgorithmError", f"Unable to get response from algorithm: {error}")
        except objects.NoSuchKey as error:
            raise JobFailed(f"ClientError: Failed to upload the output of {uri}: {error}") from error

    def _answers(self, data: bytes, processing: DataProcessing, client: Client) -> bytes:
        assembled = self.request["TransformOutput"].get("AssembleWith") == "Line"
        if not self.by_line:
            if self.payload_mb and len(data) > self.payload_mb * 1024 * 1024:
                raise RecordError(
                    f"Too much data for max payload size: {len(data)} bytes, MaxPayloadInMB {self.payload_mb}"
                )
            sent = processing.inputs([data.decode()])[0].encode() if processing.input_path != "$" else data
            answer = self._invoke_all(client, [sent])[0]
            if not processing.changes_output:
                return answer + b"\n" if assembled and not answer.endswith(b"\n") else answer
            return assemble(processing.outputs([data.decode()], answer), by_line=assembled)
        records = lines(data)
        sent_batches = list(batches(processing.inputs(records), self.payload_mb, single=self._single))
        payloads = [("\n".join(batch) + "\n").encode("utf-8") for batch in sent_batches]
        parts: list[str] = []
        start = 0
        answers = self._invoke_all(client, payloads)
        if not processing.changes_output:
            ends = b"\n" if assembled else b""
            return b"".join(a + ends if ends and a and not a.endswith(b"\n") else a for a in answers)
        for batch, answer in zip(sent_batches, answers, strict=True):
            parts += processing.outputs(records[start : start + len(batch)], answer)
            start += len(batch)
        return assemble(parts, by_line=assembled)

    def _invoke_all(self, client: Client, payloads: Sequence[bytes]) -> list[bytes]:
        """The answers to all payloads in their order, so many at once as the job asks for."""
        stopped = threading.Event()

        def invoke(payload: bytes) -> bytes:
            return b"" if stopped.is_set() else client.invoke(payload)

        pool = ThreadPoolExecutor(self.concurrent)
        try:
            pending: list[Future[bytes]] = [pool.submit(invoke, payload) for payload in payloads]
            while True:
                done, waiting = wait(pending, timeout=WATCH_S, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
                if not waiting:
                    return [future.result() for future in pending]
                self.check_stop()
        finally:
            # What is on its way ends with the container, which the caller stops.
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _target(self, uri: str, prefix: str) -> str:
        key, folder = uri, prefix if prefix.endswith("/") else prefix.rpartition("/")[0] + "/"
        if uri.startswith(f"{prefix}/"):
            folder = f"{prefix}/"
        name = key[len(folder) :]
        return f"{self.request['TransformOutput']['S3OutputPath'].rstrip('/')}/{name}.out"

    def _fail(self, uri: str, kind: str, *said: str) -> None:
        path = uri.removeprefix("s3://")
        for line in said:
            self._tell(f"{path}: {line}")
        detail = ": ".join(text for text in said if text and text != "Message:")
        raise JobFailed(f"{kind}: {SEE_LOGS} ({path}: {detail})")

    def _tell(self, line: str) -> None:
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        write_log(self.kind_of_job.log_group, f"{self.stream}/data-log", [f"{moment}:[sagemaker logs]: {line}"])


class BadAnswer(Exception):
    """The container answered with another status than 200."""

    def __init__(self, status: int, text: str):
        super().__init__(f"{status}: {text}")
        self.status, self.text = status, text


class NoAnswer(Exception):
    """The container did not answer: it ended, or took too long."""


class Client:
    """Sends payloads to the model's process, over one connection per thread."""

    def __init__(self, port: int, request: dict[str, Any]):
        limits = request.get("ModelClientConfig") or {}
        self.port = port
        self.timeout_s = limits.get("InvocationsTimeoutInSeconds") or DEFAULT_TIMEOUT_S
        self.retries = limits.get("InvocationsMaxRetries") or 0
        content_type, accept = request["TransformInput"].get("ContentType"), request["TransformOutput"].get("Accept")
        self.headers = {"Content-Type": content_type or "", "Accept": accept or "*/*"}
        self._local = threading.local()

    def invoke(self, payload: bytes) -> bytes:
        """The answer to one payload.

        :raises BadAnswer: after the retries that the job allows
        :raises NoAnswer: the same
        """
        for attempt in range(self.retries + 1):
            try:
                return self._invoke_once(payload)
            except (BadAnswer, NoAnswer) as error:
                if attempt == self.retries or (isinstance(error, BadAnswer) and error.status < 500):
                    raise
        raise AssertionError("unreachable")

    def _invoke_once(self, payload: bytes) -> bytes:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout_s)
            self._local.connection = connection
        try:
            connection.request("POST", "/invocations", body=payload, headers=self.headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self._local.connection = None
            raise NoAnswer(f"{type(error).__name__}: {error}") from error
        if response.status != 200:
            raise BadAnswer(response.status, body.decode("utf-8", "replace"))
        return body
