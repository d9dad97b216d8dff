"""The stack on a laptop: the local AWS and Airflow's four components, started, watched and stopped as one.

Order of starting: the local AWS and Airflow's schema at once, then the resources (include/infra/provision.py), then the
API server, the triggerer and the DAG processor together, and the scheduler as soon as the API server answers: a task
that starts before has nobody to report to. Stopping goes the other way, so that jobs end as Airflow wants it and the
local AWS saves its state last.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from laptop import processes, schema
from laptop.airflow_api import AirflowApi
from laptop.environment import (
    HOST,
    MARK,
    PROJECT,
    USER,
    Place,
    airflow_environment,
    aws_environment,
    database,
    password,
    read_settings,
)
from laptop.processes import Ledger, Record
from laptop.readiness import answers, dags_read, healthy

AIRFLOW_PYTHON = PROJECT / ".venv" / "bin" / "python"
JOBS_PYTHON = PROJECT / ".venv-jobs" / "bin" / "python"
PROVISION = "infra/provision.py"
AWS = "local-aws"
API_SERVER = "api-server"
SCHEDULER = "scheduler"
# Without --skip-serve-logs these two would serve their logs on all interfaces of the machine.
AIRFLOW_COMMANDS = {
    API_SERVER: ("api-server",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    SCHEDULER: ("scheduler", "--skip-serve-logs"),
}
BUCKET = "flywheel-local"
START_SECONDS = 180
Say = Callable[[str], None]


class StackError(Exception):
    """The stack cannot do what was asked; the message says what is wrong and what to do next."""


class StackBusy(StackError):
    """Another command is working with the same stack."""


class ComponentDied(StackError):
    """A component that should run has ended; the message holds its last log lines."""


class DagsBroken(StackError):
    """The stack runs, but DAG files cannot be read; the message holds their errors."""


@dataclass(frozen=True)
class ComponentState:
    """One row of `status`: a component, whether it runs, its process id, since when, and where its log is."""

    name: str
    running: bool
    pid: int | None
    since: datetime | None
    log: str


@contextlib.contextmanager
def exclusive(place: Place, command: str) -> Iterator[None]:
    """Hold the stack for one command ('make demo'): no two of them start, stop or drive the same stack at once.

    Raises StackBusy with the other command, its process id, since when it runs, and how to stop it. The lock is the
    system's: it is gone with the process, however that ends.
    """
    place.home.mkdir(parents=True, exist_ok=True)
    with (place.home / "lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            with contextlib.suppress(ValueError, KeyError):
                holder = json.loads(file.read())
                raise StackBusy(
                    f"`{holder['command']}` is running already (process {holder['pid']}, since {holder['since']}) and "
                    f"works with {place.home}.\nWait for its end, or stop it: press Ctrl-C where it runs, or "
                    f"`kill -INT {holder['pid']}`."
                ) from None
            raise StackBusy(f"another command holds {place.home / 'lock'}; wait for its end") from None
        file.truncate(0)
        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        file.write(json.dumps({"command": command, "pid": os.getpid(), "since": since}))
        file.flush()
        yield


# -- starting --


def start(place: Place, say: Say = print) -> bool:
    """Bring the stack up and wait until every DAG can run. Returns False when it was up already. Hold `exclusive`
    around it.

    Whatever goes wrong on the way, Ctrl-C included, stops what was started. Raises StackError and its kinds. After
    DagsBroken alone the stack stays up, because the remedy is to edit the file.
    """
    ledger = _ledger(place)
    records = ledger.records()
    if records and len(records) == len(AIRFLOW_COMMANDS) + 1 and all(map(processes.is_alive, records)):
        provision(place)  # a job's script may have changed since; its artifacts have a new version then
        _wait_for_dags(place, 0, say)
        return False
    if records or _strays(place):
        dead = [record.name for record in records if not processes.is_alive(record)]
        say(f"Cleaning up after a stack that is not whole any more (ended: {', '.join(dead) or 'its record'}).")
        shut_down(place, say)
    _check_installed()
    for port, variable in ((place.airflow_port, "FLYWHEEL_AIRFLOW_PORT"), (place.aws_port, "FLYWHEEL_AWS_PORT")):
        _check_port(port, variable)
    try:
        _start(place, ledger, say)
    except DagsBroken:
        raise
    except BaseException:
        say("Stopping what was started ...")
        shut_down(place, say)
        raise
    return True


def _start(place: Place, ledger: Ledger, say: Say) -> None:
    began = time.time()

    def progress(text: str) -> None:
        say(f"[{time.time() - began:5.1f} s] {text}")

    progress(f"starting the local AWS on {place.aws_url}")
    for log in place.logs.glob("*.log"):
        log.replace(log.with_suffix(".log.previous"))
    for folder in (place.aws_root, place.airflow_home):
        folder.mkdir(parents=True, exist_ok=True)
    command = [
        str(JOBS_PYTHON),
        "-m",
        "localaws",
        "serve",
        "--root",
        str(place.aws_root),
        "--port",
        str(place.aws_port),
    ]
    ledger.start(AWS, command, env=aws_environment(place), cwd=PROJECT, log=place.logs / f"{AWS}.log")
    migration = schema.begin_migration(place, AIRFLOW_PYTHON, place.logs / "db-migrate.log")
    if migration:
        progress("creating Airflow's tables")
    _wait("the local AWS", lambda: answers(place.aws_url), place)
    progress("the local AWS answers; making the resources")
    env = airflow_environment(place, provision(place))
    if migration:
        schema.finish_migration(place, migration)
    progress("starting Airflow")
    for name in AIRFLOW_COMMANDS:
        # The API server writes its audit log on its event loop (log_action, Airflow 3.3.1). When another of its own requests
        # is in the middle of writing, both wait for each other, and all else for them, until SQLite's patience is over.
        patience = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database(place, patience_s=1)} if name == API_SERVER else {}
        if name == SCHEDULER:
            _wait("Airflow's API server", lambda: answers(f"{place.airflow_url}/api/v2/version"), place)
            progress("the API server answers; starting the scheduler")
        argv = [str(AIRFLOW_PYTHON), "-m", "airflow", *AIRFLOW_COMMANDS[name]]
        ledger.start(name, argv, env=env | patience, cwd=place.home, log=place.logs / f"{name}.log")
    client(place).warm_execution_api()
    progress("the tasks' API is warm")
    _wait("Airflow's components", lambda: healthy(client(place), began), place)
    progress("all components are healthy")
    _wait_for_dags(place, began, progress)


def provision(place: Place) -> dict[str, str]:
    """Make the resources in the local AWS, as on AWS, and return the settings that name them. Also kept in
    settings.env.

    Raises StackError with the script's own last lines when it fails.
    """
    name = f"include/{PROVISION}"
    env = aws_environment(place) | {"PYTHONPATH": str(place.plugins)}
    done = subprocess.run(
        [str(JOBS_PYTHON), str(place.include / PROVISION), "--bucket", BUCKET],
        env=env,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    (place.logs / "provision.log").write_text(done.stderr, encoding="utf-8")
    if done.returncode != 0:
        lines = "\n".join(f"   {line}" for line in done.stderr.splitlines()[-15:])
        raise StackError(f"{name} failed with exit code {done.returncode}; the end of {place.logs / 'provision.log'}:\n{lines}")
    settings = read_settings(done.stdout, f"output of {name}")
    (place.home / "settings.env").write_text(done.stdout, encoding="utf-8")
    return settings


def _check_installed() -> None:
    for python in (AIRFLOW_PYTHON, JOBS_PYTHON):
        if not python.exists():
            raise StackError(f"{python.parents[1]} is not installed; run `make setup` first")


def _check_port(port: int, variable: str) -> None:
    """Raise StackError when somebody listens on the port, with who it is where the system tells."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            holder = processes.listener(port)
            raise StackError(
                f"port {port} on {HOST} is taken{f' by {holder}' if holder else ''} ({error.strerror}).\n"
                f"Stop that program, or choose another port: {variable}={port + 1000} make up"
            ) from error


