"""Running one statement: told by its first word, read, translated, run in the session's transaction."""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlglot import exp

from localaws.redshift import alter, copying, ddl, unloading, utility
from localaws.redshift.catalog import TableName, quote
from localaws.redshift.dialect import parse, placeholders, split, tokens
from localaws.redshift.engine import Outcome, Session
from localaws.redshift.errors import NotServed, RedshiftError

_QUERIES = ("SELECT", "WITH", "(", "INSERT", "UPDATE", "DELETE", "MERGE")
_TRANSACTIONS = ("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT")


def run_statement(
    session: Session, sql: str, parameters: dict[str, str], consume: Callable[[Outcome], None] = lambda outcome: None
) -> Outcome:
    """Run one statement.

    :param parameters: the values of ``:name`` placeholders; all are texts, as the Data API sends them, and take the type
        of where they stand. They are bound, never put into the SQL.
    :param consume: takes the rows of a result before the transaction ends.
    :raises RedshiftError: in Redshift's words.
    """
    found = split(sql)
    if not found:
        raise RedshiftError("Query cannot be empty")
    if len(found) > 1:
        raise RedshiftError("cannot insert multiple commands into a prepared statement")
    first = tokens(found[0])[0]
    statement, word = found[0][first.start :], first.text.upper()  # without the comments before it
    if word in _TRANSACTIONS:
        outcome = utility.transaction(session, word)
        consume(outcome)
        return outcome
    names = placeholders(statement)
    if names and word not in _QUERIES:
        raise RedshiftError(
            f"bind parameters (:{sorted(names)[0]}) can only be used in SELECT, INSERT, UPDATE, DELETE and MERGE, not in {word}"
        )
    for name in sorted(names - set(parameters)):
        raise RedshiftError(f"no value specified for parameter :{name}")
    with session.timeout():
        return session.run(lambda: _dispatch(session, word, statement, parameters), consume)


def _dispatch(session: Session, word: str, sql: str, parameters: dict[str, str]) -> Outcome:
    if word in _QUERIES:
        return _query(session, parse(sql), parameters)
    if word == "COPY":
        return copying.copy(session, sql)
    if word == "UNLOAD":
        return unloading.unload(session, sql)
    if word == "CREATE":
        return ddl.create(session, sql)
    if word == "ALTER":
        return alter.alter(session, sql)
    if word in ("DROP", "TRUNCATE"):
        tree = parse(sql)
        if isinstance(tree, exp.Drop):
            return ddl.drop(session, tree)
        if isinstance(tree, exp.TruncateTable):
            return ddl.truncate(session, tree)
    if word in ("SET", "RESET"):
        return utility.setting(session, sql)
    if word == "SHOW":
        return utility.show(session, sql)
    if word == "LOCK":
        return utility.lock(session, sql)
    if word in ("VACUUM", "ANALYZE"):
        return utility.maintenance(session, word, sql)
    if word in ("GRANT", "REVOKE"):
        return utility.privileges(session, sql)
    if word == "COMMENT":
        return Outcome()  # comments are seen in pg_description only, which is not served
    if word in ("EXPLAIN", "CALL", "REFRESH", "PREPARE", "EXECUTE", "DEALLOCATE", "DECLARE", "FETCH", "CANCEL", "USE"):
        raise NotServed(word)
    raise RedshiftError(f'syntax error at or near "{tokens(sql)[0].text}"\n  Position: 1')


def _query(session: Session, tree: exp.Expr, parameters: dict[str, str]) -> Outcome:
    values = _bind(tree, parameters)
    if isinstance(tree, exp.Select) and tree.args.get("into") is not None:
        return _select_into(session, tree)
    if isinstance(tree, exp.Query):
        _session_values(session, tree)
        session.execute(session.compile(tree, values), values)
        return session.result()
    if isinstance(tree, exp.Delete) and not tree.this and tree.args.get("tables"):
        tree.set("this", tree.args["tables"][0])  # DELETE t: FROM may be left out
        tree.set("tables", None)
    if not isinstance(tree, exp.Insert | exp.Update | exp.Delete | exp.Merge):
        raise NotServed(type(tree).__name__.upper())
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    session.write(session.find(target), append=isinstance(tree, exp.Insert))
    if isinstance(tree, exp.Insert):
        _check_insert(session, tree)
    elif isinstance(tree, exp.Merge):
        _check_merge(session, tree, values)
    session.execute(session.compile(tree, values), values)
    return session.changed()


