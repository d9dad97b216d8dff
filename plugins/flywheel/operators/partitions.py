"""What a run's jobs have committed is made known: in the Data Catalog, to people, to the DAGs that wait for it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.sdk import BaseOperator
from botocore.exceptions import ClientError

from flywheel.core.commits import Report, report_key
from flywheel.core.delivery_checks import ALERTING
from flywheel.core.runs import Window, parse_day
from flywheel.hooks.catalog import ZoneTable
from flywheel.hooks.zones import EVER, list_commits, read_commits
from flywheel.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Notes that go with the asset's event, so many at most; and turns after which something must be wrong.
FEW, TURNS = 20, 20


@dataclass(frozen=True)
class PublishedZone:
    """A zone that a run writes.

    :param zone: e.g. ``processed/flights``
    :param lag_days: how many days before the run's days its partitions lie
    :param snapshots: its partitions are snapshots: those of any day before may be new
    """

    zone: str
    lag_days: int = 0
    snapshots: bool = False

    def days(self, window: Window) -> tuple[date, date]:
        """The first and last partition that runs over these days may have written."""
        lag = timedelta(days=self.lag_days)
        return EVER if self.snapshots else window.start - lag, window.end - lag


class PublishPartitionsOperator(BaseOperator):
    """Registers what is committed in the Glue Data Catalog, and tells of the jobs' notes
    (API: ``GetPartitions``, ``CreateTable``, ``UpdateTable``, ``BatchCreatePartition``, ``BatchUpdatePartition``, ``Publish``).

    It goes by the commits of the run's days, not by what this run has written: a partition whose commit is there and that was
    never registered, because a task died, is registered too. After each turn both are listed again, until nothing differs; so
    of two tasks at once, the one that has read an older commit puts it right itself.

    Notes on the contract are told in one message to the alerts topic. Which of them were told is kept beside the run's reports,
    so that a retry tells only new ones; a task that dies in the instant between the message and that file tells twice.

    :param job: whose reports to read, as the job names them
    :param zones: the zones that the run writes
    :param first_day: first day of the run (templated)
    :param last_day: last day of the run, inclusive (templated)
    :param run_key: the run's name (templated)
    :param chunks: what ``plan_chunks`` has returned, as JSON (templated)
    :param aws_conn_id: Airflow connection for AWS
    Returns ``{"registered": {zone: [day]}, "notes": [text]}``. The events of its outlets carry ``start`` and ``end`` (of the run
    with the corrected days besides) and ``notes``.
    :raises ValueError: a job ended well without a report, or commits keep moving
    """

    template_fields: Sequence[str] = ("first_day", "last_day", "run_key", "chunks")

    def __init__(
        self,
        *,
        job: str,
        zones: Sequence[PublishedZone],
        first_day: str = "{{ window().start }}",
        last_day: str = "{{ window().end }}",
        run_key: str = "{{ run_key() }}",
        chunks: str = "{{ chunks() | tojson }}",
        aws_conn_id: str | None = "aws_default",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.job, self.zones, self.aws_conn_id = job, list(zones), aws_conn_id
        self.first_day, self.last_day, self.run_key, self.chunks = first_day, last_day, run_key, chunks

    def execute(self, context: Context) -> dict[str, Any]:
        """Catalog first, then the people, then (by ending well) the DAGs."""
        settings().need("bucket", "catalog_database")
        chunks = [
            Window(parse_day(chunk["start"], "chunk start"), parse_day(chunk["end"], "chunk end"))
            for chunk in json.loads(self.chunks)
        ]
        asked = Window(parse_day(self.first_day, "first_day"), parse_day(self.last_day, "last_day"))
        covered = Window(
            min(asked.start, *(chunk.start for chunk in chunks)) if chunks else asked.start,
            max(asked.end, *(chunk.end for chunk in chunks)) if chunks else asked.end,
        )
        s3 = self._client("s3")
        registered = {zone.zone: self._register(s3, zone, covered) for zone in self.zones}
        notes = [note for chunk in chunks for note in self._report(s3, chunk).notes]
        lines = in_lines(notes)
        for line in lines:
            self.log.info("Note: %s", line)
        self._tell(s3, in_lines(note for note in notes if note["kind"] in ALERTING), context)
        for asset in self.outlets:
            context["outlet_events"][asset].extra = {**covered.as_dict(), "notes": [*lines[:FEW]]}
        return {"registered": registered, "notes": lines}

    def _client(self, service: str) -> Any:
        return AwsBaseHook(client_type=service, aws_conn_id=self.aws_conn_id).conn

    def _register(self, s3: Any, zone: PublishedZone, window: Window) -> list[str]:
        """Brings one zone's table up to its commits. Returns the days that were not."""
        bucket, (first, last) = settings().bucket, zone.days(window)
        table = ZoneTable(self._client("glue"), settings().catalog_database, bucket, zone.zone)
        done: set[date] = set()
        for _ in range(TURNS):
            # The catalog before the commits: what another task registers in between looks outdated here, never up to date.
            registered = table.registered(first, last)
            commits = list_commits(s3, bucket, zone.zone, first, last)
            todo = [day for day, listed in commits.items() if registered.get(day) != listed.etag]
            if not todo:
                self.log.info("%s: %s partitions, %s registered now", table.name, len(commits), len(done))
                return [day.isoformat() for day in sorted(done)]
            table.register(read_commits(s3, bucket, zone.zone, todo))
            done |= set(todo)
        raise ValueError(f"{table.name}: expected the Data Catalog to be as the commits after {TURNS} turns, {todo} still differ")

    def _report(self, s3: Any, chunk: Window) -> Report:
        key = report_key(self.run_key, self.job, chunk.start, chunk.end)
        report = _read_if_there(s3, key)
        if report is None:
            raise ValueError(f"s3://{settings().bucket}/{key}: expected the report of a job that ended well, found none")
        return Report.from_json(report)

    def _tell(self, s3: Any, lines: list[str], context: Context) -> None:
        """One message with what was not told before."""
        topic, key = settings().alerts_topic_arn, f"reports/{self.job}/{self.run_key}/told.json"
        told = json.loads(_read_if_there(s3, key) or "[]") if lines else []
        news = [line for line in lines if line not in told]
        if not news or not topic:
            return
        ti = context["ti"]
        message = "\n".join([*news, "", f"The run goes on. Run {self.run_key} of {ti.dag_id}: {getattr(ti, 'log_url', '')}"])
        self._client("sns").publish(TopicArn=topic, Subject=f"{ti.dag_id}: deliveries have changed"[:100], Message=message)
        s3.put_object(Bucket=settings().bucket, Key=key, Body=json.dumps(told + news).encode())


def in_lines(notes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Notes as lines of text: those that say the same of several partitions are one."""
    days: dict[tuple[str, str, str], list[str]] = {}
    texts: dict[tuple[str, str, str], str] = {}
    for note in notes:
        what = (note["dataset"], note.get("column") or "", note["kind"])
        days.setdefault(what, []).append(str(note["partition"]).removeprefix("ds="))
        texts.setdefault(what, note["text"])
    lines = []
    for what, partitions in sorted(days.items()):
        dataset, column, kind = what
        first, last, many = min(partitions), max(partitions), len(set(partitions))
        where = first if many == 1 else f"{many} partitions from {first} to {last}"
        lines.append(f"{dataset}{f', column {column}' if column else ''} ({kind.replace('_', ' ')}): {texts[what]} [{where}]")
    return lines


def _read_if_there(s3: Any, key: str) -> str | None:
    try:
        return s3.get_object(Bucket=settings().bucket, Key=key)["Body"].read().decode()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None
