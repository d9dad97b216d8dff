"""From Redshift's tree to DuckDB's: what means the same stays, what does not is rewritten, what is left is refused.

The list of functions below is a list of what is known to mean the same in both. A function that is on no list fails with
Redshift's "function does not exist" rather than running as whatever DuckDB makes of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlglot import exp

from localaws.redshift.dialect import Local, duck, local, timestamp
from localaws.redshift.errors import NotServed, RedshiftError
from localaws.redshift.sqltypes import cast_type

# Functions (sqlglot's classes) that mean the same in Redshift and in DuckDB.
SAME = {
    exp.Abs, exp.Acos, exp.And, exp.AnyValue, exp.Ascii, exp.Asin, exp.Atan, exp.Atan2, exp.Avg, exp.BitwiseAndAgg,
    exp.BitwiseOrAgg, exp.Case, exp.Cast, exp.Cbrt, exp.Ceil, exp.Chr, exp.Coalesce, exp.Cos, exp.Cot, exp.Count,
    exp.CumeDist, exp.DecodeCase, exp.Degrees, exp.DenseRank, exp.Exists, exp.Exp, exp.FirstValue, exp.Floor,
    exp.Greatest, exp.If, exp.Lag, exp.LastValue, exp.Lead, exp.Least, exp.Left, exp.Length, exp.Ln, exp.LogicalAnd,
    exp.LogicalOr, exp.Lower, exp.LowerHex, exp.Max, exp.Median, exp.Min, exp.NthValue, exp.Ntile, exp.Nullif, exp.Nvl2,
    exp.Or, exp.PercentRank, exp.PercentileCont, exp.PercentileDisc, exp.Pi, exp.Pow, exp.Radians, exp.Rand, exp.Rank,
    exp.Repeat, exp.Replace, exp.Reverse, exp.Right, exp.Round, exp.RowNumber, exp.Sign, exp.Sin, exp.SplitPart,
    exp.Sqrt, exp.Stddev, exp.StddevPop, exp.StddevSamp, exp.Sum, exp.Tan, exp.Translate, exp.Trunc, exp.TryCast,
    exp.Upper, exp.Variance, exp.VariancePop, exp.Grouping,
}  # fmt: skip

# Nodes that only DuckDB's SQL (or sqlglot's) has; Redshift would stop at them.
_REFUSED: dict[type[exp.Expr], str] = {
    exp.Filter: "FILTER (WHERE ...) on an aggregate; Redshift has none, use CASE",
    exp.Lambda: "lambda functions",
    exp.Array: "ARRAY constructors",
    exp.Bracket: "navigation with []",
    exp.Struct: "STRUCT constructors",
    exp.Lateral: "LATERAL",
    exp.Pivot: "PIVOT and UNPIVOT",
    exp.TableSample: "TABLESAMPLE",
    exp.SimilarTo: "SIMILAR TO; use ~ with a POSIX pattern",
    exp.OnConflict: "ON CONFLICT; Redshift has none, use MERGE",
    exp.Returning: "RETURNING; Redshift has none",
    exp.Explode: "functions that return sets",
    exp.ExplodingGenerateSeries: "GENERATE_SERIES; Redshift runs it on the leader node only",
    exp.Values: "a VALUES list outside INSERT; Redshift has none",
    exp.Parameter: "@ parameters; write :name",
    exp.SessionParameter: "session parameters",
    exp.Fetch: "FETCH FIRST; use LIMIT",
}

SYSTEM_VIEWS = {
    ("", "svv_table_info"): "svv_table_info", ("", "svv_tables"): "svv_tables", ("", "svv_columns"): "svv_columns",
    ("", "pg_table_def"): "pg_table_def", ("pg_catalog", "pg_table_def"): "pg_table_def",
    ("pg_catalog", "svv_table_info"): "svv_table_info",
    ("information_schema", "tables"): "information_schema_tables",
    ("information_schema", "columns"): "information_schema_columns",
    ("information_schema", "schemata"): "information_schema_schemata",
    ("", "stl_load_errors"): "stl_load_errors", ("", "sys_load_error_detail"): "sys_load_error_detail",
}  # fmt: skip
"""(schema, name) as Redshift has it -> our view in ``catalog.py``."""

_NAMES = {exp.Length: "len", exp.GroupConcat: "listagg", exp.ApproxDistinct: "count", exp.ParseJSON: "json_parse",
          exp.Pow: "power", exp.Substring: "substring"}  # fmt: skip
"""Function classes that Redshift calls otherwise than sqlglot."""

_FRAMED = (exp.Sum, exp.Avg, exp.Count, exp.Min, exp.Max, exp.Stddev, exp.StddevPop, exp.StddevSamp, exp.Variance,
           exp.VariancePop, exp.FirstValue, exp.LastValue, exp.NthValue)  # fmt: skip


def rewrite(tree: exp.Expr, temporary: set[str] = frozenset()) -> exp.Expr:  # type: ignore[assignment]
    """The tree with Redshift's meaning for DuckDB; the types of its parts are looked at later (``typed.py``).

    :param temporary: the names of the session's temporary tables.
    :raises RedshiftError: Redshift would refuse it. :raises NotServed: we do.
    """
    for node in tree.find_all(exp.Identifier):
        node.set("this", node.name.lower())
    for node in tree.find_all(*_REFUSED):
        if isinstance(node, exp.Values) and isinstance(node.parent, exp.Insert):
            continue
        raise NotServed(_REFUSED[type(node)])
    for select in tree.find_all(exp.Select):
        _check_select(select)
    for node in list(tree.find_all(exp.Window)):
        _check_window(node)
    for table in list(tree.find_all(exp.Table)):
        _table(table, tree, temporary)
    name_columns(tree)
    return bottom_up(tree, _node)


def bottom_up(tree: exp.Expr, change: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    """The tree with every node replaced by ``change(node)``, children before their parents."""
    for node in reversed(list(tree.bfs())):
        parent, key, index = node.parent, node.arg_key, node.index
        new = change(node)
        if new is node:
            continue
        if node is tree:
            tree, new.parent = new, None
        else:
            assert parent is not None and key is not None
            parent.set(key, new, index)
    return tree


def _check_select(select: exp.Select) -> None:
    distinct = select.args.get("distinct")
    if distinct is not None and distinct.args.get("on"):
        raise NotServed("DISTINCT ON; Redshift has none, use QUALIFY ROW_NUMBER()")
    for join in select.args.get("joins") or []:
        if join.method or (join.kind or "").upper() not in ("", "INNER", "OUTER", "CROSS"):
            raise NotServed(f"{join.method or join.kind} JOIN")
    group = select.args.get("group")
    if group is not None and group.args.get("all"):
        raise NotServed("GROUP BY ALL", "name the columns")
    for star in select.find_all(exp.Star):
        if star.args.get("replace") or star.args.get("rename"):
            raise NotServed("SELECT * REPLACE; Redshift has none")
    # LISTAGG and percentiles carry their order in WITHIN GROUP; order and limit inside a call are DuckDB's own.
    for call in select.find_all(exp.AggFunc):
        if isinstance(call.this, exp.Order | exp.Limit):
            raise RedshiftError("syntax error: ORDER BY inside of an aggregate's arguments")


def _check_window(window: exp.Window) -> None:
    function = window.this
    while isinstance(function, exp.IgnoreNulls | exp.RespectNulls):
        function = function.this
    spec = window.args.get("spec")
    if window.args.get("order") is not None and spec is None and isinstance(function, _FRAMED):
        raise RedshiftError("Aggregate window functions with an ORDER BY clause require a frame clause")
    if spec is not None and (spec.args.get("kind") or "").upper() != "ROWS":
        raise NotServed("RANGE and GROUPS frames; Redshift has ROWS frames only")


def _table(table: exp.Table, tree: exp.Expr, temporary: set[str]) -> None:
    if table.this is not None and not isinstance(table.this, exp.Identifier):
        raise NotServed(f"the table function {table.this.sql()}")
    if table.args.get("catalog"):
        raise NotServed(f"queries across databases ({table.sql()})")
    name, schema = table.name, table.db
    if re.search(r"[/.\\*?:]", name + schema):
        raise RedshiftError(f'relation "{table.sql()}" does not exist')
    if schema in ("main", "temp", "rs", "pg_internal", "pg_temp") or (not schema and name.startswith("duckdb_")):
        raise RedshiftError(f'relation "{f"{schema}." * bool(schema)}{name}" does not exist')
    if name in temporary and not schema:
        return
    view = SYSTEM_VIEWS.get((schema, name))
    if view:
        alias = table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(name))
        table.replace(
            exp.Table(
                this=exp.to_identifier(view),
                db=exp.to_identifier("pg_internal"),
                alias=alias,
            )
        )
        return
    system = schema in ("information_schema", "pg_catalog") or re.match(r"(stl|stv|svl|svv|sys|svcs|pg)_", name)
    if system and not _defined_by(tree, name):
        raise NotServed(f"the system table {name}", f"served: {', '.join(sorted({v for _, v in SYSTEM_VIEWS}))}")


def _defined_by(tree: exp.Expr, name: str) -> bool:
    return any(cte.alias == name for cte in tree.find_all(exp.CTE))


def name_columns(tree: exp.Expr) -> None:
    """Give the unnamed columns of the outermost query, and of derived tables, the names that Redshift gives them."""
    tops = [tree] if isinstance(tree, exp.Query) else [tree.args.get("expression")]
    tops += [cte.this for cte in tree.find_all(exp.CTE)] + [
        sub.this for sub in tree.find_all(exp.Subquery) if isinstance(sub.parent, exp.From | exp.Join)
    ]
    for top in tops:
        while isinstance(top, exp.SetOperation | exp.Subquery):
            top = top.this
        if isinstance(top, exp.Select):
            top.set("expressions", [_named(column) for column in top.expressions])


def _named(column: exp.Expr) -> exp.Expr:
    if isinstance(column, exp.Alias | exp.Column | exp.Star | exp.Aliases):
        return column
    return exp.alias_(column, _implied_name(column), quoted=True)


def _implied_name(node: exp.Expr) -> str:
    if isinstance(node, exp.Column):
        return node.name
    if isinstance(node, exp.Paren | exp.Window | exp.WithinGroup | exp.IgnoreNulls | exp.RespectNulls):
        return _implied_name(node.this)
    if isinstance(node, exp.Cast):
        inner = _implied_name(node.this)
        return inner if inner != "?column?" else cast_type(node.to).api_name
    if isinstance(node, exp.Case | exp.DecodeCase):
        return "case"
    if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Select) and node.this.expressions:
        first = node.this.expressions[0]
        return first.alias_or_name or _implied_name(first)
    if isinstance(node, exp.Anonymous | Local):
        return str(node.this).lower()
    if type(node) in _NAMES:
        return _NAMES[type(node)]
    if isinstance(node, exp.Func) and not isinstance(node, exp.And | exp.Or | exp.Binary):
        return node.sql_name().lower()
    return "?column?"


def _node(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Like | exp.ILike) and not isinstance(node.parent, exp.Escape):
        pattern = node.expression
        if not isinstance(pattern, exp.Literal) or "\\" in pattern.name:
            return exp.Escape(this=node, expression=exp.Literal.string("\\"))
        return node
    if isinstance(node, exp.WithinGroup) and isinstance(node.this, exp.Anonymous):
        return _ordered_listagg(node)
    if isinstance(node, exp.Window) and isinstance(node.this, exp.Anonymous) and not node.this.meta.get("checked"):
        return _ratio_to_report(node)
    if isinstance(node, exp.Cast):
        return _cast(node)
    if not isinstance(node, exp.Func) or type(node) in SAME or isinstance(node, Local):
        return node
    if isinstance(node, exp.Anonymous):
        return _anonymous(node)
    handler = _REWRITES.get(type(node))
    if handler is None:
        name = node.sql_name().lower()
        raise NotServed(f"the function {name}()", "see rewrite.py for those that are")
    return handler(node)


def _anonymous(node: exp.Anonymous) -> exp.Expr:
    if node.meta.get("checked"):
        return node
    name = str(node.this).lower()
    if name == "ratio_to_report" and isinstance(node.parent, exp.Window) and len(node.expressions) == 1:
        return node
    raise RedshiftError(f"function {name}() does not exist (no function of Redshift's that Flywheel's local Redshift serves)")


def _cast(node: exp.Cast) -> exp.Expr:
    target = cast_type(node.to)
    value = node.this
    text = isinstance(value, exp.Literal) and value.is_string
    if target.integer and text and not re.fullmatch(r"\s*[+-]?\d+\s*", value.name):
        raise RedshiftError(f'invalid input syntax for integer: "{value.name}"')
    node.set("to", exp.DataType.build(target.duckdb, dialect="duckdb"))
    if target.length is None:
        return node
    # An explicit cast cuts a text to the type's length (in bytes), where an INSERT would fail. The cast below is met
    # by the walk again, without a length.
    whole = exp.Cast(this=value, to=exp.DataType.build("TEXT", dialect="duckdb"))
    return local("cut", whole, exp.Literal.number(target.length))


def _listagg(node: exp.GroupConcat) -> exp.Expr:
    """LISTAGG: no separator unless given, NULLs left out, the order from WITHIN GROUP."""
    value, separator = node.this, node.args.get("separator") or exp.Literal.string("")
    if isinstance(value, exp.Distinct):
        parts = value.expressions
        separator = parts[1] if len(parts) > 1 else separator
        value = exp.Distinct(expressions=[parts[0]])
    return duck("string_agg", value, separator)


def _ordered_listagg(node: exp.WithinGroup) -> exp.Expr:
    call, order = node.this, node.expression
    value, separator = call.expressions
    ordered = exp.Order(this=separator, expressions=order.expressions)
    joined = duck("string_agg", value, ordered)
    return joined if isinstance(node.parent, exp.Window) else local("listagg_limit", joined)


def _ratio_to_report(window: exp.Window) -> exp.Expr:
    value = exp.cast(window.this.expressions[0], "double")
    total = window.copy()
    total.set("this", exp.Sum(this=value.copy()))
    return exp.Paren(this=exp.Div(this=value, expression=exp.Nullif(this=total, expression=exp.Literal.number(0)), typed=True))


def _approximate_count(node: exp.ApproxDistinct) -> exp.Expr:
    # Redshift's sketch errs by up to 2 %; the exact count is a right answer too, and always the same one.
    return exp.Count(this=exp.Distinct(expressions=[node.this]))


def _same_path(node: exp.Substring) -> exp.Expr:
    args = [node.this, node.args.get("start") or exp.Literal.number(1)]
    if node.args.get("length") is not None:
        args.append(node.args["length"])
    return local("substring", *args)


def _trim(node: exp.Trim) -> exp.Expr:
    name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get((node.args.get("position") or "").upper(), "trim")
    return duck(name, node.this, node.expression or exp.Literal.string(" "))


_REWRITES = {
    exp.GroupConcat: _listagg,
    exp.ApproxDistinct: _approximate_count,
    exp.Substring: _same_path,
    exp.Trim: _trim,
    exp.CurrentDate: lambda node: local("current_date"),
    exp.CurrentTimestamp: lambda node: local("sysdate") if node.args.get("sysdate") else duck("now"),
    exp.CurrentDatabase: lambda node: duck("current_database"),
    exp.CurrentSchema: lambda node: duck("current_schema"),
    exp.CurrentUser: lambda node: exp.Literal.string("awsuser"),
    exp.SessionUser: lambda node: exp.Literal.string("awsuser"),
    exp.StrPosition: lambda node: duck("strpos", node.this, node.args["substr"]),
    exp.RegexpLike: lambda node: duck("regexp_matches", node.this, node.expression),
    exp.RegexpILike: lambda node: duck("regexp_matches", node.this, node.expression, exp.Literal.string("i")),
    exp.AtTimeZone: lambda node: duck("timezone", node.args["zone"], timestamp(node.this)),
    exp.ParseJSON: lambda node: exp.Cast(this=node.this, to=exp.DataType.build("JSON", dialect="duckdb")),
}
