"""Reading Redshift's SQL: sqlglot's Redshift dialect, corrected where it loses what Redshift means.

``split`` and ``placeholders`` work on tokens, so that nothing inside a string or a comment is mistaken for SQL.
Functions that DuckDB does otherwise become ``Local`` nodes, which are macros of ours (``macros.py``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.dialects.redshift import Redshift
from sqlglot.errors import ErrorLevel, ParseError, TokenError
from sqlglot.tokens import Token, TokenType

from localaws.redshift.errors import NotServed, RedshiftError
from localaws.redshift.formats import strftime_format

MACRO_SCHEMA = "rs.main"
"""Where the macros live: an in-memory database that is attached to every connection."""


class Local(exp.Expression, exp.Func):
    """A call of one of our macros: ``this`` is its name, ``expressions`` its arguments."""

    arg_types = {"this": True, "expressions": False}
    is_var_len_args = True


def local(name: str, *args: exp.Expr) -> Local:
    """A call of our macro ``name``."""
    return Local(this=name, expressions=list(args))


def duck(name: str, *args: exp.Expr) -> exp.Anonymous:
    """A call of DuckDB's own function ``name``; the caller answers for its meaning (marked as checked)."""
    node = exp.Anonymous(this=name, expressions=list(args))
    node.meta["checked"] = True
    return node


# Every spelling Redshift takes for a date part -> DuckDB's.
DATE_PARTS = {
    spelling: part
    for part, spellings in {
        "millennium": "millennium millennia mil mils",
        "century": "century centuries c cent cents",
        "decade": "decade decades dec decs",
        "year": "year years y yr yrs",
        "quarter": "quarter quarters qtr qtrs",
        "month": "month months mon mons",
        "week": "week weeks w",
        "dow": "dayofweek dow dw weekday",
        "doy": "dayofyear doy dy yearday",
        "day": "day days d",
        "hour": "hour hours h hr hrs",
        "minute": "minute minutes m min mins",
        "second": "second seconds s sec secs",
        "millisecond": "millisecond milliseconds ms msec msecs msecond mseconds millisec millisecs millisecon",
        "microsecond": "microsecond microseconds microsec microsecs usecond useconds us usec usecs",
        "epoch": "epoch",
    }.items()
    for spelling in spellings.split()
}

_INTERVALS = {"year": ("to_years", 1), "quarter": ("to_months", 3), "month": ("to_months", 1), "week": ("to_days", 7),
              "day": ("to_days", 1), "hour": ("to_hours", 1), "minute": ("to_minutes", 1), "second": ("to_seconds", 1),
              "millisecond": ("to_milliseconds", 1), "microsecond": ("to_microseconds", 1),
              "decade": ("to_years", 10), "century": ("to_years", 100)}  # fmt: skip


def date_part(node: exp.Expr) -> str:
    """DuckDB's name of the date part that a node (``month``, ``'mon'``) spells.

    :raises RedshiftError: there is no such part.
    """
    spelling = node.name.lower()
    if spelling not in DATE_PARTS:
        raise RedshiftError(f'date/time field "{spelling}" is not recognized')
    return DATE_PARTS[spelling]


def timestamp(node: exp.Expr) -> exp.Expr:
    """The node, with a bare string or parameter read as a timestamp (Redshift infers it from the function)."""
    if isinstance(node, exp.Placeholder) or (isinstance(node, exp.Literal) and node.is_string):
        return exp.cast(node, "timestamp")
    return node


def _literal(value: str | int) -> exp.Expr:
    return exp.Literal.string(value) if isinstance(value, str) else exp.Literal.number(value)


def _need(args: list[Any], name: str, *counts: int) -> None:
    if len(args) not in counts:
        raise RedshiftError(f"function {name}() does not take {len(args)} arguments")


def _dateadd(args: list[Any]) -> exp.Expr:
    _need(args, "dateadd", 3)
    part = date_part(args[0])
    if part not in _INTERVALS:
        raise RedshiftError(f'date/time field "{args[0].name}" is not supported by dateadd')
    name, factor = _INTERVALS[part]
    amount: exp.Expr = exp.cast(args[1], "bigint" if name not in ("to_years", "to_months") else "int")
    if factor != 1:
        amount = exp.Mul(this=exp.Paren(this=amount), expression=_literal(factor))
    return local("dateadd", duck(name, amount), timestamp(args[2]))


