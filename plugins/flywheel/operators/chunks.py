"""Which days of a run are still to be made, and in what portions: one mapped job for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from datetime import date, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.sdk import BaseOperator

from flywheel.core.chunks import Built, Content, Delivered, chunks, each_day, reach
from flywheel.core.commits import Commit
from flywheel.core.contracts import Contract
from flywheel.core.features import Features
from flywheel.core.runs import Window, parse_day
from flywheel.hooks.jobs import Identity
from flywheel.hooks.zones import EVER, committed, landed
from flywheel.operators.redshift import RedshiftQueryOperator
from flywheel.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context


class PlanIngestOperator(BaseOperator):
    """Finds the days on which a partition of the datasets has to be ingested (API: ``ListObjectsV2``, ``GetObject``).

    A partition is finished when its commit says that it was made of exactly what has landed; one that was never delivered is
    not, and the job will say so. The param ``overwrite`` takes all days. A scheduled run also looks ``corrected_within_days``
    back for partitions that were delivered again.

    :param datasets: the contracts of the dataset and of those that are delivered with it, the dataset's own first
    :param first_day: first day of the run (templated)
    :param last_day: last day of the run, inclusive (templated)
    :param aws_conn_id: Airflow connection for AWS
    Returns ``[{"start", "end"}]``: contiguous run days, at most ``chunk_days`` of the dataset's contract in one.
    """

    template_fields: Sequence[str] = ("first_day", "last_day")

    def __init__(
        self,
        *,
        datasets: Sequence[Contract],
        first_day: str,
        last_day: str,
        aws_conn_id: str | None = "aws_default",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.datasets, self.aws_conn_id = list(datasets), aws_conn_id
        self.first_day, self.last_day = first_day, last_day

    def execute(self, context: Context) -> list[dict[str, str]]:
        """Two lists for each dataset, and its commits."""
        settings().need("bucket")
        window = Window(parse_day(self.first_day, "first_day"), parse_day(self.last_day, "last_day"))
        before = self._looked_back_at(context, window)
        if context["params"].get("overwrite"):
            wanted = set(each_day(window.start, window.end))
        else:
            known = [self._delivered(contract, before or window, window) for contract in self.datasets]
            wanted = set[date]().union(*(dataset.stale_run_days(window) for dataset in known))
            if before:
                wanted |= set[date]().union(*(dataset.corrected_run_days(before) for dataset in known))
        return planned(self.log, window, wanted, self.datasets[0].chunk_days)

    def _looked_back_at(self, context: Context, window: Window) -> Window | None:
        """The days before the window that a scheduled run looks at, too."""
        days = self.datasets[0].corrected_within_days
        if context["dag_run"].run_type != "scheduled" or days == 0:
            return None
        return Window(window.start - timedelta(days=days), window.start - timedelta(days=1))

    def _delivered(self, contract: Contract, first: Window, last: Window) -> Delivered:
        s3, bucket = self.s3, settings().bucket
        since = EVER if contract.cadence == "once" else first.start - timedelta(days=contract.lag_days)
        return Delivered(
            contract,
            landed(s3, bucket, contract.name, since, last.end),
            {
                day: commit.sources
                for day, commit in committed(s3, bucket, f"processed/{contract.name}", since, last.end).items()
            },
        )

    @cached_property
    def s3(self) -> Any:
        """The S3 client."""
        return AwsBaseHook(client_type="s3", aws_conn_id=self.aws_conn_id).conn


class PlanFeaturesOperator(RedshiftQueryOperator):
    """Finds the days whose features or labels have to be built, or built again, or loaded
    (API: ``ListObjectsV2``, ``GetObject``, ``ExecuteStatement``).

    Features of a day are finished when their commit says that they were made of exactly the partitions that are there now, and
    Redshift holds what was committed: as many rows, with the same sum of checksums. The tables themselves are asked, so rows that
    someone changed or removed by hand are loaded again, too. The param ``overwrite`` takes all days of the run. Days behind the
    run's last one that were built before and have become stale are taken along: a corrected day changes the features of those
    that look back at it.

    :param definition: the feature group at one version; days of the run on which it has no data are left out
    :param datasets: the contracts of its inputs, by name
    :param first_day: first day of the run (templated)
    :param last_day: last day of the run, inclusive (templated)
    Returns ``[{"start", "end"}]``: contiguous days, at most ``chunk_days`` of the definition in one.
    """

    template_fields: Sequence[str] = (*RedshiftQueryOperator.template_fields, "first_day", "last_day")

    def __init__(self, *, definition: Features, datasets: Mapping[str, Contract], first_day: str, last_day: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.definition, self.datasets = definition, dict(datasets)
        self.first_day, self.last_day = first_day, last_day
        self._overwrite = False

    def execute(self, context: Context) -> Any:
        """Asks Redshift first: what is loaded after that is loaded once more, never left out."""
        settings().need("bucket")
        window, lag = self._window(), timedelta(days=self.definition.label.lag_days)
        self.parameters = {
            "first_day": (window.start - lag).isoformat(),
            "last_day": (window.end + timedelta(days=reach(self.definition))).isoformat(),
        }
        return super().execute(context)

    def finish(self, context: Context, description: dict[str, Any], timed_out: bool = False) -> Any:
        """As every job's, with the run's params at hand."""
        self._overwrite = bool(context["params"].get("overwrite"))
        return super().finish(context, description, timed_out)

    def result(self, client: Any, identity: Identity, description: Mapping[str, Any]) -> list[dict[str, str]]:
        """Lists the zones, and compares."""
        asked, definition = self._window(), self.definition
        first, last = definition.start_date, definition.end_date or date.max
        if asked.end < first or asked.start > last:
            self.log.info("%s has no data from %s to %s", definition.table, asked.start, asked.end)
            return []
        window = Window(max(asked.start, first), min(asked.end, last))
        loaded: dict[str, dict[date, Content]] = {"features": {}, "labels": {}}
        for row in super().result(client, identity, description):
            loaded[row["kind"]][parse_day(row["ds"], "ds")] = Content(row["row_count"], int(row["checksum"]))
        built = self._built(window, loaded)
        wanted = built.stale_days(window)
        if self._overwrite:
            wanted |= set(each_day(window.start, window.end))
        return planned(self.log, window, {day for day in wanted if day <= last}, definition.chunk_days)

    def _window(self) -> Window:
        return Window(parse_day(self.first_day, "first_day"), parse_day(self.last_day, "last_day"))

    def _built(self, window: Window, loaded: Mapping[str, Mapping[date, Content]]) -> Built:
        spec, s3, bucket = self.definition, self.client_with("s3"), settings().bucket
        snapshots = {name for name, contract in self.datasets.items() if contract.cadence == "once"}
        last = window.end + timedelta(days=reach(spec))
        first = window.start - timedelta(days=max(spec.lookback_days, spec.label.lag_days))

        def commits(zone: str, since: date = first) -> dict[date, Commit]:
            return committed(s3, bucket, zone, since, last)

        def writes(name: str) -> dict[date, str]:
            there = commits(f"processed/{name}", EVER if name in snapshots else first)
            return {day: commit.write for day, commit in there.items()}

        return Built(
            spec,
            {name: writes(name) for name in {*spec.inputs, *spec.label_inputs}},
            snapshots,
            commits(f"features/{spec.zone}"),
            commits(f"labels/{spec.zone}"),
            loaded["features"],
            loaded["labels"],
        )


def planned(log: Any, window: Window, wanted: Set[date], size: int) -> list[dict[str, str]]:
    """The chunks of the days that are to do, with lines for the log on how many of the run's days they are."""
    portions = chunks(wanted, size)
    asked = {day for day in wanted if window.start <= day <= window.end}
    log.info(
        "%s days asked for, %s to %s: %s finished, %s to do%s",
        window.days, window.start, window.end, window.days - len(asked), len(asked),
        f"; besides {len(wanted) - len(asked)} that have changed with others" if len(wanted) > len(asked) else "",
    )  # fmt: skip
    for number, portion in enumerate(portions):
        log.info("chunk %s: %s to %s (%s days)", number, portion.start, portion.end, portion.days)
    return [portion.as_dict() for portion in portions]