def _wait(what: str, ready: Callable[[], bool], place: Place) -> None:
    """Look until `ready`. Raises ComponentDied as soon as a component dies, and StackError after three minutes."""
    end = time.monotonic() + START_SECONDS
    while not ready():
        check(place)
        if time.monotonic() > end:
            raise StackError(f"{what} was not ready after {START_SECONDS} s; its log is in {place.logs}")
        time.sleep(0.1)


def _wait_for_dags(place: Place, since: float, say: Say) -> None:
    """Wait until each DAG file was read after `since`. Raises DagsBroken with the errors of those that cannot be."""
    api = client(place)
    end = time.monotonic() + START_SECONDS
    while (found := dags_read(api, place.dags, since)).missing and time.monotonic() < end:
        check(place)
        time.sleep(0.3)
    if found.missing:
        raise DagsBroken(
            f"these files gave neither a DAG nor an error in {START_SECONDS} s: {', '.join(sorted(found.missing))}\n"
            f"See {place.logs / 'dag-processor.log'}"
        )
    if found.errors:
        texts = "\n".join(f"-- {name}\n{text.strip()}" for name, text in sorted(found.errors.items()))
        raise DagsBroken(
            f"{len(found.errors)} DAG file(s) cannot be read. Airflow runs and reads them again when changed.\n{texts}"
        )
    say(f"{len(found.dags)} DAGs are ready")


