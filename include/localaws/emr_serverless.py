"""EMR Serverless: Spark applications whose job runs really run, on the same pool of Spark workers as Glue's jobs.

The applications' capacity is noted and reckoned with in the bill, but a laptop's Spark is as large as it is. Hive,
streaming, custom images, interactive sessions and the dashboard are refused.
"""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult, PaginatedResult
from moto.core.utils import utcnow
from moto.emrserverless import urls
from moto.emrserverless.exceptions import AccessDeniedException, ResourceNotFoundException, ValidationException
from moto.emrserverless.models import EMRServerlessBackend, emrserverless_backends
from moto.emrserverless.responses import EMRServerlessResponse

from localaws import emr_job_runs, job_events, persistence
from localaws.emr_job_runs import ACTIVE, Run, RunningApplication, aware
from localaws.spark import pool

SERVED = frozenset(
    [
        "CreateApplication",
        "GetApplication",
        "ListApplications",
        "UpdateApplication",
        "StartApplication",
        "StopApplication",
        "DeleteApplication",
        "StartJobRun",
        "GetJobRun",
        "ListJobRuns",
        "CancelJobRun",
    ]
)
"""The operations that are answered truthfully."""

# What would change how a job runs and cannot be done here.
_REFUSED = ("imageConfiguration", "workerTypeSpecifications", "interactiveConfiguration", "identityCenterConfiguration")
_UPDATABLE = {
    "architecture": "architecture",
    "runtimeConfiguration": "runtime_configuration",
    "monitoringConfiguration": "monitoring_configuration",
    "schedulerConfiguration": "scheduler_configuration",
    "releaseLabel": "release_label",
}
_JOB_RUN_REQUEST = (
    "applicationId",
    "clientToken",
    "executionRoleArn",
    "jobDriver",
    "configurationOverrides",
    "tags",
    "executionTimeoutMinutes",
    "name",
    "mode",
)

# The attribute of a run for each member of ListJobRuns' summary.
_SUMMARY = {
    "applicationId": "application_id",
    "id": "id",
    "name": "name",
    "mode": "mode",
    "arn": "arn",
    "createdBy": "created_by",
    "createdAt": "created_at",
    "updatedAt": "updated_at",
    "executionRole": "execution_role_arn",
    "state": "state",
    "stateDetails": "state_details",
    "releaseLabel": "release_label",
    "type": "application_type",
    "attempt": "attempt",
    "attemptCreatedAt": "attempt_created_at",
    "attemptUpdatedAt": "attempt_updated_at",
}

_tokens = threading.Lock()


class ConflictException(JsonRESTError):
    """A client token that was used for another request."""

    code = 409

    def __init__(self, message: str):
        super().__init__("ConflictException", message)


