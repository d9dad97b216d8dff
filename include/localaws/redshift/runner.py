"""Running requests in threads: their states, sessions, cancelling, and the truth about them after a crash."""

from __future__ import annotations

import json
import threading
import time
import traceback
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from localaws import job_events
from localaws.redshift.engine import Database, Outcome, Session
from localaws.redshift.errors import Cancelled, RedshiftError
from localaws.redshift.history import History, Part, Request
from localaws.redshift.results import ResultStore
from localaws.redshift.statements import run_statement

WORKERS = 16
RESTARTED = "ERROR: the local AWS was stopped while the statement ran; it was rolled back. Run it again."
TERMINATED = "FATAL: terminating connection due to administrator command"


@dataclass
class LiveSession:
    """A session that is kept alive between requests (SessionKeepAliveSeconds)."""

    id: str
    session: Session
    keep_alive_s: int
    like: Request
    created: float = field(default_factory=time.time)
    used: float = field(default_factory=time.time)
    current: str | None = None

    @property
    def expired(self) -> bool:
        """Whether it has been idle for longer than it is kept."""
        return self.current is None and time.time() > self.used + self.keep_alive_s


class Warehouse:
    """All databases below a folder, and what runs in them. Thread-safe."""

    def __init__(self, folder: Path, s3_root: Path):
        self.folder, self._s3_root = folder, s3_root
        folder.mkdir(parents=True, exist_ok=True)
        self.history = History(folder / "history.sqlite")
        self.results = ResultStore(folder / "results")
        self.sessions: dict[str, LiveSession] = {}
        self._databases: dict[str, Database] = {}
        self._running: dict[str, tuple[Request, Session]] = {}
        self._terminated: set[str] = set()
        self._ended = threading.Condition()
        self._lock = threading.RLock()
        self._closing = self._recovered = False
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="redshift")

    def database(self, name: str) -> Database:
        """The database of a name, made when it is not there (on AWS it must be)."""
        with self._lock:
            if name not in self._databases:
                self._databases[name] = Database(name, self.folder, self._s3_root)
                if self._recovered:
                    self._databases[name].forget_committed()
            return self._databases[name]

    def names(self) -> list[str]:
        """The names of the databases that there are."""
        return sorted({file.stem for file in self.folder.glob("*.duckdb")} | set(self._databases))

    # running

    def submit(self, request: Request) -> Request:
        """Write the request down and let it run; a request whose client token is known is not run again."""
        known = self.history.add(request)
        if known is request:
            job_events.accepted("redshift_data", request.name or request.id, request.id, request.status)
            self._pool.submit(self._run, request)
        return known

    def wait(self, request: Request, seconds: float) -> None:
        """Wait until the request has ended, at most so long."""
        with self._ended:
            self._ended.wait_for(lambda: request.ended, seconds)

    def _run(self, request: Request) -> None:
        started = time.perf_counter_ns()
        session = None
        try:
            if _over(request):  # cancelled while it waited
                return
            self._state(request, "PICKED")
            session = self._session(request)
            with self._lock:
                self._running[request.id] = (request, session)
            if _over(request):
                return
            request.pid = session.pid
            self._state(request, "STARTED")
            job_events.running("redshift_data", request.name or request.id, request.id, kill=lambda: self.terminate(request))
            session.on_commit = lambda connection: _note(connection, request)
            if request.batch and request.transaction:
                self._run_batch(session, request)
            else:
                for part in request.parts:
                    self._run_part(session, request, part)
            self._finish(request, "FINISHED", None, started)
        except Exception as error:
            if isinstance(error, Cancelled) or _interrupted(session, error):
                self._finish(request, *self._stopped(request), started)
            elif isinstance(error, RedshiftError):
                self._finish(request, "FAILED", str(error), started)
            else:
                traceback.print_exc()
                why = f"ERROR: the local Redshift failed: {type(error).__name__}: {error} (the traceback is in the server's log)"
                self._finish(request, "FAILED", why, started)
        finally:
            self._leave(request, session)

    def _run_batch(self, session: Session, request: Request) -> None:
        session.begin()
        try:
            for part in request.parts:
                self._run_part(session, request, part)
            session.commit()
        finally:
            session.rollback()

    def _run_part(self, session: Session, request: Request, part: Part) -> None:
        part.status, part.updated = "STARTED", time.time()
        started = time.perf_counter_ns()
        parameters = {item["name"]: item["value"] for item in request.parameters}

        def consume(outcome: Outcome) -> None:
            self.results.write(part.id, outcome)
            part.has_result = outcome.columns is not None
            part.rows = outcome.rows
            part.size = outcome.size if part.has_result else 0

        try:
            outcome = run_statement(session, part.sql, parameters, consume)
            part.status, part.rows = "FINISHED", outcome.rows
        except RedshiftError as error:
            part.status, part.error = self._stopped(request) if isinstance(error, Cancelled) else ("FAILED", str(error))
            raise
        finally:
            part.duration_ns, part.updated = time.perf_counter_ns() - started, time.time()

    def _stopped(self, request: Request) -> tuple[str, str]:
        """The state and the error of a request that was stopped while it ran."""
        if self._closing:
            return "FAILED", RESTARTED
        return ("FAILED", TERMINATED) if request.id in self._terminated else ("ABORTED", str(Cancelled()))

    def _state(self, request: Request, status: str) -> None:
        if not request.ended:
            request.status, request.updated = status, time.time()

    def _finish(self, request: Request, status: str, error: str | None, started: int) -> None:
        request.duration_ns = time.perf_counter_ns() - started
        request.end(status, error)
        self._save_end(request)
        with self._ended:
            self._ended.notify_all()

    def _save_end(self, request: Request) -> None:
        self.history.save(request)
        job_events.ended("redshift_data", request.name or request.id, request.id, request.status, request.error)

    # sessions

    def _session(self, request: Request) -> Session:
        live = self.sessions.get(request.session or "")
        if live is not None:
            live.session.cancelled.clear()
            return live.session
        return Session(self.database(request.database))

    def keep_session(self, request: Request, keep_alive_s: int) -> None:
        """Open a session that outlives the request, and let the request run in it."""
        request.session = str(uuid.uuid4())
        session = Session(self.database(request.database))
        with self._lock:
            self.sessions[request.session] = LiveSession(request.session, session, keep_alive_s, request, current=request.id)

    def claim_session(self, session_id: str, request: Request, keep_alive_s: int | None) -> LiveSession | None:
        """Take a session for a request: ``None`` if it is busy.

        :raises KeyError: there is none, or no longer.
        """
        with self._lock:
            self._close_expired()
            live = self.sessions[session_id]
            if live.current is not None:
                return None
            live.current, request.session = request.id, session_id
            live.keep_alive_s = live.keep_alive_s if keep_alive_s is None else keep_alive_s
            return live

    def release_session(self, session_id: str) -> None:
        """Give a claimed session back."""
        with self._lock:
            if session_id in self.sessions:
                self.sessions[session_id].current = None

    def _close_expired(self) -> None:
        for session_id, live in list(self.sessions.items()):
            if live.expired:
                del self.sessions[session_id]
                live.session.close()

    def open_sessions(self) -> list[LiveSession]:
        """The sessions that are kept alive, newest first."""
        with self._lock:
            self._close_expired()
            return sorted(self.sessions.values(), key=lambda live: -live.created)

    def _leave(self, request: Request, session: Session | None) -> None:
        with self._lock:
            self._running.pop(request.id, None)
            terminated = request.id in self._terminated
            self._terminated.discard(request.id)
            live = self.sessions.get(request.session or "")
            if live is not None:
                live.used, live.current = time.time(), None
                if live.keep_alive_s and not terminated:
                    return
                del self.sessions[live.id]
        if session is not None:
            session.close()

    # ending

    def cancel(self, request: Request) -> bool:
        """Stop a request that runs or waits. ``False`` if it had ended already."""
        with self._lock:
            if request.ended:
                return False
            _, session = self._running.get(request.id, (request, None))
            if session is None:
                self._finish(request, "ABORTED", str(Cancelled()), time.perf_counter_ns())
        if session is not None:
            self._interrupt(request, session)
        return request.status == "ABORTED"

    def terminate(self, request: Request) -> bool:
        """End the session of a running request, as PG_TERMINATE_BACKEND does: the request fails. ``False``: it does not run."""
        with self._lock:
            _, session = self._running.get(request.id, (request, None))
            if session is None or request.ended:
                return False
            self._terminated.add(request.id)
        self._interrupt(request, session)
        return request.error == TERMINATED

    def _interrupt(self, request: Request, session: Session) -> None:
        """Stop a running request: again and again, for DuckDB forgets an interrupt that comes before its statement has begun."""
        deadline = time.monotonic() + 10
        while not request.ended and time.monotonic() < deadline:
            session.cancel()
            self.wait(request, 0.1)

    def recover(self) -> None:
        """After a start: tell what became of the requests that a stopped server left running.

        A request that was committed is FINISHED, for it wrote that down in the same transaction; any other was rolled
        back by the database and is FAILED.
        """
        for request in self.history.forget_old():
            for part in request.parts:
                self.results.delete(part.id)
        for request in self.history.all():
            if request.ended:
                continue
            outcome = _noted(self.database(request.database), request.id)
            if outcome is None:
                for part in request.parts:
                    if part.status == "STARTED":
                        part.status, part.error = "FAILED", RESTARTED
                request.end("FAILED", RESTARTED)
            else:
                for part, noted in zip(request.parts, outcome, strict=True):
                    part.status, part.has_result, part.rows, part.size = noted
                if all(part.status == "FINISHED" for part in request.parts):
                    request.end("FINISHED")
                else:
                    request.end("FAILED", RESTARTED)
            self._save_end(request)
        for database in self._databases.values():
            database.forget_committed()
        self._recovered = True

    def close(self) -> None:
        """Stop what runs, and close the files."""
        self._closing = True
        for request, session in list(self._running.values()):
            self._interrupt(request, session)
        self._pool.shutdown(wait=True, cancel_futures=True)
        for live in self.sessions.values():
            live.session.close()
        for database in self._databases.values():
            database.close()
        self.history.close()


def _over(request: Request) -> bool:
    return request.ended


def _note(connection: duckdb.DuckDBPyConnection, request: Request) -> None:
    """Write down, in the transaction that is about to be committed, how far the request has come."""
    running = next((part for part in request.parts if part.status == "STARTED"), None)
    parts = [["FINISHED" if part is running else part.status, part.has_result, part.rows, part.size]
             for part in request.parts]  # fmt: skip
    connection.execute("INSERT INTO pg_internal.committed VALUES (?, ?)", [request.id, json.dumps(parts)])


def _noted(database: Database, request_id: str) -> list[list] | None:
    cursor = database.cursor()
    try:
        rows = cursor.execute(
            "SELECT outcome FROM pg_internal.committed WHERE statement = ? ORDER BY rowid DESC", [request_id]
        ).fetchall()
        return json.loads(rows[0][0]) if rows else None
    finally:
        cursor.close()


def _interrupted(session: Session | None, error: Exception) -> bool:
    """Whether an error is what a cancellation has done to DuckDB, which it may reach at any moment, in BEGIN or COMMIT too."""
    interrupt = isinstance(error, duckdb.InterruptException) or isinstance(error.__cause__, duckdb.InterruptException)
    return interrupt and session is not None and session.cancelled.is_set()
