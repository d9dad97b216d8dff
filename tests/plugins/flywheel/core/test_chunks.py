"""Which days are to be made, and in what portions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from flywheel.core.chunks import Built, Delivered, chunks, is_stale
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


def at(second: int) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second)


def times(second: int, days: Iterable[int]) -> dict[date, datetime]:
    return {day(number): at(second) for number in days}


def test_what_is_missing_or_not_younger_than_what_it_is_made_of_is_stale() -> None:
    assert is_stale(None, [])
    assert is_stale(at(5), [at(1), at(6)])
    assert is_stale(at(5), [at(5)]), "S3 tells whole seconds: of the same second may be before"
    assert not is_stale(at(5), [at(1), at(4)])
    assert not is_stale(at(5), [])


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
    """Run days of a dataset."""

    def test_days_that_are_not_committed_or_were_delivered_again_are_stale(self) -> None:
        flights = Delivered(CONTRACTS["flights"], times(1, range(1, 5)) | times(9, [2]), times(5, [1, 2, 3]))
        assert flights.stale_run_days(window(1, 5)) == {day(2), day(4), day(5)}, "the fifth was never delivered: the job says so"

    def test_a_late_dataset_belongs_to_the_run_day_on_which_it_becomes_known(self) -> None:
        arrivals = Delivered(CONTRACTS["arrivals"], times(1, range(1, 5)) | times(9, [2]), times(5, [1, 2, 3]))
        assert arrivals.stale_run_days(window(1, 5)) == {day(3), day(5)}, "of the first run day no arrivals are known"

    def test_a_source_that_has_ended_is_not_missed(self) -> None:
        weather = Delivered(CONTRACTS["weather"], {}, {})
        assert weather.stale_run_days(Window(date(2013, 12, 30), date(2013, 12, 31))) == {date(2013, 12, 30)}

    def test_of_snapshots_the_newest_before_the_window_and_those_in_it_are_taken(self) -> None:
        def planes(committed: dict[date, datetime]) -> set[date]:
            return Delivered(CONTRACTS["planes"], times(1, [1, 5, 12]), committed).stale_run_days(window(10, 15))

        assert planes({}) == {day(10), day(12)}
        assert planes(times(2, [5])) == {day(12)}
        assert planes(times(2, [5, 12])) == set(), "the first is not used by any day of the window"

    def test_corrected_deliveries_of_days_before_are_found_and_missing_ones_left_to_their_runs(self) -> None:
        landed = times(1, range(1, 8)) | times(9, [3, 5])
        flights = Delivered(CONTRACTS["flights"], landed, times(5, [1, 2, 3, 6, 7]))
        arrivals = Delivered(CONTRACTS["arrivals"], landed, times(5, [1, 2, 3, 6, 7]))
        assert flights.corrected_run_days(window(2, 8)) == {day(3)}
        assert arrivals.corrected_run_days(window(2, 8)) == {day(4)}
        assert flights.corrected_run_days(window(4, 8)) == set()

    def test_the_newest_snapshot_is_the_business_of_the_runs_own_days(self) -> None:
        planes = Delivered(CONTRACTS["planes"], times(9, [2, 5]), times(5, [2, 5]))
        assert planes.corrected_run_days(window(1, 7)) == {day(2)}
        assert planes.stale_run_days(window(8, 8)) == {day(8)}


class TestFeatures:
    """Run days of a model."""

    def built(self, **changed: dict[date, datetime]) -> Built:
        """Ten days that are finished: ingested at 1, built at 5, loaded at 7."""
        inputs = {
            "flights": times(1, range(1, 11)), "weather": times(1, range(1, 11)), "arrivals": times(1, range(1, 10)),
            "planes": times(1, [1]),
        }  # fmt: skip
        made = {
            "features": times(5, range(1, 11)), "labels": times(5, range(1, 10)),
            "loaded_features": times(7, range(1, 11)), "loaded_labels": times(7, range(1, 10)),
        }  # fmt: skip
        return Built(
            MODEL.features,
            {name: when | changed.get(name, {}) for name, when in inputs.items()},
            frozenset({"planes"}),
            **{name: changed.get(name, when) for name, when in made.items()},
        )

    def test_what_is_built_and_loaded_is_finished(self) -> None:
        assert self.built().stale_days(window(1, 10)) == set()

    def test_a_corrected_day_changes_the_day_that_looks_back_at_it_also_behind_the_window(self) -> None:
        assert self.built(flights=times(9, [4])).stale_days(window(1, 10)) == {day(4), day(5)}
        assert self.built(flights=times(9, [4])).stale_days(window(4, 4)) == {day(4), day(5)}

    def test_behind_the_window_nothing_is_built_for_the_first_time(self) -> None:
        fresh = self.built(
            features=times(5, range(1, 4)),
            labels=times(5, range(1, 3)),
            loaded_features={},
            loaded_labels={},
            flights=times(9, [3]),
        )
        assert fresh.stale_days(window(3, 3)) == {day(3)}

    def test_labels_belong_to_the_run_day_on_which_they_become_known(self) -> None:
        assert self.built(arrivals=times(9, [4])).stale_days(window(1, 10)) == {day(5)}
        assert self.built(labels=times(5, range(2, 10))).stale_days(window(1, 10)) == {day(2)}
        assert self.built(labels=times(5, range(2, 10))).stale_days(window(1, 1)) == set(), "not the first run's business"

    def test_a_new_snapshot_changes_the_days_from_its_own_on(self) -> None:
        assert self.built(planes=times(9, [8])).stale_days(window(1, 10)) == {day(8), day(9), day(10)}
        assert self.built(planes=times(9, [1]) | times(1, [8])).stale_days(window(6, 10)) == {day(6), day(7)}

    def test_a_day_that_is_built_but_not_loaded_or_loaded_before_is_to_do(self) -> None:
        loaded = times(7, range(1, 11))
        del loaded[day(6)]
        assert self.built(loaded_features=loaded | times(3, [2])).stale_days(window(1, 10)) == {day(2), day(6)}
        assert self.built(loaded_labels=times(7, range(1, 9))).stale_days(window(1, 10)) == {day(10)}
