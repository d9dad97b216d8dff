"""EMR Serverless job: compute the features and labels of a window of days with a model's feature module.

    --zones-root s3://bucket  --group flight_delay --version 1 --module flight_delay
    --inputs flights,weather,planes --label-inputs arrivals
    --columns sched_minute:int,carrier:category,...  --lookback-days 1 --label-lag-days 1 --label-type int
    --start 2013-01-01 --end 2013-01-31  --run-key K

Reads the committed partitions of ``processed/<dataset>``; commits the days of the window (both inclusive) to
``features/<group>/v<N>`` and those of the window shifted back by the labels' lag to ``labels/<group>/v<N>``, each day whole
(:mod:`flywheel.core.commits`). An input that was written anew meanwhile is noticed after the commit, and its days are made again.

The files hold entity_id, event_time (a timestamp without zone, whose calendar day is ds), the features in the order of
``--columns`` and ``checksum``, a hash of the row: COPY goes by position, so order and types are checked here and not left to
chance. For the load there are, in ``<zone>/_manifests/<run key>/``, ``<start>_<end>.json``, the files of this window as
Redshift's COPY takes them, and ``<start>_<end>.csv``, what has to be in the table afterwards: ``ds,row_count,checksum``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from functools import reduce
from types import ModuleType
from typing import Any

from lake.partitions import Partitions, until_settled
from lake.zones import Zones
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from flywheel.core.commits import Commit, Report, partition_source, report_key

HEAD = {"entity_id": "string", "event_time": "timestamp_ntz"}
Make = Callable[[Mapping[str, DataFrame]], DataFrame]
"""From inputs by dataset to rows."""
Needed = Mapping[date, Mapping[str, Sequence[date]]]
"""Day to the partitions that its rows are made of, by dataset."""
SPARK_TYPES = {"int": "int", "bigint": "bigint", "double": "double", "category": "string"}


class FeatureError(Exception):
    """Inputs are missing, or a feature module does not give what its spec promises; the message says which and where."""


class Inputs:
    """The committed partitions that the rows of a day are made of.

    :param names: datasets
    :param snapshots: those of them of which a day takes the newest partition that was there on it
    :param lookback: days before a day that are looked at, of the other datasets
    """

    def __init__(self, zones: Zones, names: Sequence[str], snapshots: Sequence[str], lookback: int):
        self.partitions = {name: Partitions(zones, f"processed/{name}") for name in names}
        self.snapshots, self.lookback = [name for name in names if name in snapshots], lookback
        self.look()

    def look(self) -> None:
        """Lists what is there now."""
        self._there = {name: partitions.committed_days() for name, partitions in self.partitions.items()}

    def first_day(self) -> date | None:
        """The first day of which any daily dataset has a partition."""
        return min((days[0] for name, days in self._there.items() if days and name not in self.snapshots), default=None)

    def of(self, day: date) -> dict[str, list[date]]:
        """The partitions that the rows of ``day`` are made of, by dataset. Days before a dataset's first are not missed.

        :raises FeatureError: one is not there
        """
        needed = {}
        for name, there in self._there.items():
            if name in self.snapshots:
                before = [other for other in there if other <= day]
                if not before:
                    raise FeatureError(f"dataset {name}: expected a snapshot of {day} or before, found none")
                needed[name] = before[-1:]
                continue
            first = max(day - timedelta(days=self.lookback), there[0]) if there else day
            needed[name] = [first + timedelta(days=i) for i in range((day - first).days + 1)]
            missing = [str(other) for other in needed[name] if other not in set(there)]
            if missing or not needed[name]:
                raise FeatureError(
                    f"dataset {name}: expected a partition for each day from {first} to {day}, found none for "
                    f"{', '.join(missing) or day}. Ingest these days first."
                )
        return needed

    def commits(self, needed: Mapping[str, set[date]]) -> dict[str, dict[date, Commit]]:
        """The present commits of these partitions, by dataset and day.

        :raises FeatureError: one cannot be read
        """
        found = {name: self.partitions[name].commits(sorted(days)) for name, days in needed.items()}
        for name, days in needed.items():
            if lost := sorted(days - set(found[name])):
                where = f"dataset {name}: expected a commit of ds={lost[0]}"
                raise FeatureError(f"{where}, found one that cannot be read; ingest it again")
        return found


class Product:
    """One zone that a feature module fills: features or labels.

    :param columns: Spark types of its columns, as they lie in its files
    :param make: from the inputs, as frames by dataset, to the rows of their days
    """

    def __init__(self, zones: Zones, zone: str, inputs: Inputs, columns: Mapping[str, str], make: Make, run_key: str):
        self.zones, self.inputs, self.columns, self.make, self.run_key = zones, inputs, columns, make, run_key
        self.partitions = Partitions(zones, zone)
        self.committed: dict[date, Commit] = {}

    def build(self, days: Sequence[date], may_be_empty: bool) -> str:
        """Makes and commits these days. Returns a sentence for the log.

        :param may_be_empty: a day without rows is a partition without files, not an error
        :raises FeatureError: inputs are missing, or a day got no rows
        """
        if days:
            until_settled(days, lambda some: self._make(some, may_be_empty))
        rows = sum(commit.rows for commit in self.committed.values())
        window = f" from {min(days)} to {max(days)}" if days else ""
        return f"{self.partitions.zone}: {len(self.committed)} days{window}, {rows} rows"

    def _make(self, days: Sequence[date], may_be_empty: bool) -> list[date]:
        needed = {day: self.inputs.of(day) for day in days}
        wanted: dict[str, set[date]] = {}
        for partitions in needed.values():
            for name, input_days in partitions.items():
                wanted.setdefault(name, set()).update(input_days)
        sources = self.inputs.commits(wanted)

        frames = [self._rows(run, needed, sources) for run in _same_snapshots(days, needed, self.inputs.snapshots)]
        frame = reduce(DataFrame.union, frames)
        # Days of any size in files of a good size: Spark splits large ones and puts small ones into one task.
        balanced = self.zones.spark.sql("SELECT /*+ REBALANCE(ds) */ * FROM {rows}", rows=frame)
        write = self.partitions.write(balanced, self.run_key)
        counts = self.partitions.counts(write)
        empty = [day for day in days if day not in write.files]
        if empty and not may_be_empty:
            raise FeatureError(f"{self.partitions.zone}: expected rows for ds={empty[0]}, found none")
        made = {
            day: Commit(
                zone=self.partitions.zone,
                ds=day,
                write=write.name,
                files=write.files.get(day, ()),
                rows=counts.get(day, (0, 0))[0],
                checksum=str(counts.get(day, (0, 0))[1]),
                columns=self.columns,
                sources={
                    partition_source(name, other): sources[name][other].write
                    for name, others in needed[day].items()
                    for other in others
                },
                run_key=self.run_key,
            )
            for day in days
        }
        self.partitions.commit(list(made.values()))
        self.committed |= made
        self.inputs.look()  # a snapshot that came meanwhile is another partition, not another write
        now = self.inputs.commits(wanted)
        moved = {
            (name, day) for name, commits in now.items() for day in commits if commits[day].write != sources[name][day].write
        }
        return [
            day
            for day in days
            if self.inputs.of(day) != needed[day]
            or any((name, other) in moved for name, others in needed[day].items() for other in others)
        ]

    def _rows(self, days: Sequence[date], needed: Needed, sources: Mapping[str, Mapping[date, Commit]]) -> DataFrame:
        frames = {}
        for name, partitions in self.inputs.partitions.items():
            used = sorted({other for day in days for other in needed[day][name]})
            frame = partitions.read([sources[name][other] for other in used])
            frames[name] = frame.drop("ds") if name in self.inputs.snapshots else frame
        return self.make(frames).where(F.col("ds").between(min(days), max(days)))

    def write_manifests(self, name: str) -> None:
        """Writes what the load into Redshift needs: which files, and what they hold."""
        entries = [
            {"url": self.zones.uri(f"{commit.folder}/{file.name}"), "mandatory": True, "meta": {"content_length": file.bytes}}
            for commit in self.committed.values()
            for file in commit.files
        ]
        folder = f"{self.partitions.zone}/_manifests/{self.run_key}"
        if not entries:
            entries = [self._file_without_rows(f"{folder}/{name}-no-rows")]
        lines = [f"{day},{commit.rows},{commit.checksum}\n" for day, commit in sorted(self.committed.items())]
        self.zones.write_text(f"{folder}/{name}.json", json.dumps({"entries": entries}, indent=1))
        self.zones.write_text(f"{folder}/{name}.csv", "".join(lines))

    def _file_without_rows(self, folder: str) -> dict[str, Any]:
        """The manifest's entry where there is nothing to load: COPY fails without any file."""
        schema = ", ".join(f"`{name}` {kind}" for name, kind in self.columns.items())
        self.zones.spark.createDataFrame([], schema).coalesce(1).write.mode("overwrite").parquet(self.zones.uri(folder))
        (file,) = self.zones.files(f"{folder}/*")
        return {"url": self.zones.uri(file.key), "mandatory": True, "meta": {"content_length": file.length}}


