"""Glue job: take what landed, hold it against its contracts, write it to the processed zone.

    --zones_root s3://bucket  --datasets flights,weather  --contracts s3://bucket/artifacts/.../datasets
    --start 2013-01-01  --end 2013-01-31  [--run_key K]

Reads ``landing/<dataset>/ds=YYYY-MM-DD/<one Parquet file>`` and writes ``processed/<dataset>/ds=YYYY-MM-DD/``, each partition
whole or not at all. The window is days, both inclusive; a dataset delivered late is asked for the days that became known in
it, a snapshot (cadence ``once``) for its newest delivery up to its end.

What is checked, in this order: is each expected partition there, as exactly one file; can the file be read (a Parquet file
cut short has lost its footer); does it hold rows; has it the columns and types of the contract; are values there where
they must be, and inside their bounds; is each key there only once. Footers are read in the driver, without Spark jobs; the
rows take one job per dataset, however many partitions there are, and two more if they hold a breach.

Every breach of every partition is collected. Partitions without one are written, those with one keep what they had, and then
the job fails with one error that names dataset, partition, file, column, what was expected and what was found.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from flywheel.core.contracts import Contract, Violation, check_schema, parse_contract

FOOTER_THREADS = 8
SHOWN_IN_FIRST_LINE = 3


class DeliveryError(Exception):
    """Landed partitions break their contracts. The first line is the summary, the others are the breaches one by one."""

    def __init__(self, violations: Sequence[Violation], partitions: int):
        refused = sorted({f"{violation.dataset} {violation.partition}" for violation in violations})
        more = f" and {len(refused) - SHOWN_IN_FIRST_LINE} more" if len(refused) > SHOWN_IN_FIRST_LINE else ""
        lines = [f"{len(refused)} of {partitions} partitions refused: {', '.join(refused[:SHOWN_IN_FIRST_LINE])}{more}"]
        lines += [f"  {violation}" for violation in violations]
        lines += ["  All other partitions were written. Have these delivered again, then run the same window again."]
        super().__init__("\n".join(lines))


@dataclass(frozen=True)
class File:
    """One file of a partition: path as URI, length in bytes, modification time in milliseconds."""

    day: date
    path: str
    length: int
    modified: int


class Zone:
    """The objects below a root, seen through Hadoop's file systems, so that ``s3://`` and ``file://`` are alike."""

    def __init__(self, spark: SparkSession, root: str):
        self._jvm, self._conf = spark._jvm, spark._jsc.hadoopConfiguration()
        self._sc = spark.sparkContext
        self.root = root.rstrip("/")

    def read_text(self, uri: str) -> str:
        """Content of a small file.

        :raises FileNotFoundError: there is none
        """
        path = self._jvm.org.apache.hadoop.fs.Path(uri)
        try:
            stream = path.getFileSystem(self._conf).open(path)
        except Py4JJavaError as error:
            raise FileNotFoundError(f"{uri}: {_java_message(error)}") from None
        try:
            return self._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8")
        finally:
            stream.close()

    def partitions(self, dataset: str) -> list[date]:
        """The days for which a folder ``<dataset>/ds=YYYY-MM-DD`` exists, in order."""
        names = [status.getPath().getName() for status in self._list([f"{self.root}/{dataset}"]) if status.isDirectory()]
        days = [_day_of(name) for name in names if name.startswith("ds=")]
        return sorted(day for day in days if day is not None)

    def files(self, dataset: str, days: Iterable[date]) -> list[File]:
        """The files in these days' partitions, hidden ones left out. The days must be there."""
        folders = [f"{self.root}/{dataset}/ds={day}" for day in days]
        found = []
        for status in self._list(folders) if folders else []:
            path = status.getPath()
            if not path.getName().startswith(("_", ".")):
                day = _day_of(path.getParent().getName())
                found.append(File(day, path.toString(), status.getLen(), status.getModificationTime()))
        return found

    def footer(self, file: File) -> tuple[dict[str, str], int]:
        """Columns (name to Spark's type) and number of rows of a Parquet file, from its footer alone.

        :raises ValueError: it is no whole Parquet file
        """
        source = self._jvm.org.apache.parquet.hadoop.util.HadoopInputFile.fromPath(
            self._jvm.org.apache.hadoop.fs.Path(file.path), self._conf
        )
        try:
            reader = self._jvm.org.apache.parquet.hadoop.ParquetFileReader.open(source)
        except Py4JJavaError as error:
            raise ValueError(_java_message(error)) from None
        try:
            return parquet_columns(reader.getFileMetaData().getSchema().toString()), reader.getRecordCount()
        finally:
            reader.close()

    def _list(self, folders: Sequence[str]) -> Iterable[Any]:
        """File statuses of what lies directly in these folders; nothing if the first one does not exist."""
        paths = self._sc._gateway.new_array(self._jvm.org.apache.hadoop.fs.Path, len(folders))
        for i, folder in enumerate(folders):
            paths[i] = self._jvm.org.apache.hadoop.fs.Path(folder)
        fs = paths[0].getFileSystem(self._conf)
        return fs.listStatus(paths) if fs.exists(paths[0]) else []