# -- looking after it --


def client(place: Place) -> AirflowApi:
    """A client of the stack's Airflow, as its administrator."""
    return AirflowApi(place.airflow_url, USER, password(place))


def check(place: Place) -> None:
    """Raise ComponentDied when a component that was started does not run any more. Meant for every loop that waits for
    the stack."""
    running = processes.listing()
    for record in _ledger(place).records():
        if not processes.is_alive(record, running):
            lines = "\n".join(f"   {line}" for line in processes.last_lines(record.log)) or "   (its log is empty)"
            raise ComponentDied(f"{record.name} has ended. The last lines of {record.log}:\n{lines}")


def state(place: Place) -> list[ComponentState]:
    """How each component stands, in the order of starting. A component that was never started is not running."""
    records = {record.name: record for record in _ledger(place).records()}
    running = processes.listing()
    rows = []
    for name in (AWS, *AIRFLOW_COMMANDS):
        record = records.get(name)
        rows.append(
            ComponentState(
                name=name,
                running=record is not None and processes.is_alive(record, running),
                pid=record.pid if record else None,
                since=datetime.fromtimestamp(record.since).astimezone() if record else None,
                log=str(place.logs / f"{name}.log"),
            )
        )
    return rows


# -- stopping --


def shut_down(place: Place, say: Say = print) -> bool:
    """Stop everything of this stack. Returns False when nothing ran. Hold `exclusive` around it.

    The scheduler goes first: with the triggerer and the DAG processor: short tasks may still end and report, longer
    ones are cut off and run again after the next start, as after the crash of a worker. Then the API server, then the
    local AWS with its jobs, which saves its state; then anything that still carries the stack's mark.
    """
    groups: tuple[tuple[set[str], float], ...] = (
        ({SCHEDULER, "triggerer", "dag-processor"}, 6),
        ({API_SERVER}, 10),
        ({AWS}, 30),
    )
    ledger = _ledger(place)
    records = ledger.records()
    ran = False

    def killed(record: Record) -> None:
        if record.name == AWS:
            say(f"{AWS} did not end within {groups[-1][1]:.0f} s and was killed; its latest changes may be lost")

    with _patient():
        for names, grace_s in groups:
            chosen = [record for record in records if record.name in names]
            ran |= any(processes.is_alive(record) for record in chosen)
            processes.stop(chosen, grace_s, on_kill=killed)
            ledger.forget(chosen)
        ledger.forget(ledger.records())
        strays = _strays(place)
        processes.kill(strays)
    return ran or bool(strays)


def _strays(place: Place) -> list[int]:
    """Processes that carry the stack's mark, except this very command and those that it was started by."""
    own = processes.ancestors(os.getpid())
    return [pid for pid in processes.marked(MARK, str(place.home)) if pid not in own]


def _ledger(place: Place) -> Ledger:
    return Ledger(place.home / "processes.json")


@contextlib.contextmanager
def _patient() -> Iterator[None]:
    """Ignore further Ctrl-C for as long as it takes to stop the stack: a second one must not leave processes behind."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return
    old = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def cpu_seconds(place: Place) -> float:
    """CPU time that the stack's processes have used so far, ended children included; 0 where the system does not tell (macOS)."""
    return processes.cpu_seconds(_ledger(place).records())


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
