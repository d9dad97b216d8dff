"""Which days are to be made, and in what portions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from flywheel.core.chunks import Built, Content, Delivered, chunks, is_stale
from flywheel.core.commits import Commit, delivery_stamp, partition_source
from flywheel.core.contract_files import load_contracts
from flywheel.core.runs import Window
from flywheel.core.specs import load_model_spec

INCLUDE = Path(__file__).parents[4] / "include"
CONTRACTS = load_contracts(INCLUDE / "datasets")
MODEL = load_model_spec(INCLUDE / "models" / "flight_delay.yaml")


def day(number: int) -> date:
    """The day of January; 0 and below lie in December."""
    return date(2013, 1, 1) + timedelta(days=number - 1)


def window(first: int, last: int) -> Window:
    return Window(day(first), day(last))


def made_of(version: str, days: Iterable[int]) -> dict[date, dict[str, str]]:
    """Partitions of one source each."""
    return {day(number): {f"ds={day(number)}": version} for number in days}


def test_what_is_missing_or_was_made_of_something_else_is_stale() -> None:
    assert is_stale(None, {})
    assert is_stale({"a": "1"}, {"a": "2"})
    assert is_stale({"a": "1"}, {"a": "1", "b": "1"}), "there is one more now"
    assert not is_stale({"a": "1"}, {"a": "1"})
    assert not is_stale({"a": "1", "b": "1"}, {"a": "1"}), "what is gone since does no harm"


@pytest.mark.parametrize(
    ("days", "size", "expected"),
    [
        ([], 31, []),
        ([1, 2, 3, 5, 9, 8], 31, [(1, 3), (5, 5), (8, 9)]),
        ([3, 1, 2, 2], 31, [(1, 3)]),
        (range(1, 32), 31, [(1, 31)]),
        (range(1, 33), 31, [(1, 16), (17, 32)]),
        (range(1, 4), 1, [(1, 1), (2, 2), (3, 3)]),
    ],
)
def test_contiguous_days_are_cut_into_chunks_of_nearly_one_length(days: Iterable[int], size: int, expected: list) -> None:
    assert chunks([day(number) for number in days], size) == [window(*pair) for pair in expected]


def test_a_year_is_twelve_chunks_of_a_month_at_most() -> None:
    year = chunks([date(2013, 1, 1) + timedelta(days=i) for i in range(365)], 31)
    assert len(year) == 12
    assert sum(chunk.days for chunk in year) == 365
    assert max(chunk.days for chunk in year) <= 31


class TestIngest:
    """Run days of a dataset. Deliveries: an early one in second 1, a later one in second 9."""

    EARLY, LATER = delivery_stamp(1000, 7), delivery_stamp(9000, 7)

    def landed(self, early: Iterable[int], later: Iterable[int] = ()) -> dict[date, dict[str, str]]:
        return made_of(self.EARLY, early) | made_of(self.LATER, later)

    def test_days_that_are_not_committed_or_were_delivered_again_are_stale(self) -> None:
        flights = Delivered(CONTRACTS["flights"], self.landed(range(1, 5), [2]), self.landed([1, 2, 3]))
        assert flights.stale_run_days(window(1, 5)) == {day(2), day(4), day(5)}, "the fifth was never delivered: the job says so"

    def test_what_counts_is_the_delivery_that_was_read_however_late_it_was_committed(self) -> None:
        read_too_early = Delivered(CONTRACTS["flights"], self.landed([], [1]), self.landed([1]))
        assert read_too_early.stale_run_days(window(1, 1)) == {day(1)}
        read_with_milliseconds = Delivered(CONTRACTS["flights"], self.landed([], [1]), made_of(delivery_stamp(9876, 7), [1]))
        assert read_with_milliseconds.stale_run_days(window(1, 1)) == set(), "lists tell whole seconds"
        other_length = Delivered(CONTRACTS["flights"], self.landed([], [1]), made_of(delivery_stamp(9000, 8), [1]))
        assert other_length.stale_run_days(window(1, 1)) == {day(1)}

    def test_a_delivery_that_was_cleared_away_stays_ingested(self) -> None:
        assert Delivered(CONTRACTS["flights"], {}, self.landed([1])).stale_run_days(window(1, 1)) == set()

    def test_a_late_dataset_belongs_to_the_run_day_on_which_it_becomes_known(self) -> None:
        arrivals = Delivered(CONTRACTS["arrivals"], self.landed(range(1, 5), [2]), self.landed([1, 2, 3]))
        assert arrivals.stale_run_days(window(1, 5)) == {day(3), day(5)}, "of the first run day no arrivals are known"

    def test_a_source_that_has_ended_is_not_missed(self) -> None:
        weather = Delivered(CONTRACTS["weather"], {}, {})
        assert weather.stale_run_days(Window(date(2013, 12, 30), date(2013, 12, 31))) == {date(2013, 12, 30)}

    def test_of_snapshots_the_newest_before_the_window_and_those_in_it_are_taken(self) -> None:
        def planes(committed: Iterable[int]) -> set[date]:
            known = Delivered(CONTRACTS["planes"], self.landed([1, 5, 12]), self.landed(committed))
            return known.stale_run_days(window(10, 15))

        assert planes([]) == {day(10), day(12)}
        assert planes([5]) == {day(12)}
        assert planes([5, 12]) == set(), "the first is not used by any day of the window"

    def test_corrected_deliveries_of_days_before_are_found_and_missing_ones_left_to_their_runs(self) -> None:
        landed = self.landed(range(1, 8), [3, 5])
        flights = Delivered(CONTRACTS["flights"], landed, self.landed([1, 2, 3, 6, 7]))
        arrivals = Delivered(CONTRACTS["arrivals"], landed, self.landed([1, 2, 3, 6, 7]))
        assert flights.corrected_run_days(window(2, 8)) == {day(3)}
        assert arrivals.corrected_run_days(window(2, 8)) == {day(4)}
        assert flights.corrected_run_days(window(4, 8)) == set()

    def test_the_newest_snapshot_is_the_business_of_the_runs_own_days(self) -> None:
        planes = Delivered(CONTRACTS["planes"], self.landed([], [2, 5]), self.landed([2, 5]))
        assert planes.corrected_run_days(window(1, 7)) == {day(2)}
        assert planes.stale_run_days(window(8, 8)) == {day(8)}


class TestFeatures:
    """Run days of a group: ten days that were ingested by the write ``w1``, built and loaded."""

    def inputs(self) -> dict[str, dict[date, str]]:
        days = {"flights": range(1, 11), "weather": range(1, 11), "arrivals": range(1, 10), "planes": [1]}
        return {name: {day(number): "w1" for number in numbers} for name, numbers in days.items()}

    def commit(self, zone: str, ds: date, names: Iterable[str], lookback: int, inputs: Any) -> Commit:
        """Made of what is there now."""
        sources = {}
        for name in names:
            there = inputs[name]
            daily = [ds - timedelta(days=back) for back in (0, lookback)]
            of = [max(other for other in there if other <= ds)] if name == "planes" else daily
            sources |= {partition_source(name, other): there[other] for other in of if other in there}
        return Commit(zone, ds, "w", (), 5, {}, checksum="12345678901234567890", sources=sources)

    def built(self, kept: Iterable[int] = range(1, 11), **changed: dict[int, Any]) -> Built:
        """Everything finished, and then something changed: writes of inputs, or contents of tables.

        :param kept: the days whose commits are there
        """
        inputs, spec = self.inputs(), MODEL.features
        features = {day(n): self.commit("f", day(n), spec.inputs, spec.lookback_days, inputs) for n in range(1, 11)}
        labels = {day(n): self.commit("l", day(n), spec.label_inputs, 0, inputs) for n in range(1, 10)}
        loaded = {zone: {ds: Content(5, 12345678901234567890) for ds in made} for zone, made in (("f", features), ("l", labels))}
        for name in ("f", "l"):
            loaded[name] |= {day(n): content for n, content in changed.pop(f"loaded_{name}", {}).items()}
        for name, writes in changed.items():
            inputs[name] |= {day(n): write for n, write in writes.items()}
        features, labels = ({ds: c for ds, c in made.items() if ds.day in kept} for made in (features, labels))
        return Built(spec, inputs, frozenset({"planes"}), features, labels, loaded["f"], loaded["l"])

    def test_what_is_built_and_loaded_is_finished(self) -> None:
        assert self.built().stale_days(window(1, 10)) == set()

    def test_what_redshift_does_not_hold_as_it_was_committed_is_loaded_again(self) -> None:
        found = self.built(loaded_f={2: Content(4, 12345678901234567890), 4: Content(5, 1), 6: Content(0, 0)})
        assert found.stale_days(window(1, 10)) == {day(2), day(4), day(6)}
        assert self.built(loaded_l={3: Content(0, 0)}).stale_days(window(1, 10)) == {day(4)}, "labels, by their run day"

    def test_a_corrected_day_changes_the_day_that_looks_back_at_it_also_behind_the_window(self) -> None:
        assert self.built(flights={4: "w2"}).stale_days(window(1, 10)) == {day(4), day(5)}
        assert self.built(flights={4: "w2"}).stale_days(window(4, 4)) == {day(4), day(5)}

    def test_behind_the_window_nothing_is_built_for_the_first_time(self) -> None:
        fresh = self.built(kept=[1, 2, 3], flights={3: "w2"})
        assert fresh.stale_days(window(3, 3)) == {day(3)}

    def test_labels_belong_to_the_run_day_on_which_they_become_known(self) -> None:
        assert self.built(arrivals={4: "w2"}).stale_days(window(1, 10)) == {day(5)}

    def test_labels_that_were_never_built_are_the_business_of_the_next_days_run(self) -> None:
        complete = self.built()
        without = replace(complete, labels={ds: commit for ds, commit in complete.labels.items() if ds != day(1)})
        assert without.stale_days(window(1, 10)) == {day(2)}
        assert without.stale_days(window(1, 1)) == set(), "not the first run's business"

    def test_a_new_snapshot_changes_the_days_from_its_own_on(self) -> None:
        assert self.built(planes={8: "w2"}).stale_days(window(1, 10)) == {day(8), day(9), day(10)}
        assert self.built(planes={1: "w2"}).stale_days(window(9, 10)) == {day(9), day(10)}

    def test_inputs_that_are_gone_leave_what_was_made_of_them(self) -> None:
        complete = self.built()
        assert replace(complete, inputs={}).stale_days(window(1, 10)) == set()
