"""Operators run against a real local AWS, and a run of Airflow reduced to what an operator sees of it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from airflow.sdk.exceptions import TaskDeferred

ROOT = Path(__file__).parents[2]
JOBS_PYTHON = ROOT / ".venv-jobs" / "bin" / "python"


class Aws:
    """The running local AWS: ``endpoint``, and clients of its services."""

    def __init__(self, endpoint: str, root: Path):
        self.endpoint, self.root = endpoint, root
        self.environment = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    def client(self, service: str) -> Any:
        """A boto3 client."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    @contextmanager
    def fault(self, **rule: Any) -> Iterator[Callable[[], dict[str, Any]]]:
        """A fault of the local AWS while the block runs; yields what tells how it stands (hits, held calls)."""
        number = self._faults("POST", "", rule)["id"]
        try:
            yield lambda: next(fault for fault in self._faults("GET", "")["faults"] if fault["id"] == number)
        finally:
            self._faults("DELETE", f"/{number}")

    def release(self, fault: dict[str, Any]) -> None:
        """Lets the calls go on that a fault holds."""
        self._faults("POST", f"/{fault['id']}/release", {})

    def _faults(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.endpoint}/flywheel/faults{path}", data, method=method)
        with urllib.request.urlopen(request) as answer:
            return dict(json.load(answer))

    def calls(self, operation: str) -> list[dict[str, Any]]:
        """The journal's entries of one operation."""
        lines = (self.root / "journal.jsonl").read_text().splitlines()
        return [entry for entry in map(json.loads, lines) if entry.get("operation") == operation]


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """A local AWS of the tests' own, provisioned as a deployment is; Airflow's connection and settings lead to it."""
    root = tmp_path_factory.mktemp("aws")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW"))}
    server = subprocess.Popen(
        [str(JOBS_PYTHON), "-m", "localaws", "serve", "--root", str(root), "--port", "0"],
        env=clean | {"PYTHONPATH": str(ROOT / "include")},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout
        ready = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
        assert ready, "the local AWS did not start"
        running = Aws(ready.group(), root)
        settings = subprocess.run(
            [str(JOBS_PYTHON), "include/infra/provision.py", "--bucket", "flywheel-tests"],
            cwd=ROOT, env=clean | running.environment | {"PYTHONPATH": str(ROOT / "plugins")},
            check=True, stdout=subprocess.PIPE, text=True,
        ).stdout  # fmt: skip
        extra = {"region_name": "us-east-1", "endpoint_url": running.endpoint}
        connection = {"conn_type": "aws", "login": "test", "password": "test", "extra": extra}
        os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = json.dumps(connection)
        os.environ.update(line.split("=", 1) for line in settings.splitlines())
        from flywheel.settings import settings as cached

        cached.cache_clear()
        yield running
    finally:
        server.terminate()
        server.wait(60)


class TaskInstance:
    """What an operator sees of its task instance: who it is, and XCom.

    :param max_tries: as Airflow keeps it: the task's retries, and after a Clear the tries before it on top
    """

    def __init__(self, task_id: str, try_number: int, max_tries: int):
        self.dag_id, self.task_id, self.run_id, self.map_index = "dag", task_id, "manual__2013-04-01", -1
        self.try_number, self.max_tries = try_number, max_tries
        self.start_date = datetime.now(UTC)
        self.xcom: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        """Keeps the value, which must be JSON as in Airflow's database."""
        self.xcom[key] = json.loads(json.dumps(value))


class Runner:
    """Executes an operator as Airflow does: in the worker, and when it defers, its trigger and then its second half."""

    deferred = False
    run_started = datetime(2013, 4, 1, 12, tzinfo=UTC)

    def begin(self, operator: Any, try_number: int = 1, max_tries: int | None = None) -> dict[str, Any]:
        """The context of a try."""
        self.ti = TaskInstance(operator.task_id, try_number, operator.retries if max_tries is None else max_tries)
        dag_run = SimpleNamespace(start_date=self.run_started)
        self.context: dict[str, Any] = {"ti": self.ti, "dag_run": dag_run, "outlet_events": {}, "params": {}}
        return self.context

    def run(self, operator: Any, try_number: int = 1, max_tries: int | None = None) -> Any:
        """The operator's return value. ``deferred`` tells whether it left the worker."""
        context = self.begin(operator, try_number, max_tries)
        resume = partial(operator.execute, context)
        while True:
            try:
                return resume()
            except TaskDeferred as deferral:
                self.deferred = True
                event = asyncio.run(self.first_event(deferral.trigger))
                resume = partial(getattr(operator, deferral.method_name), context, event.payload, **deferral.kwargs)

    def job_name(self, task_id: str, life: int = 1, number: int = 1) -> str:
        """What a job of the task is called."""
        from flywheel.core import runs

        ti = TaskInstance(task_id, 1, 0)
        return runs.job_name(runs.job_prefix(ti.dag_id, task_id, ti.run_id, -1), self.run_started, life, number)

    @staticmethod
    async def first_event(trigger: Any) -> Any:
        """Rebuilds the trigger from its serialisation, as the triggerer does, and waits for what it fires."""
        path, arguments = trigger.serialize()
        module, _, name = path.rpartition(".")
        rebuilt = getattr(__import__(module, fromlist=[name]), name)(**json.loads(json.dumps(arguments)))
        assert rebuilt.serialize() == trigger.serialize()
        return await anext(rebuilt.run())


@pytest.fixture(autouse=True)
def no_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here no supervisor reports the end of a task that has deferred: there is nothing to wait for."""
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "0")
    monkeypatch.setattr("flywheel.triggers.poller.REPORT_MARGIN", 0.0)


@pytest.fixture
def runner() -> Runner:
    """A fresh run."""
    return Runner()


@pytest.fixture
def run() -> Callable[[Any], Any]:
    """Executes an operator in a run of its own and returns its value."""
    return lambda operator: Runner().run(operator)
