"""Whether the rows of delivered files keep their contract: one pass that says yes or no, and two that say why not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from flywheel.core import delivery_checks
from flywheel.core.contracts import Contract
from flywheel.core.delivery_checks import Broken, RowCheck, Schema, row_checks
from lake.zones import File, Zones

# Columns beside the contract's: what a value was that its own type cannot hold; whether its file lacks the column.
_UNFIT, _ABSENT = "_unfit_", "_absent_"


@dataclass(frozen=True)
class Reading:
    """How a file is read.

    :param read_as: column to the type to read it with, of the contract's columns that are in the file
    :param as_promised: the file has exactly the contract's columns with exactly their types: it need not be written anew
    """

    file: File
    read_as: Mapping[str, str]
    as_promised: bool


@dataclass(frozen=True)
class RepeatedKeys:
    """Keys that are there more than once, all in the same days.

    :param keys: how many
    :param sample: one of them, as ``name=value, ...``
    """

    days: tuple[date, ...]
    keys: int
    sample: str


class DeliveredRows:
    """The rows of some files as one frame: the contract's columns with its types, and ``ds``.

    :param folder: the folder below which the files lie in ``ds=YYYY-MM-DD``
    """

    def __init__(self, zones: Zones, contract: Contract, folder: str, readings: Sequence[Reading]):
        self.contract = contract
        self._zones, self._folder = zones, folder
        alike: dict[tuple[tuple[str, str], ...], list[Reading]] = {}
        for reading in readings:
            alike.setdefault(tuple(reading.read_as.items()), []).append(reading)
        self._wide = {
            name: kind
            for types in alike
            for name, kind in types
            if kind in delivery_checks.WIDER_TYPES.get(contract.column(name).type, ())
        }
        self._absent = {column.name for column in contract.columns for types in alike if column.name not in dict(types)}
        there = {name: kind for types in alike for name, kind in types}
        self._row_checks = row_checks(contract, Schema([], [], there | self._wide, ()))
        frames = [self._frame(dict(types), [reading.file for reading in group]) for types, group in alike.items()]
        self._frame_of_all = reduce(DataFrame.unionByName, frames)

    @property
    def columns(self) -> dict[str, str]:
        """Column to Spark type."""
        return {column.name: column.spark_type for column in self.contract.columns}

    def frame(self) -> DataFrame:
        """The rows."""
        return self._frame_of_all.select(*self.columns, "ds")

    def are_suspicious(self) -> bool:
        """Whether a row breaks a promise or a key may be there twice; that nothing is found is the rule.

        One pass. It reads every column, checked or not, so that a damaged page does not slip through; of the keys it shuffles
        hashes only, and so would suspect ten million rows without reason about three times in a million.
        """
        broken = F.lit(False)
        for check in self._row_checks:
            broken = broken | F.coalesce(self._breach(check), F.lit(False))
        whole = F.when(~broken, F.xxhash64(*self.columns))
        keys = self._frame_of_all.groupBy(F.xxhash64(*self.contract.key).alias("key"))
        return bool(keys.agg(F.count(F.lit(1)).alias("n"), F.max(whole).alias("whole")).where("n > 1 OR whole IS NULL").head(1))

    def broken_values(self) -> dict[date, list[Broken]]:
        """How many rows of which days break which promises, one pass over all."""
        totals: list[Expression] = []
        for i, check in enumerate(self._row_checks):
            shown = F.when(self._breach(check), self._sample(check))
            totals += [F.count(shown).alias(f"rows_{i}"), F.min(shown).alias(f"least_{i}"), F.max(shown).alias(f"most_{i}")]
        found: dict[date, list[Broken]] = {}
        for row in self._frame_of_all.groupBy("ds").agg(*totals).collect():
            for i, check in enumerate(self._row_checks):
                if row[f"rows_{i}"]:
                    samples = tuple(dict.fromkeys((row[f"least_{i}"], row[f"most_{i}"])))
                    found.setdefault(row["ds"], []).append(Broken(check, row[f"rows_{i}"], samples))
        return found

    def repeated_keys(self) -> Iterator[RepeatedKeys]:
        """Which days hold a key more than once, or hold the same key as another one."""
        key = list(self.contract.key)
        repeated = self._frame_of_all.groupBy(*key).agg(
            F.count(F.lit(1)).alias("n"), F.sort_array(F.collect_set("ds")).alias("days")
        )
        by_days = repeated.where("n > 1").groupBy("days").agg(F.count(F.lit(1)).alias("keys"), F.min(F.struct(*key)).alias("key"))
        for row in by_days.collect():
            sample = ", ".join(f"{name}={row['key'][name]}" for name in key)
            yield RepeatedKeys(tuple(row["days"]), row["keys"], sample)

    def _frame(self, read_as: Mapping[str, str], files: Iterable[File]) -> DataFrame:
        ddl = ", ".join(f"`{name}` {kind}" for name, kind in read_as.items())
        reader = self._zones.spark.read.schema(f"{ddl}, `ds` DATE").option("basePath", self._zones.uri(self._folder))
        frame = reader.parquet(*(self._zones.uri(file.key) for file in files))
        columns, unfit = [], []
        absent = [F.lit(name not in read_as).alias(_ABSENT + name) for name in sorted(self._absent)]
        for name, kind in self.columns.items():
            value = F.col(name) if name in read_as else F.lit(None)
            cast = value.cast(kind)
            columns.append(cast.alias(name))
            if name in self._wide:
                fits = cast.cast(read_as.get(name, kind)).eqNullSafe(value)
                unfit.append(F.when(~fits, value.cast("string")).alias(_UNFIT + name))
        return frame.select(*columns, *unfit, *absent, "ds")

    def _breach(self, check: RowCheck) -> Expression:
        """True for a row that breaks the check; false or null otherwise."""
        column = check.column
        value, unfit = F.col(column.name), F.col(_UNFIT + column.name)
        if check.kind == delivery_checks.FITS:
            return unfit.isNotNull()
        if check.kind == delivery_checks.MIN:
            return value < column.min
        if check.kind == delivery_checks.MAX:
            return value > column.max
        if check.kind == delivery_checks.ALLOWED:
            return ~value.isin(*column.allowed)
        missing = value.isNull()
        if column.name in self._wide:
            missing = missing & unfit.isNull()
        if column.name in self._absent:  # that it may be was decided when the file's columns were looked at
            missing = missing & ~F.col(_ABSENT + column.name)
        return missing

    def _sample(self, check: RowCheck) -> Expression:
        if check.kind == delivery_checks.VALUE:
            return F.lit("null")
        return F.col((_UNFIT if check.kind == delivery_checks.FITS else "") + check.column.name).cast("string")
