"""A stack of its own in which tasks and jobs are struck, and what its journal tells afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from flywheel.core import runs
from flywheel.core.artifacts import artifacts_version
from laptop import aws, processes, stack
from laptop.airflow_api import AirflowApi, AirflowApiError
from laptop.environment import PROJECT, Place, airflow_environment

HERE = Path(__file__).parent
SUCCEEDED = frozenset({"SUCCEEDED", "SUCCESS", "FINISHED", "Completed"})
#: Service and operation that start a job of each kind.
CREATE = {
    "glue": ("glue", "StartJobRun"),
    "emr_serverless": ("emr-serverless", "StartJobRun"),
    "redshift_data": ("redshift-data", "ExecuteStatement|BatchExecuteStatement"),
    "training": ("sagemaker", "CreateTrainingJob"),
    "spot": ("sagemaker", "CreateTrainingJob"),
    "tuning": ("sagemaker", "CreateHyperParameterTuningJob"),
    "processing": ("sagemaker", "CreateProcessingJob"),
    "transform": ("sagemaker", "CreateTransformJob"),
}
SETTINGS = {
    "AIRFLOW__CORE__PARALLELISM": "12",
    "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "12",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
    "AIRFLOW__FLYWHEEL__GLUE_JOB": "reliability",
    "AIRFLOW__FLYWHEEL__POLL_SECONDS": "0.5",
    "AIRFLOW__FLYWHEEL__WAIT_BEFORE_DEFERRING_SECONDS": "0",
}
TASK = "job"
TASK_OVER = frozenset({"success", "failed", "skipped", "removed", "upstream_failed"})


@dataclass(frozen=True)
class Case:
    """One thing that befalls one operator in one way of waiting.

    :param family: whose operators: ``flywheel`` or ``provider``
    """

    scenario: str
    kind: str
    way: str
    family: str = "flywheel"

    def __str__(self) -> str:
        return f"{self.scenario}-{self.kind}-{self.way}"

    @property
    def run_id(self) -> str:
        """The DAG run's id."""
        return str(self)

    @property
    def token(self) -> str:
        """What the provider's operators are told to name their jobs by."""
        return "pv" + hashlib.sha256(str(self).encode()).hexdigest()[:10]

    def dag_id(self, limits: str = "") -> str:
        """The DAG that the case runs in."""
        return "_".join(filter(None, [self.family, self.kind, self.way, limits]))

    def prefix(self, limits: str = "") -> str:
        """What the names of its jobs begin with."""
        if self.family == "provider":
            return self.token
        return runs.job_prefix(self.dag_id(limits), TASK, self.run_id, -1, 32 if self.kind == "tuning" else 63)


@dataclass
class Job:
    """A job as the journal tells it; times are ISO 8601 texts, which sort."""

    name: str
    started: str
    ended: str | None = None
    status: str | None = None


@dataclass
class Outcome:
    """What a case has come to.

    :param jobs: their terminal states, in the order of their starts; None for one that still runs
    :param most_at_once: how many ran at the same time
    :param reasons: what XCom tells of jobs that failed
    """

    state: str | None
    tries: int
    jobs: list[str | None]
    most_at_once: int
    reasons: list[str] = field(default_factory=list)

    @property
    def succeeded(self) -> int:
        """Jobs that ended well."""
        return sum(status in SUCCEEDED for status in self.jobs)

    @property
    def left_running(self) -> int:
        """Jobs that nobody waits for."""
        return self.jobs.count(None)


