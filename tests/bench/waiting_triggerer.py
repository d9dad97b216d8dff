"""A triggerer without a database, for waiting_jobs.py: Airflow's TriggerRunnerSupervisor and the TriggerRunner that it forks.

    python tests/bench/waiting_triggerer.py FOLDER

Reads ``FOLDER/triggers.json``: ``[[class path, arguments], ...]``. Writes the TriggerRunner's process id to ``FOLDER/pid``, waits
for a line on stdin, and hands all triggers over. Each event or failure becomes a line of ``FOLDER/events.jsonl`` when the
supervisor hears of it, where Airflow would write it to the database; the TriggerRunner's log goes to ``FOLDER/log.jsonl`` as it
comes. SIGTERM ends both processes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import Any

from airflow.executors.workloads.task import TaskInstanceDTO
from airflow.executors.workloads.trigger import RunTrigger
from airflow.jobs.triggerer_job_runner import TriggerRunnerSupervisor
from airflow.models.trigger import Trigger


class Supervisor(TriggerRunnerSupervisor):
    """Airflow's supervisor with files where it has the database: what to run, what has happened, and the log."""

    folder: Path

    def load_triggers(self) -> None:
        """Nothing: all were handed over at the beginning."""

    def clean_unused(self) -> None:
        """Nothing: there is no table of triggers."""

    def heartbeat(self) -> None:
        """Nothing: nobody asks whether this triggerer is alive."""

    def metric_tags(self) -> dict[str, str]:
        """The tag that Airflow's metrics must have."""
        return {"hostname": "bench"}

    def on_trigger_event(self, trigger_id: int, event: Any) -> None:
        """Notes an event."""
        self._note(trigger_id, event=event.payload)

    def on_trigger_failure(self, trigger_id: int, exc: list[str] | None) -> None:
        """Notes that a trigger failed."""
        self._note(trigger_id, failure="".join(exc or ["it ended without an event"]))

    def _note(self, trigger_id: int, **what: Any) -> None:
        line = {"id": trigger_id, "time": time.time(), **what}
        with (self.folder / "events.jsonl").open("a") as file:
            file.write(json.dumps(line, default=str) + "\n")

    def _process_log_messages_from_subprocess(self) -> Generator[None, bytes | bytearray, None]:
        with (self.folder / "log.jsonl").open("wb", buffering=0) as file:
            while True:
                file.write((yield))


def workload(number: int, classpath: str, arguments: dict[str, Any]) -> RunTrigger:
    """A trigger as the scheduler would have stored it, with the task instance that waits for it."""
    ti = TaskInstanceDTO(
        id=uuid.uuid4(),
        dag_id="bench",
        task_id=f"wait_{number}",
        run_id="bench",
        try_number=1,
        dag_version_id=uuid.uuid4(),
        pool_slots=1,
        priority_weight=1,
    )
    return RunTrigger(id=number, classpath=classpath, encrypted_kwargs=Trigger.encrypt_kwargs(arguments), ti=ti)


def main(folder: Path) -> None:
    """Runs the triggers until SIGTERM."""
    triggers = json.loads((folder / "triggers.json").read_text())
    Supervisor.folder = folder
    supervisor = Supervisor.start(capacity=len(triggers))

    def end(*_: object) -> None:
        os.kill(supervisor.pid, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    supervisor.creating_triggers.extend(workload(number, *trigger) for number, trigger in enumerate(triggers, 1))
    (folder / "pid.new").write_text(str(supervisor.pid))
    (folder / "pid.new").rename(folder / "pid")
    sys.stdin.readline()
    supervisor.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
