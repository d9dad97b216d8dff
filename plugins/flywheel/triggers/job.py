"""The one trigger of Flywheel: waits for the end of an AWS job of any kind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.triggers.base import BaseTrigger, TriggerEvent
from botocore.exceptions import BotoCoreError, ClientError

from flywheel.hooks.jobs import JOB_KINDS, Identity

#: Errors of one poll that mean "ask again": the job goes on whether or not an answer came.
PASSING_ERRORS = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "InternalServerError",
        "InternalFailure",
        "ServiceUnavailable",
        "InternalServerException",
        "InternalServiceException",
    }
)


class JobTrigger(BaseTrigger):
    """Fires once the job has ended, however it ended; the operator then asks AWS for the truth.

    API: the ``describe`` call of the job's kind every ``poll_seconds`` (jittered by a fifth), and its ``stop`` call when a
    person kills the task. It never gives up by itself: AWS ends a job at its own run-time limit.

    :param kind: key of :data:`flywheel.hooks.jobs.JOB_KINDS`
    :param identity: names the job to AWS
    :param poll_seconds: seconds between two polls
    :param connection: ``aws_conn_id``, ``region_name``, ``verify`` and ``botocore_config`` of the operator
    """

    def __init__(self, *, kind: str, identity: Identity, poll_seconds: float, connection: dict[str, Any]):
        super().__init__()
        self.kind, self.identity, self.poll_seconds, self.connection = kind, identity, poll_seconds, connection

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, as the database keeps them."""
        return (
            "flywheel.triggers.job.JobTrigger",
            {
                "kind": self.kind,
                "identity": self.identity,
                "poll_seconds": self.poll_seconds,
                "connection": self.connection,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Polls until the job is over, then fires ``{"state": …}``."""
        kind = JOB_KINDS[self.kind]
        async with await self._client() as client:
            while True:
                await asyncio.sleep(self.poll_seconds * random.uniform(0.8, 1.2))
                try:
                    description = await getattr(client, kind.describe)(**self.identity)
                except ClientError as error:
                    if error.response["Error"]["Code"] not in PASSING_ERRORS:
                        raise
                    self.log.warning("%s %s: %s; asking again", kind.title, self.identity, error)
                    continue
                except BotoCoreError as error:  # no answer: connection refused, read time-out
                    self.log.warning("%s %s: %s; asking again", kind.title, self.identity, error)
                    continue
                if kind.is_over(description):
                    yield TriggerEvent({"state": kind.state(description)})
                    return

    async def on_kill(self) -> None:
        """Stops the job: a person failed, cleared or succeeded the waiting task."""
        kind = JOB_KINDS[self.kind]
        async with await self._client() as client:
            await getattr(client, kind.stop)(**(kind.stop_arguments(self.identity) or self.identity))

    async def _client(self) -> Any:
        config = dict(self.connection)
        hook: AwsBaseHook = AwsBaseHook(
            client_type=JOB_KINDS[self.kind].client,
            aws_conn_id=config["aws_conn_id"],
            region_name=config["region_name"],
            verify=config["verify"],
            config=config["botocore_config"],
        )
        return await hook.get_async_conn()
