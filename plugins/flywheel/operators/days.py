"""Which days a run covers, decided once at its start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from flywheel.core.runs import resolve_window

if TYPE_CHECKING:
    from airflow.sdk import Context


class ResolveDaysOperator(BaseOperator):
    """Decides the run's days; all later tasks take them from here (``{{ window() }}``), so that none sees other days
    (API: Airflow's own, for the events of the assets).

    An asset-triggered run covers the days of the events that triggered it *and* of those that came between its triggering and
    its start. Airflow gives the latter to no run of their own: while a run is active, events queue under the time of the
    first, and the next run is told only of events up to that time (seen in 3.3.1: of three days ingested by a backfill, one
    stayed out until the next event). Days that two runs cover are written twice with the same rows.

    :param sources: the assets whose events carry ``start`` and ``end``
    :param only: name of the one of them whose events count, those of the others are passed over; empty: all count (templated)
    Returns ``{"start", "end"}``, days as YYYY-MM-DD, both inclusive.
    :raises WindowError: the run gives no days, or impossible ones
    :raises AirflowSkipException: only events that do not count have triggered the run
    """

    template_fields: Sequence[str] = ("only",)

    def __init__(self, *, sources: Sequence[Asset], only: str = "", **kwargs: Any):
        super().__init__(inlets=list(sources), **kwargs)
        self.sources, self.only = list(sources), only

    def execute(self, context: Context) -> dict[str, str]:
        """One question per asset to Airflow's API when assets triggered the run, none otherwise."""
        counting = [source for source in self.sources if self.only in ("", source.name)]
        if not counting:
            raise ValueError(f"only: expected one of {', '.join(source.name for source in self.sources)}, found {self.only!r}")
        triggering = dict(context.get("triggering_asset_events") or {})
        extras: list[Any] = []
        if triggering:
            # Of all assets: an event that counts may have queued under the time of one that does not.
            first = min(event.timestamp for events in triggering.values() for event in events).isoformat()
            for source in counting:
                events = [event for asset, found in triggering.items() if asset.name == source.name for event in found]
                extras += [event.extra for event in [*events, *context["inlet_events"][source].after(first)]]
        params = context["params"]
        if triggering and not extras and not (params.get("start") or params.get("end")):
            found = ", ".join(sorted(asset.name for asset in triggering))
            raise AirflowSkipException(f"nothing to do: this run was triggered by {found}; events of {self.only} count")
        interval = (context.get("data_interval_start"), context.get("data_interval_end"))
        window = resolve_window(params, extras, interval)
        self.log.info("This run covers %s to %s (%s days)", window.start, window.end, window.days)
        return window.as_dict()
