"""ALTER TABLE: DuckDB's own where it can, else the table is made anew in the same transaction."""

from __future__ import annotations

import re
from dataclasses import replace

from sqlglot import exp

from localaws.redshift.catalog import TableName, quote
from localaws.redshift.ddl import ColumnSpec, _column, _views_bound_to, make_table
from localaws.redshift.dialect import parse
from localaws.redshift.engine import Outcome, Session
from localaws.redshift.errors import NotServed, RedshiftError
from localaws.redshift.sqltypes import cast_type

_STORAGE = re.compile(r"(?is)\balter\s+(table)\s+\S+\s+(alter\s+(distkey|diststyle|sortkey|compound|encode)|owner\s+to)\b")
_APPEND = re.compile(r"(?is)^\s*alter\s+table\s+(\S+)\s+append\s+from\s+(\S+)\s*(filltarget|ignoreextra)?\s*$")


def alter(session: Session, sql: str) -> Outcome:
    """ALTER TABLE: rename, columns, APPEND; what concerns storage, keys and owners changes nothing here."""
    append = _APPEND.match(sql)
    if append:
        return _append(session, append)
    if _STORAGE.search(sql):
        words = sql.split()
        session.find(exp.to_table(words[2], dialect="redshift"))
        return Outcome()
    tree = parse(sql)
    if not isinstance(tree, exp.Alter) or tree.kind != "TABLE" or len(tree.args["actions"]) != 1:
        raise NotServed(" ".join(sql.split()[:2]).upper() + " in this form")
    table = session.find(tree.this)
    session.write(table)
    action = tree.args["actions"][0]
    if isinstance(action, exp.AddConstraint):
        return Outcome()
    if isinstance(action, exp.AlterRename):
        return _rename(session, table, action.this.name.lower())
    if isinstance(action, exp.RenameColumn):
        old, new = action.this.name.lower(), action.args["to"].name.lower()
        _need_column(session, table, old)
        session.execute(f"ALTER TABLE {table.sql} RENAME COLUMN {quote(old)} TO {quote(new)}")
        return Outcome()
    if isinstance(action, exp.ColumnDef):
        spec = _column(action)
        if spec.not_null and spec.default is None:
            raise RedshiftError("ALTER TABLE ADD COLUMN defined as NOT NULL must have a non-null default expression")
        if any(column.name == spec.name for column in session.columns(table)):
            raise RedshiftError(f'column "{spec.name}" of relation "{table.name}" already exists')
        specs = _specs(session, table)
        _rebuild(session, table, [*specs, spec], {spec.name: spec.default or "NULL"})
        return Outcome()
    if isinstance(action, exp.Drop) and action.args.get("kind") == "COLUMN":
        gone = action.args["tables"][0].name.lower()
        _need_column(session, table, gone)
        _rebuild(session, table, [spec for spec in _specs(session, table) if spec.name != gone], {})
        return Outcome()
    if isinstance(action, exp.AlterColumn) and action.args.get("dtype") is not None:
        return _retype(session, table, action)
    raise NotServed(f"ALTER TABLE ... {action.sql('redshift')}")


def _specs(session: Session, table: TableName) -> list[ColumnSpec]:
    columns = session.columns(table)
    if any(column.identity for column in columns):
        raise NotServed("changing the columns of a table that has an IDENTITY column")
    return [ColumnSpec.like(column, defaults=True) for column in columns]


def _need_column(session: Session, table: TableName, name: str) -> None:
    if all(column.name != name for column in session.columns(table)):
        raise RedshiftError(f'column "{name}" of relation "{table.name}" does not exist')


def _rename(session: Session, table: TableName, new: str) -> Outcome:
    bound = _views_bound_to(session, table)
    if bound:
        raise NotServed(f"renaming {table} while views are bound to it ({', '.join(bound)})", "make them WITH NO SCHEMA BINDING")
    target = TableName(table.schema, new, table.temporary)
    session.write(target)
    if session.columns(target):
        raise RedshiftError(f'relation "{new}" already exists')
    session.execute(f"ALTER TABLE {table.sql} RENAME TO {quote(new)}")
    return Outcome()


def _retype(session: Session, table: TableName, action: exp.AlterColumn) -> Outcome:
    """ALTER COLUMN TYPE: Redshift changes the length of a VARCHAR, and nothing else."""
    if session.block:
        raise RedshiftError("ALTER TABLE ALTER COLUMN cannot run inside a transaction block")
    name = action.this.name.lower()
    _need_column(session, table, name)
    kind = cast_type(action.args["dtype"])
    specs = _specs(session, table)
    old = next(spec for spec in specs if spec.name == name)
    if not (old.redshift_type.startswith("character varying") and kind.redshift.startswith("character varying")):
        raise RedshiftError(f'column "{name}" can not be altered: only the length of a VARCHAR column may change')
    changed = [replace(spec, redshift_type=kind.redshift) if spec is old else spec for spec in specs]
    _rebuild(session, table, changed, {})
    return Outcome()


def _rebuild(session: Session, table: TableName, specs: list[ColumnSpec], values: dict[str, str]) -> None:
    """Make the table anew with these columns and its rows; ``values`` fills columns that it did not have."""
    if not specs:
        raise RedshiftError(f"cannot drop the only column of {table}")
    new = TableName(table.schema, f"{table.name}__rebuilt", table.temporary)
    make_table(session, new, specs)
    picked = ", ".join(values.get(spec.name, quote(spec.name)) for spec in specs)
    session.execute(f"INSERT INTO {new.sql} SELECT {picked} FROM {table.sql}")
    session.execute(f"DROP TABLE {table.sql}")
    session.execute(f"ALTER TABLE {new.sql} RENAME TO {quote(table.name)}")


def _append(session: Session, match: re.Match[str]) -> Outcome:
    """ALTER TABLE APPEND: the source's rows move to the target, at once and for good."""
    if session.block:
        raise RedshiftError("ALTER TABLE APPEND cannot run inside a transaction block")
    target, source = (session.find(exp.to_table(name, dialect="redshift")) for name in match.groups()[:2])
    option = (match.group(3) or "").lower()
    session.write(target, source)
    have = {column.name: column for column in session.columns(source)}
    want = {column.name: column for column in session.columns(target)}
    if option != "ignoreextra" and set(have) - set(want):
        raise RedshiftError(f"ALTER TABLE APPEND: {target} lacks the columns {', '.join(sorted(set(have) - set(want)))}")
    if option != "filltarget" and set(want) - set(have):
        raise RedshiftError(f"ALTER TABLE APPEND: {source} lacks the columns {', '.join(sorted(set(want) - set(have)))}")
    shared = [name for name in want if name in have]
    for name in shared:
        if have[name].redshift_type != want[name].redshift_type:
            raise RedshiftError(
                f"ALTER TABLE APPEND: column {name} is {have[name].redshift_type} in {source} "
                f"and {want[name].redshift_type} in {target}"
            )
    names = ", ".join(quote(name) for name in shared)
    session.execute(f"INSERT INTO {target.sql} ({names}) SELECT {names} FROM {source.sql}")
    outcome = session.changed()
    session.execute(f"DELETE FROM {source.sql}")
    return outcome
