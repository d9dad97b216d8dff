"""What was asked of the Data API and what became of it, in a file of its own, so that both outlive the server.

A statement is written down before its Id is given out, and again at its end: a client token that comes again after a
crash finds the statement that it started.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

KEEP_S = 7 * 86400
"""How long (s) statements and their results are kept (AWS: 24 hours)."""

ENDED = ("FINISHED", "FAILED", "ABORTED")


@dataclass
class Part:
    """A statement of a batch, or the one statement of a request. ``rows``, ``size``: -1 where there is none."""

    id: str
    sql: str
    status: str = "SUBMITTED"
    error: str | None = None
    has_result: bool = False
    rows: int = -1
    size: int = -1
    duration_ns: int = -1
    query_id: int = 0
    created: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)


@dataclass
class Request:
    """An ExecuteStatement or a BatchExecuteStatement."""

    id: str
    database: str
    parts: list[Part]
    batch: bool = False
    transaction: bool = True
    cluster: str | None = None
    workgroup: str | None = None
    user: str | None = None
    secret: str | None = None
    name: str | None = None
    parameters: list[dict[str, str]] = field(default_factory=list)
    result_format: str = "JSON"
    session: str | None = None
    token: str | None = None
    fingerprint: str = ""
    status: str = "SUBMITTED"
    error: str | None = None
    pid: int = 0
    duration_ns: int = -1
    created: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDED

    def end(self, status: str, error: str | None = None) -> None:
        """Set the end of the request and of those of its statements that have none."""
        self.status, self.error, self.updated = status, error, time.time()
        for part in self.parts:
            if part.status not in ENDED:
                part.status, part.updated = "ABORTED" if self.batch else status, time.time()
                part.error = "Connection or an prior query failed." if self.batch else error


class History:
    """All requests, newest last. Thread-safe."""

    def __init__(self, file: Path):
        self._lock = threading.RLock()
        self._file = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = NORMAL")
        self._file.execute("CREATE TABLE IF NOT EXISTS requests (id TEXT PRIMARY KEY, created REAL, body TEXT)")
        self._requests: dict[str, Request] = {}
        self._tokens: dict[str, Request] = {}
        for (body,) in self._file.execute("SELECT body FROM requests ORDER BY created"):
            self._remember(_load(json.loads(body)))
        self._queries = max((part.query_id for request in self._requests.values() for part in request.parts), default=100)

    def _remember(self, request: Request) -> None:
        self._requests[request.id] = request
        if request.token:
            self._tokens[request.token] = request

    def add(self, request: Request) -> Request:
        """Write a new request down; one with the same token that is known already is returned instead."""
        with self._lock:
            known = self._tokens.get(request.token or "")
            if known is not None:
                return known
            for part in request.parts:
                self._queries += 1
                part.query_id = self._queries
            self.save(request)
            self._remember(request)
            return request

    def save(self, request: Request) -> None:
        """Write a request's present state down."""
        with self._lock:
            self._file.execute(
                "INSERT OR REPLACE INTO requests VALUES (?, ?, ?)",
                (request.id, request.created, json.dumps(asdict(request))),
            )

    def get(self, request_id: str) -> Request | None:
        """The request of an Id, or of the Id of one of its statements (``...:2``)."""
        return self._requests.get(request_id.partition(":")[0])

    def by_token(self, token: str | None) -> Request | None:
        """The request that a client token started, if there is one."""
        return self._tokens.get(token or "")

    def all(self) -> list[Request]:
        """All requests, newest first."""
        with self._lock:
            return sorted(self._requests.values(), key=lambda request: -request.created)

    def forget_old(self) -> list[Request]:
        """Forget the requests that are too old, and return them."""
        with self._lock:
            old = [request for request in self._requests.values() if request.created < time.time() - KEEP_S]
            for request in old:
                del self._requests[request.id]
                self._tokens.pop(request.token or "", None)
                self._file.execute("DELETE FROM requests WHERE id = ?", (request.id,))
            return old

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()


def has_open_requests(file: Path) -> bool:
    """Whether a history that is closed tells of requests that have not ended."""
    if not file.exists():
        return False
    with contextlib.closing(sqlite3.connect(file)) as history:
        query = "SELECT count(*) FROM requests WHERE json_extract(body, '$.status') NOT IN (?, ?, ?)"
        try:
            return bool(history.execute(query, ENDED).fetchone()[0])
        except sqlite3.OperationalError:
            return False  # the server was killed before it had made the table


def _load(body: dict[str, Any]) -> Request:
    parts = [Part(**_known(Part, part)) for part in body["parts"]]
    return Request(**(_known(Request, body) | {"parts": parts}))


def _known(kind: type, body: dict[str, Any]) -> dict[str, Any]:
    """What of a record the class still has: another version may have written it."""
    names = {item.name for item in fields(kind)}
    return {name: value for name, value in body.items() if name in names}