def _bind(tree: exp.Expr, parameters: dict[str, str]) -> dict[str, str]:
    """Rename the placeholders to names that DuckDB surely takes, and return their values."""
    values = {}
    for node in list(tree.find_all(exp.Placeholder)):
        name = str(node.this or "")
        if name not in parameters:
            raise RedshiftError('syntax error at or near "?"' if not name else f"no value specified for parameter :{name}")
        kind = node.parent.to if isinstance(node.parent, exp.Cast) else None
        integer = kind is not None and kind.this in exp.DataType.INTEGER_TYPES
        if integer and not re.fullmatch(r"\s*[+-]?\d+\s*", parameters[name]):
            raise RedshiftError(f'invalid input syntax for integer: "{parameters[name]}"')
        node.set("this", f"p_{name}")
        values[f"p_{name}"] = parameters[name]
    return values


def _session_values(session: Session, tree: exp.Expr) -> None:
    """Functions that tell about the session become their values."""
    known = {"pg_backend_pid": session.pid, "pg_last_copy_count": session.copied, "version": None}
    for node in list(tree.find_all(exp.Anonymous)):
        name = str(node.this).lower()
        if name in known and not node.expressions:
            node.replace(exp.Literal.number(known[name] or 0))


def _select_into(session: Session, tree: exp.Select) -> Outcome:
    into = tree.args["into"]
    target: exp.Table = into.this
    temporary = bool(into.args.get("temporary")) or target.name.startswith("#")
    table = (TableName("main", target.name.lower(), True) if temporary
             else TableName(target.db.lower() or session.search_path[0], target.name.lower()))  # fmt: skip
    session.write(table)
    if session.columns(table):
        raise RedshiftError(f'relation "{table.name}" already exists')
    tree.set("into", None)
    return ddl.create_as(session, table, tree)


def _check_insert(session: Session, tree: exp.Insert) -> None:
    for key in ("conflict", "returning", "overwrite", "by_name", "ignore", "where"):
        if tree.args.get(key):
            raise RedshiftError(f"syntax error: INSERT has no {key.upper().replace('_', ' ')} in Redshift")
    schema = tree.this if isinstance(tree.this, exp.Schema) else None
    table = session.find(schema.this if schema is not None else tree.this)
    identities = {column.name for column in session.columns(table) if column.identity}
    if not identities:
        return
    if schema is None:
        raise RedshiftError(f"INSERT into {table} must name its columns: {', '.join(sorted(identities))} is an IDENTITY")
    for item in schema.expressions:
        if item.name.lower() in identities:
            raise RedshiftError(f'cannot set an identity column to a value: "{item.name.lower()}"')


def _check_merge(session: Session, tree: exp.Merge, values: dict[str, str]) -> None:
    """Redshift wants one WHEN MATCHED and one WHEN NOT MATCHED, and a target row to match one source row at most."""
    whens = tree.args["whens"].expressions
    kinds = [bool(when.args.get("matched")) for when in whens]
    if sorted(kinds) != [False, True] or any(when.args.get("condition") for when in whens):
        raise RedshiftError("MERGE must have one WHEN MATCHED THEN and one WHEN NOT MATCHED THEN clause, without conditions")
    table = session.find(tree.this)
    for when in whens:
        insert = when.args.get("then")
        if not isinstance(insert, exp.Insert):
            continue
        bare = insert.this or insert.expression
        if isinstance(bare, exp.Tuple) and len(bare.expressions) == 1:
            bare = bare.expressions[0]
        if isinstance(bare, exp.Anonymous) and str(bare.this).upper() == "VALUES":
            # INSERT VALUES (...) without names means all columns; it was read as the call of a function.
            names = [column.name for column in session.columns(table)][: len(bare.expressions)]
            insert.set("this", exp.Tuple(expressions=[exp.column(name) for name in names]))
            insert.set("expression", exp.Tuple(expressions=bare.expressions))
    target = tree.this.copy()
    source = tree.args["using"].copy()
    name = target.alias_or_name.lower()
    probe = (
        exp.Select(expressions=[exp.Literal.number(1)]).from_(target).join(source, on=tree.args["on"].copy(), join_type="INNER")
    )
    with_clause = tree.args.get("with_")
    if with_clause is not None:
        probe.set("with_", with_clause.copy())
    sql = session.compile(probe, values)
    cursor = session.execute(f"{sql} GROUP BY {quote(name)}.rowid HAVING count(*) > 1 LIMIT 1", values)
    if cursor.fetchall():
        raise RedshiftError("Found multiple matches to update the same tuple.")
