"""Removing from the lake what no commit names any more."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.sdk import BaseOperator

from flywheel.hooks.zones import delete, list_commits, objects, read_commits
from flywheel.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

_WRITTEN = re.compile(r"/write=(?P<write>[^/]+)/(?:ds=(?P<ds>\d{4}-\d{2}-\d{2})/)?")


class SweepLakeOperator(BaseOperator):
    """Deletes what writes have left in the zones (:mod:`flywheel.core.commits`) and nobody can still be reading
    (API: ``ListObjectsV2``, ``GetObject`` of the commits of days that were written more than once, ``DeleteObjects``).

    That is what a dead job wrote and never committed, and what a later commit has replaced. Both are kept for ``keep`` after the
    moment in which they were given up: jobs that have read the former commit, and queries by the Data Catalog, end in peace.

    :param zones: e.g. ``["processed/flights", "features/flight_delay/v1"]``
    :param keep: longer than any job runs
    :param aws_conn_id: Airflow connection for AWS
    Returns ``{zone: number of objects deleted}``.
    """

    def __init__(
        self, *, zones: Sequence[str], keep: timedelta = timedelta(days=2), aws_conn_id: str | None = "aws_default", **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.zones, self.keep, self.aws_conn_id = list(zones), keep, aws_conn_id

    def execute(self, context: Context) -> dict[str, int]:
        """One zone after the other."""
        settings().need("bucket")
        s3 = AwsBaseHook(client_type="s3", aws_conn_id=self.aws_conn_id).conn
        swept = {zone: self._sweep(s3, zone) for zone in self.zones}
        for zone, deleted in swept.items():
            self.log.info("%s: %s objects deleted that no commit names", zone, deleted)
        return swept

    def _sweep(self, s3: Any, zone: str) -> int:
        bucket, long_ago = settings().bucket, datetime.now(UTC) - self.keep
        written: dict[str, dict[date | None, list[str]]] = defaultdict(lambda: defaultdict(list))
        young: set[str] = set()
        for key, modified in objects(s3, bucket, f"{zone}/write="):
            found = _WRITTEN.search(key)
            assert found, key
            written[found["write"]][date.fromisoformat(found["ds"]) if found["ds"] else None].append(key)
            if modified >= long_ago:
                young.add(found["write"])
        # The commits after the files: a commit that comes in between names a write that is young.
        days = {day for by_day in written.values() for day in by_day if day}
        if not written:
            return 0
        commits = list_commits(s3, bucket, zone, min(days), max(days)) if days else {}
        twice = [day for day in days if day in commits and sum(day in by_day for by_day in written.values()) > 1]
        named = {day: commit.write for day, (commit, _) in read_commits(s3, bucket, zone, twice).items()}

        garbage: list[str] = []
        for write, by_day in written.items():
            if write in young:
                continue
            gone = {
                day
                for day in by_day
                if day and (day not in commits or (named.get(day, write) != write and commits[day].modified < long_ago))
            }
            garbage += [key for day in gone for key in by_day[day]]
            if gone >= {day for day in by_day if day}:  # nothing of it is left: its markers go too
                garbage += by_day.get(None, [])
        return delete(s3, bucket, garbage)
