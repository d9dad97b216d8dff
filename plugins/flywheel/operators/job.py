"""The base of every operator that starts an AWS job."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowTaskTimeout
from botocore.exceptions import BotoCoreError, ClientError

from flywheel.core import runs
from flywheel.hooks import ledger
from flywheel.hooks.jobs import JOB_KINDS, Identity, JobKind, Listed
from flywheel.links import JobConsoleLink, JobLogsLink
from flywheel.settings import settings
from flywheel.triggers.job import JobTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

#: What every client of a job operator starts from: throttling is waited out for about a minute. To send a call again is safe:
#: jobs are created under a name or token that AWS takes once (what cannot be named so is sent by a client of its own).
CLIENT_CONFIG: dict[str, Any] = {"retries": {"mode": "standard", "total_max_attempts": 12}}
#: Pages in which a retry looks for the jobs of the tries before it: thousands of runs, the newest first.
PAGES = 20
#: Seconds in which a killed task may look for the job of a create call that was under way; Airflow kills it after five.
KILL_PATIENCE = 3.0


class JobFailed(AirflowException):
    """An AWS job ended without success; the message is AWS's own reason."""


class JobOperator(BaseOperator):
    """Starts one job under a name that a retry finds again, or re-attaches to the one that already runs; waits; tells its end.

    A subclass says how to start a job (:meth:`start`), where AWS lists such jobs (:meth:`listing`), and what the result of one
    is (:meth:`result`).

    A try that is not the first asks AWS for the jobs of the tries before it. One that runs is joined; one that succeeded is
    taken as it is (its try died before it could tell); one that failed or was stopped is told in the log and in XCom and
    followed by a new one. What failed for a passing reason (:meth:`pause_before_next`) is followed by another in the same try,
    without using up a retry. A task that a person has cleared runs anew; what its former life left running is stopped first.
    Names are made so that the create call of a dead try and that of the next ask AWS for the same job (see
    :func:`flywheel.core.runs.job_name`).

    Three ways of waiting: none (``wait_for_completion=False``: the task ends when the job has started), in the worker
    (``deferrable=False``), and deferred: short jobs are awaited in the worker for ``wait_before_deferring_seconds`` (a deferral
    costs more than that), longer ones by :class:`~flywheel.triggers.job.JobTrigger`. Killing the task stops the job in both
    phases, and so does ``execution_timeout``, which counts from the start of the try, deferred time included. There is no other
    limit: AWS ends a job at its own.

    The last lines of the job's CloudWatch logs are shown in the task's log, with the names of their streams.

    XCom: ``job`` (the identity, pushed before waiting), ``failed_jobs`` (``[{"job", "reason", "console"}]``, all of this life of
    the task that ended without success) and the return value of :meth:`result`.

    :param aws_conn_id: Airflow connection for AWS
    :param region_name: region; default: the connection's
    :param verify: TLS verification as boto3 takes it
    :param botocore_config: botocore client configuration, over :data:`CLIENT_CONFIG`
    :param poll_seconds: seconds between polls while deferred; default: setting ``poll_seconds``
    :param wait_for_completion: False ends the task as soon as the job has started; its value is the identity then
    :param deferrable: False waits in the worker to the end
    :param asset_extra: what the events of the task's outlets carry (templated)
    :raises JobFailed: with AWS's reason, when the job fails, is stopped or expires
    :raises AirflowTaskTimeout: ``execution_timeout`` was over; the job has been stopped
    """

    kind: str
    template_fields: Sequence[str] = ("asset_extra",)
    operator_extra_links = (JobConsoleLink(), JobLogsLink())
    ui_color = "#fff3e0"

    def __init__(
        self,
        *,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
        poll_seconds: float | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = True,
        asset_extra: Mapping[str, str] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.aws_conn_id, self.region_name, self.verify = aws_conn_id, region_name, verify
        self.botocore_config = botocore_config
        self.poll_seconds = poll_seconds
        self.wait_for_completion, self.deferrable = wait_for_completion, deferrable
        self.asset_extra = dict(asset_extra or {})
        self.identity: Identity | None = None
        self.failed_jobs: list[dict[str, Any]] = []
        self._prefix: str | None = None
        self._name = ""
        self._killed = False

    # What a subclass says -------------------------------------------------------------------------------------------

    @abstractmethod
    def start(self, client: Any, name: str) -> Identity:
        """Starts the job under ``name``, or finds that it was started under it, and returns its identity."""

    def listing(self) -> dict[str, str]:
        """Arguments that narrow the service's list of jobs to where this one is."""
        return {}

    def result(self, client: Any, identity: Identity, description: Mapping[str, Any]) -> Any:
        """The task's return value, from AWS's last answer."""
        return dict(identity)

    def pause_before_next(self, failure: str) -> float | None:
        """Seconds after which a job that failed so is followed by another in the same try; None: the try has failed."""
        return None

    # The way of every job -------------------------------------------------------------------------------------------

    def execute(self, context: Context) -> Any:
        """Starts or re-attaches, waits a moment, defers if that was not enough."""
        ti = context["ti"]
        map_index = -1 if ti.map_index is None else ti.map_index
        limit = self.job_kind.longest_name
        self._prefix = runs.job_prefix(ti.dag_id, ti.task_id, ti.run_id, map_index, limit)
        # ``first`` is the try with which the present life of the task began: a person's Clear gives a task its retries anew,
        # ``max_tries`` grows by them.
        first = min(ti.try_number, max(1, ti.max_tries - (self.retries or 0) + 1))
        run_started = context["dag_run"].start_date
        assert run_started, "a DAG run whose tasks run has started"
        name = runs.job_name(self._prefix, run_started, first, 1)
        if self.wait_for_completion:
            self._write_down(ti, map_index)
        if ti.try_number > 1:
            name = self._take_up(name)
        if self.failed_jobs:
            ti.xcom_push("failed_jobs", self.failed_jobs)
        return self._run(context, name)

    def _run(self, context: Context, name: str) -> Any:
        """Starts the job of this name unless there is one to join, waits a moment, defers if that was not enough."""
        ti, self._name = context["ti"], name
        if self.identity is None:
            if self._was_killed():
                raise AirflowException("the task was killed before its job was started")
            self.identity = self.start(self.client, name)
            self.log.info("Started %s %s", self.job_kind.title, self.identity)
            if self._was_killed():  # while the call was under way
                self._stop(self.identity)
        ti.xcom_push("job", self.identity)
        self.log.info("Console: %s", self.console_url())
        if not self.wait_for_completion:
            return dict(self.identity)
        description = self._wait(self.identity, settings().wait_before_deferring_seconds if self.deferrable else None)
        if description is None:
            self.defer(
                trigger=JobTrigger(
                    kind=self.kind,
                    identity=self.identity,
                    poll_seconds=self.poll_seconds or settings().poll_seconds,
                    connection=self._connection(),
                    listing=self.listing(),
                    deadline=self._deadline(ti),
                ),
                method_name="execute_complete",
                kwargs={"identity": self.identity, "failed_jobs": self.failed_jobs, "prefix": self._prefix, "name": name},
            )
        return self.finish(context, description)

    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any],
        identity: Identity,
        failed_jobs: list[dict[str, Any]],
        prefix: str,
        name: str = "",  # a task that was deferred by an older Flywheel has none
    ) -> Any:
        """Asks AWS how the job ended; the trigger only said that it did."""
        self.identity, self.failed_jobs, self._prefix, self._name = identity, failed_jobs, prefix, name
        return self.finish(context, self._describe(identity), timed_out=event["timed_out"])

    def on_kill(self) -> None:
        """Stops the job of a killed or timed-out task, the one of a create call that is under way included."""
        self._killed = True
        identity, until = self.identity, time.monotonic() + KILL_PATIENCE
        while identity is None and self._prefix and time.monotonic() < until:
            jobs = self.jobs_named(f"{self._prefix}-")
            identity = next((job.identity for job in jobs if job.state not in self.job_kind.ends), None)
            time.sleep(0 if identity else 0.5)
        if identity:
            self._stop(identity)

    def _was_killed(self) -> bool:
        return self._killed

    def _write_down(self, ti: Any, map_index: int) -> None:
        """Before the job is started: should the task and its trigger both be gone, the ledger tells whose the job was."""
        assert self._prefix is not None
        entry = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": map_index, "kind": self.kind}
        # Without the botocore configuration: a proxy's password may be in it.
        connection = self._connection() | {"botocore_config": None}
        ledger.write(self.client_with("s3"), self._prefix, entry | {"listing": self.listing(), "connection": connection})

    def _strike_off(self) -> None:
        """The job has ended. An entry that stays is no failure: it is taken off when somebody looks for orphans."""
        try:
            if self._prefix:
                ledger.strike(self.client_with("s3"), self._prefix)
        except (ClientError, BotoCoreError) as error:
            self.log.warning("The ledger still holds this task: %s", error)

    # Earlier jobs ---------------------------------------------------------------------------------------------------

    def _take_up(self, first_name: str) -> str:
        """Looks at what earlier tries have started: sets ``identity`` to a job to join or to take, and fills ``failed_jobs``.

        :param first_name: name of the first job of this life
        :return: the name for a new job, where there is none to join
        """
        assert self._prefix is not None
        life, number = runs.split_job_name(first_name)
        own: dict[int, Identity] = {}
        for job in self.jobs_named(f"{self._prefix}-"):
            its_life, its_number = runs.split_job_name(str(job.name))
            if its_life == life:
                own[its_number] = job.identity
            elif job.state not in self.job_kind.ends:
                self._end_former(job)
        for number, identity in sorted(own.items()):
            description = self._describe(identity)
            if self.job_kind.state(description) in self.job_kind.stopping:
                self.log.info("The %s of an earlier try, %s, is being stopped; waiting", self.job_kind.title, identity)
                description = self._wait(identity, None) or {}
            failure = self.job_kind.failure(description) if self.job_kind.is_over(description) else None
            if failure is None:
                state = self.job_kind.state(description)
                self.log.info("Re-attached to the %s of an earlier try, %s, state %s", self.job_kind.title, identity, state)
                self.identity = identity
                return f"{life}-{number}"
            self.log.warning("The %s of an earlier try, %s, ended without success: %s", self.job_kind.title, identity, failure)
            self.failed_jobs.append({"job": identity, "reason": failure, "console": self.console_url(identity)})
        return f"{life}-{max(own, default=0) + 1}"

    def _end_former(self, job: Listed) -> None:
        """A job that a former life of the task left: the Clear that ended it should have stopped it. Two never run at once."""
        self.log.warning("%s %s of the task before it was cleared still runs; stopping it", self.job_kind.title, job.identity)
        if job.state not in self.job_kind.stopping:
            self._stop(job.identity)
        self._wait(job.identity, None)

    def jobs_named(self, beginning: str) -> Iterator[Listed]:
        """The jobs whose names begin so, in whatever state; of a list that knows no names, the newest :data:`PAGES` pages."""
        kind = self.job_kind
        arguments = {**kind.list_arguments, **self.listing(), **({kind.name_filter: beginning} if kind.name_filter else {})}
        for page in islice(self.client.get_paginator(kind.list_call).paginate(**arguments), PAGES):
            yield from (job for job in kind.listed(page) if job.name and job.name.startswith(beginning))

    # AWS ------------------------------------------------------------------------------------------------------------

    @cached_property
    def job_kind(self) -> JobKind:
        """What is known of this kind of job."""
        return JOB_KINDS[self.kind]

    @cached_property
    def client(self) -> Any:
        """The boto3 client of the job's service."""
        return self.client_with()

    def client_with(self, service: str | None = None, **config: Any) -> Any:
        """A boto3 client with the operator's connection.

        :param service: default: the job's own
        :param config: botocore configuration, over the operator's
        """
        hook: AwsBaseHook = AwsBaseHook(
            client_type=service or self.job_kind.client,
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            config={**self._config(), **config},
        )
        return hook.conn

    def console_url(self, identity: Identity | None = None) -> str:
        """The page of the job (default: the task's present one) in AWS's console."""
        return self.job_kind.console_url(identity or self.identity or {}, *self._place())

    def logs_url(self) -> str | None:
        """The page of the present job's log streams in CloudWatch's console; None for a kind without logs."""
        return self.job_kind.logs_url(self.identity or {}, *self._place())

    def _place(self) -> tuple[str, str]:
        return self.client.meta.region_name, self.client.meta.partition

    def _connection(self) -> dict[str, Any]:
        """What a trigger needs for clients of its own."""
        return {
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
            "verify": self.verify,
            "botocore_config": self._config(),
        }

    def _config(self) -> dict[str, Any]:
        return {**CLIENT_CONFIG, **(self.botocore_config or {})}

    def _describe(self, identity: Identity) -> dict[str, Any]:
        return getattr(self.client, self.job_kind.describe)(**identity)

    def _stop(self, identity: Identity) -> None:
        self.log.info("Stopping %s %s", self.job_kind.title, identity)
        try:
            getattr(self.client, self.job_kind.stop)(**self.job_kind.stop_call(identity))
        except ClientError as error:
            state = self.job_kind.state(self._describe(identity))
            if state not in self.job_kind.ends | self.job_kind.stopping:
                raise
            self.log.info("It was %s already (%s)", state, error)

    def _wait(self, identity: Identity, seconds: float | None) -> dict[str, Any] | None:
        """AWS's last answer once the job is over; None when it is not over after ``seconds`` (None: no limit)."""
        began, pause = time.monotonic(), 0.1
        while True:
            description = self._describe(identity)
            if self.job_kind.is_over(description):
                return description
            if seconds is not None and time.monotonic() - began + pause > seconds:
                return None
            time.sleep(pause)
            pause = min(pause * 1.5, self.poll_seconds or settings().poll_seconds)

    def _deadline(self, ti: Any) -> float | None:
        """When ``execution_timeout`` is over, in seconds since 1970."""
        limit: timedelta | None = self.execution_timeout
        started = ti.start_date or datetime.now(UTC)
        return None if limit is None else (started + limit).timestamp()

    def finish(self, context: Context, description: dict[str, Any], timed_out: bool = False) -> Any:
        """Tells how the job ended, and returns its result.

        :param description: AWS's last answer
        :param timed_out: the job was stopped because ``execution_timeout`` was over
        """
        assert self.identity is not None
        failure = self.job_kind.failure(description)
        self._show_logs(self.identity, lines=100 if failure else 20)
        if failure:
            self.failed_jobs.append({"job": self.identity, "reason": failure, "console": self.console_url()})
            context["ti"].xcom_push("failed_jobs", self.failed_jobs)
            pause = None if timed_out or not self._name else self.pause_before_next(failure)
            if pause is not None:
                return self._follow(context, failure, pause)
        self._strike_off()
        if failure:
            message = (
                f"{self.job_kind.title} {self.identity}: {failure}\n"
                f"Console: {self.console_url()}\nLogs: {self.logs_url() or 'none'}"
            )
            if timed_out:
                raise AirflowTaskTimeout(f"execution_timeout of {self.execution_timeout} was over; {message}")
            raise JobFailed(message)
        self.log.info("%s %s ended: %s", self.job_kind.title, self.identity, self.job_kind.state(description))
        for asset in self.outlets if self.asset_extra else ():
            context["outlet_events"][asset].extra = dict(self.asset_extra)
        return self.result(self.client, self.identity, description)

    def _follow(self, context: Context, failure: str, pause: float) -> Any:
        """One more job after one that failed for a passing reason, under the next name, so that a retry finds it too."""
        self.log.warning("%s %s: %s\nFollowed by another in %.1f s", self.job_kind.title, self.identity, failure, pause)
        self.identity = None
        time.sleep(pause)
        life, number = runs.split_job_name(self._name)
        return self._run(context, f"{life}-{number + 1}")

    def _show_logs(self, identity: Identity, lines: int) -> None:
        """Copies the end of the job's CloudWatch logs into the task's log; a log that cannot be read is no failure of the job."""
        for group, prefix in self.job_kind.logs(identity):
            try:
                logs = self.client_with("logs")
                streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=prefix)["logStreams"]
                for stream in streams[:4]:
                    name = stream["logStreamName"]
                    events = logs.get_log_events(logGroupName=group, logStreamName=name, limit=lines, startFromHead=False)
                    self.log.info("Last lines of CloudWatch log %s %s:", group, name)
                    for event in events["events"]:
                        self.log.info("| %s", event["message"])
            except (ClientError, BotoCoreError) as error:
                self.log.info("CloudWatch log %s %s*: not readable (%s)", group, prefix, error)
