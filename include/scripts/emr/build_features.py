"""EMR Serverless job: compute the features and labels of a window of days with a model's feature module.

    --zones-root s3://bucket  --group flight_delay --version 1 --module flight_delay
    --inputs flights,weather,planes --label-inputs arrivals
    --columns sched_minute:int,carrier:category,...  --lookback-days 1 --label-lag-days 1
    --start 2013-01-01 --end 2013-01-31  --run-key K

Reads ``processed/<dataset>/ds=.../``; writes ``features/<group>/v<N>/ds=.../`` for the window (days, both inclusive) and
``labels/<group>/v<N>/ds=.../`` for the window shifted back by the labels' lag, each day whole. What was written is listed in
``<zone>/<group>/v<N>/_manifests/<run key>.json``, a manifest as Redshift's COPY takes it.

The files hold entity_id, event_time (a timestamp without zone, whose calendar day is ds), then the features in the order of
``--columns``: COPY goes by position, so their order and types are checked here and not left to chance.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

HEAD = ("entity_id", "event_time")
SPARK_TYPES = {"int": "int", "bigint": "bigint", "double": "double", "category": "string"}


class FeatureError(Exception):
    """Inputs are missing, or a feature module does not give what its spec promises; the message says which and where."""


class Zones:
    """The zones below one root (``s3://bucket`` or ``file:///folder``), seen through Hadoop's file systems."""

    def __init__(self, spark: SparkSession, root: str):
        self.spark, self.root = spark, root.rstrip("/")
        self._hadoop, self._conf = spark._jvm.org.apache.hadoop.fs, spark._jsc.hadoopConfiguration()

    def days(self, path: str) -> list[date]:
        """The days for which ``<path>/ds=YYYY-MM-DD`` exists, in order."""
        names = [status.getPath().getName() for status in self._list(path) if status.isDirectory()]
        return sorted(date.fromisoformat(name[len("ds=") :]) for name in names if name.startswith("ds="))

    def files(self, path: str) -> list[tuple[str, int]]:
        """URI and length in bytes of the files in a folder, hidden ones left out."""
        found = [(status.getPath().getName(), status.getLen()) for status in self._list(path)]
        return [(f"{self.root}/{path}/{name}", length) for name, length in found if not name.startswith(("_", "."))]

    def write_text(self, path: str, text: str) -> None:
        """Write a small file whole, in place of what was there."""
        target = self._hadoop.Path(f"{self.root}/{path}")
        stream = target.getFileSystem(self._conf).create(target, True)
        stream.write(bytearray(text.encode()))
        stream.close()

    def _list(self, path: str) -> Sequence[Any]:
        folder = self._hadoop.Path(f"{self.root}/{path}")
        fs = folder.getFileSystem(self._conf)
        return fs.listStatus(folder) if fs.exists(folder) else []

    def read_days(self, dataset: str, start: date, end: date, lookback: int) -> DataFrame:
        """A processed dataset from ``lookback`` days before ``start`` to ``end``, with its day as ``ds``.

        Days before the dataset's first one are not missed; any other day is, for features made without it would be wrong.

        :raises FeatureError: days are missing
        """
        path = f"processed/{dataset}"
        there = self.days(path)
        first = max(start - timedelta(days=lookback), there[0]) if there else start
        wanted = [first + timedelta(days=i) for i in range((end - first).days + 1)]
        missing = [str(day) for day in wanted if day not in set(there)]
        if missing or not wanted:
            shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            raise FeatureError(
                f"dataset {dataset}: expected {path}/ds=... for each day from {first} to {end}, found none for {shown or 'any'}. "
                f"Ingest these days first."
            )
        return self._read(path, wanted)

    def read_snapshot(self, dataset: str, start: date) -> DataFrame:
        """The newest snapshot of a dataset that was there on ``start``.

        :raises FeatureError: there was none
        """
        path = f"processed/{dataset}"
        there = [day for day in self.days(path) if day <= start]
        if not there:
            raise FeatureError(f"dataset {dataset}: expected a snapshot {path}/ds=... of {start} or before, found none")
        return self._read(path, there[-1:]).drop("ds")

    def _read(self, path: str, days: Sequence[date]) -> DataFrame:
        reader = self.spark.read.option("basePath", f"{self.root}/{path}")
        return reader.parquet(*(f"{self.root}/{path}/ds={day}" for day in days))

    def write_days(self, frame: DataFrame, path: str, days: Sequence[date], run_key: str) -> int:
        """Write a frame by its ``ds``, each day whole, and the manifest of these days. Returns the number of files.

        :raises FeatureError: a day got no rows
        """
        writer = frame.repartition("ds").write.mode("overwrite").option("partitionOverwriteMode", "dynamic")
        writer.partitionBy("ds").parquet(f"{self.root}/{path}")
        entries = []
        for day in days:
            files = self.files(f"{path}/ds={day}")
            if not files:
                raise FeatureError(f"{path}: expected rows for ds={day}, found none")
            entries += [{"url": uri, "mandatory": True, "meta": {"content_length": length}} for uri, length in files]
        self.write_text(f"{path}/_manifests/{run_key}.json", json.dumps({"entries": entries}, indent=1))
        return len(entries)


def read_inputs(
    zones: Zones, names: Sequence[str], snapshots: Sequence[str], start: date, end: date, lookback: int
) -> dict[str, DataFrame]:
    """The inputs of a feature module by dataset name.

    :raises FeatureError: days or snapshots are missing
    """
    return {
        name: zones.read_snapshot(name, start) if name in snapshots else zones.read_days(name, start, end, lookback)
        for name in names
    }


def as_promised(frame: DataFrame, columns: Mapping[str, str], module: str) -> DataFrame:
    """The frame with exactly entity_id, event_time, the promised columns in their order, and ds.

    :param columns: column to type as in the spec; an empty type takes any
    :raises FeatureError: a column is missing or of another type
    """
    found = dict(frame.dtypes)
    promised = {"entity_id": "string", "event_time": "timestamp_ntz", "ds": "date"}
    promised.update({name: SPARK_TYPES.get(kind, kind) for name, kind in columns.items()})
    for name, kind in promised.items():
        if name not in found:
            raise FeatureError(f"module {module}, column {name}: expected in what it returns, found only {', '.join(found)}")
        if kind and found[name] != kind:
            raise FeatureError(f"module {module}, column {name}: expected type {kind}, found {found[name]}")
    return frame.select(*HEAD, *columns, "ds")


def parse_columns(text: str) -> dict[str, str]:
    """``name:type,name,...`` as a mapping; the type may be left out."""
    return {name: kind for name, _, kind in (part.partition(":") for part in text.split(",") if part)}


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The job's arguments (see the module's head)."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    names = {"type": lambda text: [name for name in text.split(",") if name]}
    parser.add_argument("--zones-root", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--version", required=True, type=int)
    parser.add_argument("--module", required=True)
    parser.add_argument("--inputs", required=True, **names)
    parser.add_argument("--label-inputs", required=True, **names)
    parser.add_argument("--columns", required=True, type=parse_columns)
    parser.add_argument("--lookback-days", type=int, default=0)
    parser.add_argument("--label-lag-days", type=int, default=0)
    parser.add_argument("--start", required=True, type=date.fromisoformat)
    parser.add_argument("--end", required=True, type=date.fromisoformat)
    parser.add_argument("--run-key", required=True)
    return parser.parse_known_args(arguments)[0]


def main(arguments: Sequence[str]) -> None:
    """Compute and write features and labels.

    :raises FeatureError: see there
    """
    options = parse_arguments(arguments)
    if options.start > options.end:
        raise FeatureError(f"window: expected start <= end, found {options.start} to {options.end}")
    spark = SparkSession.builder.appName(f"build_features {options.group}").getOrCreate()
    # Feature modules count on UTC; Redshift reads INT64 timestamps; days are named one by one, so no job needs to list them.
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    spark.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    spark.conf.set("spark.sql.sources.parallelPartitionDiscovery.threshold", "100000")
    module = importlib.import_module(f"features.{options.module}")
    snapshots = getattr(module, "SNAPSHOTS", ())
    zones = Zones(spark, options.zones_root)
    group = f"{options.group}/v{options.version}"
    days = [options.start + timedelta(days=i) for i in range((options.end - options.start).days + 1)]

    inputs = read_inputs(zones, options.inputs, snapshots, options.start, options.end, options.lookback_days)
    features = as_promised(module.features(inputs), options.columns, options.module)
    features = features.where(F.col("ds").between(options.start, options.end))
    files = zones.write_days(features, f"features/{group}", days, options.run_key)
    print(f"features {group}: {len(days)} days from {options.start} to {options.end}, {files} files")

    # The labels that became known in the window: those of earlier days, as far as there are any.
    known = set().union(*(zones.days(f"processed/{name}") for name in options.label_inputs))
    first, last = (day - timedelta(days=options.label_lag_days) for day in (options.start, options.end))
    first = max(first, min(known)) if known else first
    label_days = [first + timedelta(days=i) for i in range((last - first).days + 1)]
    if not label_days:
        print(f"labels {group}: none are known yet up to {options.end}")
        zones.write_text(f"labels/{group}/_manifests/{options.run_key}.json", json.dumps({"entries": []}))
        return
    inputs = read_inputs(zones, options.label_inputs, snapshots, first, last, 0)
    labels = as_promised(module.labels(inputs), {"label": "int"}, options.module)
    files = zones.write_days(labels, f"labels/{group}", label_days, options.run_key)
    print(f"labels {group}: {len(label_days)} days from {first} to {last}, {files} files")


if __name__ == "__main__":
    main(sys.argv[1:])
