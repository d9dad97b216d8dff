"""Which days a run covers, decided once at its start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator

from flywheel.core.runs import resolve_window

if TYPE_CHECKING:
    from airflow.sdk import Context


class ResolveDaysOperator(BaseOperator):
    """Decides the run's days; all later tasks take them from here (``{{ window() }}``), so that none sees other days
    (API: Airflow's own, for the events of the asset).

    An asset-triggered run covers the days of the events that triggered it *and* of those that came between its triggering and
    its start. Airflow gives the latter to no run of their own: while a run is active, events queue under the time of the
    first, and the next run is told only of events up to that time (seen in 3.3.1: of three days ingested by a backfill, one
    stayed out until the next event). Days that two runs cover are written twice with the same rows.

    :param source: the asset whose events carry ``start`` and ``end``
    Returns ``{"start", "end"}``, days as YYYY-MM-DD, both inclusive.
    :raises WindowError: the run gives no days, or impossible ones
    """

    def __init__(self, *, source: Asset, **kwargs: Any):
        super().__init__(inlets=[source], **kwargs)
        self.source = source

    def execute(self, context: Context) -> dict[str, str]:
        """One question to Airflow's API when assets triggered the run, none otherwise."""
        triggering = [event for events in (context.get("triggering_asset_events") or {}).values() for event in events]
        extras = [event.extra for event in triggering]
        if triggering:
            first = min(event.timestamp for event in triggering)
            extras += [event.extra for event in context["inlet_events"][self.source].after(first.isoformat())]
        interval = (context.get("data_interval_start"), context.get("data_interval_end"))
        window = resolve_window(context["params"], extras, interval)
        self.log.info("This run covers %s to %s (%s days)", window.start, window.end, window.days)
        return window.as_dict()