def _datediff(args: list[Any]) -> exp.Expr:
    _need(args, "datediff", 3)
    part = date_part(args[0])
    if part == "week":
        raise NotServed(
            "DATEDIFF by weeks",
            "count DATEDIFF(day, DATE_TRUNC('week', a), DATE_TRUNC('week', b)) / 7, which names the week's first day",
        )
    return local("datediff", _literal(part), timestamp(args[1]), timestamp(args[2]))


def _date_part(args: list[Any]) -> exp.Expr:
    _need(args, "date_part", 2)
    return exp.cast(duck("date_part", _literal(date_part(args[0])), timestamp(args[1])), "double")


def _date_trunc(args: list[Any]) -> exp.Expr:
    _need(args, "date_trunc", 2)
    return duck("date_trunc", _literal(date_part(args[0])), timestamp(args[1]))


def _extract(part: exp.Expr, source: exp.Expr) -> exp.Expr:
    value = duck("date_part", _literal(date_part(part)), timestamp(source))
    return exp.cast(duck("floor", value) if date_part(part) == "epoch" else value, "bigint")


def _zone(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Literal) and "/" not in node.name and node.name.upper() not in ("UTC", "GMT", "ZULU"):
        raise NotServed(f"the time zone {node.name!r}", "use a name such as 'America/New_York', or 'UTC'")
    return node


def _convert_timezone(args: list[Any]) -> exp.Expr:
    _need(args, "convert_timezone", 2, 3)
    source = _zone(args[0]) if len(args) == 3 else _literal("UTC")
    value = exp.cast(args[-1], "timestamp")
    return duck("timezone", _zone(args[-2]), duck("timezone", source, value))


def _timezone(args: list[Any]) -> exp.Expr:
    _need(args, "timezone", 2)
    return duck("timezone", _zone(args[0]), timestamp(args[1]))


def _to_char(args: list[Any]) -> exp.Expr:
    _need(args, "to_char", 2)
    return duck("strftime", timestamp(args[0]), _literal(strftime_format(args[1], "TO_CHAR")))


def _to_date(args: list[Any]) -> exp.Expr:
    _need(args, "to_date", 2, 3)
    return exp.cast(duck("strptime", args[0], _literal(strftime_format(args[1], "TO_DATE"))), "date")


def _to_timestamp(args: list[Any]) -> exp.Expr:
    _need(args, "to_timestamp", 2, 3)
    return exp.cast(duck("strptime", args[0], _literal(strftime_format(args[1], "TO_TIMESTAMP"))), "timestamptz")


def _trim(side: str) -> Callable[[list[Any]], exp.Expr]:
    def build(args: list[Any]) -> exp.Expr:
        _need(args, side, 1, 2)
        return duck(side, args[0], args[1] if len(args) == 2 else _literal(" "))

    return build


def _regexp_replace(args: list[Any]) -> exp.Expr:
    _need(args, "regexp_replace", 2, 3)
    new = args[2] if len(args) == 3 else _literal("")
    if not isinstance(new, exp.Literal) or re.search(r"[$\\]", new.name):
        raise NotServed("REGEXP_REPLACE with anything but a plain replacement", "leave out $ and \\ in the replacement")
    return duck("regexp_replace", args[0], args[1], new, _literal("g"))


def _concat(args: list[Any]) -> exp.Expr:
    _need(args, "concat", 2)
    return exp.DPipe(this=args[0], expression=args[1], safe=True)


def _sha2(args: list[Any]) -> exp.Expr:
    _need(args, "sha2", 2)
    if args[1].name not in ("0", "256"):
        raise NotServed(f"SHA2 with {args[1].name} bits", "use 256")
    return duck("sha256", args[0])


def _fixed(name: str, *counts: int, macro: bool = False) -> Callable[[list[Any]], exp.Expr]:
    def build(args: list[Any]) -> exp.Expr:
        _need(args, name, *counts)
        return (local if macro else duck)(name, *args)

    return build