def _same_snapshots(days: Sequence[date], needed: Needed, snapshots: Sequence[str]) -> list[list[date]]:
    """The days in runs of consecutive ones that take the same snapshots."""
    runs: list[list[date]] = []
    for day in sorted(days):
        last = runs[-1][-1] if runs else None
        if last and day - last == timedelta(days=1) and all(needed[day][name] == needed[last][name] for name in snapshots):
            runs[-1].append(day)
        else:
            runs.append([day])
    return runs


def columns_of_files(promised: Mapping[str, str]) -> dict[str, str]:
    """Column to Spark type of the files, in their order.

    :param promised: column to type as in the spec
    """
    kinds = {name: SPARK_TYPES.get(kind, kind) for name, kind in promised.items()}
    return {**HEAD, **kinds, "checksum": "bigint"}


def as_promised(frame: DataFrame, columns: Mapping[str, str], module: str) -> DataFrame:
    """The frame with exactly entity_id, event_time, the promised columns in their order, their checksum, and ds.

    :param columns: column to type as in the spec
    :raises FeatureError: a column is missing or of another type
    """
    found = dict(frame.dtypes)
    promised = columns_of_files(columns) | {"ds": "date"}
    del promised["checksum"]
    for name, kind in promised.items():
        if name not in found:
            raise FeatureError(f"module {module}, column {name}: expected in what it returns, found only {', '.join(found)}")
        if found[name] != kind:
            raise FeatureError(f"module {module}, column {name}: expected type {kind}, found {found[name]}")
    return frame.select(*HEAD, *columns, F.xxhash64(*HEAD, *columns).alias("checksum"), "ds")


