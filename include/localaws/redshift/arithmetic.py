"""Arithmetic as Redshift does it: what an expression becomes once the types of its operands are known."""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlglot import exp

from localaws.redshift.dialect import duck, local
from localaws.redshift.errors import RedshiftError

INTEGERS = {"TINYINT": 5, "SMALLINT": 5, "INTEGER": 10, "BIGINT": 19, "HUGEINT": 38}
"""DuckDB's integer types -> the digits that Redshift counts for them."""

_TEXTS = ("VARCHAR", "STRING_LITERAL")


def windowed(call: exp.Expr) -> bool:
    """Whether an aggregate is a window function, which is computed after the rows are grouped."""
    parent = call.parent
    while isinstance(parent, exp.IgnoreNulls | exp.RespectNulls | exp.WithinGroup):
        call, parent = parent, parent.parent
    return isinstance(parent, exp.Window) and parent.this is call


def plain_text(node: exp.Expr) -> bool:
    """Whether the node is a string or a parameter, which take their type from where they stand."""
    return isinstance(node, exp.Placeholder) or (isinstance(node, exp.Literal) and node.is_string)


def _numeric(kind: str) -> tuple[int, int] | None:
    """(precision, scale) of an exact number's type."""
    if kind in INTEGERS:
        return INTEGERS[kind], 0
    match = re.fullmatch(r"DECIMAL\((\d+),\s*(\d+)\)", kind)
    return (int(match.group(1)), int(match.group(2))) if match else None


def division_type(left: tuple[int, int], right: tuple[int, int]) -> tuple[int, int]:
    """Redshift's (precision, scale) of a numeric division: (19,0) by (19,0) is (38,19).

    Scale is max(4, s1 + p2 - s2 + 1); digits beyond 38 are taken from the scale, of which 4 always stay.
    """
    (p1, s1), (p2, s2) = left, right
    scale = max(4, s1 + p2 - s2 + 1)
    precision = p1 - s1 + s2 + scale
    if precision > 38:
        scale, precision = max(scale - (precision - 38), 4), 38
    return precision, scale


def _unscaled(node: exp.Expr, precision: int, scale: int) -> exp.Expr:
    """The number without its point, as an integer."""
    if scale == 0:
        return _as(node, "HUGEINT")
    if precision + scale + 1 <= 38:
        product = exp.Mul(this=exp.Paren(this=node), expression=_number(f"1{'0' * scale}"))
        return _as(product, "HUGEINT")
    text = duck("replace", _as(node, "VARCHAR"), exp.Literal.string("."), exp.Literal.string(""))
    return _as(text, "HUGEINT")


def _as(node: exp.Expr, kind: str) -> exp.Expr:
    """The node cast to a type of DuckDB's; the node itself, not a copy."""
    return exp.Cast(this=node, to=exp.DataType.build(kind, dialect="duckdb"))


def _number(text: str) -> exp.Expr:
    return exp.Literal.number(text)


def _divide(left: exp.Expr, right: exp.Expr, of: tuple[int, int], by: tuple[int, int], scale: int) -> exp.Expr:
    """The exact quotient, cut (not rounded) after ``scale`` digits, as DECIMAL(38, scale)."""
    shift = scale - of[1] + by[1]
    top, bottom = _unscaled(left, *of), _unscaled(right, *by)
    factor = _as(_number("1" + "0" * max(shift, 0)), "HUGEINT")
    if shift < 0:
        bottom = exp.Mul(this=bottom, expression=_number("1" + "0" * -shift))
    one = exp.Literal.string(f"0.{'0' * (scale - 1)}1" if scale else "1")
    unit = _as(one, f"DECIMAL({scale + 1},{scale})")
    return local("decimal_div", top, bottom, factor, unit)


def _div(node: exp.Div, types: list[str]) -> exp.Expr:
    left, right = _numeric(types[0]), _numeric(types[1])
    if left is None or right is None or (types[0] in INTEGERS and types[1] in INTEGERS and "HUGEINT" not in types):
        return node
    precision, scale = division_type(left, right)
    quotient = _divide(node.this, node.expression, left, right, scale)
    return _as(quotient, f"DECIMAL({precision},{scale})")


