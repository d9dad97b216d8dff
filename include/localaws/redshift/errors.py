"""Errors in Redshift's words.

A statement's error text is what people search for and what operators match on, so DuckDB's wording never leaves the
engine where Redshift has one of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import duckdb

PRODUCT = "Flywheel's local Redshift"


class RedshiftError(Exception):
    """A statement failed. ``str()`` is the text that DescribeStatement shows in ``Error``, with its ``ERROR: ``."""

    def __init__(self, message: str):
        super().__init__(message if message.startswith(("ERROR:", "FATAL:")) else f"ERROR: {message}")


class NotServed(RedshiftError):
    """Redshift may well know this, the local engine cannot do it faithfully and says so instead of guessing."""

    def __init__(self, what: str, hint: str = ""):
        super().__init__(f"{PRODUCT} does not serve {what}" + (f"; {hint}" if hint else ""))


class Cancelled(RedshiftError):
    """The statement was cancelled by CancelStatement."""

    def __init__(self) -> None:
        super().__init__("Query cancelled on user's request")


def serializable_violation(table: str | None = None) -> RedshiftError:
    """Error 1023, for two transactions that cannot be put into an order."""
    on = f" on table - {table}" if table else ""
    return RedshiftError(
        f"1023\n  Detail: Serializable isolation violation{on}, a concurrent transaction changed the same data. "
        "Run the statement again."
    )


def from_duckdb(error: duckdb.Error) -> RedshiftError:
    """The Redshift wording of what DuckDB raised; unknown texts are passed on without DuckDB's hints."""
    text = str(error)
    if isinstance(error, duckdb.InterruptException):
        return Cancelled()
    if isinstance(error, duckdb.TransactionException):
        if "onflict" in text or "Failed to commit" in text:
            return serializable_violation()
        if "aborted" in text:
            return RedshiftError("current transaction is aborted, commands ignored until end of transaction block")
    first = text.split("\n\nLINE ")[0].split("\n\n")[0].strip()
    for pattern, wording in _WORDINGS:
        match = pattern.search(first)
        if match:
            return RedshiftError(match.expand(wording) if isinstance(wording, str) else wording(match))
    kind, _, rest = first.partition("Error: ")
    return RedshiftError((rest or kind).split("\nDid you mean")[0].split("\nCandidate bindings")[0].strip())


def _too_long(match: re.Match[str]) -> str:
    kind = "character" if "rtrim" in match.group(0) else "character varying"
    return f"value too long for type {kind}({match.group(1)})"


_TYPES = {"INT16": "smallint", "INT32": "integer", "INT64": "bigint", "INT128": "numeric", "BOOL": "boolean",
          "DOUBLE": "double precision", "FLOAT": "real"}  # fmt: skip


def _bad_input(match: re.Match[str]) -> str:
    value, kind = match.group(1), _TYPES.get(match.group(2), match.group(2).lower())
    if kind in ("smallint", "integer", "bigint"):  # PostgreSQL 8.0, which the leader node is, names them so
        return f'invalid input syntax for integer: "{value}"'
    return f'invalid input syntax for type {kind}: "{value}"'


def _out_of_range(match: re.Match[str]) -> str:
    kind = _TYPES.get(match.group(1), match.group(1).lower())
    return f"value out of range for type {kind}" if kind == "numeric" else f"{kind} out of range"