class EmrServerless(EMRServerlessBackend):
    """moto's EMR Serverless whose applications have their real states and whose job runs run."""

    _url_module = urls

    def create_application(  # type: ignore[override]
        self, *, extra: dict[str, Any] | None = None, **asked: Any
    ) -> RunningApplication:
        """Store an application; the same client token gives the application that it made before.

        Raises ``ValidationException`` for what cannot run here.
        """
        extra = extra or {}
        refuse(extra)
        with _tokens:
            for known in self.applications.values():
                if known.client_token == asked["client_token"] and known.state != "TERMINATED":
                    return known  # type: ignore[return-value]
            if asked["application_type"].upper() != "SPARK":
                raise ValidationException(
                    f"Flywheel's local AWS runs applications of type SPARK, not {asked['application_type']!r}"
                )
            asked["application_type"] = "SPARK"
            # moto's own checks the release label; its application is left for one that has states.
            checked = super().create_application(**asked)
            del self.applications[checked.id]
            application = RunningApplication(extra=extra, account_id=self.account_id, region_name=self.region_name, **asked)
            self.applications[application.id] = application
            return application

    def get_application(self, application_id: str) -> RunningApplication:
        """Give the application in its present state."""
        application: RunningApplication = super().get_application(application_id)  # type: ignore[assignment]
        application.stop_when_idle(busy=bool(self.active_runs(application_id)))
        return application

    def list_applications(self, states: list[str] | None) -> list[RunningApplication]:  # type: ignore[override]
        """Give all applications in their present states."""
        found = [self.get_application(application_id) for application_id in list(self.applications)]
        return [application for application in found if not states or application.state in states]

    def start_application(self, application_id: str) -> None:
        """Start an application; with initial capacity it is STARTING until a Spark worker is there."""
        application = self.get_application(application_id)
        if application.state not in ("CREATED", "STOPPED"):
            if application.state in ("STARTED", "STARTING"):
                return
            raise ValidationException(
                f"Application {application_id} must be in one of the following statuses "
                f"[CREATED, STOPPED, STARTING, STARTED]. Current status: {application.state}"
            )
        if application.initial_capacity:
            application.to("STARTING")
            pool.shared_pool().warm_up(application.started)
        else:
            application.to("STARTED")

    def stop_application(self, application_id: str) -> None:
        """Stop an application. Raises ``ValidationException`` while it has active job runs."""
        application = self.get_application(application_id)
        active = self.active_runs(application_id)
        if active:
            raise ValidationException(
                f"Application {application_id} has {len(active)} active job runs; they must be completed or cancelled first"
            )
        if application.state == "TERMINATED":
            raise ValidationException(f"Application {application_id} is terminated")
        application.to("STOPPED")

    def delete_application(self, application_id: str) -> None:
        """Terminate an application that is stopped or was never started."""
        self.get_application(application_id)
        super().delete_application(application_id)

    def update_application(  # type: ignore[override]
        self, *, application_id: str, extra: dict[str, Any] | None = None, **asked: Any
    ) -> RunningApplication:
        """Change an application that is stopped or was never started."""
        extra = extra or {}
        refuse(extra)
        application = self.get_application(application_id)
        super().update_application(application_id=application_id, **asked)
        for name, attribute in _UPDATABLE.items():
            if name in extra:
                setattr(application, attribute, extra[name])
        application.updated_at = utcnow()
        return application

    def start_job_run(self, *, request: dict[str, Any], **_: Any) -> Run:  # type: ignore[override]
        """Start a job run; the same client token gives the run that it started before.

        Raises ``ConflictException`` when the token was used for another request, ``ValidationException`` when the
        application is not there to be used or the job cannot run here, ``AccessDeniedException`` for a foreign role.
        """
        application_id = request["applicationId"]
        application = self.get_application(application_id)
        role = request["executionRoleArn"]
        if role.split(":")[4] != self.account_id:
            raise AccessDeniedException("Cross-account pass role is not allowed.")
        minutes = request.get("executionTimeoutMinutes")
        if minutes is not None and minutes < 5:
            raise ValidationException("RunTimeout must be at least 5 minutes.")
        parameters = emr_job_runs.read_settings(application, request)
        with _tokens:
            for known in self._runs(application_id):
                if known.client_token == request["clientToken"]:
                    if known.request != request:
                        raise ConflictException("The client token was used before with other parameters")
                    return known
            self._start_if_needed(application)
            run = Run(
                request=request,
                application=application,
                mode=request.get("mode"),
                application_id=application_id,
                client_token=request["clientToken"],
                execution_role_arn=role,
                account_id=self.account_id,
                region_name=self.region_name,
                release_label=application.release_label,
                application_type=application.type,
                job_driver=request.get("jobDriver"),
                configuration_overrides=request.get("configurationOverrides"),
                tags=request.get("tags"),
                network_configuration=application.network_configuration,
                execution_timeout_minutes=minutes,
                name=request.get("name"),
            )
            self.job_runs.setdefault(application_id, []).append(run)
            job_events.accepted("emr_serverless", run.name or run.id, run.id, run.state)
        emr_job_runs.launch(run, parameters)
        return run

    def get_job_run(self, application_id: str, job_run_id: str) -> Run:
        """Give the run. Raises ``ResourceNotFoundException``."""
        self.get_application(application_id)
        for run in self._runs(application_id):
            if run.id == job_run_id:
                return run
        raise ResourceNotFoundException(job_run_id, "JobRun")

    def list_job_runs(  # type: ignore[override]
        self,
        application_id: str,
        created_at_after: datetime | None,
        created_at_before: datetime | None,
        states: list[str] | None,
    ) -> list[Run]:
        """Give the application's runs that fit, the newest first."""
        self.get_application(application_id)
        return [
            run
            for run in reversed(self._runs(application_id))
            if (not states or run.state in states)
            and (created_at_after is None or aware(run.created_at) > aware(created_at_after))
            and (created_at_before is None or aware(run.created_at) < aware(created_at_before))
        ]

    def cancel_job_run(self, application_id: str, job_run_id: str) -> tuple[str, str]:
        """Cancel an active run. Raises ``ValidationException`` for one that has ended."""
        run = self.get_job_run(application_id, job_run_id)
        if run.state not in ACTIVE:
            raise ValidationException(f"JobRun {job_run_id} cannot be cancelled. Current status: {run.state}")
        emr_job_runs.cancel(run)
        return application_id, job_run_id

    def active_runs(self, application_id: str) -> list[Run]:
        """Give the application's runs that have not ended."""
        return [run for run in self._runs(application_id) if run.state in ACTIVE]

    def _runs(self, application_id: str) -> list[Run]:
        runs: list[Any] = self.job_runs.get(application_id, [])
        return list(runs)

    def _start_if_needed(self, application: RunningApplication) -> None:
        start: Any = application.auto_start_configuration
        if application.state in ("CREATED", "STOPPED") and start.get("enabled", True):
            application.to("STARTED")
        if application.state not in ("STARTED", "STARTING"):
            raise ValidationException(
                f"Application {application.id} must be started before a job run can be submitted. "
                f"Current status: {application.state}"
            )


