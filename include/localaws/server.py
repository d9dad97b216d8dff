"""The server: moto's dispatcher in our own process on 127.0.0.1, with what runs for real put in its place.

Every call passes through here: it is told which operation it asks for, refused where it cannot be served truthfully,
checked against the operation's model where the service executes, answered, and written to the journal. Where a fault is
set for it, that strikes it on the way.
"""

from __future__ import annotations

import errno
import fcntl
import http.client
import importlib
import io
import json
import os
import re
import signal
import socket
import threading
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

# moto reads these when it is imported: no page in a browser may call it, and no template may pull in an image list.
os.environ.setdefault("MOTO_DISABLE_GLOBAL_CORS", "true")
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")

from moto.core.common_models import BaseModel
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import ThreadedWSGIServer

from localaws import ACCOUNT_ID, REGION, alarms, iam, job_events, logs, objects, persistence, processes
from localaws.calls import Call, identify, service_model
from localaws.faults import ConnectionDropped, Faults, Strike
from localaws.journal import Journal
from localaws.origin import check_origin
from localaws.pages import STATUS_PATH, answer_page, is_page
from localaws.replies import AwsError, Reply
from localaws.served import EXECUTING, check_served
from localaws.validation import check_parameters

HOST = "127.0.0.1"
READING = ("Get", "List", "Describe", "Head", "Search", "BatchGet")
"""Operations whose names begin so change nothing that must be saved."""


class CannotStart(Exception):
    """The server cannot start; the message says why and what to do."""


class Dispatcher(DomainDispatcherApplication):
    """moto's dispatcher, which remembers which back end a host name means: it would list moto's folder for every call."""

    def __init__(self) -> None:
        super().__init__(create_backend_app)
        self._backends: dict[str | None, Any] = {}

    def get_backend_for_host(self, host: str | None) -> Any:
        """moto's name of the service whose host name this is; None where it knows none."""
        if host not in self._backends:
            self._backends[host] = super().get_backend_for_host(host)
        return self._backends[host]


