"""The server: moto's dispatcher in our own process on 127.0.0.1, with what runs for real put in its place.

Every call passes through here: it is told which operation it asks for, refused where it cannot be served truthfully,
checked against the operation's model where the service executes, answered, and written to the journal.
"""

from __future__ import annotations

import errno
import fcntl
import http.client
import importlib
import io
import ipaddress
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

from localaws import ACCOUNT_ID, REGION, iam, logs, objects, persistence, processes
from localaws.calls import Call, identify
from localaws.journal import Journal
from localaws.replies import AwsError, answer_error
from localaws.served import EXECUTING, check_served
from localaws.validation import check_parameters

HOST = "127.0.0.1"
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
STATUS_PATH = "/flywheel/status"
"""Answers what runs here, as JSON: ``{"server": "flywheel-localaws", "pid": ..., "root": ...}``."""

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
        self._active = 0
        self._idle = threading.Condition()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request, and write it to the journal."""
        if environ.get("PATH_INFO") == STATUS_PATH:
            return self._tell_status(start_response)
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
        told: dict[str, Any] = {"status": 500, "error": None, "request_id": None}

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            told["status"] = int(status.split()[0])
            for name, value in headers:
                if name.lower() in ("x-amzn-requestid", "x-amz-request-id"):
                    told["request_id"] = value
                elif name.lower() in ("x-amzn-errortype", "x-amzn-query-error"):
                    told["error"] = value.split(";")[0].split(":")[0]
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        try:
            answer = self._answer(call, environ, start)
        except AwsError as error:
            told["error"] = error.code
            answer = answer_error(call, error, start)
        if told["status"] >= 400 and told["error"] is None:
            body = b"".join(answer)
            answer = [body]
            told["error"] = _error_code(body) or str(told["status"])
        took_ms = (time.perf_counter() - started) * 1000
        self.journal.write(
            call.service, call.operation, call.resource, told["status"], told["error"], told["request_id"], took_ms
        )
        return answer

    def _tell_status(self, start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = json.dumps({"server": "flywheel-localaws", "pid": os.getpid(), "root": str(self.root)}).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

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


def check_origin(environ: dict[str, Any]) -> None:
    """Refuse what comes from a page in a browser: jobs are code, and whoever may call starts them.

    :raises AwsError: the Host header is no loopback name, or the Origin header another site's.
    """
    host = environ.get("HTTP_HOST", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    # A page can make a name of its own lead here, but not an address: in a container, addresses are let through.
    by_address = environ.get("SERVER_NAME") not in LOOPBACK_NAMES and _is_address(name)
    if name not in LOOPBACK_NAMES and not name.endswith(".localhost") and not by_address:
        raise AwsError("AccessDenied", f"the local AWS answers only to 127.0.0.1 and localhost, not to {host!r}", 403)
    origin = environ.get("HTTP_ORIGIN")
    if origin and origin.partition("://")[2].partition(":")[0] not in LOOPBACK_NAMES:
        raise AwsError("AccessDenied", f"the local AWS takes no calls from pages of {origin}", 403)
    if environ.get("PATH_INFO", "").startswith(("/moto-api", "/latest/meta-data/", "/latest/api/")):
        raise AwsError("AccessDenied", "moto's own pages are closed: they change state, or make up instance data", 403)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def install(root: Path) -> list[ModuleType]:
    """Put what runs for real in the place of moto's back ends, and return the modules of the executing services."""
    # moto keeps every instance of its models for a dashboard of its own; a server that runs for days must not.
    BaseModel.__new__ = lambda cls, *args, **kwargs: object.__new__(cls)  # type: ignore[method-assign, assignment]
    persistence.install(root)
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
        try:
            recover(modules)
        except persistence.StateError as error:
            raise CannotStart(str(error)) from error
        app = LocalAws(root)
        server.app = app
        persistence.start()
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
        app.wait_until_idle(5.0)
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