def _sum(node: exp.Expr, types: list[str]) -> exp.Expr:
    if types[0] in ("TINYINT", "SMALLINT", "INTEGER"):
        return _as(node, "BIGINT")
    if types[0] in ("BIGINT", "HUGEINT"):
        return _as(node, "DECIMAL(38,0)")
    if types[0] == "BOOLEAN":
        raise RedshiftError("function sum(boolean) does not exist")
    return node


def _avg(node: exp.Expr, types: list[str]) -> exp.Expr:
    """AVG of integers is a bigint, AVG of decimals keeps their scale: both cut, neither rounded."""
    kind = _numeric(types[0])
    if types[0] == "BOOLEAN":
        raise RedshiftError("function avg(boolean) does not exist")
    if kind is None:
        return node
    total, count = node.copy(), node.copy()
    for copy, function in ((total, exp.Sum), (count, exp.Count)):
        call = copy.this if isinstance(copy, exp.Window) else copy
        new = function(this=call.this)
        if isinstance(copy, exp.Window):
            copy.set("this", new)
        elif function is exp.Sum:
            total = new
        else:
            count = new
    rows = exp.Nullif(this=count, expression=_number("0"))
    if types[0] in INTEGERS and types[0] != "HUGEINT":
        whole = exp.IntDiv(this=exp.Paren(this=total), expression=rows)
        return _as(whole, "BIGINT")
    precision, scale = kind
    mean = _divide(total, rows, (38, scale), (19, 0), scale)
    width = 19 if precision <= 19 else 38
    return _as(mean, f"DECIMAL({max(width, scale)},{scale})")


def _window(node: exp.Window, types: list[str]) -> exp.Expr:
    return (_sum if isinstance(node.this, exp.Sum) else _avg)(node, types)


def _bare(rule: Callable[[exp.Expr, list[str]], exp.Expr]) -> Callable[[exp.Expr, list[str]], exp.Expr]:
    """The rule for a call that is no window function; those are rewritten with their window."""
    return lambda node, types: node if windowed(node) else rule(node, types)


def _whole(node: exp.Expr, types: list[str]) -> exp.Expr:
    return node.this if types[0] in INTEGERS else node


def _trunc(node: exp.Expr, types: list[str]) -> exp.Expr:
    if types[0].startswith(("TIMESTAMP", "DATE")):
        return _as(node.this, "DATE")
    return node


def _text_of(node: exp.Expr, kind: str) -> exp.Expr:
    if kind == "BOOLEAN":
        raise RedshiftError("cannot cast type boolean to character varying")
    if kind in ("DOUBLE", "FLOAT"):
        return local("float_text" if kind == "DOUBLE" else "real_text", node)
    return node


def _concat(node: exp.DPipe, types: list[str]) -> exp.Expr:
    kinds = iter(types)
    for side in ("this", "expression"):
        part = node.args[side]
        if not plain_text(part):
            node.set(side, _text_of(part, next(kinds)))
    return node


# What the compute nodes' errors call the types.
_INTEGERS = {exp.DataType.Type.SMALLINT: "Short", exp.DataType.Type.BIGINT: "Long"}


def _cast(node: exp.Cast, types: list[str]) -> exp.Expr:
    if node.to.this in exp.DataType.INTEGER_TYPES:
        if types[0] in _TEXTS:
            node.set("this", local("text_to_int", node.this, exp.Literal.string(_INTEGERS.get(node.to.this, "Integer"))))
    else:
        node.set("this", _text_of(node.this, types[0]))
    return node


RULES: dict[type[exp.Expr], Callable] = {
    exp.Div: _div,
    exp.Sum: _bare(_sum),
    exp.Avg: _bare(_avg),
    exp.Window: _window,
    exp.Floor: _whole,
    exp.Ceil: _whole,
    exp.Trunc: _trunc,
    exp.DPipe: _concat,
    exp.Cast: _cast,
}
"""(node, types of its operands) -> what gives Redshift's value and type, by the node's class."""