class LocalAws:
    """The WSGI application. See the module's docstring."""

    def __init__(self, root: Path):
        self.root = root
        self.moto = Dispatcher()
        self.journal = Journal(root / "journal.jsonl")
        self.faults = Faults(_operations)
        self._active = 0
        self._idle = threading.Condition()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request, and write it to the journal."""
        if is_page(environ):
            return answer_page(environ, start_response, self.root, self.faults)
        with self._idle:
            self._active += 1
        try:
            return self._serve(environ, start_response)
        finally:
            with self._idle:
                self._active -= 1
                self._idle.notify_all()

    def wait_until_idle(self, timeout_s: float) -> None:
        """Wait until no call is being answered, at most ``timeout_s`` seconds."""
        with self._idle:
            self._idle.wait_for(lambda: self._active == 0, timeout_s)

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        started = time.perf_counter()
        body = self._read_body(environ)
        call = identify(environ, body)
        reply = Reply()
        strike = self._strike_at(call, environ) if self.faults.active else None
        try:
            answer = self._execute(call, environ, reply) if strike is None else self._struck(strike, call, environ, reply)
        except ConnectionDropped:
            self._note(call, reply, started, strike)
            if strike is not None:
                strike.disconnect()  # only now: who sees the connection end may read the journal
            raise
        if reply.status >= 400 and reply.error is None:
            body = b"".join(answer)
            answer = [body]
            reply.error = _error_code(body) or str(reply.status)
        self._note(call, reply, started, strike)
        start_response(reply.line, reply.headers)
        return answer

    def _note(self, call: Call, reply: Reply, started: float, strike: Strike | None) -> None:
        took_ms = (time.perf_counter() - started) * 1000
        fault = strike.rule.label if strike else None
        told = (reply.status, reply.error, reply.request_id)
        self.journal.write(call.service, call.operation, call.resource, *told, took_ms, fault)

    def _execute(self, call: Call, environ: dict[str, Any], reply: Reply) -> Iterable[bytes]:
        try:
            return self._answer(call, environ, reply.start)
        except AwsError as error:
            return reply.fail(call, error)

    def _strike_at(self, call: Call, environ: dict[str, Any]) -> Strike | None:
        def text() -> str:
            if call.service == "s3":
                return call.path
            try:
                return json.dumps(call.parameters, ensure_ascii=False, default=str)
            except ValueError:
                return ""  # the body is not what the protocol asks for

        port, connection = int(environ["REMOTE_PORT"]), environ["werkzeug.socket"]
        return self.faults.strike(call.service, call.operation, call.resource, text, port, connection)

    def _struck(self, strike: Strike, call: Call, environ: dict[str, Any], reply: Reply) -> Iterable[bytes]:
        """What a call gets that a fault strikes.

        :raises ConnectionDropped: nothing; the connection has been closed.
        """
        if strike.deed == "error":
            return reply.fail(call, AwsError(**strike.details))
        if strike.deed == "refuse":
            raise ConnectionDropped(strike.rule.label)
        if strike.pauses("before"):
            strike.pause()
        answer = self._execute(call, environ, reply)
        if not strike.pauses("before"):
            answer = [b"".join(answer)]  # executed to its end, before anything else happens
        if strike.pauses("after"):
            strike.pause()
        elif strike.deed == "lose":
            raise ConnectionDropped(strike.rule.label)
        elif strike.deed == "error_after":
            return reply.fail(call, AwsError(**strike.details))
        return answer

    def _answer(self, call: Call, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Let moto, with our back ends in it, answer; a fault in there becomes an error that says what failed."""
        service = call.service
        try:
            check_origin(environ)
            check_served(call)
            if call.service in EXECUTING:
                check_parameters(call)
            app = self.moto.get_application(environ)
            service = app.service
            return app(environ, start)
        except AwsError:
            raise
        except NotImplementedError as error:
            raise AwsError(
                "UnsupportedOperation",
                f"Flywheel's local AWS does not serve {call.service}:{call.operation or call.path}"
                + (f" ({error})" if str(error) else ""),
            ) from error
        except Exception as error:
            traceback.print_exc()
            raise AwsError(
                "InternalFailure",
                f"Flywheel's local AWS failed at {call.service}:{call.operation or call.path}: "
                f"{type(error).__name__}: {error} (the traceback is in the server's log)",
                500,
            ) from error
        finally:
            if not (call.operation or "").startswith(READING):
                persistence.touch(service)

    def _read_body(self, environ: dict[str, Any]) -> bytes:
        """The request's body, put back for moto to read; S3's stays unread, it may be large."""
        length = environ.get("CONTENT_LENGTH") or "0"
        if "/s3/aws4_request" in environ.get("HTTP_AUTHORIZATION", "") or not length.isdigit() or length == "0":
            return b""
        body: bytes = environ["wsgi.input"].read(int(length))
        environ["wsgi.input"] = io.BytesIO(body)
        return body


class RequestHandler(MotoRequestHandler):
    """moto's handler without a line on stderr per call: the journal tells them."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


class Server(ThreadedWSGIServer):
    """werkzeug's threaded server, whose connections end with the process."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128


def _operations(service: str) -> list[str] | None:
    """The operations of a service as botocore knows them; None for a service that it does not know."""
    model = service_model(service)
    return list(model.operation_names) if model else None


def install(root: Path) -> list[ModuleType]:
    """Put what runs for real in the place of moto's back ends, and return the modules of the executing services."""
    # moto keeps every instance of its models for a dashboard of its own; a server that runs for days must not.
    BaseModel.__new__ = lambda cls, *args, **kwargs: object.__new__(cls)  # type: ignore[method-assign, assignment]
    persistence.install(root)
    alarms.install(root)
    iam.install(root)
    logs.install(root)
    objects.install(root)
    modules = [importlib.import_module(name) for name in EXECUTING.values()]
    for module in modules:
        module.install(root)
    return modules


