"""What is known of a flight when it is scheduled to leave, and whether it arrived more than 15 minutes late.

Time is counted in minutes since 1970 (UTC), so that no clock change is ever in the way; only ``ds`` and ``event_time`` are
New York's calendar. Nothing that happens at or after the scheduled departure enters a feature:

* of other flights, only those that had *left* before it count, with the delay they left with; the flight itself never does,
  even if it left early;
* of the weather, only the observation of the hour before;
* a departure more than 20 hours late is not counted, so that one day of lookback always sees all there is to see and a day's
  features are the same whichever window they are computed in.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

SNAPSHOTS = ("planes",)

TIMEZONE = "America/New_York"
RECENT_MINUTES = 120
LONGEST_DELAY_MINUTES = 20 * 60
LATE_MINUTES = 15
HIGHEST_WIND = 200.0  # miles per hour; the stations deliver impossible values now and then (1048 on 12 February 2013)
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")


def features(inputs: Mapping[str, DataFrame]) -> DataFrame:
    """One row per scheduled flight of ``inputs["flights"]``; also needs ``weather`` and ``planes``."""
    hour = _minutes(F.col("time_hour"))
    flights = inputs["flights"].select(
        _entity_id().alias("entity_id"),
        "ds",
        hour.alias("hour_start"),
        (hour + F.col("minute")).alias("scheduled"),
        (F.col("hour") * 60 + F.col("minute")).alias("sched_minute"),
        (F.weekday("ds") + 1).alias("day_of_week"),
        "carrier",
        "origin",
        "dest",
        F.col("distance").cast("double").alias("distance"),
        "dep_delay",
        "tailnum",
    )
    rows = _with_traffic(flights)
    rows = rows.join(F.broadcast(_weather(inputs["weather"])), ["origin", "hour_start"], "left")
    rows = rows.join(F.broadcast(_planes(inputs["planes"])), "tailnum", "left")
    return rows.select(
        "entity_id",
        _local_time(F.col("scheduled")).alias("event_time"),
        "ds",
        "sched_minute",
        "day_of_week",
        "carrier",
        "origin",
        "dest",
        "distance",
        "n_sched_hour",
        "recent_delay",
        "recent_departures",
        (F.year("ds") - F.col("built")).cast("double").alias("plane_age"),
        "seats",
        *WEATHER,
    )


def labels(inputs: Mapping[str, DataFrame]) -> DataFrame:
    """One row per flight of ``inputs["arrivals"]`` that arrived; a cancelled or diverted flight has no label.

    Arrivals know the hour of the scheduled departure, not its minute: ``event_time`` is cut to the hour.
    """
    return (
        inputs["arrivals"]
        .where(F.col("arr_delay").isNotNull())
        .select(
            _entity_id().alias("entity_id"),
            _local_time(_minutes(F.col("time_hour"))).alias("event_time"),
            "ds",
            (F.col("arr_delay") > LATE_MINUTES).cast("int").alias("label"),
        )
    )


def _entity_id() -> Column:
    return F.concat_ws("|", "time_hour", "carrier", F.col("flight").cast("string"))


def _minutes(instant: Column) -> Column:
    """Minutes since 1970 of an instant, be it a timestamp or text like ``2013-01-01T10:00:00Z``."""
    return (F.unix_seconds(instant.cast("timestamp")) / 60).cast("long")


def _local_time(minutes: Column) -> Column:
    """New York's wall-clock time at an instant: a timestamp without a zone, so that no reader shifts it."""
    return F.from_utc_timestamp(F.timestamp_seconds(minutes * 60), TIMEZONE).cast("timestamp_ntz")


def _with_traffic(flights: DataFrame) -> DataFrame:
    """Add how busy and how late the flight's origin was: ``n_sched_hour``, ``recent_delay``, ``recent_departures``.

    Scheduled flights and actual departures are put on one time line per origin; at each scheduled flight a window looks back
    over the departures in [scheduled - 120 min, scheduled). One sort per origin, no join.
    """
    departed = F.col("scheduled") + F.col("dep_delay")
    # One that left before its own day began is not counted: the features of the day before are made without it.
    midnight = _minutes(F.to_utc_timestamp(F.col("ds").cast("timestamp"), TIMEZONE))
    counted = F.coalesce((F.col("dep_delay") <= LONGEST_DELAY_MINUTES) & (departed >= midnight), F.lit(False))
    moments = F.array(
        F.struct(F.col("scheduled").alias("at"), F.lit(None).cast("long").alias("delay")),
        F.struct(F.when(counted, departed).alias("at"), F.when(counted, F.col("dep_delay")).cast("long").alias("delay")),
    )
    recent = Window.partitionBy("origin").orderBy("at").rangeBetween(-RECENT_MINUTES, -1)
    same_hour = Window.partitionBy("origin", "hour_start")
    # A flight that left a little early lies in its own window: it is taken out again.
    itself = F.coalesce(counted & F.col("dep_delay").between(-RECENT_MINUTES, -1), F.lit(False))
    departures = F.col("window_count") - F.when(itself, 1).otherwise(0)
    total_delay = F.coalesce(F.col("window_delay"), F.lit(0)) - F.when(itself, F.col("dep_delay")).otherwise(0)
    return (
        flights.select("*", F.inline(moments))
        .where(F.col("at").isNotNull())
        .withColumn("window_delay", F.sum("delay").over(recent))
        .withColumn("window_count", F.count("delay").over(recent))
        .where(F.col("delay").isNull())
        .withColumn("n_sched_hour", F.count(F.lit(1)).over(same_hour).cast("int"))
        .withColumn("recent_departures", departures.cast("int"))
        .withColumn("recent_delay", F.when(departures > 0, total_delay / departures))
        .drop("at", "delay", "window_delay", "window_count")
    )


def _weather(observations: DataFrame) -> DataFrame:
    """The weather by the hour in which it is known: an observation serves the flights of the following hour."""
    winds = [F.when(F.col(name) <= HIGHEST_WIND, F.col(name)).alias(name) for name in ("wind_speed", "wind_gust")]
    others = [name for name in WEATHER if name not in ("wind_speed", "wind_gust")]
    known_from = (_minutes(F.col("time_hour")) + 60).alias("hour_start")
    return observations.select("origin", known_from, *others, *winds)


def _planes(registry: DataFrame) -> DataFrame:
    return registry.select("tailnum", F.col("year").alias("built"), F.col("seats").cast("double").alias("seats"))
