"""One poller per kind of job and connection for all triggers of a triggerer: a thousand waiting jobs cost a handful of requests.

Up to :data:`FEW` jobs are asked for one by one. More are looked for in the service's list, the newest first, in pages of 50 to
200; only those that a few pages do not show are asked for one by one, at a bounded rate. Between two rounds lies
``poll_seconds``, a fifth more or less, so that several triggerers do not march in step.

SageMaker, Glue and EMR Serverless throttle their Describe and List calls at a few to some tens per second and account, shared
with everybody else in it (apache/airflow #16299); a client per waiting job also costs a triggerer megabytes each.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import random
import time
from collections.abc import Mapping
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.sdk.configuration import conf
from botocore.exceptions import BotoCoreError, ClientError

from flywheel.hooks.jobs import JOB_KINDS, Identity, is_throttled, is_unanswered

log = logging.getLogger(__name__)

#: So many waiting jobs are asked for one by one.
FEW = 5
#: Pages of the list that are read in a round, besides those that the waiting jobs would fill.
SPARE_PAGES = 2
#: Seconds between two single questions of one round.
PACE = 0.1
#: Seconds between two pages of the list: ListTrainingJobs allows two calls a second in an account, whoever makes them.
PAGE_PACE = 0.6
#: Seconds that a supervisor's report may take on its way.
REPORT_MARGIN = 1.0

_pollers: dict[tuple[int, str], Poller] = {}


async def connect(service: str, connection: Mapping[str, Any]) -> Any:
    """An aiobotocore client (a context manager).

    :param service: boto3's name of it
    :param connection: ``aws_conn_id``, ``region_name``, ``verify`` and ``botocore_config`` of the operator
    """
    hook: AwsBaseHook = AwsBaseHook(
        client_type=service,
        aws_conn_id=connection["aws_conn_id"],
        region_name=connection["region_name"],
        verify=connection["verify"],
        config=connection["botocore_config"],
    )
    return await hook.get_async_conn()


async def wait_for_end(
    *, kind: str, identity: Identity, poll_seconds: float, connection: Mapping[str, Any], listing: Mapping[str, str]
) -> str:
    """Waits until the job is over and returns its terminal state.

    :param listing: what narrows the service's list to where the job is
    :raises ClientError: AWS knows no such job, or refuses to tell
    """
    scope = json.dumps([kind, connection, listing, poll_seconds], sort_keys=True)
    key = (id(asyncio.get_running_loop()), scope)
    poller = _pollers.get(key)
    if poller is None or poller.closed:
        poller = _pollers[key] = Poller(kind, poll_seconds, dict(connection), dict(listing))
    began = time.monotonic()
    state = await poller.wait(identity)
    # The worker's supervisor reports the end of the deferring process so much later; a task that resumes before is taken
    # for ended and fails (apache/airflow #72716).
    report = conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0) + REPORT_MARGIN
    await asyncio.sleep(max(0.0, began + report - time.monotonic()))
    return state


class Poller:
    """Asks for the jobs of one kind, connection and listing, as long as somebody waits for one."""

    def __init__(self, kind: str, poll_seconds: float, connection: dict[str, Any], listing: dict[str, str]):
        self.kind, self.job_kind = kind, JOB_KINDS[kind]
        self.poll_seconds, self.connection, self.listing = poll_seconds, connection, listing
        self.closed = False
        self._waiting: dict[str, tuple[Identity, set[asyncio.Future[str]]]] = {}
        # In a context of its own: its log lines belong to the triggerer, not to the task that happened to come first.
        self._task = asyncio.create_task(self._run(), context=contextvars.Context())

    async def wait(self, identity: Identity) -> str:
        """The terminal state of a job, once it is over."""
        end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        key = _key(identity)
        _, futures = self._waiting.setdefault(key, (identity, set()))
        futures.add(end)
        try:
            return await end
        finally:
            futures.discard(end)
            if not futures:
                self._waiting.pop(key, None)

    async def _run(self) -> None:
        try:
            async with await connect(self.job_kind.client, self.connection) as client:
                while self._waiting or await self._somebody_comes():
                    await asyncio.sleep(self.poll_seconds * random.uniform(0.8, 1.2))
                    await self._round(client)
        except Exception as error:  # whatever it is, those who wait must hear of it
            self._fail_all(error)
        finally:
            self.closed = True

    async def _somebody_comes(self) -> bool:
        """The first to wait does so right after the poller was made; later, one that comes at the last moment is not lost."""
        await asyncio.sleep(0)
        # At once, not when the client has been closed: who comes in between must get a poller of his own.
        self.closed = not self._waiting
        return not self.closed

    async def _round(self, client: Any) -> None:
        asked = dict(self._waiting)
        unseen = set(asked)
        try:
            if len(asked) > FEW:
                async for key, state in self._list(client, len(asked)):
                    if key in unseen:
                        unseen.discard(key)
                        self._tell(key, state)
                    if not unseen:
                        break
        except (ClientError, BotoCoreError) as error:
            if is_throttled(error) or is_unanswered(error):
                log.warning("%s: %s; asking again", self.job_kind.list_call, error)
                return
            log.warning("%s: %s; asking for the jobs one by one", self.job_kind.list_call, error)
        for key in unseen:
            await self._ask(client, key, asked[key][0])
            await asyncio.sleep(PACE)

    async def _list(self, client: Any, waiting: int) -> Any:
        """(key, state) of the newest jobs."""
        arguments = {**self.job_kind.list_arguments, **self.listing}
        size = next(value for name, value in arguments.items() if name.lower() == "maxresults")
        pages = -(-waiting // size) + SPARE_PAGES
        async for page in client.get_paginator(self.job_kind.list_call).paginate(**arguments):
            for job in self.job_kind.listed(page):
                yield _key(job.identity), job.state
            pages -= 1
            if not pages:
                return
            await asyncio.sleep(PAGE_PACE)

    async def _ask(self, client: Any, key: str, identity: Identity) -> None:
        try:
            description = await getattr(client, self.job_kind.describe)(**identity)
        except (ClientError, BotoCoreError) as error:
            if is_throttled(error) or is_unanswered(error):
                log.warning("%s %s: %s; asking again", self.job_kind.title, identity, error)
                return
            for end in self._futures(key):
                end.set_exception(error)
            return
        self._tell(key, self.job_kind.state(description))

    def _tell(self, key: str, state: str) -> None:
        if state in self.job_kind.ends:
            for end in self._futures(key):
                end.set_result(state)

    def _fail_all(self, error: Exception) -> None:
        for key in list(self._waiting):
            for end in self._futures(key):
                end.set_exception(error)

    def _futures(self, key: str) -> list[asyncio.Future[str]]:
        """Those who still wait for a job."""
        return [end for end in self._waiting.get(key, ({}, set()))[1] if not end.done()]


def _key(identity: Identity) -> str:
    return json.dumps(identity, sort_keys=True)