def _day_of(folder: str) -> date | None:
    try:
        return date.fromisoformat(folder[len("ds=") :])
    except ValueError:
        return None


def _java_message(error: Py4JJavaError) -> str:
    """The first line of a Java exception's own message."""
    return str(error.java_exception.getMessage()).splitlines()[0]


# A top-level line of Parquet's schema text, e.g. `  optional int64 at (TIMESTAMP(MICROS,true));`
_FIELD = re.compile(
    r"^ {2}(?:required|optional|repeated) (?P<kind>\w+)(?:\(\d+\))? (?P<name>[^ ;]+)"
    r"(?: \((?P<logical>.+)\))?(?: =.*)?[;{ ]*$"
)
_INTEGERS = {f"INTEGER({bits},true)": name for bits, name in ((8, "tinyint"), (16, "smallint"), (32, "int"), (64, "bigint"))}
_PLAIN = {"boolean": "boolean", "int32": "int", "int64": "bigint", "int96": "timestamp", "float": "float", "double": "double"}


def parquet_columns(message_type: str) -> dict[str, str]:
    """Top-level columns of a Parquet schema, in the text form of Parquet's own ``MessageType``, with their Spark types."""
    columns = {}
    for line in message_type.splitlines():
        found = _FIELD.match(line)
        if not found:
            continue
        kind, logical = found["kind"], found["logical"] or ""
        if logical in ("STRING", "UTF8", "ENUM"):
            spark_type = "string"
        elif logical.startswith("TIMESTAMP"):
            spark_type = "timestamp" if logical.endswith(",true)") else "timestamp_ntz"
        elif logical in _INTEGERS:
            spark_type = _INTEGERS[logical]
        elif logical:
            spark_type = logical.lower()
        else:
            spark_type = _PLAIN.get(kind, "struct" if kind == "group" else kind)
        columns[found["name"]] = spark_type
    return columns


