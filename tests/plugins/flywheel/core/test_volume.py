"""The usual number of rows: learned from the right days, wide enough for odd ones, too narrow for half a file."""

from datetime import date, timedelta

from flywheel.core.contract_files import parse_contract
from flywheel.core.volume import volume_band

DAY = date(2013, 3, 27)


def trips(**changes):
    content = {
        "name": "trips",
        "description": "d",
        "owner": "o",
        "cadence": "daily",
        "first_partition": "2013-01-01",
        "key": ["id"],
        "columns": [{"name": "id", "type": "string"}],
    }
    return parse_contract(content | changes, "trips.yaml")


def weeks_before(*rows):
    """Counts of the same weekday, the newest first."""
    return {DAY - timedelta(weeks=weeks): count for weeks, count in enumerate(rows, start=1)}


def test_the_band_lies_around_the_median_of_the_same_weekdays():
    counts = weeks_before(100, 100, 110, 90, 100) | {DAY - timedelta(days=days): 5000 for days in (1, 2, 3)}
    band = volume_band(trips(), counts, DAY)
    assert (band.low, band.high) == (50, 150)
    assert band.days_learned_from == tuple(DAY - timedelta(weeks=weeks) for weeks in range(1, 6))
    assert 50 in band and 150 in band and 49 not in band and 151 not in band


def test_a_single_odd_day_does_not_move_the_band():
    usual = volume_band(trips(), weeks_before(100, 101, 99, 100, 102, 98, 100, 100), DAY)
    odd = volume_band(trips(), weeks_before(100, 101, 99, 100, 102, 98, 100, 9000), DAY)
    assert abs(odd.low - usual.low) < 1 and abs(odd.high - usual.high) < 1


def test_days_that_differ_much_make_the_band_wide():
    band = volume_band(trips(volume={"tolerance": 0.1}), weeks_before(80, 90, 100, 110, 120), DAY)
    assert (band.low, band.high) == (100 - 4 * 1.4826 * 10, 100 + 4 * 1.4826 * 10)
    assert volume_band(trips(), weeks_before(1, 100, 1000), DAY).low == 0


def test_only_the_weeks_asked_for_are_looked_at_and_never_the_day_itself_or_later():
    counts = weeks_before(100, 100, 100) | {DAY - timedelta(weeks=9): 1, DAY: 7, DAY + timedelta(weeks=1): 8}
    assert volume_band(trips(), counts, DAY).days_learned_from == tuple(weeks_before(100, 100, 100))
    assert len(volume_band(trips(volume={"weeks": 9}), counts, DAY).days_learned_from) == 4


def test_gaps_are_left_out_and_too_little_past_means_no_band():
    counts = weeks_before(100, 100, 100, 100)
    del counts[DAY - timedelta(weeks=2)]
    assert len(volume_band(trips(), counts, DAY).days_learned_from) == 3
    del counts[DAY - timedelta(weeks=3)]
    assert volume_band(trips(), counts, DAY) is None
    assert volume_band(trips(volume={"min_weeks": 2}), counts, DAY) is not None


def test_who_wants_no_band_has_none():
    assert volume_band(trips(volume=None), weeks_before(*[100] * 8), DAY) is None
    assert volume_band(trips(cadence="once"), weeks_before(*[100] * 8), DAY) is None
