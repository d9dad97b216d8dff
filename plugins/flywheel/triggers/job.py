"""The one trigger of Flywheel: waits for the end of an AWS job of any kind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from botocore.exceptions import BotoCoreError, ClientError

from flywheel.hooks.jobs import JOB_KINDS, Identity
from flywheel.triggers.poller import connect, wait_for_end
from flywheel.triggers.task_states import task_key, task_states


class JobTrigger(BaseTrigger):
    """Fires once the job has ended, however it ended; the operator then asks AWS for the truth.

    API: the ``list`` or ``describe`` call of the job's kind, shared by all triggers of a triggerer (see
    :mod:`flywheel.triggers.poller`), and its ``stop`` call when a person kills the task or its time is over. It never gives up
    by itself: AWS ends a job at its own run-time limit.

    :param kind: key of :data:`flywheel.hooks.jobs.JOB_KINDS`
    :param identity: names the job to AWS
    :param poll_seconds: seconds between two polls
    :param connection: ``aws_conn_id``, ``region_name``, ``verify`` and ``botocore_config`` of the operator
    :param listing: what narrows the service's list to where the job is
    :param deadline: when the task's ``execution_timeout`` is over (seconds since 1970); None: never. The job is stopped then,
        and the event says so. Airflow's own timeout of a deferral would leave the job running: it ends without ``on_kill``.
    """

    def __init__(
        self,
        *,
        kind: str,
        identity: Identity,
        poll_seconds: float,
        connection: dict[str, Any],
        listing: dict[str, str],
        deadline: float | None = None,
    ):
        super().__init__()
        self.kind, self.identity, self.poll_seconds, self.connection = kind, identity, poll_seconds, connection
        self.listing, self.deadline = listing, deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, as the database keeps them."""
        return (
            "flywheel.triggers.job.JobTrigger",
            {
                "kind": self.kind,
                "identity": self.identity,
                "poll_seconds": self.poll_seconds,
                "connection": self.connection,
                "listing": self.listing,
                "deadline": self.deadline,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Waits until the job is over, then fires ``{"state": …, "timed_out": bool}``."""
        timed_out = False
        end = asyncio.ensure_future(self._wait())
        try:
            left = None if self.deadline is None else max(0.0, self.deadline - time.time())
            done, _ = await asyncio.wait({end}, timeout=left)
            while not done:
                timed_out = True
                self.log.warning("execution_timeout is over: stopping %s %s", JOB_KINDS[self.kind].title, self.identity)
                await self._stop()
                # Told again until it is over: the call may have been lost, or have come while the job could not be stopped.
                done, _ = await asyncio.wait({end}, timeout=max(30.0, 3 * self.poll_seconds))
            yield TriggerEvent({"state": end.result(), "timed_out": timed_out})
        finally:
            end.cancel()

    async def on_kill(self) -> None:
        """Stops the job: a person failed, cleared or succeeded the waiting task, or its DAG run ran out of time or was deleted.

        A task that is still deferred has only been moved to another triggerer, which waits on.
        """
        if await self._still_deferred():
            self.log.info("The task is still deferred: another triggerer waits for %s now", self.identity)
            return
        await self._stop()

    async def _wait(self) -> str:
        return await wait_for_end(
            kind=self.kind,
            identity=self.identity,
            poll_seconds=self.poll_seconds,
            connection=self.connection,
            listing=self.listing,
        )

    async def _stop(self) -> None:
        kind = JOB_KINDS[self.kind]
        try:
            async with await connect(kind.client, self.connection) as client:
                await getattr(client, kind.stop)(**kind.stop_call(self.identity))
            self.log.info("Asked AWS to stop %s %s", kind.title, self.identity)
        except (ClientError, BotoCoreError) as error:
            # A job that has ended meanwhile cannot be stopped; anything else is tried again or left to AWS's own limit.
            self.log.warning("%s %s was not stopped: %s", kind.title, self.identity, error)

    async def _still_deferred(self) -> bool:
        ti: Any = self.task_instance
        if ti is None:
            return False
        states = await task_states(ti.dag_id, [ti.run_id])
        return states.get(ti.run_id, {}).get(task_key(ti.task_id, ti.map_index)) == "deferred"
