"""Stops jobs whose task is over, whatever kept the task from doing so itself."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from botocore.exceptions import BotoCoreError, ClientError

from flywheel.hooks import ledger
from flywheel.hooks.jobs import JOB_KINDS, Listed
from flywheel.settings import settings
from flywheel.triggers.poller import connect
from flywheel.triggers.task_states import task_key, task_states

#: States of a task that waits for nothing any more. A task that will be tried again joins its job, so that is left running.
OVER = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
#: So many looks in a row may fail before the task does.
PATIENCE = 10
#: Pages in which the jobs of a task are looked for, the newest first.
PAGES = 10


class OrphanTrigger(BaseTrigger):
    """Looks through the ledger of waiting tasks every ``every_seconds`` and stops the jobs of those that are over.

    A task that is killed stops its job by itself, deferred or not. This is for when it cannot: the triggerer had not taken it up
    yet, or was down; the worker died on the task's last try; the call to stop got lost.

    API: S3 ``ListObjectsV2``, ``GetObject`` of new entries, ``DeleteObject``; for an orphan the ``list`` and ``stop`` calls of
    its job's kind. Airflow: the states of the tasks in the ledger.

    :param seconds: fires after this time with ``{"stopped": [...]}``
    :param connection: as :class:`~flywheel.triggers.job.JobTrigger` takes it
    """

    def __init__(self, *, seconds: float, every_seconds: float, connection: dict[str, Any]):
        super().__init__()
        self.seconds, self.every_seconds, self.connection = seconds, every_seconds, connection
        self._entries: dict[str, tuple[str, dict[str, Any]]] = {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, as the database keeps them."""
        return (
            "flywheel.triggers.orphans.OrphanTrigger",
            {"seconds": self.seconds, "every_seconds": self.every_seconds, "connection": self.connection},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One pass after the other until the time is over."""
        until, stopped, failures = time.monotonic() + self.seconds, list[dict[str, Any]](), 0
        while True:
            try:
                stopped += await self.sweep()
                failures = 0
            except Exception as error:  # AWS, or Airflow's API server; both come back
                failures += 1
                if failures == PATIENCE:
                    raise
                self.log.warning("Could not look for orphans: %s: %s; looking again", type(error).__name__, error)
            if time.monotonic() + self.every_seconds > until:
                break
            await asyncio.sleep(self.every_seconds)
        yield TriggerEvent({"stopped": stopped})

    async def sweep(self) -> list[dict[str, Any]]:
        """One pass: stops the orphans' jobs, takes off the entries of tasks whose jobs have ended.

        :return: ``[{"dag_id", "run_id", "task_id", "job"}]`` of the jobs that were told to stop
        """
        stopped = []
        async with await connect("s3", self.connection) as s3:
            entries = await self._read(s3)
            for key, entry in await self._over(entries):
                try:
                    jobs = await self._stop_jobs(entry)
                except (ClientError, BotoCoreError) as error:
                    self.log.warning("Jobs of %s: %s; looking again", entry, error)
                    continue
                stopped += jobs
                if not jobs:
                    await s3.delete_object(Bucket=settings().bucket, Key=key)
                    self._entries.pop(key, None)
        return stopped

    async def _read(self, s3: Any) -> dict[str, dict[str, Any]]:
        """The ledger by key; entries that have not changed are not fetched again."""
        found: dict[str, tuple[str, dict[str, Any]]] = {}
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=settings().bucket, Prefix=ledger.folder())
        async for page in pages:
            for item in page.get("Contents", []):
                known = self._entries.get(item["Key"])
                if known is None or known[0] != item["ETag"]:
                    try:
                        answer = await s3.get_object(Bucket=settings().bucket, Key=item["Key"])
                    except s3.exceptions.NoSuchKey:  # its job has ended meanwhile
                        continue
                    known = (item["ETag"], json.loads(await answer["Body"].read()))
                found[item["Key"]] = known
        self._entries = found
        return {key: entry for key, (_, entry) in found.items()}

    async def _over(self, entries: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
        """The entries whose tasks are over or gone."""
        runs: dict[str, set[str]] = defaultdict(set)
        for entry in entries.values():
            runs[entry["dag_id"]].add(entry["run_id"])
        states = {dag_id: await task_states(dag_id, sorted(run_ids)) for dag_id, run_ids in runs.items()}
        over = []
        for key, entry in entries.items():
            tasks = states[entry["dag_id"]].get(entry["run_id"], {})
            name = task_key(entry["task_id"], entry["map_index"])
            if name not in tasks or tasks[name] in OVER:
                over.append((key, entry))
        return over

    async def _stop_jobs(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        kind, stopped = JOB_KINDS[entry["kind"]], []
        whose = {name: entry[name] for name in ("dag_id", "run_id", "task_id")}
        async with await connect(kind.client, entry["connection"]) as client:
            async for job in self._jobs(client, entry):
                if job.state in kind.ends:
                    continue
                stopped.append({**whose, "job": job.identity})
                if job.state not in kind.stopping:
                    self.log.warning("%s %s runs on without its task %s: stopping it", kind.title, job.identity, whose)
                    await getattr(client, kind.stop)(**kind.stop_call(job.identity))
        return stopped

    async def _jobs(self, client: Any, entry: dict[str, Any]) -> AsyncIterator[Listed]:
        kind, beginning, pages = JOB_KINDS[entry["kind"]], f"{entry['prefix']}-", PAGES
        named = {kind.name_filter: beginning} if kind.name_filter else {}
        arguments = {**kind.list_arguments, **entry["listing"], **named}
        async for page in client.get_paginator(kind.list_call).paginate(**arguments):
            for job in kind.listed(page):
                if job.name and job.name.startswith(beginning):
                    yield job
            pages -= 1
            if not pages:
                return
