"""The journal: one JSON line per API call, and per start and end of a job, in ``journal.jsonl``.

A call's line has ``time`` (UTC, ISO 8601), ``service``, ``operation``, ``resource``, ``status`` (HTTP; 0: the connection
was closed before anything was executed), ``error`` (AWS' code or null), ``request_id``, ``ms`` (how long the server took)
and, where a fault struck the call, ``fault`` (``"f1: lose"``).

A job's line has ``time``, ``job`` (its kind), ``name`` (what a client recognises it by), ``id``, ``state`` (``started``
when the service accepted it, ``ended`` at its terminal state), ``status`` (AWS' state; null for a job that a killed
server had not saved yet), ``reason`` (AWS' failure text or null) and, where a fault struck it, ``fault``. It is what the
tests on permissions and reliability read.
"""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MAX_BYTES = 64 * 1024 * 1024
"""A journal that grows over this is kept as :data:`OLDER`, and a new one is begun."""

OLDER = "journal.1.jsonl"


class Journal:
    """The journal at ``path``; lines are appended whole, from any thread."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._handle, self._size = -1, 0
        self._open()

    def write(
        self,
        service: str,
        operation: str | None,
        resource: str | None,
        status: int,
        error: str | None,
        request_id: str | None,
        ms: float,
        fault: str | None = None,
    ) -> None:
        """Append the line of one call."""
        self._append(
            {
                "service": service,
                "operation": operation,
                "resource": resource,
                "status": status,
                "error": error,
                "request_id": request_id,
                "ms": round(ms, 1),
            },
            fault,
        )

    def write_job(
        self, job: str, name: str, job_id: str, state: str, status: str | None, reason: str | None, fault: str | None = None
    ) -> None:
        """Append the line of a job that has ``started`` or ``ended``."""
        self._append({"job": job, "name": name, "id": job_id, "state": state, "status": status, "reason": reason}, fault)

    def open_jobs(self) -> list[tuple[str, str, str]]:
        """Kind, name and id of the jobs that have started and not ended, as far back as there are journals."""
        found: dict[str, tuple[str, str, str]] = {}
        for path in (self.path.with_name(OLDER), self.path):
            for line in path.open("rb") if path.exists() else ():
                if b'"job": ' not in line or b'"state": ' not in line:
                    continue  # nearly all lines are calls: only what may tell of a job is worth reading
                try:
                    told = json.loads(line)
                except ValueError:
                    continue  # the last line of a server that was killed
                if told.get("state") == "started" and "job" in told:
                    found[told["id"]] = told["job"], told["name"], told["id"]
                elif told.get("state") == "ended":
                    found.pop(told["id"], None)
        return list(found.values())

    def _append(self, told: dict[str, Any], fault: str | None) -> None:
        struck = {"fault": fault} if fault else {}
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds")} | told | struck, ensure_ascii=False)
        with self._lock:
            if self._handle < 0:
                return
            self._size += os.write(self._handle, line.encode("utf-8", "replace") + b"\n")
            if self._size > MAX_BYTES:
                os.close(self._handle)
                os.replace(self.path, self.path.with_name(OLDER))
                self._open()

    def close(self) -> None:
        """Close the file; what is told after that, by a job that the server's end has cut off, is not written."""
        with self._lock:
            os.close(self._handle)
            self._handle = -1

    def _open(self) -> None:
        self._handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._size = os.fstat(self._handle).st_size
