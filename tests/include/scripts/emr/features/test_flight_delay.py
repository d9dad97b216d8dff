"""Features of real flights against a brute-force computation, and against a corrupted future.

The days: 10 January, the day after the longest delay of the year (1301 minutes), and 10 and 11 March, the change of clocks and
the day that looks back on it.
"""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from laptop.landing import deliveries

pytestmark = pytest.mark.slow

WINDOWS = {"longest_delay": (date(2013, 1, 10), date(2013, 1, 10)), "clock_change": (date(2013, 3, 10), date(2013, 3, 11))}
LOOKBACK = timedelta(days=1)
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]


def inputs_of(start: date, end: date) -> dict[str, pd.DataFrame]:
    """The processed rows of these days and the day before, as pandas frames with ds."""
    frames: dict[str, list[pd.DataFrame]] = {}
    for dataset, day, rows in deliveries(start - LOOKBACK, end, end + LOOKBACK):
        frames.setdefault(dataset, []).append(rows.assign(ds=day) if dataset != "planes" else rows)
    return {dataset: pd.concat(parts, ignore_index=True) for dataset, parts in frames.items()}


def to_spark(spark, frame: pd.DataFrame, folder):
    """Through Parquet, as in the real zone: types and nulls are what a job gets."""
    path = folder / f"{len(list(folder.iterdir()))}.parquet"
    frame.to_parquet(path, index=False)
    return spark.read.parquet(f"file://{path}")


def computed(spark, inputs: dict[str, pd.DataFrame], folder, start: date, end: date) -> pd.DataFrame:
    """The module's features of the days asked for, in the order of the entities."""
    from features import flight_delay

    spark.conf.set("spark.sql.session.timeZone", "UTC")
    frame = flight_delay.features({name: to_spark(spark, rows, folder) for name, rows in inputs.items()}).toPandas()
    frame = frame[(frame["ds"] >= start) & (frame["ds"] <= end)]
    return frame.sort_values("entity_id", ignore_index=True)


def brute_force(inputs: dict[str, pd.DataFrame], start: date, end: date) -> pd.DataFrame:
    """The same by looking at each flight alone, with pandas' own clock."""
    flights, weather, planes = inputs["flights"].copy(), inputs["weather"], inputs["planes"]
    flights["scheduled"] = pd.to_datetime(flights["time_hour"]) + pd.to_timedelta(flights["minute"].astype(int), unit="min")
    flights["left"] = flights["scheduled"] + pd.to_timedelta(flights["dep_delay"].astype("float"), unit="min")
    counted = flights[flights["dep_delay"].notna() & (flights["dep_delay"] <= 1200)]
    weather = weather.assign(known=pd.to_datetime(weather["time_hour"]) + pd.Timedelta(hours=1))
    weather = weather.set_index(["origin", "known"])
    planes = planes.set_index("tailnum")
    found = []
    for i, flight in flights[(flights["ds"] >= start) & (flights["ds"] <= end)].iterrows():
        others = counted[(counted["origin"] == flight["origin"]) & (counted.index != i)]
        recent = others[(others["left"] >= flight["scheduled"] - pd.Timedelta(hours=2)) & (others["left"] < flight["scheduled"])]
        same_hour = flights[(flights["origin"] == flight["origin"]) & (flights["time_hour"] == flight["time_hour"])]
        local = flight["scheduled"].tz_convert("America/New_York")
        plane = planes.loc[flight["tailnum"]] if flight["tailnum"] in planes.index else {}
        at = (flight["origin"], pd.Timestamp(flight["time_hour"]))
        sky = weather.loc[at] if at in weather.index else {}
        found.append(
            {
                "entity_id": f"{flight['time_hour']}|{flight['carrier']}|{flight['flight']}",
                "event_time": local.tz_localize(None),
                "ds": local.date(),
                "sched_minute": local.hour * 60 + local.minute,
                "day_of_week": local.isoweekday(),
                "carrier": flight["carrier"],
                "origin": flight["origin"],
                "dest": flight["dest"],
                "distance": float(flight["distance"]),
                "n_sched_hour": len(same_hour),
                "recent_delay": recent["dep_delay"].astype(float).mean() if len(recent) else np.nan,
                "recent_departures": len(recent),
                "plane_age": 2013.0 - as_float(plane.get("year")),
                "seats": as_float(plane.get("seats")),
                **{name: as_float(sky.get(name)) for name in WEATHER},
            }
        )
    return pd.DataFrame(found).sort_values("entity_id", ignore_index=True)


def as_float(value) -> float:
    return np.nan if value is None or pd.isna(value) else float(value)


