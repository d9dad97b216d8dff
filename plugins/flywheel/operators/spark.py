"""Spark jobs: Glue for the way from landing to processed, EMR Serverless for features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from flywheel.hooks.jobs import Identity, is_throttled, is_unanswered
from flywheel.operators.job import JobOperator
from flywheel.settings import settings

#: A refused StartJobRun is sent again for two minutes, at growing distances (seconds).
WHILE_THROTTLED: dict[str, Any] = {
    "retry": retry_if_exception(is_throttled),
    "wait": wait_random_exponential(max=20),
    "stop": stop_after_delay(120),
    "reraise": True,
}


class GlueScriptOperator(JobOperator):
    """Runs a script of ``include/scripts/glue`` as a run of the project's Glue job (API: ``StartJobRun``).

    Instead of the provider's GlueJobOperator, which forgets its run when the worker dies between start and XCom and pushes
    its XCom twice on resuming (apache/airflow #59075, #65011). Glue runs carry no name, so the name travels as the argument
    ``--flywheel_run_name``, where a retry finds it.

    :param script: file name in ``include/scripts/glue`` (templated)
    :param arguments: ``{name: value}`` of the script's arguments, without dashes (templated)
    """

    kind = "glue"
    template_fields: Sequence[str] = (*JobOperator.template_fields, "script", "arguments")

    def __init__(self, *, script: str, arguments: Mapping[str, str], **kwargs: Any):
        super().__init__(**kwargs)
        self.script, self.arguments = script, dict(arguments)

    def start(self, client: Any, name: str) -> Identity:
        """Starts a run with this code's own scripts and ``flywheel.core``."""
        settings().need("bucket", "glue_job")
        artifacts = settings().artifacts
        arguments = {
            "--scriptLocation": f"{artifacts}/scripts/glue/{self.script}",
            "--extra-py-files": f"{artifacts}/flywheel_core.zip,{artifacts}/scripts/lake.zip",
            "--flywheel_run_name": name,
            **{f"--{key}": value for key, value in self.arguments.items()},
        }
        # StartJobRun takes no client token: sent twice, it runs twice. So botocore sends it once; it is sent again only when AWS
        # said that it did nothing, and when no answer came, the run is looked for by its name before anything else is done.
        once = self.client_with(retries={"total_max_attempts": 1})
        try:
            for attempt in Retrying(**WHILE_THROTTLED):
                with attempt:
                    run_id = once.start_job_run(JobName=settings().glue_job, Arguments=arguments)["JobRunId"]
        except (ClientError, BotoCoreError) as error:
            if not is_unanswered(error):
                raise
            self.log.warning("StartJobRun gave no answer (%s); looking for the run by its name", error)
            started = next((job for job in self.jobs_named(name) if job.name == name), None)
            if started is None:
                raise
            return started.identity
        return {"JobName": settings().glue_job, "RunId": run_id}

    def listing(self) -> dict[str, str]:
        """The runs of the project's Glue job."""
        return {"JobName": settings().glue_job}


class EmrServerlessSparkOperator(JobOperator):
    """Runs a script of ``include/scripts/emr`` on EMR Serverless (API: ``StartJobRun`` with a stable client token).

    Instead of the provider's EmrServerlessStartJobOperator, whose client token is new for every try (a retry starts a second
    job while the first still bills, apache/airflow #42401).

    :param script: file name in ``include/scripts/emr`` (templated)
    :param arguments: the script's command line (templated)
    :param py_files: further Python files below ``include/scripts`` that the script imports (templated)
    :param timeout_minutes: EMR ends the job after this time
    """

    kind = "emr_serverless"
    template_fields: Sequence[str] = (*JobOperator.template_fields, "script", "arguments", "py_files")

    def __init__(
        self,
        *,
        script: str,
        arguments: Sequence[str],
        py_files: Sequence[str] = (),
        timeout_minutes: int = 360,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.script, self.arguments, self.py_files = script, list(arguments), list(py_files)
        self.timeout_minutes = timeout_minutes

    def start(self, client: Any, name: str) -> Identity:
        """Starts a job run with this code's own scripts and ``flywheel.core``."""
        settings().need("bucket", "emr_application_id", "role_arn")
        artifacts = settings().artifacts
        py_files = [f"{artifacts}/flywheel_core.zip", *(f"{artifacts}/scripts/{path}" for path in self.py_files)]
        run = client.start_job_run(
            applicationId=settings().emr_application_id,
            clientToken=name,
            name=name,
            executionRoleArn=settings().role_arn,
            executionTimeoutMinutes=self.timeout_minutes,
            jobDriver={
                "sparkSubmit": {
                    "entryPoint": f"{artifacts}/scripts/emr/{self.script}",
                    "entryPointArguments": self.arguments,
                    "sparkSubmitParameters": f"--py-files {','.join(py_files)}",
                }
            },
            configurationOverrides={
                "monitoringConfiguration": {
                    "cloudWatchLoggingConfiguration": {"enabled": True, "logGroupName": "/aws/emr-serverless"}
                }
            },
        )
        return {"applicationId": run["applicationId"], "jobRunId": run["jobRunId"]}

    def listing(self) -> dict[str, str]:
        """The runs of the project's application."""
        return {"applicationId": settings().emr_application_id}