def recover(modules: list[ModuleType]) -> None:
    """Load the saved state, find what lies on the disk, and tell jobs that a killed server left running as failed."""
    processes.end_orphans()
    persistence.load()
    objects.recover()
    for module in modules:
        if hasattr(module, "recover"):
            module.recover()
    job_events.end_forgotten()


def hold_root(root: Path) -> io.TextIOWrapper:
    """Make the root folder and hold it for this process; it is let go when the file returned is closed.

    :raises CannotStart: the folder cannot be written, or another server holds it.
    """
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (root / "server.lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise CannotStart(f"the root folder {root} cannot be written ({error.strerror}); give another --root") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "another process"
        lock.close()
        raise CannotStart(
            f"the root folder {root} is in use by another local AWS ({holder}); stop that one (`make down`) or give "
            "another --root"
        ) from None
    return lock


def bind(port: int, host: str = HOST) -> Server:
    """A server that listens on ``host``; its application is set later.

    :raises CannotStart: the port is taken or may not be used.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(Server.request_queue_size)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise CannotStart(_taken_port(port)) from error
        raise CannotStart(f"port {port} on {host} cannot be used: {error.strerror}; give another --port") from error
    # Given a socket that listens, werkzeug tells nothing of its own about ports.
    return Server(host, listener.getsockname()[1], None, handler=RequestHandler, fd=listener.detach())  # type: ignore[arg-type]


def _taken_port(port: int) -> str:
    """What to tell when the port is taken: by whom, as far as it can be known, and what to do."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}{STATUS_PATH}", timeout=2) as answer:
            status = json.load(answer)
        holder = f"by another local AWS (process {status['pid']}, root {status['root']}); `make down` ends it"
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        holder = f"by another program; `lsof -nP -iTCP:{port} -sTCP:LISTEN` or `ss -ltnp` names it"
    return f"port {port} on {HOST} is already taken {holder}. End it, or start with another --port"


def serve_until_stopped(root: Path, port: int, host: str = HOST) -> None:
    """Serve on ``host`` until SIGTERM or SIGINT, then end the jobs and save the state.

    Prints one line on stdout when ready: ``The local AWS is ready at http://127.0.0.1:<port> ...``.

    :raises CannotStart: the port or the root folder is taken, or the saved state cannot be read.
    """
    started = time.monotonic()
    root = root.resolve()
    lock = hold_root(root)
    server = bind(port, host)
    endpoint = f"http://{HOST}:{server.port}"
    lock.truncate(0)
    lock.write(f"process {os.getpid()} at {endpoint}")
    lock.flush()
    try:
        modules = install(root)
        processes.configure(endpoint, root)
        app = LocalAws(root)
        job_events.use(app.journal, app.faults)
        try:
            recover(modules)
        except persistence.StateError as error:
            raise CannotStart(str(error)) from error
        server.app = app
        persistence.start()
        alarms.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            # shutdown() waits for the serving loop, which runs in this thread: ask from another one.
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        print(
            f"The local AWS is ready at {endpoint} (account {ACCOUNT_ID}, region {REGION}, state in {root}, "
            f"started in {time.monotonic() - started:.1f} s)",
            flush=True,
        )
        server.serve_forever(poll_interval=0.1)
        server.server_close()
        app.faults.close()
        app.wait_until_idle(5.0)
        alarms.finish()
        processes.stop_all()
        for module in modules:
            if hasattr(module, "shutdown"):
                module.shutdown()
        persistence.finish()
        app.journal.close()
    finally:
        server.server_close()
        lock.close()


def _error_code(body: bytes) -> str | None:
    """The error's code in the body of an answer that moto wrote; None where it tells none, as for HEAD."""
    if found := re.search(rb"<Code>([^<]+)</Code>", body):
        return found.group(1).decode()
    try:
        code = json.loads(body).get("__type")
    except (ValueError, AttributeError):
        return None
    return code.rpartition("#")[2] if isinstance(code, str) else None
