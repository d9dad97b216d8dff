"""``DynamicFrame`` over an ordinary Spark data frame: every column has one type, so there are no choices to resolve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F


class DynamicRecord(dict):  # type: ignore[type-arg]
    """One record in ``filter`` and ``map``: a dictionary of column to value."""


class DynamicFrame:
    """A distributed table; see the package's README for which of Glue's methods it has."""

    def __init__(self, data_frame: DataFrame, glue_ctx: Any, name: str = ""):
        self._df = data_frame
        self.glue_ctx = glue_ctx
        self.name = name

    @classmethod
    def fromDF(cls, dataframe: DataFrame, glue_ctx: Any, name: str = "") -> DynamicFrame:
        """Wrap a data frame."""
        return cls(dataframe, glue_ctx, name)

    def toDF(self, options: Any = None) -> DataFrame:
        """Give the data frame."""
        return self._df

    def count(self) -> int:
        """Give the number of rows."""
        return self._df.count()

    def schema(self) -> Any:
        """Give the Spark schema."""
        return self._df.schema

    def printSchema(self) -> None:
        """Print the schema."""
        self._df.printSchema()

    def show(self, num_rows: int = 20) -> None:
        """Print the first rows as JSON."""
        for line in self._df.limit(num_rows).toJSON().collect():
            print(line)

    def select_fields(self, paths: Sequence[str], **_: Any) -> DynamicFrame:
        """Keep the named columns."""
        return self._with(self._df.select(*paths))

    def drop_fields(self, paths: Sequence[str], **_: Any) -> DynamicFrame:
        """Drop the named columns."""
        return self._with(self._df.drop(*paths))

    def rename_field(self, oldName: str, newName: str, **_: Any) -> DynamicFrame:
        """Rename a column."""
        return self._with(self._df.withColumnRenamed(oldName, newName))

    def apply_mapping(self, mappings: Sequence[tuple[str, ...]], **_: Any) -> DynamicFrame:
        """Select, rename and cast: each mapping is (source, source type, target, target type) or (source, target)."""
        columns = []
        for mapping in mappings:
            source, target = mapping[0], mapping[2] if len(mapping) == 4 else mapping[1]
            column = F.col(source)
            columns.append((column.cast(mapping[3]) if len(mapping) == 4 else column).alias(target))
        return self._with(self._df.select(*columns))

    def filter(self, f: Callable[[DynamicRecord], bool], **_: Any) -> DynamicFrame:
        """Keep the records for which ``f`` is true."""
        rows = self._df.rdd.filter(lambda row: f(DynamicRecord(row.asDict(recursive=True))))
        return self._with(self._df.sparkSession.createDataFrame(rows, self._df.schema))

    def map(self, f: Callable[[DynamicRecord], Any], **_: Any) -> DynamicFrame:
        """Turn every record into ``f(record)``, a dictionary."""
        rows = self._df.rdd.map(lambda row: Row(**f(DynamicRecord(row.asDict(recursive=True)))))
        return self._with(self._df.sparkSession.createDataFrame(rows))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise NotImplementedError(f"DynamicFrame.{name}: not in the local Glue; use toDF() and Spark for it")

    def _with(self, data_frame: DataFrame) -> DynamicFrame:
        return DynamicFrame(data_frame, self.glue_ctx, self.name)
