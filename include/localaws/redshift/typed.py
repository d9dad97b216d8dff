"""Where Redshift's meaning depends on types: division, SUM, AVG, TRUNC, FLOOR, and numbers that become text.

Redshift's AVG of integers is an integer, its SUM of bigints a numeric(38,0), its numeric division keeps a fixed number of
digits. DuckDB's do otherwise without a word, so every such place is found, the types of its operands are asked of
DuckDB's own binder (on empty copies of the tables), and the expression is rewritten to give Redshift's value and type.
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb
from sqlglot import exp

from localaws.redshift.arithmetic import RULES, plain_text, windowed
from localaws.redshift.dialect import generate
from localaws.redshift.errors import NotServed, RedshiftError, from_duckdb

Bind = Callable[[str], list[str]]
"""Gives DuckDB's types of the columns of a query; raises ``duckdb.Error`` when it does not bind."""

_SCOPES = (exp.Select, exp.Update, exp.Delete, exp.Merge, exp.Insert)


def apply_types(tree: exp.Expr, bind: Bind) -> exp.Expr:
    """The tree with its type-dependent expressions rewritten, innermost first.

    :raises NotServed: the types of an expression cannot be told. :raises RedshiftError: the statement does not bind.
    """
    done: dict[int, exp.Expr] = {}  # by id; the nodes are kept, so that no id is used again
    for scope in _scopes(tree):
        _check_aliases(scope, bind)
        while True:
            pending = [node for node in scope.find_all(*RULES)
                       if id(node) not in done and _scope(node) is scope and _operands(node)]  # fmt: skip
            ready = [node for node in pending if not any(
                inner is not node and id(inner) not in done and _scope(inner) is scope and _operands(inner)
                for inner in node.find_all(*RULES))]  # fmt: skip
            if not ready:
                break
            types = _types(tree, scope, ready, bind)
            for node in ready:
                parent, key, index = node.parent, node.arg_key, node.index
                new = RULES[type(node)](node, types[id(node)])
                done[id(node)] = node
                done.update((id(inner), inner) for inner in new.find_all(*RULES))
                if new is not node:
                    assert parent is not None and key is not None
                    parent.set(key, new, index)
    return tree


def _check_aliases(scope: exp.Expr, bind: Bind) -> None:
    """Refuse a column's alias in WHERE and HAVING: DuckDB takes it, Redshift knows only columns there."""
    if not isinstance(scope, exp.Select):
        return
    aliases = {column.alias for column in scope.expressions if isinstance(column, exp.Alias)}
    clauses = [clause for clause in (scope.args.get("where"), scope.args.get("having")) if clause is not None]
    for clause in clauses:
        for column in clause.find_all(exp.Column):
            if column.table or column.name not in aliases or _scope(column) is not scope:
                continue
            for outer in (False, True):
                try:
                    bind(generate(_probe_query(scope, [column], grouped=False, columns=False, outer=outer)))
                    break
                except duckdb.Error:
                    continue
            else:
                raise RedshiftError(f'column "{column.name}" does not exist (an alias cannot be used in this clause)')


def _scopes(tree: exp.Expr) -> list[exp.Expr]:
    """The queries of a statement so that those that others read (CTEs, derived tables) come first."""
    found: list[exp.Expr] = []

    def visit(node: exp.Expr) -> None:
        clauses = sorted(node.args.items(), key=lambda item: {"with_": 0, "from_": 1, "joins": 2}.get(item[0], 3))
        for _, value in clauses:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, exp.Expr):
                    visit(child)
        if isinstance(node, _SCOPES):
            found.append(node)

    visit(tree)
    return found


def _operands(node: exp.Expr) -> list[exp.Expr]:
    """The parts of a node whose types decide what it means; none if it need not be looked at."""
    if isinstance(node, exp.Div):
        return [] if node.args.get("exact") else [node.this, node.expression]
    if isinstance(node, exp.DPipe):
        return [part for part in (node.this, node.expression) if not plain_text(part)]
    if isinstance(node, exp.Cast):
        kind = node.to.this
        if kind in (exp.DataType.Type.TEXT, exp.DataType.Type.VARCHAR) or kind in exp.DataType.INTEGER_TYPES:
            return [] if plain_text(node.this) or _is_number(node.this) else [node.this]
        return []
    if isinstance(node, exp.Window):
        return _operands(node.this) if isinstance(node.this, exp.Sum | exp.Avg) else []
    if isinstance(node, exp.Sum | exp.Avg):
        value = node.this.expressions[0] if isinstance(node.this, exp.Distinct) else node.this
        return [value]
    if isinstance(node, exp.Trunc) and node.args.get("decimals") is not None:
        return []
    return [node.this]


