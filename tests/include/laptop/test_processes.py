from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from laptop import processes
from laptop.processes import Ledger, Record

# A leader that obeys SIGTERM, but whose child has a session of its own, as a task of Airflow's has.
LEADER_WITH_RUNAWAY_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "processes.json")
    yield made
    processes.stop(made.records(), 0)


def start(ledger: Ledger, program: str, name: str = "one", env: dict[str, str] | None = None) -> Record:
    log = ledger.path.parent / f"{name}.log"
    command = [sys.executable, "-u", "-c", program]
    return ledger.start(name, command, env={**os.environ, **(env or {})}, cwd=ledger.path.parent, log=log)


def first_line(record: Record) -> str:
    end = time.monotonic() + 20
    while not (lines := processes.last_lines(record.log)):
        assert time.monotonic() < end, "the program printed nothing"
        time.sleep(0.05)
    return lines[0]


def test_a_started_process_is_found_again_and_leads_its_own_group(ledger: Ledger) -> None:
    record = start(ledger, "import time; time.sleep(600)")
    again = Ledger(ledger.path).records()
    assert again == [record]
    assert processes.is_alive(again[0])
    assert os.getpgid(record.pid) == record.pid != os.getpgid(0)


def test_stop_takes_children_that_have_left_the_group(ledger: Ledger) -> None:
    record = start(ledger, LEADER_WITH_RUNAWAY_CHILD)
    child = int(first_line(record))
    processes.stop([record], 10)
    assert not {record.pid, child} & set(processes.listing())


def test_stop_kills_who_does_not_listen_and_says_so(ledger: Ledger) -> None:
    record = start(ledger, STUBBORN)
    first_line(record)
    told: list[Record] = []
    processes.stop([record], 0.3, on_kill=told.append)
    assert told == [record]
    assert record.pid not in processes.listing()


def test_a_process_that_was_given_an_old_id_is_left_alone(ledger: Ledger) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        stale = Record("scheduler", other.pid, "started long ago", "x.log", ("airflow",), 0.0)
        assert not processes.is_alive(stale)
        processes.stop([stale], 0)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_processes_are_found_by_their_mark(ledger: Ledger) -> None:
    if not Path("/proc/self/environ").exists():
        pytest.skip("this system does not show the environment of processes")
    mark = str(ledger.path)
    record = start(ledger, LEADER_WITH_RUNAWAY_CHILD, env={"FLYWHEEL_STACK": mark})
    child = int(first_line(record))
    os.kill(record.pid, signal.SIGKILL)
    assert child in processes.marked("FLYWHEEL_STACK", mark)
    processes.kill(processes.marked("FLYWHEEL_STACK", mark))
    assert processes.marked("FLYWHEEL_STACK", mark) == []


def test_a_damaged_ledger_counts_as_empty(ledger: Ledger) -> None:
    ledger.path.write_text("[{")
    assert ledger.records() == []
    ledger.path.write_text(json.dumps([{"name": "one"}]))
    assert ledger.records() == []
    ledger.path.unlink()


def test_the_listener_of_a_port_is_named() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        holder = processes.listener(port)
    if Path("/proc/net/tcp").exists():
        assert holder is not None
        assert f"process {os.getpid()}" in holder
    assert processes.listener(port) is None


def test_last_lines_are_the_last(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("\n".join(f"line {number}" for number in range(1000)))
    assert processes.last_lines(tmp_path / "log", 2) == ["line 998", "line 999"]
    assert processes.last_lines(tmp_path / "none") == []
