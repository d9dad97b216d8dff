"""Glue job: take what landed, hold it against its contracts, commit it to the processed zone.

    --zones_root s3://bucket  --datasets flights,weather  --contracts s3://bucket/artifacts/.../datasets
    --start 2013-01-01  --end 2013-01-31  [--run_key K]

Reads ``landing/<dataset>/ds=YYYY-MM-DD/<one Parquet file>``. Each delivery is first copied to
``raw/<dataset>/ds=YYYY-MM-DD/delivery=<when>-<size>/``, byte for byte, where it stays whatever becomes of it; everything else
works on that copy, so a file that is replaced meanwhile is never read half old, half new. What keeps its contract becomes a
partition of ``processed/<dataset>``, whole or not at all (:mod:`flywheel.core.commits`). The window is days, both inclusive; a
dataset delivered late is asked for the days that became known in it, a snapshot (cadence ``once``) for what was delivered in it
and the newest before.

What is checked: is each expected partition there, as exactly one file; can it be read (a Parquet file cut short has lost its
footer); are there rows, and about as many as on the last same weekdays; has it the columns and types of the contract; are values
there where they must be, inside their bounds, all but the tolerance; is each key there only once. Footers are read in the driver,
without Spark jobs; the rows of all partitions by one pass, which says yes or no. Only when a promise is broken two more passes
tell which, where, how often, with samples. A file that is exactly as promised becomes a partition byte for byte; one with columns
too many, or types to be cast, is written anew with the contract's.

A partition in breach is quarantined: it is not committed, ``quarantine/<dataset>/ds=YYYY-MM-DD.json`` tells why, and the job ends
with an error that names dataset, partition, column, expected, found and samples. All others are committed. A corrected delivery
of the day takes the place of both. What went on but should be known (a new column, a type that grew) is in the job's report
(``reports/ingest/<run key>/<start>_<end>.json``, :class:`flywheel.core.commits.Report`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

from lake.partitions import Partitions, Write, until_settled
from lake.rows import DeliveredRows, Reading
from lake.zones import File, Zones, in_parallel, of_days, root_message
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from flywheel.core.commits import Commit, Report, report_key
from flywheel.core.contract_files import parse_contract
from flywheel.core.contracts import Contract
from flywheel.core.delivery_checks import Note, Violation, check_schema, check_volume, judge_rows, partition_name

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


class Ingestion:
    """One dataset on its way from landing to processed.

    :ivar violations: what its partitions break of the contract
    :ivar notes: what should be known of those that do not
    :ivar committed: the days that were committed
    :ivar expected: how many partitions the window has of it
    """

    def __init__(self, zones: Zones, contract: Contract, start: date, end: date, run_key: str):
        self.zones, self.contract, self.run_key = zones, contract, run_key
        self.start, self.end = start, end
        self.processed = Partitions(zones, f"processed/{contract.name}")
        self.violations: list[Violation] = []
        self.notes: list[Note] = []
        self.committed: list[date] = []
        self.expected = 0
        self._columns = {column.name: column.spark_type for column in contract.columns}
        self._rows: dict[date, int] = {}
        self._names: dict[date, str] = {}
        self._readings: dict[date, Reading] = {}  # of the files in which nothing wrong has been found so far

    def run(self) -> str:
        """Checks, commits what is right, quarantines what is not. Returns a sentence for the log."""
        days = self._expected_days()
        self.expected = len(days)
        if days:
            until_settled(days, self._take)
        if self.contract.cadence == "once" and not days and not self.processed.committed_days():
            self.expected = 1
            expected = f"a snapshot delivered up to this day in landing/{self.contract.name}/"
            self._refuse(self.end, [self._breach(self.end, expected, "none")])
        rows = sum(self._rows[day] for day in self.committed)
        return f"{self.contract.name}: {len(self.committed)} of {self.expected} partitions written, {rows} rows"

    def _expected_days(self) -> list[date]:
        if self.contract.cadence == "daily":
            return self.contract.expected_days(self.start, self.end)
        # Snapshots: those of the window and the newest before it. A day's features are made with the newest of that day, so
        # none may be left out because a later one is there already; none is written twice, for jobs may be reading it.
        there = [day for day in self.zones.days(f"landing/{self.contract.name}") if day <= self.end]
        first = max((day for day in there if day <= self.start), default=date.min)
        wanted = [day for day in there if day >= first]
        done = self.processed.commits(wanted)
        files = self._listed(wanted)
        return [day for day in wanted if day not in done or done[day].sources != _sources(files[day])]

    def _landing(self, day: date) -> str:
        return f"landing/{self.contract.name}/ds={day}"

    def _take(self, days: Sequence[date]) -> list[date]:
        """One turn over these days. Returns those that were delivered again meanwhile."""
        self._forget(days)
        deliveries = self._deliveries(days)
        raw = self._kept(deliveries)
        in_parallel(lambda day: self._check_file(day, raw[day]), sorted(raw))
        self._check_volumes(days)
        self._check_rows()
        commits = [commit for write in self._writes() for commit in self._commits(write, deliveries)]
        self._quarantine(days, raw)
        self.processed.commit(commits)
        self.committed = sorted({*self.committed, *(commit.ds for commit in commits)})
        now = self._listed(days)
        return [day for day, file in deliveries.items() if now[day] != [file]]

    def _forget(self, days: Sequence[date]) -> None:
        """What an earlier turn has found out about these days no longer counts."""
        names = {partition_name(day) for day in days}
        self.violations = [violation for violation in self.violations if violation.partition not in names]
        self.notes = [note for note in self.notes if note.partition not in names]
        self.committed = [day for day in self.committed if day not in set(days)]
        self._readings = {}

    def _breach(self, day: date, expected: str, found: str, column: str = "", samples: tuple[str, ...] = ()) -> Violation:
        return Violation(self.contract.name, partition_name(day), self._names.get(day, ""), column, expected, found, samples)

    def _refuse(self, day: date, violations: Sequence[Violation]) -> None:
        self.violations += violations
        if violations:
            self._readings.pop(day, None)

    # What is there ---------------------------------------------------------------------------------------------------

    def _listed(self, days: Iterable[date]) -> dict[date, list[File]]:
        by_day: dict[date, list[File]] = {day: [] for day in days}
        for file in self.zones.files(f"landing/{self.contract.name}/{of_days(by_day)}/*"):
            if file.day is not None:
                by_day[file.day].append(file)
        return by_day

    def _deliveries(self, days: Sequence[date]) -> dict[date, File]:
        """The one file of each of these partitions; anything else is refused."""
        chosen = {}
        for day, files in self._listed(days).items():
            if not files:
                self._refuse(day, [self._breach(day, f"one Parquet file in {self._landing(day)}/", "none")])
            elif len(files) > 1:
                self._names[day] = ", ".join(sorted(file.name for file in files))
                self._refuse(day, [self._breach(day, "one Parquet file", f"{len(files)} files: a duplicate delivery")])
            else:
                chosen[day] = files[0]
        return chosen

    def _kept(self, deliveries: dict[date, File]) -> dict[date, File]:
        """The copies of deliveries in the raw zone, made where they are not there whole."""
        folder = f"raw/{self.contract.name}"
        there = {file.key: file.length for file in self.zones.files(f"{folder}/{of_days(deliveries)}/delivery=*/*")}
        raw = {
            day: File(f"{folder}/ds={day}/delivery={file.stamp}/{file.name}", file.length, file.modified)
            for day, file in deliveries.items()
        }
        missing = [day for day, file in raw.items() if there.get(file.key) != file.length]
        in_parallel(lambda day: self.zones.copy(deliveries[day].key, raw[day].key), missing)
        return raw

    def _check_file(self, day: date, file: File) -> None:
        """What can be told without reading rows."""
        self._names[day] = file.name
        if file.length == 0:
            self._refuse(day, [self._breach(day, "a Parquet file", "an empty file (0 bytes)")])
            return
        try:
            columns, rows = self.zones.footer(file.key)
        except ValueError as error:
            found = f"{file.length} bytes that are not one: {error}"
            self._refuse(day, [self._breach(day, "a whole Parquet file", found)])
            return
        self._rows[day] = rows
        schema = check_schema(self.contract, columns, day=day, file=file.name)
        self.notes += schema.notes
        self._readings[day] = Reading(file, schema.read_as, columns == self._columns)
        empty = [] if rows else [self._breach(day, "rows", "an empty file (no rows)")]
        self._refuse(day, empty + schema.breaches)

    def _check_volumes(self, days: Sequence[date]) -> None:
        """Are there about as many rows as on the same weekdays before? Days of this window count once they have passed."""
        volume = self.contract.volume
        if volume is None or self.contract.cadence != "daily":
            return
        before = {day - timedelta(weeks=weeks) for day in days for weeks in range(1, volume.weeks + 1)} - set(days)
        counts = {day: commit.rows for day, commit in self.processed.commits(sorted(before)).items()}
        for day in sorted(self._readings):
            rows = self._rows[day]
            unusual = check_volume(self.contract, counts, day=day, file=self._names[day], rows=rows)
            self._refuse(day, unusual)
            if not unusual:
                counts[day] = rows

    # What is in it ---------------------------------------------------------------------------------------------------

    def _check_rows(self) -> None:
        """Finds out which of the files that are sound so far break their contract by what is in them."""
        while self._readings:
            rows = self._delivered_rows(self._readings.values())
            try:
                if rows.are_suspicious():
                    self._judge_values(rows)
                    self._tell_repeated_keys(rows)
                return
            except Py4JJavaError:
                # One file that breaks off inside makes the whole job fail: then they are sought one by one.
                damaged = [day for day in list(self._readings) if self._is_damaged(day)]
                if not damaged:
                    raise

    def _delivered_rows(self, readings: Iterable[Reading]) -> DeliveredRows:
        return DeliveredRows(self.zones, self.contract, f"raw/{self.contract.name}", list(readings))

    def _is_damaged(self, day: date) -> bool:
        reading = self._readings[day]
        try:
            self._delivered_rows([reading]).are_suspicious()
        except Py4JJavaError as error:
            self._refuse(day, [self._breach(day, "a whole Parquet file", f"damaged pages: {root_message(error)}")])
            return True
        return False

    def _judge_values(self, rows: DeliveredRows) -> None:
        for day, broken in rows.broken_values().items():
            violations, notes = judge_rows(self.contract, broken, day=day, file=self._names[day], rows=self._rows[day])
            self._refuse(day, violations)
            self.notes += notes

    def _tell_repeated_keys(self, rows: DeliveredRows) -> None:
        for repeated in rows.repeated_keys():
            also = "" if len(repeated.days) == 1 else f" in {' and '.join(f'ds={day}' for day in repeated.days)}"
            found = f"{repeated.keys} keys repeated{also}: a duplicate delivery"
            for day in repeated.days:
                self._refuse(day, [self._breach(day, "each key once", found, ", ".join(self.contract.key), (repeated.sample,))])

    # What becomes of it ----------------------------------------------------------------------------------------------

    def _writes(self) -> list[Write]:
        """Puts what is right where it can be committed. A file that is as promised need not be written anew."""
        as_promised = {day: reading.file for day, reading in self._readings.items() if reading.as_promised}
        others = [reading for reading in self._readings.values() if not reading.as_promised]
        writes = [self.processed.copy(as_promised, self.run_key)] if as_promised else []
        return writes + ([self.processed.write(self._delivered_rows(others).frame(), self.run_key)] if others else [])

    def _commits(self, write: Write, deliveries: dict[date, File]) -> list[Commit]:
        return [
            Commit(
                zone=self.processed.zone,
                ds=day,
                write=write.name,
                files=files,
                rows=self._rows[day],
                columns=self._columns,
                sources=_sources([deliveries[day]]),
                contract=self.contract.version,
                run_key=self.run_key,
            )
            for day, files in write.files.items()
            if day in self._readings
        ]

    def _quarantine(self, days: Sequence[date], raw: dict[date, File]) -> None:
        """Tells of each day in breach why it is; a day that is right again leaves the quarantine."""
        folder = f"quarantine/{self.contract.name}"
        there = {file.key for file in self.zones.files(f"{folder}/{of_days(days)}.json")}
        for day in days:
            key = f"{folder}/ds={day}.json"
            breaches = [violation.as_dict() for violation in self.violations if violation.partition == partition_name(day)]
            if breaches:
                delivery = raw[day].key if day in raw else None
                told = {"delivery": delivery, "contract": self.contract.version, "run_key": self.run_key, "breaches": breaches}
                self.zones.write_text(key, json.dumps(told, indent=1))
            elif key in there:
                self.zones.delete(key)


def _sources(files: Iterable[File]) -> dict[str, str]:
    return {file.key: file.stamp for file in files}


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


def read_contract(spark: SparkSession, uri: str) -> Contract:
    """The contract at an address.

    :raises FileNotFoundError: there is none
    """
    folder, _, name = uri.rpartition("/")
    text = Zones(spark, folder).read_text(name)
    if text is None:
        raise FileNotFoundError(f"contract: expected at {uri}, found nothing there")
    return parse_contract(json.loads(text), uri)


def main(arguments: Sequence[str], log: Callable[[str], None] = print) -> None:
    """Ingest the datasets asked for.

    :raises DeliveryError: partitions break their contracts (those that do not were committed)
    :raises FileNotFoundError: a contract is not where it should be
    :raises ValueError: the window starts after its end
    """
    options = parse_arguments(arguments)
    if options.start > options.end:
        raise ValueError(f"window: expected start <= end, found {options.start} to {options.end}")
    spark = SparkSession.builder.appName("ingest_dataset").getOrCreate()
    # Contracts count on UTC. The files are named one by one: listing them with a Spark job would only cost.
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    spark.conf.set("spark.sql.sources.parallelPartitionDiscovery.threshold", "100000")
    zones = Zones(spark, options.zones_root)
    log(f"ingest {', '.join(options.datasets)} from {options.start} to {options.end} below {zones.root}, run {options.run_key}")

    contracts = [read_contract(spark, f"{options.contracts.rstrip('/')}/{name}.json") for name in options.datasets]
    ingestions = [Ingestion(zones, contract, options.start, options.end, options.run_key) for contract in contracts]
    try:
        # Side by side: most of the time of a small dataset is Spark's planning, which leaves the cores to the others.
        with ThreadPoolExecutor(len(ingestions)) as pool:
            for sentence in pool.map(Ingestion.run, ingestions):
                log(sentence)
    finally:
        violations = [violation for ingestion in ingestions for violation in sorted(ingestion.violations, key=str)]
        notes = [note for ingestion in ingestions for note in sorted(ingestion.notes, key=str)]
        report = Report(
            {ingestion.processed.zone: tuple(ingestion.committed) for ingestion in ingestions},
            tuple(violation.as_dict() for violation in violations),
            tuple(note.as_dict() for note in notes),
        )
        zones.write_text(report_key(options.run_key, "ingest", options.start, options.end), report.to_json())
    for note in notes:
        log(f"note: {note}")
    if violations:
        raise DeliveryError(violations, sum(ingestion.expected for ingestion in ingestions))


if __name__ == "__main__":
    main(sys.argv[1:])