# Functions of Redshift's that sqlglot reads as they are meant. It also knows names that Redshift does not (IFNULL,
# STRING_AGG, ...): those must not be taken here only to fail on AWS.
_AS_SQLGLOT_READS = frozenset(
    """
    ABS ACOS ANY_VALUE ASCII ASIN ATAN ATAN2 AVG BIT_AND BIT_OR BOOL_AND BOOL_OR CBRT CEIL CEILING CHAR_LENGTH
    CHARACTER_LENGTH COALESCE COS COT COUNT CUME_DIST DEGREES DENSE_RANK EXP FIRST_VALUE FLOOR GREATEST GROUPING LAG
    LAST_VALUE LEAD LEAST LEFT LEN LENGTH LISTAGG LN LOWER MAX MEDIAN MIN MOD NTH_VALUE NTILE NULLIF NVL NVL2
    PERCENT_RANK PERCENTILE_CONT PERCENTILE_DISC PI POW POWER RADIANS RANDOM RANK REPEAT REPLACE REVERSE RIGHT ROUND
    ROW_NUMBER SIGN SIN SPLIT_PART SQRT STDDEV STDDEV_POP STDDEV_SAMP SUM TAN TEXTLEN TO_HEX TRANSLATE TRUNC UPPER
    VARIANCE VAR_POP VAR_SAMP JSON_PARSE CURRENT_DATABASE CURRENT_SCHEMA
    """.split()
)


class LocalRedshift(Redshift):
    """Redshift as we read it: our functions instead of sqlglot's translations where those lose the meaning."""

    class Tokenizer(Redshift.Tokenizer):
        """No statement's rest is swallowed as one text: COPY, UNLOAD and others are read by us."""

        COMMANDS: set[TokenType] = set()

    class Parser(Redshift.Parser):
        """Our functions instead of sqlglot's."""

        FUNCTIONS = {
            **{name: build for name, build in Redshift.Parser.FUNCTIONS.items() if name in _AS_SQLGLOT_READS},
            "ADD_MONTHS": lambda args: local("add_months", timestamp(args[0]), exp.cast(args[1], "int")),
            "BTRIM": _trim("trim"),
            "CHARINDEX": lambda args: duck("strpos", args[1], args[0]),
            "CONCAT": _concat,
            "CONVERT_TIMEZONE": _convert_timezone,
            "DATEADD": _dateadd,
            "DATE_ADD": _dateadd,
            "DATEDIFF": _datediff,
            "DATE_DIFF": _datediff,
            "DATE_PART": _date_part,
            "PGDATE_PART": _date_part,
            "DATE_PART_YEAR": lambda args: exp.cast(duck("date_part", _literal("year"), timestamp(args[0])), "int"),
            "DATE_TRUNC": _date_trunc,
            "DEXP": _fixed("exp", 1),
            "DLOG1": _fixed("ln", 1),
            "DLOG10": _fixed("log10", 1),
            "FUNC_SHA1": _fixed("sha1", 1),
            "GETDATE": _fixed("getdate", 0, macro=True),
            "INITCAP": _fixed("initcap", 1, macro=True),
            "LAST_DAY": lambda args: duck("last_day", timestamp(args[0])),
            "LOG": _fixed("log10", 1),
            "LPAD": lambda args: duck("lpad", args[0], args[1], args[2] if len(args) > 2 else _literal(" ")),
            "LTRIM": _trim("ltrim"),
            "MD5": _fixed("md5", 1),
            "MONTHS_BETWEEN": lambda args: local("months_between", *(timestamp(arg) for arg in args)),
            "OCTET_LENGTH": _fixed("strlen", 1),
            "REGEXP_COUNT": _fixed("regexp_count", 2, macro=True),
            "REGEXP_INSTR": _fixed("regexp_instr", 2, macro=True),
            "REGEXP_REPLACE": _regexp_replace,
            "REGEXP_SUBSTR": _fixed("regexp_substr", 2, 3, 4, macro=True),
            "REPLICATE": _fixed("repeat", 2),
            "RPAD": lambda args: duck("rpad", args[0], args[1], args[2] if len(args) > 2 else _literal(" ")),
            "RTRIM": _trim("rtrim"),
            "SHA": _fixed("sha1", 1),
            "SHA1": _fixed("sha1", 1),
            "SHA2": _sha2,
            "STRPOS": _fixed("strpos", 2),
            "SUBSTR": _fixed("substring", 2, 3, macro=True),
            "TIMEZONE": _timezone,
            "TO_CHAR": _to_char,
            "TO_DATE": _to_date,
            "TO_TIMESTAMP": _to_timestamp,
        }
        FUNCTION_PARSERS = {
            name: parse
            for name, parse in Redshift.Parser.FUNCTION_PARSERS.items()
            if name
            in ("CAST", "CONVERT", "TRY_CAST", "EXTRACT", "POSITION", "SUBSTRING", "TRIM", "DECODE", "CEIL", "FLOOR", "CHR")
        }
        NO_PAREN_FUNCTION_PARSERS = {
            name: parse
            for name, parse in Redshift.Parser.NO_PAREN_FUNCTION_PARSERS.items()
            if name in ("ANY", "APPROXIMATE", "CASE", "SYSDATE")
        }