class Lab:
    """Drives cases in a running stack; its methods may be called from several threads.

    :param limits: of the DAG that a case uses, see the DAG file
    """

    def __init__(self, place: Place):
        self.place = place
        self._local = threading.local()
        self._journal_lock, self._offset, self._jobs = threading.Lock(), 0, dict[str, Job]()
        self._tasks_lock, self._tasks, self._looked = threading.Lock(), dict[tuple[str, str], dict[str, Any]](), 0.0
        self._since = "2013-01-01T00:00:00Z"

    @property
    def api(self) -> AirflowApi:
        """This thread's client of Airflow."""
        if not hasattr(self._local, "api"):
            self._local.api = stack.client(self.place)
        return self._local.api  # type: ignore[no-any-return]

    # -- setting up --

    def open(self) -> None:
        """Starts the stack, with the jobs' code in place."""
        stack.start(self.place)
        self.bucket = aws.settings(self.place)["bucket"]
        self._upload_code()
        self._make_model()
        for dag in self.api.dags():
            self._ask_airflow(lambda dag_id=dag["dag_id"]: self.api.unpause(dag_id))  # type: ignore[misc]

    def _upload_code(self) -> None:
        s3, prefix = aws.client(self.place, "s3"), f"artifacts/{artifacts_version(PROJECT / 'include')}"
        script = (HERE / "jobs" / "reliability.py").read_bytes()
        for folder in ("glue", "emr", "sagemaker"):
            s3.put_object(Bucket=self.bucket, Key=f"{prefix}/scripts/{folder}/reliability.py", Body=script)
        s3.put_object(Bucket=self.bucket, Key=f"{prefix}/reliability.tar.gz", Body=_tar({"train.py": "train.py"}))
        for seconds in (2, 4, 20, 120):
            lines = f"a,{seconds}\nb,{seconds}\n".encode()
            s3.put_object(Bucket=self.bucket, Key=f"reliability/input/{seconds}/part.csv", Body=lines)
        role = aws.settings(self.place)["role_arn"]
        # A Python-shell job starts without a JVM; to the operator it is a Glue job like any other.
        aws.client(self.place, "glue").create_job(
            Name="reliability", Role=role, ExecutionProperty={"MaxConcurrentRuns": 50},
            Command={"Name": "pythonshell", "PythonVersion": "3.9", "ScriptLocation": f"s3://{self.bucket}/{prefix}/scripts/glue/reliability.py"},
        )  # fmt: skip
        self.run_sql("CREATE TABLE monitoring.reliability (run_id VARCHAR(200))")

    def _make_model(self) -> None:
        sagemaker, s3 = aws.client(self.place, "sagemaker"), aws.client(self.place, "s3")
        s3.put_object(Bucket=self.bucket, Key="reliability/model.tar.gz", Body=_tar({"code/inference.py": "inference.py"}))
        sagemaker.create_model_package_group(ModelPackageGroupName="reliability")
        container = {
            "Image": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.2-0",
            "ModelDataUrl": f"s3://{self.bucket}/reliability/model.tar.gz",
            "Environment": {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"},
        }
        self.model = sagemaker.create_model_package(
            ModelPackageGroupName="reliability", ModelApprovalStatus="Approved",
            InferenceSpecification={
                "Containers": [container], "SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"],
            },
        )["ModelPackageArn"]  # fmt: skip

    def close(self) -> None:
        """Stops the stack."""
        stack.shut_down(self.place)

    # -- a case's run --

    def start(self, case: Case, limits: str = "", *, seconds: int = 2, die: bool = False) -> None:
        """Starts the case's DAG run."""
        conf = {"seconds": seconds, "die": die, "bucket": self.bucket, "model": self.model, "token": case.token}
        self._ask_airflow(lambda: self.api.trigger(case.dag_id(limits), case.run_id, conf=conf))

    def task(self, case: Case, limits: str = "") -> dict[str, Any]:
        """The case's task instance as it was half a second ago at most; empty before it is there.

        One question serves all cases: SQLite is no friend of a hundred readers a second.
        """
        with self._tasks_lock:
            if time.monotonic() - self._looked > 0.5:
                for task in self.api.pages("/dags/~/dagRuns/~/taskInstances", "task_instances", updated_at_gte=self._since):
                    self._tasks[task["dag_id"], task["dag_run_id"]] = task
                self._keep_the_scheduler()
                self._looked = time.monotonic()
                # A little twice rather than anything never: a change may be written with an earlier time than one seen.
                self._since = (datetime.now(UTC) - timedelta(seconds=20)).isoformat()
            return self._tasks.get((case.dag_id(limits), case.run_id), {})

    def _ask_airflow(self, request: Callable[[], Any]) -> Any:
        """Sends a change to Airflow, again when its SQLite was busy for too long."""
        for _ in range(5):
            try:
                return request()
            except AirflowApiError as error:
                if error.status != 500:
                    raise
                time.sleep(1)
        return request()

    def wait_until_waiting(self, case: Case, limits: str = "") -> None:
        """Until the job runs and the task waits for it, in the worker or with its trigger in the triggerer."""
        wanted = "deferred" if case.way == "deferred" else "running"
        wait_for(lambda: self.running(case, limits) and self.task(case, limits).get("state") == wanted, f"{case}: {wanted}")
        time.sleep(3 if case.way == "deferred" else 0.5)  # until the triggerer has taken the trigger up

    def wait_for_end(self, case: Case, limits: str = "", seconds: float = 240) -> None:
        """Until the task is over, and its job too where the task did not wait for it."""
        wait_for(lambda: self.task(case, limits).get("state") in TASK_OVER, f"{case}: end of the task", seconds)
        if case.way == "none":
            wait_for(lambda: not self.running(case, limits), f"{case}: end of the job", seconds)

    def kill_task(self, case: Case, limits: str = "") -> None:
        """``kill -9`` of the process that runs the task."""
        wait_for(lambda: self.task(case, limits).get("pid"), f"{case}: the task's process")
        pid = self.task(case, limits)["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not _runs(pid), f"{case}: end of process {pid}")

    def set_state(self, case: Case, state: str) -> None:
        """As a person marks a task."""
        path = f"/dags/{case.dag_id()}/dagRuns/{case.run_id}/taskInstances/{TASK}"
        self._ask_airflow(lambda: self.api.request("PATCH", path, json={"new_state": state}))

    def clear(self, case: Case) -> None:
        """As a person clears a task."""
        body = {"dry_run": False, "dag_run_id": case.run_id, "task_ids": [TASK], "only_failed": False, "reset_dag_runs": True}
        self._ask_airflow(lambda: self.api.request("POST", f"/dags/{case.dag_id()}/clearTaskInstances", json=body))

    def end_and_delete_run(self, case: Case) -> None:
        """As a person marks a DAG run failed and deletes it."""
        path = f"/dags/{case.dag_id()}/dagRuns/{case.run_id}"
        self._ask_airflow(lambda: self.api.request("PATCH", path, json={"state": "failed"}))
        time.sleep(1)
        self._ask_airflow(lambda: self.api.request("DELETE", f"/dags/{case.dag_id()}/dagRuns/{case.run_id}"))

    def restart(self, component: str) -> None:
        """``kill -9`` of a component and all it has started, and another one."""
        ledger = processes.Ledger(self.place.home / "processes.json")
        (record,) = (record for record in ledger.records() if record.name == component)
        for process in processes.family([record], processes.listing()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        ledger.forget([record])
        env = airflow_environment(self.place, _settings(self.place))
        ledger.start(component, record.command, env=env, cwd=self.place.home, log=Path(record.log))

    def _keep_the_scheduler(self) -> None:
        """Airflow 3.3.1's scheduler ends when the DAG run that it looks at is deleted; a deployment starts another."""
        state = next(state for state in stack.state(self.place) if state.name == stack.SCHEDULER)
        if not state.running:
            print("the scheduler has ended; starting another", flush=True)
            self.restart(stack.SCHEDULER)

    # -- faults --

    @contextlib.contextmanager
    def fault(self, **rule: Any) -> Iterator[Callable[[], dict[str, Any]]]:
        """A fault of the local AWS while the block runs; yields what tells how it stands (hits, held calls).

        :raises AssertionError: it has struck nothing; a test of it would have proved nothing
        """
        url = f"{self.place.aws_url}/flywheel/faults"
        answer = requests.post(url, json=rule, timeout=30)
        assert answer.ok, answer.text
        number = answer.json()["id"]

        def look() -> dict[str, Any]:
            return next(f for f in requests.get(url, timeout=30).json()["faults"] if f["id"] == number)

        try:
            yield look
            assert look()["hits"], f"this fault has struck nothing: {rule}"
        finally:
            requests.delete(f"{url}/{number}", timeout=30).raise_for_status()

    @contextlib.contextmanager
    def create_fault(self, case: Case, do: dict[str, Any], times: int = 1) -> Iterator[Callable[[], dict[str, Any]]]:
        """A fault of the call that starts the case's job."""
        service, operation = CREATE[case.kind]
        with self.fault(service=service, operation=operation, match=case.prefix(), times=times, do=do) as look:
            yield look

    # -- what the journal tells --

    def jobs(self, case: Case, limits: str = "") -> list[Job]:
        """The case's jobs in the order of their starts."""
        prefix = case.prefix(limits)
        self._read_journal()
        kind = "training" if case.kind == "spot" else case.kind
        found = [job for key, job in list(self._jobs.items()) if key.startswith(f"{kind} ") and job.name.startswith(prefix)]
        return sorted(found, key=lambda job: job.started)

    def running(self, case: Case, limits: str = "") -> list[Job]:
        """Those that have not ended."""
        return [job for job in self.jobs(case, limits) if job.ended is None]

    def _read_journal(self) -> None:
        with self._journal_lock, (self.place.aws_root / "journal.jsonl").open("rb") as file:
            file.seek(self._offset)
            data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._offset += len(whole)
            for entry in map(json.loads, whole.splitlines()):
                if "job" not in entry:
                    continue
                key = f"{entry['job']} {entry['id']}"
                if entry["state"] == "started":
                    self._jobs[key] = Job(entry["name"], entry["time"])
                else:
                    self._jobs[key].ended, self._jobs[key].status = entry["time"], entry["status"]

    def outcome(self, case: Case, limits: str = "") -> Outcome:
        """What the case has come to."""
        task, jobs = self.task(case, limits), self.jobs(case, limits)
        reasons = []
        with contextlib.suppress(Exception):  # there is no such XCom where no job has failed
            found = self.api.xcom(case.dag_id(limits), case.run_id, TASK, key="failed_jobs")
            reasons = [failed["reason"] for failed in found]
        return Outcome(task.get("state"), task.get("try_number", 0), [job.status for job in jobs], most_at_once(jobs), reasons)

    def run_sql(self, sql: str) -> list[list[Any]]:
        """Rows of a statement in the local Redshift."""
        redshift = aws.client(self.place, "redshift-data")
        number = redshift.execute_statement(Sql=sql, WorkgroupName="flywheel", Database="flywheel")["Id"]
        wait_for(lambda: redshift.describe_statement(Id=number)["Status"] in ("FINISHED", "FAILED", "ABORTED"), sql)
        if not redshift.describe_statement(Id=number).get("HasResultSet"):
            return []
        return [[next(iter(v.values())) for v in row] for row in redshift.get_statement_result(Id=number)["Records"]]


def most_at_once(jobs: list[Job]) -> int:
    """The largest number of jobs that ran at the same time."""
    moments = [(job.started, 1) for job in jobs] + [(job.ended, -1) for job in jobs if job.ended]
    running = most = 0
    for _, change in sorted(moments, key=lambda moment: (moment[0], moment[1])):
        running += change
        most = max(most, running)
    return most


def wait_for(holds: Callable[[], Any], what: str, seconds: float = 120) -> None:
    """Looks until it holds.

    :raises AssertionError: naming what did not come within the time
    """
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.3)


def _runs(pid: int) -> bool:
    """Whether the process is there; one that has ended and that its parent has not asked for yet is not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _settings(place: Place) -> dict[str, str]:
    from laptop.environment import read_settings

    path = place.home / "settings.env"
    return read_settings(path.read_text(encoding="utf-8"), str(path))


def _tar(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, source in files.items():
            archive.add(HERE / "jobs" / source, arcname=name)
    return buffer.getvalue()