class EmrServerlessApi(EMRServerlessResponse):
    """moto's request handling, with the members and operations that it passes over."""

    @property
    def _backend(self) -> EmrServerless:
        return self.emrserverless_backend  # type: ignore[return-value]

    def create_application(self) -> ActionResult:
        """CreateApplication."""
        made = self._backend.create_application(
            extra=self._extra(),
            name=self._get_param("name"),
            application_type=self._get_param("type"),
            release_label=self._get_param("releaseLabel"),
            client_token=self._get_param("clientToken"),
            tags=self._get_param("tags"),
            **self._capacity(),
        )
        return ActionResult({"applicationId": made.id, "name": made.name, "arn": made.arn})

    def update_application(self) -> ActionResult:
        """UpdateApplication."""
        application = self._backend.update_application(
            application_id=self._get_param("applicationId"), extra=self._extra(), **self._capacity()
        )
        return ActionResult({"application": application})

    def start_job_run(self) -> ActionResult:
        """StartJobRun."""
        request = {name: value for name in _JOB_RUN_REQUEST if (value := self._get_param(name)) is not None}
        run = self._backend.start_job_run(request=request)
        return ActionResult({"applicationId": run.application_id, "jobRunId": run.id, "arn": run.arn})

    def list_job_runs(self) -> ActionResult:
        """ListJobRuns."""
        runs = self._backend.list_job_runs(
            application_id=self._get_param("applicationId"),
            created_at_after=self._get_param("createdAtAfter"),
            created_at_before=self._get_param("createdAtBefore"),
            states=self._get_param("states", []),
        )
        summaries = [{member: getattr(run, name) for member, name in _SUMMARY.items()} for run in runs]
        return PaginatedResult({"jobRuns": summaries})

    def _capacity(self) -> dict[str, Any]:
        return {
            "initial_capacity": self._get_param("initialCapacity"),
            "maximum_capacity": self._get_param("maximumCapacity"),
            "auto_start_configuration": self._get_param("autoStartConfiguration"),
            "auto_stop_configuration": self._get_param("autoStopConfiguration"),
            "network_configuration": self._get_param("networkConfiguration"),
        }

    def _extra(self) -> dict[str, Any]:
        return {name: value for name in (*_UPDATABLE, *_REFUSED) if (value := self._get_param(name)) is not None}


def refuse(extra: dict[str, Any]) -> None:
    """Raise ``ValidationException`` for a part of an application that cannot be done here."""
    for name in _REFUSED:
        if extra.get(name):
            raise ValidationException(f"Flywheel's local AWS does not serve {name} of an application: it has no containers")


def install(root: Path) -> None:
    """Put the executing EMR Serverless in the place of moto's; working folders below ``root/jobs/emr-serverless``."""
    pool.use_root(root)
    emr_job_runs.use_root(root)
    emrserverless_backends.backend = EmrServerless
    for path in urls.url_paths:
        urls.url_paths[path] = EmrServerlessApi.dispatch


def recover() -> None:
    """After a start: tell runs that were active when the server ended as failed."""
    for regions in list(emrserverless_backends.values()):
        for backend in list(regions.values()):
            for runs in backend.job_runs.values():
                for run in list[Any](runs):
                    run.to("FAILED", "Job failed: the local AWS was stopped while it was active; start the job again.")
            for application in list[Any](backend.applications.values()):
                if application.state == "STARTING":
                    application.to("STARTED")
    persistence.touch("emrserverless")


def shutdown() -> None:
    """End the Spark workers because the server ends."""
    pool.close_shared_pool()
