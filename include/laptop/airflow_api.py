"""A small client of Airflow's REST API for the demo, the tests and the bench: trigger, wait, backfill, read logs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

ENDED = frozenset({"success", "failed"})
# A task instance in one of these states will not change any more in this run.
TASK_ENDED = frozenset({"success", "failed", "upstream_failed", "skipped", "removed"})
PAGE = 100


class AirflowApiError(Exception):
    """A request that Airflow refused or could not be asked; the message names the request, the status and Airflow's
    reason."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class RunFailed(AirflowApiError):
    """A DAG run that ended as failed; the message names its failed tasks and the last lines of their logs."""


class RunTimedOut(AirflowApiError):
    """A DAG run that did not end in the time given; the message names the tasks that it stands at."""


@dataclass(frozen=True)
class TaskEnd:
    """One task instance that has ended, as `wait` reports it. Times are None for a task that never ran."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    state: str
    try_number: int
    started: datetime | None
    ended: datetime | None

    @property
    def seconds(self) -> float | None:
        """Wall time from its first start to its end, a deferral included; None for a task that never ran."""
        return (self.ended - self.started).total_seconds() if self.started and self.ended else None


class AirflowApi:
    """One Airflow, as one user. Logs in at the first call, and again when the token has run out. Not for several
    threads.

    :param url: where the API server answers, e.g. http://127.0.0.1:8080
    :param timeout: seconds for one request
    """

    def __init__(self, url: str, username: str, password: str, *, timeout: float = 60) -> None:
        self.url = url.rstrip("/")
        self._credentials = {"username": username, "password": password}
        self._timeout = timeout
        self._session = requests.Session()
        # A proxy, or a .netrc of the user's, has no business between two processes of one machine.
        self._session.trust_env = False
        # SQLite has one writer at a time, and on a busy machine the API server gives up its turn with a 500 (see stack._start).
        # What may be said twice is said again.
        again = Retry(total=None, connect=0, read=0, status=6, backoff_factor=0.2, status_forcelist=[500, 503],
                      allowed_methods=["GET", "PATCH"], raise_on_status=False)  # fmt: skip
        self._session.mount("http://", HTTPAdapter(max_retries=again))

    # -- requests --

    def log_in(self) -> None:
        """Fetch a token. Raises AirflowApiError when the user or the password is wrong."""
        answer = self._send("POST", f"{self.url}/auth/token", json=self._credentials)
        self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def request(self, method: str, path: str, **kwargs: Any) -> Any:
        """One call of /api/v2 and its decoded answer (None for an empty one). Raises AirflowApiError for any
        refusal."""
        if "Authorization" not in self._session.headers:
            self.log_in()
        url = f"{self.url}/api/v2{path}"
        try:
            answer = self._send(method, url, **kwargs)
        except AirflowApiError as error:
            if error.status != 401:
                raise
            self.log_in()
            answer = self._send(method, url, **kwargs)
        return answer.json() if answer.content else None

    def _send(self, method: str, url: str, **kwargs: Any) -> requests.Response:
        try:
            answer = self._session.request(method, url, timeout=self._timeout, **kwargs)
        except requests.RequestException as error:
            raise AirflowApiError(f"{method} {url}: Airflow does not answer ({error})") from error
        if not answer.ok:
            try:
                detail = answer.json().get("detail")
            except ValueError:
                detail = answer.text[:500]
            detail = detail if isinstance(detail, str) else json.dumps(detail)
            raise AirflowApiError(f"{method} {url}: HTTP {answer.status_code}: {detail}", answer.status_code)
        return answer

    def pages(self, path: str, key: str, **params: Any) -> Iterator[dict[str, Any]]:
        """All items of a listing, page after page; `key` is the name of the list in the answer."""
        offset = 0
        while True:
            answer = self.request("GET", path, params={**params, "limit": PAGE, "offset": offset})
            yield from answer[key]
            offset += PAGE
            if offset >= answer["total_entries"] or not answer[key]:
                return

    # -- health and DAGs --

    def health(self) -> dict[str, Any]:
        """Each component's status and latest heartbeat. Needs no login."""
        return dict(self._send("GET", f"{self.url}/api/v2/monitor/health").json())

    def warm_execution_api(self) -> None:
        """Make the API server build the API that tasks talk to. Its first call takes 7-30 s, which no task should wait
        for."""
        self._send("GET", f"{self.url}/execution/health")

    def dags(self) -> list[dict[str, Any]]:
        """Every DAG that is in use, with is_paused, relative_fileloc, last_parsed_time, tags and so on."""
        return list(self.pages("/dags", "dags"))

    def import_errors(self) -> dict[str, str]:
        """DAG files that could not be read, with the traceback of each."""
        return {error["filename"]: error["stack_trace"] for error in self.pages("/importErrors", "import_errors")}

    def set_paused(self, dag_id: str, paused: bool) -> None:
        """Pause or unpause a DAG. Unpausing lets its schedule start runs; a run triggered by hand waits while it is
        paused."""
        self.request("PATCH", f"/dags/{quote(dag_id)}", json={"is_paused": paused}, params={"update_mask": "is_paused"})

    def unpause(self, dag_id: str) -> None:
        """Unpause a DAG, so that its runs start."""
        self.set_paused(dag_id, False)

    # -- runs --

    def trigger(
        self,
        dag_id: str,
        run_id: str,
        *,
        conf: Mapping[str, Any] | None = None,
        logical_date: datetime | None = None,
        note: str | None = None,
    ) -> dict[str, Any]:
        """Start a run, or return the one of this id that exists already: a caller that starts over never starts it
        twice.

        :param logical_date: the date that templates like {{ ds }} see; now, when None
        Raises AirflowApiError, for another run's logical date for instance.
        """
        date = (logical_date or datetime.now(UTC)).isoformat()
        body = {"dag_run_id": run_id, "logical_date": date, "conf": dict(conf or {}), "note": note}
        try:
            return dict(self.request("POST", f"/dags/{quote(dag_id)}/dagRuns", json=body))
        except AirflowApiError as error:
            if error.status != 409:
                raise
            conflict = error
        try:
            return self.run(dag_id, run_id)
        except AirflowApiError as error:
            if error.status != 404:
                raise
        same_date = self.runs(dag_id, logical_date_gte=date, logical_date_lte=date)
        names = ", ".join(run["dag_run_id"] for run in same_date)
        if not names:
            raise conflict
        raise AirflowApiError(
            f"run {run_id} of {dag_id} was not started: run {names} has its logical date {date}; give another one", 409
        ) from conflict

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """A run as it is now: state, conf, logical_date, data_interval_start, start_date, end_date and so on."""
        return dict(self.request("GET", _run_path(dag_id, run_id)))

    def runs(self, dag_id: str, **filters: Any) -> list[dict[str, Any]]:
        """The runs of a DAG, oldest first. `filters` are the API's own: state, run_type, start_date_gte, ..."""
        return list(self.pages(f"/dags/{quote(dag_id)}/dagRuns", "dag_runs", order_by="run_after", **filters))

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """All task instances of a run, mapped ones one by one."""
        return list(self.pages(f"{_run_path(dag_id, run_id)}/taskInstances", "task_instances"))

    def clear_failed(self, dag_id: str, run_id: str) -> list[str]:
        """Let a failed run go on from where it failed. Returns the ids of the tasks that will run again."""
        body = {"dag_run_id": run_id, "only_failed": True, "reset_dag_runs": True, "dry_run": False}
        cleared = self.request("POST", f"/dags/{quote(dag_id)}/clearTaskInstances", json=body)
        return [instance["task_id"] for instance in cleared["task_instances"]]

    def asset_events(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The asset events that started a run, each with source_dag_id, source_run_id and extra."""
        return list(self.request("GET", f"{_run_path(dag_id, run_id)}/upstreamAssetEvents")["asset_events"])

    def run_caused_by(
        self, dag_id: str, source_run_id: str, *, timeout: float = 60, check: Callable[[], None] = lambda: None
    ) -> dict[str, Any]:
        """The asset-triggered run of `dag_id` that consumed an event of the run `source_run_id`; waits until it is
        there.

        Raises RunTimedOut when no such run appears in `timeout` seconds.
        """
        seen: set[str] = set()
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for run in self.runs(dag_id, run_type="asset_triggered"):
                # Airflow 3.3.1 answers HTTP 500 to the question for a run's events while the run waits in the queue.
                if run["dag_run_id"] not in seen and run["start_date"]:
                    seen.add(run["dag_run_id"])
                    if any(event["source_run_id"] == source_run_id for event in self.asset_events(dag_id, run["dag_run_id"])):
                        return run
            check()
            time.sleep(0.5)
        raise RunTimedOut(f"no run of {dag_id} was started by the assets of run {source_run_id} within {timeout:.0f} s")

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """The value that a task has handed on, decoded."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task_id)}/xcomEntries/{quote(key)}"
        return self.request("GET", path, params={"map_index": map_index, "deserialize": "true"})["value"]

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int, map_index: int = -1) -> list[str]:
        """The lines of one try's log, as the UI shows them without the grouping; errors with their traceback."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task_id)}/logs/{try_number}"
        params = {"full_content": "true", "map_index": map_index}
        answer = self.request("GET", path, params=params, headers={"Accept": "application/json"})
        return [line for entry in answer["content"] for line in _log_lines(entry)]

    def wait(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout: float = 600,
        on_task: Callable[[TaskEnd], None] = lambda end: None,
        check: Callable[[], None] = lambda: None,
        poll: float = 0.5,
    ) -> dict[str, Any]:
        """Wait for the end of a run and return it. `on_task` hears of every task instance that has ended, once.

        :param check: called at every look; raise from it to give up, for instance when a component has died
        Raises RunFailed with the failed tasks' last log lines, and RunTimedOut.
        """
        told: set[tuple[str, int, int]] = set()
        end = time.monotonic() + timeout
        while True:
            run = self.run(dag_id, run_id)
            instances = self.task_instances(dag_id, run_id)
            for instance in sorted(instances, key=lambda each: each["end_date"] or ""):
                key = (instance["task_id"], instance["map_index"], instance["try_number"])
                if instance["state"] in TASK_ENDED and key not in told:
                    told.add(key)
                    on_task(_task_end(instance))
            if run["state"] == "success":
                return run
            if run["state"] == "failed":
                raise RunFailed(self._why_failed(dag_id, run_id, instances))
            if time.monotonic() > end:
                standing = ", ".join(
                    f"{each['task_id']} ({each['state'] or 'not scheduled'})"
                    for each in instances
                    if each["state"] not in TASK_ENDED
                )
                paused = " The DAG is paused." if self.request("GET", f"/dags/{quote(dag_id)}")["is_paused"] else ""
                raise RunTimedOut(f"run {run_id} of {dag_id} is {run['state']} after {timeout:.0f} s, at: {standing}.{paused}")
            check()
            time.sleep(poll)

    def _why_failed(self, dag_id: str, run_id: str, instances: list[dict[str, Any]]) -> str:
        failed = [instance for instance in instances if instance["state"] == "failed"]
        parts = [f"run {run_id} of {dag_id} failed; see {self.url}/dags/{quote(dag_id)}/runs/{quote(run_id)}"]
        for instance in failed:
            parts.append(f"-- task {instance['task_id']}, try {instance['try_number']}, last lines of its log:")
            try:
                lines = self.task_log(dag_id, run_id, instance["task_id"], instance["try_number"], instance["map_index"])
                parts += [f"   {line}" for line in lines[-25:]] or ["   (the log is empty)"]
            except AirflowApiError as error:
                parts.append(f"   (its log cannot be read: {error})")
        return "\n".join(parts)

    # -- backfills --

    def backfill(
        self,
        dag_id: str,
        start: datetime,
        end: datetime,
        *,
        conf: Mapping[str, Any] | None = None,
        max_active_runs: int = 1,
        reprocess: str = "none",
    ) -> int:
        """Start a backfill of the DAG's schedule from `start` to `end`, both inclusive. Returns its id.

        :param reprocess: which existing runs to run again: none, failed or completed
        """
        body = {
            "dag_id": dag_id,
            "from_date": start.isoformat(),
            "to_date": end.isoformat(),
            "dag_run_conf": dict(conf or {}),
            "max_active_runs": max_active_runs,
            "reprocess_behavior": reprocess,
        }
        return int(self.request("POST", "/backfills", json=body)["id"])

    def wait_for_backfill(
        self, backfill_id: int, *, timeout: float = 600, check: Callable[[], None] = lambda: None, poll: float = 1
    ) -> list[dict[str, Any]]:
        """Wait until every run of a backfill has ended and return them. Raises RunFailed if one failed, and
        RunTimedOut."""
        end = time.monotonic() + timeout
        while True:
            # Airflow marks a backfill as completed only every 30 s; its runs, made at once when it is, tell it sooner.
            backfill = self.request("GET", f"/backfills/{backfill_id}")
            runs = [run for run in self.runs(backfill["dag_id"], run_type="backfill") if _within(run, backfill)]
            if all(run["state"] in ENDED for run in runs):
                for run in runs:
                    if run["state"] == "failed":
                        instances = self.task_instances(run["dag_id"], run["dag_run_id"])
                        raise RunFailed(self._why_failed(run["dag_id"], run["dag_run_id"], instances))
                return runs
            if time.monotonic() > end:
                states = ", ".join(f"{run['dag_run_id']} ({run['state']})" for run in runs)
                raise RunTimedOut(f"backfill {backfill_id} has not completed after {timeout:.0f} s: {states}")
            check()
            time.sleep(poll)


def _within(run: Mapping[str, Any], backfill: Mapping[str, Any]) -> bool:
    date = run["logical_date"] or run["run_after"]
    return bool(_time(backfill["from_date"]) <= _time(date) <= _time(backfill["to_date"]))


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _time(text: str | None) -> Any:
    return datetime.fromisoformat(text) if text else None


def _task_end(instance: Mapping[str, Any]) -> TaskEnd:
    return TaskEnd(
        dag_id=instance["dag_id"],
        run_id=instance["dag_run_id"],
        task_id=instance["task_id"],
        map_index=instance["map_index"],
        state=instance["state"],
        try_number=instance["try_number"],
        started=_time(instance["start_date"]),
        ended=_time(instance["end_date"]),
    )


def _log_lines(entry: Any) -> Iterator[str]:
    """One structured log entry as lines: its text, then the traceback's essence."""
    if isinstance(entry, str):
        yield entry
        return
    text = str(entry.get("event", ""))
    if text.startswith(("::group::", "::endgroup::")):
        return
    level = str(entry.get("level") or "").upper()
    yield f"{level} {text}" if level in {"WARNING", "ERROR", "CRITICAL"} else text
    for error in entry.get("error_detail") or ():
        frames = error.get("frames") or []
        if frames:
            last = frames[-1]
            yield f"  at {last.get('filename')}:{last.get('lineno')} in {last.get('name')}"
        yield from f"  {error.get('exc_type')}: {error.get('exc_value')}".splitlines()
