"""The base of every operator that starts an AWS job."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException
from botocore.exceptions import BotoCoreError, ClientError

from flywheel.core import runs
from flywheel.hooks.jobs import JOB_KINDS, Identity, JobKind
from flywheel.settings import settings
from flywheel.triggers.job import JobTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class JobFailed(AirflowException):
    """An AWS job ended without success; the message is AWS's own reason."""


class JobOperator(BaseOperator):
    """Starts one job under a name that a retry can look up, or re-attaches to the one that already runs; waits; tells its end.

    A subclass says how to start the job (:meth:`start`), how to find one by its name (:meth:`find`), and what its result is
    (:meth:`result`).

    A retry looks for the jobs of the tries before it: one that runs is joined, one that succeeded is taken as it is (its try
    died before it could tell), one that failed is named in the log and followed by a new one. A task that a person has cleared
    runs anew.

    Short jobs are awaited in the worker for ``wait_before_deferring_seconds`` (a deferral costs more than that); longer ones
    defer to :class:`~flywheel.triggers.job.JobTrigger`. Killing the task stops the job in both phases.

    The last lines of the job's CloudWatch logs are shown in the task's log, with the names of their streams.

    XCom: ``job`` (the identity, pushed before waiting) and the return value of :meth:`result`.

    :param aws_conn_id: Airflow connection for AWS
    :param region_name: region; default: the connection's
    :param verify: TLS verification as boto3 takes it
    :param botocore_config: botocore client configuration
    :param poll_seconds: seconds between polls while deferred; default: setting ``poll_seconds``
    :param deferrable: False waits in the worker to the end
    :param asset_extra: what the events of the task's outlets carry (templated)
    :raises JobFailed: with AWS's reason, when the job fails, is stopped or expires
    """

    kind: str
    template_fields: Sequence[str] = ("asset_extra",)
    ui_color = "#fff3e0"

    def __init__(
        self,
        *,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
        poll_seconds: float | None = None,
        deferrable: bool = True,
        asset_extra: Mapping[str, str] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.aws_conn_id, self.region_name, self.verify, self.botocore_config = (
            aws_conn_id,
            region_name,
            verify,
            botocore_config,
        )
        self.poll_seconds = poll_seconds
        self.deferrable = deferrable
        self.asset_extra = dict(asset_extra or {})
        self.identity: Identity | None = None

    # What a subclass says -------------------------------------------------------------------------------------------

    @abstractmethod
    def start(self, client: Any, name: str) -> Identity:
        """Starts the job under ``name`` and returns its identity."""

    @abstractmethod
    def find(self, client: Any, name: str) -> Identity | None:
        """The identity of the job of this name, in whatever state it is; None if AWS knows none."""

    def result(self, client: Any, identity: Identity, description: Mapping[str, Any]) -> Any:
        """The task's return value, from AWS's last answer."""
        return dict(identity)

    # The way of every job -------------------------------------------------------------------------------------------

    def execute(self, context: Context) -> Any:
        """Starts or re-attaches, waits a moment, defers if that was not enough."""
        ti = context["ti"]
        name, *earlier = self._names(ti)
        self.identity = self._earlier_job(earlier)
        if self.identity is None:
            self.identity = self.start(self.client, name)
            self.log.info("Started %s %s", self.job_kind.title, self.identity)
        ti.xcom_push("job", self.identity)
        description = self._wait(None if not self.deferrable else settings().wait_before_deferring_seconds)
        if description is None:
            self.defer(
                trigger=JobTrigger(
                    kind=self.kind,
                    identity=self.identity,
                    poll_seconds=self.poll_seconds or settings().poll_seconds,
                    connection={
                        "aws_conn_id": self.aws_conn_id,
                        "region_name": self.region_name,
                        "verify": self.verify,
                        "botocore_config": self.botocore_config,
                    },
                ),
                method_name="execute_complete",
                kwargs={"identity": self.identity},
            )
        return self._finish(context, self.identity, description)

    def execute_complete(self, context: Context, event: Mapping[str, Any], identity: Identity) -> Any:
        """Asks AWS how the job ended; the trigger only said that it did."""
        self.identity = identity
        return self._finish(context, identity, self._describe(identity))

    def on_kill(self) -> None:
        """Stops the job of a killed or timed-out task."""
        if self.identity:
            self.log.info("Stopping %s %s", self.job_kind.title, self.identity)
            kind = self.job_kind
            getattr(self.client, kind.stop)(**(kind.stop_arguments(self.identity) or self.identity))

    def _names(self, ti: Any) -> list[str]:
        """The job names of this try and of those before it back to the last *Clear* (or the first try), newest first.

        When a person clears a task, Airflow gives it its retries anew: ``max_tries`` grows by them. So this is where the
        tries of the present life of the task begin; a job of a former life is none of its business.
        """
        first = max(1, ti.max_tries - (self.retries or 0) + 1)
        map_index = -1 if ti.map_index is None else ti.map_index
        tries = range(ti.try_number, min(first, ti.try_number) - 1, -1)
        return [runs.job_name(ti.dag_id, ti.task_id, ti.run_id, map_index, attempt) for attempt in tries]

    def _earlier_job(self, names: Sequence[str]) -> Identity | None:
        """The job that an earlier try left running, or that succeeded without the try living to tell; None if neither."""
        for name in names:
            identity = self.find(self.client, name)
            if identity is None:
                continue
            description = self._describe(identity)
            failure = self.job_kind.failure(description) if self.job_kind.is_over(description) else None
            if failure is None:
                state = self.job_kind.state(description)
                self.log.info("Re-attached to the %s of an earlier try, %s, state %s", self.job_kind.title, identity, state)
                return identity
            self.log.warning("The %s of an earlier try, %s, ended without success: %s", self.job_kind.title, identity, failure)
        return None

    @cached_property
    def job_kind(self) -> JobKind:
        """What is known of this kind of job."""
        return JOB_KINDS[self.kind]

    @cached_property
    def client(self) -> Any:
        """The boto3 client of the job's service."""
        return self.client_with(self.botocore_config)

    def client_with(self, config: dict[str, Any] | None, service: str | None = None) -> Any:
        """A boto3 client with the operator's connection, and a botocore configuration of its own.

        :param service: default: the job's own
        """
        hook: AwsBaseHook = AwsBaseHook(
            client_type=service or self.job_kind.client,
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            config=config,
        )
        return hook.conn

    def _describe(self, identity: Identity) -> dict[str, Any]:
        return getattr(self.client, self.job_kind.describe)(**identity)

    def _wait(self, seconds: float | None) -> dict[str, Any] | None:
        """AWS's last answer once the job is over; None when it is not over after ``seconds`` (None: no limit)."""
        assert self.identity is not None
        began, pause = time.monotonic(), 0.1
        while True:
            description = self._describe(self.identity)
            if self.job_kind.is_over(description):
                return description
            if seconds is not None and time.monotonic() - began + pause > seconds:
                return None
            time.sleep(pause)
            pause = min(pause * 1.5, self.poll_seconds or settings().poll_seconds)

    def _finish(self, context: Context, identity: Identity, description: dict[str, Any]) -> Any:
        failure = self.job_kind.failure(description)
        self._show_logs(identity, lines=100 if failure else 20)
        if failure:
            raise JobFailed(f"{self.job_kind.title} {identity}: {failure}")
        self.log.info("%s %s ended: %s", self.job_kind.title, identity, self.job_kind.state(description))
        for asset in self.outlets if self.asset_extra else ():
            context["outlet_events"][asset].extra = dict(self.asset_extra)
        return self.result(self.client, identity, description)

    def _show_logs(self, identity: Identity, lines: int) -> None:
        """Copies the end of the job's CloudWatch logs into the task's log; a log that cannot be read is no failure of the job."""
        for group, prefix in self.job_kind.logs(identity):
            try:
                logs = self.client_with(self.botocore_config, service="logs")
                streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=prefix)["logStreams"]
                for stream in streams[:4]:
                    name = stream["logStreamName"]
                    events = logs.get_log_events(logGroupName=group, logStreamName=name, limit=lines, startFromHead=False)
                    self.log.info("Last lines of CloudWatch log %s %s:", group, name)
                    for event in events["events"]:
                        self.log.info("| %s", event["message"])
            except (ClientError, BotoCoreError) as error:
                self.log.info("CloudWatch log %s %s*: not readable (%s)", group, prefix, error)