def parse_columns(text: str) -> dict[str, str]:
    """``name:type,name:type`` as a mapping."""
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
    parser.add_argument("--label-type", choices=["int", "double"], default="int")
    parser.add_argument("--start", required=True, type=date.fromisoformat)
    parser.add_argument("--end", required=True, type=date.fromisoformat)
    parser.add_argument("--run-key", required=True)
    return parser.parse_known_args(arguments)[0]


def main(arguments: Sequence[str]) -> None:
    """Compute and commit features and labels.

    :raises FeatureError: see there
    """
    options = parse_arguments(arguments)
    if options.start > options.end:
        raise FeatureError(f"window: expected start <= end, found {options.start} to {options.end}")
    spark = SparkSession.builder.appName(f"build_features {options.group}").getOrCreate()
    # Feature modules count on UTC; Redshift reads INT64 timestamps; files are named one by one, so no job needs to list them.
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    spark.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    spark.conf.set("spark.sql.sources.parallelPartitionDiscovery.threshold", "100000")
    module = importlib.import_module(f"features.{options.module}")
    zones = Zones(spark, options.zones_root)

    features = _product(zones, options, module, "features")
    print(features.build(_days(options.start, options.end), may_be_empty=False))
    labels = _product(zones, options, module, "labels")
    # The labels that became known in the window: those of earlier days, as far as there are any.
    first, last = (day - timedelta(days=options.label_lag_days) for day in (options.start, options.end))
    begun = labels.inputs.first_day()
    print(labels.build(_days(max(first, begun), last) if begun else [], may_be_empty=True))
    written = {}
    for product in (features, labels):
        product.write_manifests(f"{options.start}_{options.end}")
        written[product.partitions.zone] = tuple(sorted(product.committed))
    job = f"features-{options.group}-v{options.version}"  # versions are built side by side in one run
    zones.write_text(report_key(options.run_key, job, options.start, options.end), Report(written).to_json())


def _product(zones: Zones, options: argparse.Namespace, module: ModuleType, kind: str) -> Product:
    """The features or the labels of the group at its version."""
    if kind == "features":
        names, lookback, columns, make = options.inputs, options.lookback_days, options.columns, module.features
    else:
        names, lookback, columns, make = options.label_inputs, 0, {"label": options.label_type}, module.labels
    return Product(
        zones,
        f"{kind}/{options.group}/v{options.version}",
        Inputs(zones, names, getattr(module, "SNAPSHOTS", ()), lookback),
        columns_of_files(columns),
        lambda frames: as_promised(make(frames), columns, options.module),
        options.run_key,
    )


def _days(start: date, end: date) -> list[date]:
    return [start + timedelta(days=i) for i in range((end - start).days + 1)]


if __name__ == "__main__":
    main(sys.argv[1:])
