"""A delivered file on the laptop, opened for questions in SQL: Parquet as it lands, or CSV as a source team may have it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.core.contracts import Contract

#: DuckDB's names for the types of a contract.
SQL_TYPES = {
    "int": "INTEGER",
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "string": "VARCHAR",
    "timestamp": "TIMESTAMP",  # in UTC, which the view makes of all that have a time zone
    "date": "DATE",
    "bool": "BOOLEAN",
}
_PHYSICAL = {"BOOLEAN": "boolean", "INT32": "int", "INT64": "bigint", "INT96": "timestamp", "FLOAT": "float", "DOUBLE": "double"}
_SIGNED = {8: "tinyint", 16: "smallint", 32: "int", 64: "bigint"}
_SNIFFED = {
    "BOOLEAN": "boolean",
    "BIGINT": "bigint",
    "DOUBLE": "double",
    "DATE": "date",
    "TIMESTAMP": "timestamp_ntz",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
}


class FileError(ValueError):
    """A file that cannot be looked into: it is not there, or not what its name says."""


class DeliveredFile:
    """A file as the view ``delivery`` of a DuckDB connection, with times in UTC.

    :param contract: of a CSV file, which has no types: its values are taken for what this contract promises, where they can be.
        Without one, for what they look like
    :ivar columns: column to type, as Spark names it
    :raises FileError: it cannot be read
    """

    def __init__(self, path: Path, contract: Contract | None = None):
        self.path = path
        if not path.is_file():
            raise FileError(f"{path}: expected a file, found {'a folder' if path.is_dir() else 'nothing'}")
        self.connection = duckdb.connect()
        if path.suffix == ".parquet":
            self.columns = _parquet_types(path)
            self._view(f"read_parquet({quoted(str(path), True)}, hive_partitioning = false)")
        elif path.suffix in (".csv", ".gz"):
            text = f"read_csv({quoted(str(path), True)}, header = true, hive_partitioning = false, sample_size = -1"
            sniffed = self._view(f"{text}{', all_varchar = true' if contract else ''})")
            self.columns = self._types_promised(contract) if contract else self._types_guessed(sniffed)
        else:
            raise FileError(f"{path}: expected a file named .parquet, .csv or .csv.gz, found {path.suffix or 'no suffix'}")
        self.rows: int = self.ask("SELECT count(*) FROM delivery")[0][0]

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows that a query gives.

        :raises FileError: the file breaks off inside
        """
        try:
            return self.connection.execute(sql).fetchall()
        except duckdb.Error as error:
            raise FileError(f"{self.path}: expected a whole file, found {str(error).splitlines()[0]}") from None

    def sql_types(self) -> dict[str, str]:
        """Column to type, as DuckDB names it."""
        return {name: kind for name, kind, *_ in self.ask("DESCRIBE delivery")}

    def _view(self, source: str) -> dict[str, str]:
        """Make the view, in which times of a time zone are those of UTC. Returns column to type as DuckDB sees the file."""
        try:
            found = self.connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
        except duckdb.Error as error:
            raise FileError(f"{self.path}: expected a {self.path.suffix} file, found {str(error).splitlines()[0]}") from None
        types = {name: kind for name, kind, *_ in found}
        # As plain timestamps: what DuckDB does with time zones takes an extension that its package does not bring.
        zoned = [quoted(name) for name, kind in types.items() if kind == "TIMESTAMP WITH TIME ZONE"]
        plain = f" REPLACE ({', '.join(f'make_timestamp(epoch_us({name})) AS {name}' for name in zoned)})" if zoned else ""
        self.connection.execute(f"CREATE VIEW delivery AS SELECT *{plain} FROM {source}")
        return types

    def _types_promised(self, contract: Contract) -> dict[str, str]:
        """The contract's types where each value can be read as one, ``string`` elsewhere."""
        promised = {column.name: column for column in contract.columns}
        types = {}
        for name in self.sql_types():
            column = promised.get(name)
            kind = SQL_TYPES[column.type] if column else "VARCHAR"
            # 2.5 is no int, though DuckDB would round it.
            odd = f"TRY_CAST({quoted(name)} AS {kind}) IS NULL"
            if column and column.type in ("int", "bigint"):
                odd = f"({odd} OR NOT regexp_full_match(trim({quoted(name)}), '[+-]?[0-9]+'))"
            unread = self.ask(f"SELECT count(*) FROM delivery WHERE {quoted(name)} IS NOT NULL AND {odd}")[0][0]
            types[name] = column.spark_type if column and not unread else "string"
        return types

    def _types_guessed(self, sniffed: dict[str, str]) -> dict[str, str]:
        """The types that a CSV file's values look like; whole numbers are ints where they all fit."""
        types = {name: _SNIFFED.get(kind, "string") for name, kind in sniffed.items()}
        for name in (name for name, kind in types.items() if kind == "bigint"):
            column = quoted(name)
            fits = self.ask(f"SELECT bool_and(TRY_CAST({column} AS INTEGER) IS NOT NULL OR {column} IS NULL) FROM delivery")[0][0]
            types[name] = "int" if fits else "bigint"
        return types


def quoted(name: str, text: bool = False) -> str:
    """A column's name for SQL, or a text."""
    mark = "'" if text else '"'
    return f"{mark}{name.replace(mark, mark * 2)}{mark}"


def _parquet_types(path: Path) -> dict[str, str]:
    try:
        schema = pq.ParquetFile(path).schema
    except (pa.ArrowInvalid, OSError) as error:
        size = path.stat().st_size
        raise FileError(f"{path}: expected a whole Parquet file, found {size} bytes that are not one: {error}") from None
    types: dict[str, str] = {}
    for i in range(len(schema)):
        column = schema.column(i)
        name = column.path.split(".", 1)[0] if column.path != column.name else column.name
        types[name] = _spark_type(column) if name == column.name else "struct"
    return types


def _spark_type(column: Any) -> str:
    """Spark's name for the type of a Parquet column; what Spark cannot read keeps Parquet's name."""
    logical, rules = column.logical_type.type, _rules(column)
    if logical in ("STRING", "ENUM"):
        return "string"
    if logical == "DATE":
        return "date"
    if logical == "TIMESTAMP":
        if rules["timeUnit"] == "nanoseconds":
            return "timestamp(nanos)"
        return "timestamp" if rules["isAdjustedToUTC"] else "timestamp_ntz"
    if logical == "INT":
        return _SIGNED[rules["bitWidth"]] if rules["isSigned"] else f"integer({rules['bitWidth']},false)"
    if logical == "DECIMAL":
        return f"decimal({rules['precision']},{rules['scale']})"
    if logical == "NONE":
        return _PHYSICAL.get(column.physical_type, "binary")
    return str(logical).lower()


def _rules(column: Any) -> dict[str, Any]:
    return dict(json.loads(column.logical_type.to_json()))
