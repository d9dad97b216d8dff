"""The journal: one JSON line per API call in ``journal.jsonl``.

A line has ``time`` (UTC, ISO 8601), ``service``, ``operation``, ``resource``, ``status`` (HTTP), ``error`` (AWS' code
or null), ``request_id``, ``ms`` (how long the server took). It is what the tests on permissions and reliability read.
"""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

MAX_BYTES = 64 * 1024 * 1024
"""A journal that grows over this is kept as ``journal.1.jsonl``, and a new one is begun."""


class Journal:
    """The journal at ``path``; lines are appended whole, from any thread."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
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
    ) -> None:
        """Append the line of one call."""
        line = json.dumps(
            {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "service": service,
                "operation": operation,
                "resource": resource,
                "status": status,
                "error": error,
                "request_id": request_id,
                "ms": round(ms, 1),
            },
            ensure_ascii=False,
        )
        with self._lock:
            self._size += os.write(self._handle, line.encode("utf-8", "replace") + b"\n")
            if self._size > MAX_BYTES:
                os.close(self._handle)
                os.replace(self.path, self.path.with_name("journal.1.jsonl"))
                self._open()

    def close(self) -> None:
        """Close the file; no line may be written after."""
        with self._lock:
            os.close(self._handle)

    def _open(self) -> None:
        self._handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._size = os.fstat(self._handle).st_size
