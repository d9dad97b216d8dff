"""Processes that outlive the command that started them: started in groups of their own, written down, found again,
stopped.

A record names a process by its id and by the moment when it started, so that an id which the system has given to
another program meanwhile is never taken for ours.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process as the system lists it. `started` is comparable only with itself: clock ticks on Linux, a date
    elsewhere."""

    pid: int
    parent: int
    group: int
    started: str
    state: str


@dataclass(frozen=True)
class Record:
    """A component that was started: its name, process id (also its group's), start mark, log file and command."""

    name: str
    pid: int
    started: str
    log: str
    command: tuple[str, ...]
    since: float


def listing() -> dict[int, Process]:
    """All processes of the machine by id, dead ones that wait for their parent (zombies) left out."""
    if (PROC / "self" / "stat").exists():
        found = (_from_proc(int(entry)) for entry in os.listdir(PROC) if entry.isdigit())
        processes = [process for process in found if process]
    else:
        answer = subprocess.run(
            ["/bin/ps", "-A", "-o", "pid=,ppid=,pgid=,stat=,lstart="], capture_output=True, text=True, check=True
        )
        rows = (line.split(None, 4) for line in answer.stdout.splitlines())
        processes = [Process(int(row[0]), int(row[1]), int(row[2]), row[4], row[3]) for row in rows if len(row) == 5]
    return {process.pid: process for process in processes if not process.state.startswith("Z")}


def _from_proc(pid: int) -> Process | None:
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The program's name, in brackets, may itself hold blanks and brackets.
    fields = text.rpartition(")")[2].split()
    return Process(pid=pid, parent=int(fields[1]), group=int(fields[2]), started=fields[19], state=fields[0])


def marked(variable: str, value: str) -> list[int]:
    """The ids of the processes whose environment says `variable=value`; empty where the system does not tell
    (macOS)."""
    wanted = f"{variable}={value}".encode()
    found = []
    for pid in listing() if PROC.is_dir() else ():
        try:
            entries = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in entries and pid != os.getpid():
            found.append(pid)
    return found


class Ledger:
    """The file that says which components of one stack were started. Written before anything else can go wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def records(self) -> list[Record]:
        """What was started and not yet taken off, in the order of starting. A damaged file counts as empty."""
        try:
            return [Record(**{**entry, "command": tuple(entry["command"])}) for entry in json.loads(self.path.read_text())]
        except (OSError, ValueError, TypeError, KeyError):
            return []

    def _write(self, records: Iterable[Record]) -> None:
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps([asdict(record) for record in records], indent=1))
        temporary.replace(self.path)

    def start(self, name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> Record:
        """Start a component in a session of its own, its output appended to `log`, and write it down.

        A session of its own means that Ctrl-C in the terminal reaches the command that supervises, not the component.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen(
                list(command),
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        # The child is known by its record from here on; without an exit code its object would warn that it is still
        # running.
        child.returncode = 0
        process = listing().get(child.pid)
        record = Record(name, child.pid, process.started if process else "", str(log), tuple(command), time.time())
        self._write([*self.records(), record])
        return record

    def forget(self, gone: Iterable[Record]) -> None:
        """Take records off; the last one takes the file with it."""
        gone = set(gone)
        left = [record for record in self.records() if record not in gone]
        if left:
            self._write(left)
        else:
            self.path.unlink(missing_ok=True)


def _reap(pids: Iterable[int]) -> None:
    """Collect the exit codes of those of our own children that have ended, so that no zombies stay behind.

    Never of any child: that would take another subprocess' exit code away from the code that waits for it.
    """
    for pid in pids:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue


def is_alive(record: Record, processes: Mapping[int, Process] | None = None) -> bool:
    """Whether the very process of the record still runs."""
    process = (listing() if processes is None else processes).get(record.pid)
    return process is not None and bool(record.started) and process.started == record.started


def family(records: Sequence[Record], processes: Mapping[int, Process]) -> set[Process]:
    """The records' processes, everything that descends from them, and what is left in their groups.

    A task of Airflow's and a job of the local AWS have groups of their own, so the descent counts; and when a leader is
    gone, its children belong to nobody, so the group counts. A group's number can only be ours still while the group
    lives, unless a process of that very id runs that started at another time.
    """
    foreign = {each.pid for each in records if each.pid in processes and processes[each.pid].started != each.started}
    ours = {each.pid for each in records} - foreign
    found = {process for process in processes.values() if process.pid in ours or process.group in ours}
    while True:
        pids = {process.pid for process in found}
        more = {process for process in processes.values() if process.parent in pids} - found
        if not more:
            return found
        found |= more


def cpu_seconds(records: Sequence[Record]) -> float:
    """CPU time (user and system) of the records' processes and of all that descends from them, those that ended and were waited
    for included. 0 where there is no /proc."""
    total = 0
    for process in family(records, listing()) if PROC.is_dir() else ():
        try:
            fields = (PROC / str(process.pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it ended meanwhile; its parent has the time now
            continue
        total += sum(int(field) for field in fields[11:15])
    return total / os.sysconf("SC_CLK_TCK")


def stop(records: Sequence[Record], grace_s: float, on_kill: Callable[[Record], None] = lambda record: None) -> None:
    """End the components' leaders with SIGTERM together, give them `grace_s` seconds, then kill what is left of their
    families.

    The leader alone gets the SIGTERM: each of them stops its own children in its own order.
    """
    before = listing()
    known = family(records, before)
    for record in records:
        if is_alive(record, before):
            _signal(record.pid, signal.SIGTERM)
    end = time.monotonic() + grace_s
    while True:
        now = listing()
        known = {process for process in known if process.pid in now and now[process.pid].started == process.started}
        known |= family(records, now)
        alive = [record for record in records if is_alive(record, now)]
        if not alive or time.monotonic() > end:
            break
        time.sleep(0.1)
    for record in alive:
        on_kill(record)
    kill([process.pid for process in known])
    _reap(record.pid for record in records)


def kill(pids: Sequence[int]) -> None:
    """Kill single processes, and wait until they are gone."""
    for pid in pids:
        _signal(pid, signal.SIGKILL)
    wait_for_end(pids, 5)


def wait_for_end(pids: Sequence[int], seconds: float) -> None:
    """Wait until none of `pids` runs, at most `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not set(pids) & set(listing()):
            return
        time.sleep(0.05)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def last_lines(log: str | Path, count: int = 15) -> list[str]:
    """The last lines of a log file, read from its end; empty when there is none."""
    try:
        with open(log, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 200 * count))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []


def ancestors(pid: int) -> set[int]:
    """The process itself and those that it was started by."""
    processes = listing()
    found = set()
    while pid in processes and pid not in found:
        found.add(pid)
        pid = processes[pid].parent
    return found


def listener(port: int) -> str | None:
    """'name (process 123)' for the process that listens on a TCP port of this machine, None where the system does not
    tell."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            rows = (PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, rows):
            # Columns: number, local address as hex:hex, remote address, state (0A is LISTEN), ..., inode.
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for pid in listing() if inodes else ():
        try:
            links = {os.readlink(entry) for entry in (PROC / str(pid) / "fd").iterdir()}
            if links & inodes:
                words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
                return f"{b' '.join(words).decode(errors='replace').strip()[:100]} (process {pid})"
        except OSError:
            continue
    try:
        answer = subprocess.run(["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    program, number = answer.stdout.splitlines()[1].split()[:2]
    return f"{program} (process {number})"
