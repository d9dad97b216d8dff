"""COPY ... FORMAT AS PARQUET: columns by position, and only types that Redshift takes for the column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb

from localaws.redshift.catalog import Column, TableName, quote
from localaws.redshift.engine import Session
from localaws.redshift.errors import RedshiftError, from_duckdb

if TYPE_CHECKING:
    from localaws.redshift.copying import CopyOptions, Source

# DuckDB's type of the file's column that a table's column takes. Redshift widens nothing here: an INT64 does not go into
# an INTEGER, nor an INT32 into a BIGINT.
_TAKES = {
    "SMALLINT": {"SMALLINT", "TINYINT"}, "INTEGER": {"INTEGER", "SMALLINT", "TINYINT"}, "BIGINT": {"BIGINT"},
    "FLOAT": {"FLOAT"}, "DOUBLE": {"DOUBLE"}, "BOOLEAN": {"BOOLEAN"}, "VARCHAR": {"VARCHAR"}, "DATE": {"DATE"},
    "TIMESTAMP": {"TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP WITH TIME ZONE"},
    "TIMESTAMP WITH TIME ZONE": {"TIMESTAMP WITH TIME ZONE", "TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS"},
    "TIME": {"TIME"}, "BLOB": {"BLOB"}, "JSON": {"VARCHAR", "JSON"},
}  # fmt: skip


def load(session: Session, table: TableName, columns: list[Column], sources: list[Source], options: CopyOptions) -> int:
    """Load the files and return the number of rows.

    :raises RedshiftError: a file is no Parquet, or its columns are not the table's in number and type.
    """
    groups: dict[tuple[tuple[str, str], ...], list[Source]] = {}
    for source in sources:
        schema = tuple(_schema(session, source))
        _check(schema, columns, source)
        groups.setdefault(schema, []).append(source)
    names = ", ".join(quote(column.name) for column in columns)
    rows = 0
    for schema, group in groups.items():
        files = "[" + ", ".join(_text(source.path) for source in group) + "]"
        values = ", ".join(f"CAST({quote(name)} AS {column.duckdb_type})" for (name, _), column in
                           zip(schema, columns, strict=True))  # fmt: skip
        read = f"read_parquet({files}, hive_partitioning = false, filename = false)"
        try:
            session.execute(f"INSERT INTO {table.sql} ({names}) SELECT {values} FROM {read}")
        except RedshiftError as error:
            raise _diagnosed(session, error, schema, columns, group) from error
        rows += session.changed().rows
    return rows


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _schema(session: Session, source: Source) -> list[tuple[str, str]]:
    """(name, DuckDB type) of the file's columns, asked on a connection of its own: a failure aborts nothing."""
    cursor = session.database.cursor()
    try:
        rows = cursor.execute(f"DESCRIBE SELECT * FROM read_parquet({_text(source.path)}, hive_partitioning = false)")
        return [(row[0], row[1]) for row in rows.fetchall()]
    except duckdb.Error as error:
        why = str(from_duckdb(error)).removeprefix("ERROR: ").replace(source.path, source.uri)
        raise _scan_error(15001, f"File '{source.uri}' is not a valid Parquet file. {why}") from error
    finally:
        cursor.close()


def _check(schema: tuple[tuple[str, str], ...], columns: list[Column], source: Source) -> None:
    if len(schema) != len(columns):
        raise _scan_error(
            15001,
            f"Unmatched number of columns between table and file. Table columns: {len(columns)}, "
            f"Data columns: {len(schema)}, File name: {source.uri} (the file has {', '.join(name for name, _ in schema)})",
        )
    for (name, kind), column in zip(schema, columns, strict=True):
        if not _fits(kind, column.duckdb_type):
            raise _scan_error(
                15007,
                f"File '{source.uri}' has an incompatible Parquet schema for column '{column.name}'. "
                f"Column type: {column.redshift_type.upper()}, Parquet column: {name} {kind} (columns match by position)",
            )


def _fits(kind: str, wanted: str) -> bool:
    if wanted.startswith("DECIMAL"):
        # The scale must be the column's own; digits before the point may be fewer.
        have, want = _digits(kind), _digits(wanted)
        return have is not None and want is not None and have[1] == want[1] and have[0] <= want[0]
    return kind in _TAKES.get(wanted, {wanted})


def _digits(kind: str) -> tuple[int, int] | None:
    if not kind.startswith("DECIMAL("):
        return None
    precision, _, scale = kind[8:-1].partition(",")
    return int(precision), int(scale)


def _diagnosed(session: Session, error: RedshiftError, schema: Any, columns: list[Column], group: list[Source]) -> RedshiftError:
    """The error with the file and the column that it is about, where they can be told."""
    cursor = session.database.cursor()
    try:
        for source in group:
            for (name, _), column in zip(schema, columns, strict=True):
                read = f"read_parquet({_text(source.path)}, hive_partitioning = false)"
                found = cursor.execute(
                    f"SELECT max(strlen(CAST({quote(name)} AS VARCHAR))), count(*) - count({quote(name)}) FROM {read}"
                ).fetchone()
                assert found is not None
                if column.length is not None and (found[0] or 0) > column.length:
                    return _scan_error(
                        15001,
                        f"The length of the data column {column.name} is longer than the length defined in the table. "
                        f"Table: {column.length}, Data: {found[0]}, File name: {source.uri}",
                    )
                if not column.nullable and found[1]:
                    return _scan_error(
                        15001,
                        f"Column {column.name} is NOT NULL and has {found[1]} nulls in the file, File name: {source.uri}",
                    )
    except duckdb.Error:
        pass  # the file cannot be read to its end; the first error says more
    finally:
        cursor.close()
    return error


def _scan_error(code: int, context: str) -> RedshiftError:
    line = "-----------------------------------------------"
    return RedshiftError(
        f"Spectrum Scan Error\n  Detail: \n  {line}\n  error:  Spectrum Scan Error\n  code:      {code}\n"
        f"  context:   {context}\n  {line}"
    )