class LocalDuckDB(DuckDB):
    """DuckDB's SQL as we write it: sqlglot's, plus the calls of our macros."""

    class Generator(DuckDB.Generator):
        """Writes the calls of our macros."""

        TRANSFORMS = {
            **DuckDB.Generator.TRANSFORMS,
            Local: lambda self, node: f"{MACRO_SCHEMA}.{node.name}({', '.join(self.sql(arg) for arg in node.expressions)})",
        }


def tokens(sql: str) -> list[Token]:
    """The tokens of the text.

    :raises RedshiftError: a string or comment has no end.
    """
    try:
        return LocalRedshift().tokenize(sql)
    except TokenError as error:
        raise RedshiftError(f"unterminated quoted string or comment in {sql.strip()[:60]!r}") from error


def split(sql: str) -> list[str]:
    """The statements of a text, each from its first token to its last; semicolons and comments around them are left out."""
    statements: list[str] = []
    current: list[Token] = []
    for token in [*tokens(sql), None]:
        if token is not None and token.token_type != TokenType.SEMICOLON:
            current.append(token)
        elif current:
            statements.append(sql[current[0].start : current[-1].end + 1])
            current = []
    return statements


def placeholders(sql: str) -> set[str]:
    """The names of the parameters (``:name``) in the text, those in strings and comments not counted."""
    found = tokens(sql)
    return {
        after.text
        for colon, after in pairwise(found)
        if colon.token_type == TokenType.COLON and after.start == colon.end + 1 and re.fullmatch(r"[0-9a-zA-Z_]+", after.text)
    }


def parse(sql: str) -> exp.Expr:
    """The tree of one statement.

    :raises RedshiftError: the text is no SQL that Redshift takes, with the place of the first error.
    """
    try:
        trees = LocalRedshift().parse(sql)
    except ParseError as error:
        raise _syntax_error(sql, error) from error
    found = [tree for tree in trees if tree is not None]
    if len(found) != 1:
        raise RedshiftError("cannot insert multiple commands into a prepared statement")
    tree = found[0]
    # EXTRACT has a syntax of its own, which does not go through FUNCTIONS.
    for node in list(tree.find_all(exp.Extract)):
        changed = _extract(node.this, node.expression)
        if node is tree:
            tree = changed
        else:
            node.replace(changed)
    return tree


def generate(tree: exp.Expr) -> str:
    """The tree as DuckDB's SQL, every identifier quoted."""
    return tree.sql(LocalDuckDB, identify=True, unsupported_level=ErrorLevel.IGNORE)


def _syntax_error(sql: str, error: ParseError) -> RedshiftError:
    first = error.errors[0] if error.errors else {}
    near = str(first.get("highlight") or "").strip()
    before = str(first.get("start_context") or "")
    position = sql.find(before) + len(before) + 1 if before in sql else 1
    where = f'at or near "{near}"' if near else "at end of input"
    return RedshiftError(f"syntax error {where}\n  Position: {position}")