class Ingestion:
    """One dataset on its way from landing to processed.

    :ivar violations: what its partitions break of the contract, found so far
    :ivar expected: how many partitions the window has of it
    """

    def __init__(self, spark: SparkSession, root: str, contract: Contract, start: date, end: date):
        self.spark, self.contract = spark, contract
        self.landing, self.processed = Zone(spark, f"{root}/landing"), Zone(spark, f"{root}/processed")
        self.start, self.end = start, end
        self.violations: list[Violation] = []
        self.expected = 0
        self._rows: dict[date, int] = {}

    def run(self) -> str:
        """Check, and write what is right. Returns a sentence for the log."""
        files = self._delivered()
        with ThreadPoolExecutor(FOOTER_THREADS) as pool:
            list(pool.map(self._check_file, files))
        self._check_rows(self._unharmed(files))
        good = self._unharmed(files)
        if good:
            self._read(good).write.mode("overwrite").option("partitionOverwriteMode", "dynamic").partitionBy("ds").parquet(
                f"{self.processed.root}/{self.contract.name}"
            )
        written = sum(self._rows[file.day] for file in good)
        return f"{self.contract.name}: {len(good)} of {self.expected} partitions written, {written} rows"

    def _refuse(self, day: date, file: str, column: str, expected: str, found: str) -> None:
        self.violations.append(Violation(self.contract.name, f"ds={day}", file, column, expected, found))

    def _unharmed(self, files: Iterable[File]) -> list[File]:
        harmed = {violation.partition for violation in self.violations}
        return [file for file in files if f"ds={file.day}" not in harmed]

    def _delivered(self) -> list[File]:
        """The one file of each expected partition; anything else is refused."""
        name = self.contract.name
        there = self.landing.partitions(name)
        if self.contract.cadence == "once":
            days = [day for day in there if day <= self.end][-1:]
            if not days:
                self.expected = 1
                self._refuse(self.end, "", "", f"a snapshot delivered up to this day in landing/{name}/", "none")
        else:
            days = self.contract.expected_days(self.start, self.end)
        by_day: dict[date, list[File]] = {day: [] for day in days}
        for file in self.landing.files(name, [day for day in days if day in set(there)]):
            by_day[file.day].append(file)
        if self.contract.cadence == "once" and self._is_processed(by_day):
            return []
        self.expected = max(self.expected, len(days))
        chosen = []
        for day, files in by_day.items():
            if not files:
                found = "no file" if day in there else "no partition"
                self._refuse(day, "", "", f"one Parquet file in landing/{name}/ds={day}/", found)
            elif len(files) > 1:
                names = sorted(_name(file) for file in files)
                self._refuse(day, ", ".join(names), "", "one Parquet file", f"{len(files)} files: a duplicate delivery")
            else:
                chosen += files
        return chosen

    def _is_processed(self, by_day: dict[date, list[File]]) -> bool:
        """Was this snapshot written after it was delivered? Then it is left alone, for jobs may be reading it."""
        days = [day for day in self.processed.partitions(self.contract.name) if day in by_day]
        written = [file.modified for file in self.processed.files(self.contract.name, days)]
        return bool(written) and min(written) >= max(file.modified for files in by_day.values() for file in files)

    def _check_file(self, file: File) -> None:
        """What can be told without reading rows."""
        if file.length == 0:
            self._refuse(file.day, _name(file), "", "a Parquet file", "an empty file (0 bytes)")
            return
        try:
            columns, rows = self.landing.footer(file)
        except ValueError as error:
            self._refuse(file.day, _name(file), "", "a whole Parquet file", f"{file.length} bytes that are not one: {error}")
            return
        self._rows[file.day] = rows
        if rows == 0:
            self._refuse(file.day, _name(file), "", "rows", "an empty file (no rows)")
        self.violations += check_schema(self.contract, columns, partition=f"ds={file.day}", file=_name(file))

    def _read(self, files: Sequence[File]) -> DataFrame:
        reader = self.spark.read.schema(self.contract.schema_ddl() + ", ds DATE")
        return reader.option("basePath", f"{self.landing.root}/{self.contract.name}").parquet(*(file.path for file in files))

    def _check_rows(self, files: list[File]) -> None:
        """Check values and keys. Files that break off inside make the whole job fail; then they are sought one by one."""
        if not files:
            return
        try:
            frame = self._read(files)
            if self._is_suspicious(frame):
                names = {file.day: _name(file) for file in files}
                self._report_values(frame, names)
                self._report_repeated_keys(frame, names)
        except Py4JJavaError:
            broken = [file for file in files if not self._is_readable(file)]
            if not broken:
                raise
            self._check_rows([file for file in files if file not in broken])

    def _is_suspicious(self, frame: DataFrame) -> bool:
        """Is any key there twice, or does any row break a check? One pass; the rule is that nothing is found."""
        broken = F.lit(False)
        for _, _, breach, _ in self._value_checks():
            broken = broken | F.coalesce(breach, F.lit(False))
        by_key = frame.groupBy(*self.contract.key).agg(F.count(F.lit(1)).alias("n"), F.max(broken).alias("broken"))
        return bool(by_key.where("n > 1 OR broken").head(1))

    def _is_readable(self, file: File) -> bool:
        try:
            self._read([file]).write.format("noop").mode("overwrite").save()
        except Py4JJavaError as error:
            cause = error.java_exception
            while cause.getCause() is not None:
                cause = cause.getCause()
            found = f"damaged pages: {str(cause.getMessage()).splitlines()[0]}"
            self._refuse(file.day, _name(file), "", "a whole Parquet file", found)
            return False
        return True

    def _report_values(self, frame: DataFrame, names: dict[date, str]) -> None:
        """Which checks of values which partitions break, how often, with an example."""
        checks = list(self._value_checks())
        totals: list[Expression] = []
        for i, (_, _, breach, sample) in enumerate(checks):
            totals += [F.count(F.when(breach, 1)).alias(f"breaches_{i}"), F.max(F.when(breach, sample)).alias(f"sample_{i}")]
        for row in frame.groupBy("ds").agg(*totals).collect():
            for i, (column, expected, _, _) in enumerate(checks):
                if row[f"breaches_{i}"]:
                    found = f"{row[f'breaches_{i}']} of {self._rows[row['ds']]} rows otherwise, e.g. {row[f'sample_{i}']}"
                    self._refuse(row["ds"], names[row["ds"]], column, expected, found)

    def _report_repeated_keys(self, frame: DataFrame, names: dict[date, str]) -> None:
        """Which partitions hold a key more than once, or hold the same key as another one."""
        key = list(self.contract.key)
        repeated = frame.groupBy(*key).agg(F.count(F.lit(1)).alias("n"), F.sort_array(F.collect_set("ds")).alias("days"))
        by_days = repeated.where("n > 1").groupBy("days").agg(F.count(F.lit(1)).alias("keys"), F.min(F.struct(*key)).alias("key"))
        for row in by_days.collect():
            example = ", ".join(f"{name}={row['key'][name]}" for name in key)
            also = "" if len(row["days"]) == 1 else f" in {' and '.join(f'ds={day}' for day in row['days'])}"
            for day in row["days"]:
                found = f"{row['keys']} keys repeated{also}, e.g. {example}: a duplicate delivery"
                self._refuse(day, names[day], ", ".join(key), "each key once", found)

    def _value_checks(self) -> Iterable[tuple[str, str, Expression, Expression]]:
        """Per check: column, what is expected, when a row breaks it, and what to show of such a row."""
        for column in self.contract.columns:
            value = F.col(column.name)
            if not column.nullable:
                yield column.name, "a value in each row", value.isNull(), F.lit("null")
            shown = value.cast("string")
            if column.min is not None:
                yield column.name, f"values of at least {column.min}", value < column.min, shown
            if column.max is not None:
                yield column.name, f"values of at most {column.max}", value > column.max, shown
            if column.allowed:
                yield column.name, f"one of {', '.join(column.allowed)}", ~value.isin(*column.allowed), shown