# DuckDB's text -> Redshift's, first match wins.
_WORDINGS: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"(?s)Invalid Input Error: (?:.*?)FLYWHEEL (.*)"), r"\1"),
    (re.compile(r"(?:Scalar|Aggregate|Table|Macro)? ?Function with name \"?([\w.]+)\"? does not exist"),
     r"function \1() does not exist"),
    (re.compile(r"does not exist because schema \"([^\"]+)\" does not exist"), r'schema "\1" does not exist'),
    (re.compile(r"(?:Table|View) with name \"?([^\s\"]+)\"? does not exist"), r'relation "\1" does not exist'),
    (re.compile(r"Schema with name \"?([^\s\"]+)\"? does not exist"), r'schema "\1" does not exist'),
    (re.compile(r"Schema with name \"?([^\s\"]+)\"? already exists"), r'schema "\1" already exists'),
    (re.compile(r"(?:Table|View) with name \"?([^\s\"]+)\"? already exists"), r'relation "\1" already exists'),
    (re.compile(r"Column with name \"?([^\s\"]+)\"? already exists"), r'column "\1" of relation already exists'),
    (re.compile(r"Existing object \"?(\w+)\"? is of type (\w+), trying to \w+ type (\w+)"),
     lambda m: f'"{m.group(1)}" is not a {m.group(3).lower()}'),
    (re.compile(r"Referenced column \"([^\"]+)\" not found in FROM clause"), r'column "\1" does not exist'),
    (re.compile(r"Referenced table \"([^\"]+)\" not found"), r'missing FROM-clause entry for table "\1"'),
    (re.compile(r"Table \"([^\"]+)\" does not have a column (?:with name|named) \"([^\"]+)\""),
     r'column "\2" of relation "\1" does not exist'),
    (re.compile(r"Values list \"([^\"]+)\" does not have a column named \"([^\"]+)\""),
     r'column \1.\2 does not exist'),
    (re.compile(r"Ambiguous reference to column name \"([^\"]+)\""), r'column reference "\1" is ambiguous'),
    (re.compile(r"column \"([^\"]+)\" must appear in the GROUP BY clause"),
     r'column "\1" must appear in the GROUP BY clause or be used in an aggregate function'),
    (re.compile(r"WHERE clause cannot contain aggregates"), "aggregates not allowed in WHERE clause"),
    (re.compile(r"table \"?([^\s\"]+)\"? has (\d+) columns but (\d+) values"),
     lambda m: "INSERT has more expressions than target columns" if int(m.group(3)) > int(m.group(2))
     else "INSERT has more target columns than expressions"),
    (re.compile(r"NOT NULL constraint failed: (?:.*\.)?\"?(\w+)\"?"),
     lambda m: f"Cannot insert a NULL value into column {m.group(1)}"),
    (re.compile(r"CHECK constraint failed .*strlen\((?:rtrim\()?[^)]*\)+ <= (\d+)"), _too_long),
    (re.compile(r"Division by zero"), "division by zero"),
    (re.compile(r"Could not convert string '(.*)' to (\w+)", re.DOTALL), _bad_input),
    (re.compile(r"(?:invalid|Invalid) (date|timestamp) field format: \"(.*?)\""),
     r'invalid input syntax for type \1: "\2"'),
    (re.compile(r"(date|timestamp) field value out of range: \"(.*?)\""),
     r'date/time field value out of range: "\2"'),
    (re.compile(r"out of range for the destination type (\w+)"), _out_of_range),
    (re.compile(r"Overflow in \w+ of (\w+)"), _out_of_range),
    (re.compile(r"Casting value .* to type DECIMAL.* failed"), "Numeric data overflow (result precision)"),
    (re.compile(r"[Cc]ould not cast value .* to DECIMAL"), "Numeric data overflow (result precision)"),
    (re.compile(r"More than one row returned by a subquery"),
     "single-row subquery returns more than one row"),
    (re.compile(r"Cannot drop entry \"([^\"]+)\" because"),
     r'cannot drop \1 because other objects depend on it'),
    (re.compile(r"Could not choose a best candidate function for the function call \"(.*?)\""),
     rf"{PRODUCT} cannot tell the type of a string or of a parameter in \1; add an explicit cast such as ::int"),
    (re.compile(r"Cannot mix values of type (.+?) and (.+?) in (\w+)"),
     lambda m: f"{m.group(3)} types {_sql_type(m.group(1))} and {_sql_type(m.group(2))} cannot be matched"),
    (re.compile(r"(?:Out of Memory|OutOfMemory)"), "out of memory"),
    (re.compile(r"syntax error at or near \"(.*?)\""), r'syntax error at or near "\1"'),
]  # fmt: skip


def _sql_type(duckdb_type: str) -> str:
    names = {"VARCHAR": "character varying", "INTEGER": "integer", "BIGINT": "bigint", "DOUBLE": "double precision",
             "TIMESTAMP": "timestamp without time zone", "BOOLEAN": "boolean", "SMALLINT": "smallint"}  # fmt: skip
    return names.get(duckdb_type, duckdb_type.lower())
