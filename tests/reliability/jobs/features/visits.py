"""Rows that tell which deliveries they were made of."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def features(inputs: Mapping[str, DataFrame]) -> DataFrame:
    """A visit with the version of its own day's delivery and of the day before's (0: there is none)."""
    visits = inputs["visits"]
    before = visits.groupBy(F.date_add("ds", 1).alias("ds")).agg(F.max("version").alias("previous"))
    return visits.join(before, "ds", "left").select(
        F.col("id").alias("entity_id"),
        _noon(),
        "ds",
        "version",
        F.coalesce("previous", F.lit(0)).alias("previous"),
        "amount",
    )


def labels(inputs: Mapping[str, DataFrame]) -> DataFrame:
    """What became of a visit is the version of the delivery that told it."""
    return inputs["outcomes"].select(F.col("id").alias("entity_id"), _noon(), "ds", F.col("version").alias("label"))


def _noon() -> Column:
    return F.expr("to_timestamp_ntz(concat(ds, ' 12:00:00'))").alias("event_time")