def _is_number(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and not node.is_string


def _scope(node: exp.Expr) -> exp.Expr:
    """The query (or the statement) whose tables the node's columns belong to."""
    found = node.find_ancestor(*_SCOPES)
    if isinstance(found, exp.Insert) and isinstance(found.parent, exp.When):
        found = found.find_ancestor(exp.Merge)
    return found if found is not None else node.root()


def _grouped(select: exp.Expr) -> bool:
    if not isinstance(select, exp.Select):
        return False
    if select.args.get("group"):
        return True
    return any(_scope(call) is select and not windowed(call) for call in _aggregates(select))


def _aggregates(node: exp.Expr) -> list[exp.Expr]:
    return [call for call in node.find_all(exp.AggFunc, exp.Anonymous)
            if isinstance(call, exp.AggFunc) or str(call.this).lower() == "string_agg"]  # fmt: skip


def _below_aggregate(operand: exp.Expr, scope: exp.Expr) -> bool:
    """Whether the operand is computed row by row, before the rows are grouped."""
    current: exp.Expr | None = operand.parent
    while current is not None and current is not scope:
        if isinstance(current, exp.AggFunc) and not windowed(current):
            return True
        if isinstance(current, exp.Where | exp.Group | exp.Join | exp.From):
            return True
        current = current.parent
    return False


def _types(tree: exp.Expr, scope: exp.Expr, nodes: list[exp.Expr], bind: Bind) -> dict[int, list[str]]:
    grouped = _grouped(scope)
    wanted = [(node, operand, grouped and bool(_aggregates(operand)) and not _below_aggregate(operand, scope))
              for node in nodes for operand in _operands(node)]  # fmt: skip
    found: dict[int, list[str]] = {id(node): [] for node in nodes}
    answers: dict[int, str] = {}
    for level in (False, True):
        operands = [operand for _, operand, is_grouped in wanted if is_grouped == level]
        if operands:
            kinds = _probe(tree, scope, operands, level, bind)
            answers.update(zip((id(operand) for operand in operands), kinds, strict=True))
    for node, operand, _ in wanted:
        found[id(node)].append(answers[id(operand)])
    return found


def _probe(tree: exp.Expr, scope: exp.Expr, operands: list[exp.Expr], grouped: bool, bind: Bind) -> list[str]:
    """The types of the operands, in the tables (and the groups) of their scope."""
    attempts = [(False, False), (True, False), (False, True), (True, True)]
    for with_columns, with_outer in attempts:
        query = _probe_query(scope, operands, grouped, with_columns, with_outer)
        try:
            return bind(generate(query))[-len(operands) :]
        except duckdb.Error:
            continue
    # None of them binds. If the statement itself does not either, its own error is the one to show.
    try:
        bind(generate(tree))
    except duckdb.Error as error:
        raise from_duckdb(error) from error
    raise NotServed(f"this use of {operands[0].sql('redshift')!r}: its type cannot be told there", "cast it, or use a join")


def _probe_query(scope: exp.Expr, operands: list[exp.Expr], grouped: bool, columns: bool, outer: bool) -> exp.Select:
    query = exp.Select()
    projected: list[exp.Expr] = []
    if columns and isinstance(scope, exp.Select) and (grouped or not _grouped(scope)):
        projected = [column.copy() for column in scope.expressions]
    query.set("expressions", projected + [exp.alias_(item.copy(), f"__{n}") for n, item in enumerate(operands)])
    sources, joins = _sources(scope)
    above = scope.parent
    while outer and above is not None:
        if isinstance(above, _SCOPES):
            more, more_joins = _sources(above)
            sources, joins = more + sources, more_joins + joins
        above = above.parent
    if sources:
        query.set("from_", exp.From(this=sources[0].copy()))
        commas = [exp.Join(this=item.copy()) for item in sources[1:]]
        query.set("joins", commas + [join.copy() for join in joins])
    if grouped and isinstance(scope, exp.Select) and scope.args.get("group"):
        query.set("group", _group(scope))
    ctes: list[exp.Expr] = []
    recursive = False
    current: exp.Expr | None = scope
    while current is not None:
        clause = current.args.get("with_")
        if clause is not None:
            recursive = recursive or bool(clause.args.get("recursive"))
            ctes = [cte.copy() for cte in clause.expressions] + ctes
        current = current.parent
    if ctes:
        query.set("with_", exp.With(expressions=ctes, recursive=recursive))
    return query


def _sources(scope: exp.Expr) -> tuple[list[exp.Expr], list[exp.Expr]]:
    joins = list(scope.args.get("joins") or [])
    source = scope.args.get("from_")
    if isinstance(scope, exp.Select):
        return ([source.this] if source is not None else []), joins
    sources = [] if isinstance(scope, exp.Insert) or scope.this is None else [scope.this]
    if isinstance(source, exp.From):
        sources.append(source.this)
        joins += source.this.args.get("joins") or []
    using = scope.args.get("using")
    if isinstance(using, list):
        sources += using
    elif isinstance(using, exp.Expr):
        sources.append(using)
    return sources, joins


def _group(select: exp.Select) -> exp.Expr:
    group = select.args["group"].copy()
    items = []
    for item in group.expressions:
        if isinstance(item, exp.Literal) and not item.is_string and item.name.isdigit():
            item = select.expressions[int(item.name) - 1].unalias().copy()
        items.append(item)
    group.set("expressions", items)
    return group
