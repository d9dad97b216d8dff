"""Redshift's types: their DuckDB counterparts, their limits, and how the Data API names them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlglot import exp

from localaws.redshift.errors import NotServed, RedshiftError

MAX_VARCHAR = 65535
DType = exp.DataType.Type


@dataclass(frozen=True)
class SqlType:
    """A column's type. ``length``: the bytes a text may have; ``None`` for other types."""

    redshift: str
    duckdb: str
    length: int | None = None

    @property
    def integer(self) -> bool:
        """Whether it is one of the integer types."""
        return self.duckdb in ("SMALLINT", "INTEGER", "BIGINT")

    @property
    def api_name(self) -> str:
        """The short name that an unnamed column of this type gets, such as ``int4``."""
        return "bpchar" if self.char else result_type(_FULL.get(self.duckdb, self.duckdb)).name

    @property
    def char(self) -> bool:
        """Whether it is CHAR(n)."""
        return self.redshift.startswith("character(")


_PLAIN = {
    DType.BOOLEAN: SqlType("boolean", "BOOLEAN"), DType.SMALLINT: SqlType("smallint", "SMALLINT"),
    DType.INT: SqlType("integer", "INTEGER"), DType.BIGINT: SqlType("bigint", "BIGINT"),
    DType.FLOAT: SqlType("real", "REAL"), DType.DOUBLE: SqlType("double precision", "DOUBLE"),
    DType.DATE: SqlType("date", "DATE"), DType.TIMESTAMP: SqlType("timestamp without time zone", "TIMESTAMP"),
    DType.TIMESTAMPTZ: SqlType("timestamp with time zone", "TIMESTAMPTZ"),
    DType.TIMESTAMPLTZ: SqlType("timestamp with time zone", "TIMESTAMPTZ"),
    DType.TIME: SqlType("time without time zone", "TIME"), DType.SUPER: SqlType("super", "JSON"),
    DType.VARBINARY: SqlType("binary varying", "BLOB"), DType.JSON: SqlType("super", "JSON"),
}  # fmt: skip

_TEXT = {DType.VARCHAR: 256, DType.TEXT: 256, DType.NVARCHAR: 256, DType.CHAR: 1, DType.NCHAR: 1, DType.BPCHAR: 256}


def _parameters(kind: exp.DataType) -> list[str]:
    return [param.name.lower() for param in kind.expressions]


def cast_type(kind: exp.DataType) -> SqlType:
    """The type that sqlglot read, as Redshift means it (``VARCHAR`` is ``VARCHAR(256)``, ``DECIMAL`` is (18,0)).

    :raises NotServed: there is no counterpart. :raises RedshiftError: its parameters are out of Redshift's range.
    """
    name, params = kind.this, _parameters(kind)
    if name in _PLAIN:
        return _PLAIN[name]
    if name in (DType.DECIMAL, DType.BIGDECIMAL, DType.DECIMAL128):
        precision = int(params[0]) if params else 18
        scale = int(params[1]) if len(params) > 1 else 0
        if not 1 <= precision <= 38:
            raise RedshiftError(f"DECIMAL precision {precision} must be between 1 and 38")
        if not 0 <= scale <= min(37, precision):
            raise RedshiftError(f"DECIMAL scale {scale} must be between 0 and {min(37, precision)}")
        return SqlType(f"numeric({precision},{scale})", f"DECIMAL({precision},{scale})")
    if name in _TEXT:
        char = name in (DType.CHAR, DType.NCHAR, DType.BPCHAR)
        limit = 4096 if char else MAX_VARCHAR
        length = limit if params == ["max"] else int(params[0]) if params else _TEXT[name]
        if not 1 <= length <= limit:
            raise RedshiftError(f"length for type {'char' if char else 'varchar'} must be between 1 and {limit}")
        return SqlType(f"character{'' if char else ' varying'}({length})", "VARCHAR", length)
    if isinstance(kind, exp.DataType) and str(kind).upper() == "TEXT":
        return SqlType("character varying(256)", "VARCHAR", 256)
    raise NotServed(f"the type {kind.sql('redshift').lower()}")


_FULL = {"TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE"}

# DuckDB's type of a result -> (typeName of ColumnMetadata, precision).
_API = {
    "BOOLEAN": ("bool", 1), "SMALLINT": ("int2", 5), "TINYINT": ("int2", 5), "INTEGER": ("int4", 10),
    "BIGINT": ("int8", 19), "FLOAT": ("float4", 8), "REAL": ("float4", 8), "DOUBLE": ("float8", 17),
    "DATE": ("date", 13), "TIMESTAMP": ("timestamp", 29), "TIMESTAMP WITH TIME ZONE": ("timestamptz", 35),
    "TIME": ("time", 15), "VARCHAR": ("varchar", 0), "JSON": ("super", 0), "BLOB": ("varbyte", 0),
    "INTERVAL": ("interval", 0), "HUGEINT": ("numeric", 38), "NULL": ("unknown", 0), "\"NULL\"": ("unknown", 0),
}  # fmt: skip


@dataclass(frozen=True)
class ResultType:
    """The type of a result's column, as ColumnMetadata shows it."""

    name: str
    precision: int
    scale: int
    signed: bool


def result_type(duckdb_type: str) -> ResultType:
    """What the Data API says of a column of this DuckDB type.

    :raises NotServed: Redshift has no such type.
    """
    decimal = re.fullmatch(r"DECIMAL\((\d+),\s*(\d+)\)", duckdb_type)
    if decimal:
        return ResultType("numeric", int(decimal.group(1)), int(decimal.group(2)), True)
    if duckdb_type not in _API:
        raise NotServed(f"results of the type {duckdb_type.lower()}")
    name, precision = _API[duckdb_type]
    scale = 6 if name.startswith("timestamp") else 0
    return ResultType(name, precision, scale, name.startswith(("int", "float", "numeric")) and name != "interval")
