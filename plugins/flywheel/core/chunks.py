"""Which days are still to be made, and in what portions.

As ``make`` sees it: a thing is stale when it is not there, or not younger than one of the things that it is made of. Times are
those of S3's own clock (LastModified, whole seconds), so two of the same second count as stale: made once too often does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import pairwise

from flywheel.core.contracts import Contract
from flywheel.core.features import Features
from flywheel.core.runs import Window

#: Day to when its newest object was written (UTC).
Times = Mapping[date, datetime]


def is_stale(made: datetime | None, sources: Iterable[datetime]) -> bool:
    """Whether something has to be made: it was never, or one of its sources is not older than it."""
    return made is None or any(source >= made for source in sources)


def each_day(start: date, end: date) -> list[date]:
    """The days from ``start`` to ``end``, both inclusive; none where start lies after end."""
    return [start + timedelta(days=i) for i in range((end - start).days + 1)]


def chunks(days: Iterable[date], size: int) -> list[Window]:
    """Days as windows: contiguous ones together, at most ``size`` of them in one.

    A long run of days is cut into pieces of nearly the same length, so that no job gets a single day that is left over.
    """
    runs: list[list[date]] = []
    for day in sorted(set(days)):
        if runs and day - runs[-1][-1] == timedelta(days=1):
            runs[-1].append(day)
        else:
            runs.append([day])
    found = []
    for run in runs:
        pieces = -(-len(run) // size)
        cuts = [len(run) * piece // pieces for piece in range(pieces + 1)]
        found += [Window(run[first], run[after - 1]) for first, after in pairwise(cuts)]
    return found


def reach(definition: Features) -> int:
    """How many days after a corrected one can change with it."""
    return max(definition.lookback_days, definition.label.lag_days)


@dataclass(frozen=True)
class Delivered:
    """What is known of one dataset of an ingest run.

    :param landed: when each partition's newest file landed
    :param committed: when each partition was committed to the processed zone
    """

    contract: Contract
    landed: Times
    committed: Times

    def stale_run_days(self, window: Window) -> set[date]:
        """The run days of the window on which this dataset has to be ingested.

        A daily partition belongs to the run day on which it becomes known. Of snapshots a run takes those of its days and the
        newest before, which is the business of its first day.
        """
        contract = self.contract
        if contract.cadence == "daily":
            lag = timedelta(days=contract.lag_days)
            return {day + lag for day in contract.expected_days(window.start, window.end) if self._is_stale(day)}
        before = max((day for day in self.landed if day <= window.start), default=None)
        days = [day for day in self.landed if window.start < day <= window.end] + ([before] if before else [])
        return {max(day, window.start) for day in days if self._is_stale(day)}

    def corrected_run_days(self, window: Window) -> set[date]:
        """Those of the days before a run's own whose partitions were delivered again since they were committed.

        :param window: the days to look back at, up to the day before the run's first one
        """
        stale = {day for day in self.landed if day in self.committed and self._is_stale(day)}
        if self.contract.cadence == "daily":
            lag = timedelta(days=self.contract.lag_days)
            expected = self.contract.expected_days(window.start, window.end)
            return {day + lag for day in expected if day in stale}
        newest = max((day for day in self.landed if day <= window.end + timedelta(days=1)), default=None)
        return {day for day in stale if window.start <= day <= window.end and day != newest}

    def _is_stale(self, partition: date) -> bool:
        landed = self.landed.get(partition)
        return is_stale(self.committed.get(partition), [landed] if landed else [])


@dataclass(frozen=True)
class Built:
    """What is known of the features and labels of a group at one version, and of what they are made of.

    :param inputs: commits of each input dataset, of features and of labels
    :param snapshots: those of the inputs that are snapshots (cadence ``once``), of which a day takes the newest up to it
    :param features: commits of the feature zone
    :param labels: commits of the label zone
    :param loaded_features: when each day's features were last loaded into Redshift
    :param loaded_labels: likewise of labels, by the labels' day
    """

    definition: Features
    inputs: Mapping[str, Times]
    snapshots: Set[str] = frozenset()
    features: Times = field(default_factory=dict)
    labels: Times = field(default_factory=dict)
    loaded_features: Times = field(default_factory=dict)
    loaded_labels: Times = field(default_factory=dict)

    def stale_days(self, window: Window) -> set[date]:
        """The run days whose features, or the labels that became known with them, have to be built or loaded.

        Besides the window's own days these are the days behind it that were built before and have become stale with it.
        """
        behind = each_day(window.end + timedelta(days=1), window.end + timedelta(days=reach(self.definition)))
        return {day for day in each_day(window.start, window.end) if self._is_stale(day, rebuild=False)} | {
            day for day in behind if self._is_stale(day, rebuild=True)
        }

    def _is_stale(self, day: date, rebuild: bool) -> bool:
        spec = self.definition
        label_day = day - timedelta(days=spec.label.lag_days)
        parts = [(day, self.features, self.loaded_features, self._times(spec.inputs, day, spec.lookback_days))]
        if label_day >= spec.start_date:
            parts.append((label_day, self.labels, self.loaded_labels, self._times(spec.label_inputs, label_day, 0)))
        for own_day, commits, loads, sources in parts:
            made = commits.get(own_day)
            if made is None and rebuild:
                continue
            if is_stale(made, sources) or is_stale(loads.get(own_day), [made] if made else []):
                return True
        return False

    def _times(self, inputs: Sequence[str], day: date, lookback_days: int) -> list[datetime]:
        """The commits that a day is made of."""
        times = []
        for name in inputs:
            commits = self.inputs.get(name, {})
            if name in self.snapshots:
                days = sorted(there for there in commits if there <= day)[-1:]
            else:
                days = each_day(day - timedelta(days=lookback_days), day)
            times += [commits[there] for there in days if there in commits]
        return times
