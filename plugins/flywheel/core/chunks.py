"""Which days are still to be made, and in what portions.

A thing is stale when it is not there, or was made of something else than what is there now. A commit names what its partition
was made of (:attr:`flywheel.core.commits.Commit.sources`), so that is compared, and no clock has a say: a delivery that came
while its predecessor was being read is found, however near to the commit it came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise

from flywheel.core.commits import Commit, in_whole_seconds, partition_source
from flywheel.core.contracts import Contract
from flywheel.core.features import Features
from flywheel.core.runs import Window

#: What something is made of: key to the stamp of a delivery, or partition to its write.
Sources = Mapping[str, str]


def is_stale(made_of: Sources | None, there: Sources) -> bool:
    """Whether something has to be made: it was never, or not of what is there now.

    A source that is gone since, as retention may have it, does no harm: what was made of it stays.

    :param made_of: what it was made of; None: it was not made
    """
    return made_of is None or any(made_of.get(name) != version for name, version in there.items())


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

    :param landed: the files that landed, by partition: key to stamp, in whole seconds
    :param committed: of what each partition of the processed zone was made, by stamps of any precision
    """

    contract: Contract
    landed: Mapping[date, Sources]
    committed: Mapping[date, Sources]

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
        """Those of the days before a run's own whose partitions were delivered again since they were read.

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
        made_of = self.committed.get(partition)
        if made_of is not None:
            made_of = {key: in_whole_seconds(stamp) for key, stamp in made_of.items()}
        return is_stale(made_of, self.landed.get(partition, {}))


@dataclass(frozen=True)
class Content:
    """What a table holds of one day: its rows, and the sum of their checksums."""

    rows: int
    checksum: int


@dataclass(frozen=True)
class Built:
    """What is known of the features and labels of a group at one version, and of what they are made of.

    :param inputs: the writes of each input dataset's partitions, of features and of labels
    :param snapshots: those of the inputs that are snapshots (cadence ``once``), of which a day takes the newest up to it
    :param features: commits of the feature zone
    :param labels: commits of the label zone
    :param loaded_features: what Redshift holds of each day's features
    :param loaded_labels: likewise of labels, by the labels' day
    """

    definition: Features
    inputs: Mapping[str, Mapping[date, str]]
    snapshots: Set[str] = frozenset()
    features: Mapping[date, Commit] = field(default_factory=dict)
    labels: Mapping[date, Commit] = field(default_factory=dict)
    loaded_features: Mapping[date, Content] = field(default_factory=dict)
    loaded_labels: Mapping[date, Content] = field(default_factory=dict)

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
        parts = [(day, self.features, self.loaded_features, self._sources(spec.inputs, day, spec.lookback_days))]
        if label_day >= spec.start_date:
            parts.append((label_day, self.labels, self.loaded_labels, self._sources(spec.label_inputs, label_day, 0)))
        for own_day, commits, tables, sources in parts:
            commit = commits.get(own_day)
            if commit is None and rebuild:
                continue
            if commit is None or is_stale(commit.sources, sources):
                return True
            if tables.get(own_day, Content(0, 0)) != Content(commit.rows, int(commit.checksum or 0)):
                return True
        return False

    def _sources(self, inputs: Sequence[str], day: date, lookback_days: int) -> dict[str, str]:
        """The writes that a day would be made of now, named as its commit names them."""
        sources = {}
        for name in inputs:
            writes = self.inputs.get(name, {})
            if name in self.snapshots:
                days = sorted(there for there in writes if there <= day)[-1:]
            else:
                days = each_day(day - timedelta(days=lookback_days), day)
            sources.update({partition_source(name, there): writes[there] for there in days if there in writes})
        return sources