def _name(file: File) -> str:
    return file.path.rsplit("/", 1)[-1]


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The job's arguments, named as Glue names them, with underscores; its own (``--JOB_NAME`` and others) are left alone."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--zones_root", required=True)
    parser.add_argument("--datasets", required=True, type=lambda text: [name for name in text.split(",") if name])
    parser.add_argument("--contracts", required=True)
    parser.add_argument("--start", required=True, type=date.fromisoformat)
    parser.add_argument("--end", required=True, type=date.fromisoformat)
    parser.add_argument("--run_key", default="")
    return parser.parse_known_args(arguments)[0]


def main(arguments: Sequence[str], log: Callable[[str], None] = print) -> None:
    """Ingest the datasets asked for.

    :raises DeliveryError: partitions break their contracts (those that do not were written)
    :raises FileNotFoundError: a contract is not where it should be
    :raises ValueError: the window starts after its end
    """
    options = parse_arguments(arguments)
    if options.start > options.end:
        raise ValueError(f"window: expected start <= end, found {options.start} to {options.end}")
    spark = SparkSession.builder.appName("ingest_dataset").getOrCreate()
    # The files are named one by one: listing them with a Spark job would only cost.
    spark.conf.set("spark.sql.sources.parallelPartitionDiscovery.threshold", "100000")
    root = options.zones_root.rstrip("/")
    log(f"ingest {', '.join(options.datasets)} from {options.start} to {options.end} below {root}, run {options.run_key}")

    ingestions = []
    for name in options.datasets:
        uri = f"{options.contracts.rstrip('/')}/{name}.json"
        contract = parse_contract(json.loads(Zone(spark, root).read_text(uri)), uri)
        ingestions.append(Ingestion(spark, root, contract, options.start, options.end))
    # Side by side: most of the time of a small dataset is Spark's planning, which leaves the cores to the others.
    with ThreadPoolExecutor(len(ingestions)) as pool:
        for report in pool.map(Ingestion.run, ingestions):
            log(report)

    violations = [violation for ingestion in ingestions for violation in ingestion.violations]
    if violations:
        raise DeliveryError(violations, sum(ingestion.expected for ingestion in ingestions))


if __name__ == "__main__":
    main(sys.argv[1:])