@pytest.mark.parametrize("window", WINDOWS)
def test_features_equal_a_brute_force_computation(spark, tmp_path, window):
    start, end = WINDOWS[window]
    inputs = inputs_of(start, end)
    found, expected = computed(spark, inputs, tmp_path, start, end), brute_force(inputs, start, end)
    assert len(found) > 900 and found["recent_delay"].isna().any() and found["recent_delay"].notna().any()
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-12)


def test_a_day_has_the_same_features_in_whichever_window_it_is_computed(spark, tmp_path):
    start, end = WINDOWS["clock_change"]
    whole = computed(spark, inputs_of(start, end), tmp_path, start, end)
    for day in (start, end):
        alone = computed(spark, inputs_of(day, day), tmp_path, day, day)
        pd.testing.assert_frame_equal(alone, whole[whole["ds"] == day].reset_index(drop=True))


def test_nothing_that_happens_later_changes_a_feature(spark, tmp_path):
    """Everything measured from 3 p.m. on is corrupted: flights scheduled up to 3 p.m. must not notice, later ones must."""
    start = end = date(2013, 3, 10)
    now = pd.Timestamp("2013-03-10 15:00", tz="America/New_York")
    inputs = inputs_of(start, end)
    before = computed(spark, inputs, tmp_path, start, end)

    flights, weather = inputs["flights"].copy(), inputs["weather"].copy()
    scheduled = pd.to_datetime(flights["time_hour"]) + pd.to_timedelta(flights["minute"].astype(int), unit="min")
    left_later = ~(scheduled + pd.to_timedelta(flights["dep_delay"].astype(float), unit="min") < now)
    late = pd.array(flights["dep_delay"] + 600, dtype="Int32")
    flights.loc[left_later, "dep_delay"] = np.where(np.arange(left_later.sum()) % 3 == 0, pd.NA, late[left_later])
    flights.loc[left_later, "dep_time"] = 2359
    observed_later = pd.to_datetime(weather["time_hour"]) >= now
    weather.loc[observed_later, WEATHER] = -1.0
    after = computed(
        spark, {**inputs, "flights": flights, "weather": weather, "arrivals": inputs["arrivals"].head(1)}, tmp_path, start, end
    )

    known = before["event_time"] <= now.tz_localize(None)
    assert 300 < known.sum() < len(known) - 300
    pd.testing.assert_frame_equal(before[known], after[known])
    assert (before["recent_delay"] != after["recent_delay"])[~known].mean() > 0.8
    assert (before["temp"] != after["temp"])[before["event_time"] >= pd.Timestamp("2013-03-10 17:00")].all()


def test_a_flight_that_leaves_early_is_no_news_to_itself_but_to_others(spark, tmp_path):
    start = end = date(2013, 3, 10)
    inputs = inputs_of(start, end)
    pair = inputs["flights"][inputs["flights"]["ds"] == start].head(2).copy()
    pair["origin"], pair["dep_delay"] = "EWR", pd.array([-10, -4], dtype="Int32")
    pair["time_hour"], pair["hour"], pair["minute"] = "2013-03-10T15:00:00Z", 11, pd.array([0, 30], dtype="Int32")
    found = computed(spark, {**inputs, "flights": pair}, tmp_path, start, end)
    first, second = found.sort_values("sched_minute").to_dict("records")
    assert (first["recent_departures"], second["recent_departures"]) == (0, 1)
    assert np.isnan(first["recent_delay"]) and second["recent_delay"] == -10.0
    assert (first["n_sched_hour"], second["n_sched_hour"]) == (2, 2)


def test_an_impossible_wind_is_missing(spark, tmp_path):
    start = end = date(2013, 3, 10)
    inputs = inputs_of(start, end)
    inputs["weather"]["wind_speed"] = 1048.36
    assert computed(spark, inputs, tmp_path, start, end)["wind_speed"].isna().all()


def test_a_label_says_later_than_fifteen_minutes(spark, tmp_path):
    from features import flight_delay

    arrivals = pd.DataFrame(
        {
            "time_hour": "2013-03-11T01:00:00Z",
            "carrier": ["AA", "B6", "DL"],
            "flight": pd.array([1, 2, 3], dtype="int32"),
            "arr_delay": pd.array([15, 16, None], dtype="Int32"),
            "ds": date(2013, 3, 10),
        }
    )
    found = flight_delay.labels({"arrivals": to_spark(spark, arrivals, tmp_path)}).toPandas()
    assert found["entity_id"].tolist() == ["2013-03-11T01:00:00Z|AA|1", "2013-03-11T01:00:00Z|B6|2"]
    assert found["label"].tolist() == [0, 1]
    assert found["event_time"].tolist() == [pd.Timestamp("2013-03-10 21:00")] * 2
