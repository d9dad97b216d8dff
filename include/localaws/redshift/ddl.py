"""CREATE, ALTER, DROP and TRUNCATE.

Where data lies and how it is packed (DISTKEY, SORTKEY, ENCODE...) means nothing here and is read past. Keys are not
enforced, as in Redshift, so they are left out; lengths of texts are, in bytes, by CHECK constraints.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

from sqlglot import exp
from sqlglot.tokens import TokenType

from localaws.redshift.catalog import Column, TableName, quote
from localaws.redshift.dialect import generate, parse, tokens
from localaws.redshift.engine import Outcome, Session
from localaws.redshift.errors import NotServed, RedshiftError
from localaws.redshift.rewrite import rewrite
from localaws.redshift.sqltypes import SqlType, cast_type


@dataclass(frozen=True)
class ColumnSpec:
    """A column to be made. ``default``: DuckDB's SQL; ``identity``: (start, step)."""

    name: str
    duckdb_type: str
    redshift_type: str
    not_null: bool = False
    default: str | None = None
    identity: tuple[int, int] | None = None

    @classmethod
    def of(cls, name: str, kind: SqlType) -> ColumnSpec:
        """A plain column of a type."""
        return cls(name, kind.duckdb, kind.redshift)

    @classmethod
    def like(cls, column: Column, defaults: bool) -> ColumnSpec:
        """A copy of another table's column; its default only if asked for."""
        default = column.default if defaults and not column.identity else None
        return cls(column.name, column.duckdb_type, column.redshift_type, not column.nullable, default)

    @property
    def length(self) -> int | None:
        """The bytes a text may have; ``None`` for other types."""
        if self.redshift_type.startswith("character"):
            return int(self.redshift_type.rstrip(")").rpartition("(")[2])
        return None

    def sql(self, sequence: str | None) -> str:
        """The column's definition in DuckDB's CREATE TABLE."""
        parts = [quote(self.name), self.duckdb_type]
        if self.not_null or self.identity:
            parts.append("NOT NULL")
        if sequence:
            parts.append(f"DEFAULT nextval('{sequence}')")
        elif self.default is not None:
            parts.append(f"DEFAULT {self.default}")
        if self.length is not None and self.length < 65535:
            text = f"rtrim({quote(self.name)}, ' ')" if self.redshift_type.startswith("character(") else quote(self.name)
            parts.append(f"CHECK (strlen({text}) <= {self.length})")
        return " ".join(parts)


def without_storage(sql: str) -> str:
    """A CREATE TABLE statement without what only says how the data is stored.

    Blanked, not cut, so that the places of errors stay right. The query of a CREATE TABLE AS is left alone.
    """
    found = tokens(sql)
    text = list(sql)
    depth, at = 0, 0

    def blank(first: int, last: int) -> None:
        text[found[first].start : found[last].end + 1] = " " * (found[last].end + 1 - found[first].start)

    def closing(index: int) -> int:
        level = 0
        for end in range(index, len(found)):
            level += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(found[end].token_type, 0)
            if level == 0:
                return end
        return len(found) - 1

    while at < len(found):
        token, word = found[at], found[at].text.upper()
        if token.token_type == TokenType.L_PAREN:
            depth += 1
        elif token.token_type == TokenType.R_PAREN:
            depth -= 1
        elif depth == 0 and token.token_type == TokenType.ALIAS:
            break
        following = found[at + 1].text.upper() if at + 1 < len(found) else ""
        starts_column = depth == 1 and found[at - 1].token_type in (TokenType.L_PAREN, TokenType.COMMA)
        if depth > 1 or starts_column or token.token_type == TokenType.STRING or at == 0:
            at += 1
            continue
        if (word == "BACKUP" and following in ("YES", "NO")) or (word in ("DISTSTYLE", "ENCODE") and at + 1 < len(found)):
            blank(at, at + 1)
            at += 2
        elif word in ("DISTKEY", "SORTKEY"):
            last = closing(at + 1) if following == "(" else at + 1 if following == "AUTO" else at
            blank(at, last)
            at = last + 1
        elif word in ("COMPOUND", "INTERLEAVED") and following == "SORTKEY":
            blank(at, at)
            at += 1
        else:
            at += 1
    return "".join(text)


def create(session: Session, sql: str) -> Outcome:
    """CREATE TABLE, VIEW or SCHEMA."""
    scrubbed = without_storage(sql) if re.match(r"\s*create\s+((local\s+)?temp(orary)?\s+)?table\b", sql, re.I) else sql
    scrubbed = re.sub(r"(?is)^(\s*create\s+schema\s+(?:if\s+not\s+exists\s+)?\S+)\s+authorization\s+\S+(.*)$", r"\1\2", scrubbed)
    scrubbed = re.sub(r"(?is)^(\s*create\s+)local(\s+temp)", r"\1     \2", scrubbed)
    tree = parse(scrubbed)
    if not isinstance(tree, exp.Create) or tree.kind not in ("TABLE", "VIEW", "SCHEMA"):
        raise NotServed(" ".join(sql.split()[:2]).upper())
    properties = tree.args.get("properties")
    for item in properties.expressions if properties is not None else []:
        if not isinstance(item, exp.TemporaryProperty):
            raise NotServed(f"{item.sql('redshift')} in CREATE {tree.kind}")
    if tree.kind == "SCHEMA":
        return _create_schema(session, tree)
    return _create_view(session, tree) if tree.kind == "VIEW" else _create_table(session, tree)


def _create_schema(session: Session, tree: exp.Create) -> Outcome:
    name = tree.this.db.lower()
    _check_schema_name(name)
    session.write(TableName("", f"schema {name}"))
    session.execute(f"CREATE SCHEMA {'IF NOT EXISTS ' if tree.args.get('exists') else ''}{quote(name)}")
    return Outcome()


def _check_schema_name(name: str) -> None:
    if name in ("main", "temp", "rs", "pg_internal", "pg_catalog", "information_schema") or name.startswith("pg_"):
        raise RedshiftError(f'unacceptable schema name "{name}": the prefix "pg_" and system names are reserved')


def _create_view(session: Session, tree: exp.Create) -> Outcome:
    names = [name.name.lower() for name in tree.this.expressions] if isinstance(tree.this, exp.Schema) else []
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    view = session.find(target, must_exist=False)
    session.write(view)
    query = tree.expression
    read = [session.find(table) for table in _tables_read(query)]
    if any(table.temporary for table in read):
        raise RedshiftError("views on temporary tables are not supported")
    body = session.compile(query)
    columns = f" ({', '.join(quote(name) for name in names)})" if names else ""
    replace_it = "OR REPLACE " if tree.args.get("replace") else ""
    session.execute(f"CREATE {replace_it}VIEW {view.sql}{columns} AS {body}")
    bound = [] if tree.args.get("no_schema_binding") else [str(table) for table in read]
    session.execute(f"COMMENT ON VIEW {view.sql} IS '{json.dumps(bound)}'")
    return Outcome()


def _tables_read(query: exp.Expr) -> list[exp.Table]:
    ctes = {cte.alias.lower() for cte in query.find_all(exp.CTE)}
    return [table for table in query.find_all(exp.Table) if table.db or table.name.lower() not in ctes]


def _create_table(session: Session, tree: exp.Create) -> Outcome:
    if tree.args.get("replace"):
        raise RedshiftError('syntax error at or near "table" (Redshift has no CREATE OR REPLACE TABLE)')
    schema = tree.this if isinstance(tree.this, exp.Schema) else None
    target = schema.this if schema is not None else tree.this
    temporary = tree.args.get("properties") is not None or target.name.startswith("#")
    if temporary and target.db:
        raise RedshiftError("temporary tables cannot specify a schema name")
    name = target.name.lower()
    table = TableName("main", name, True) if temporary else session.find(_plain(target, session), must_exist=False)
    session.write(table)
    if session.columns(table):
        if tree.args.get("exists"):
            return Outcome()
        raise RedshiftError(f'relation "{name}" already exists')
    if tree.expression is not None:
        query = tree.expression
        names = [item.name.lower() for item in schema.expressions] if schema is not None else []
        return create_as(session, table, query, names)
    assert schema is not None
    make_table(session, table, _columns(session, schema))
    return Outcome()


def _plain(target: exp.Table, session: Session) -> exp.Table:
    """The table's name with the schema that it will be made in; a bare name goes to the search path's first."""
    schema = target.db.lower() or session.search_path[0]
    return exp.Table(this=exp.to_identifier(target.name.lower()), db=exp.to_identifier(schema))


def create_as(session: Session, table: TableName, query: exp.Expr, names: list[str] = []) -> Outcome:  # noqa: B006
    """CREATE TABLE AS: the table gets the query's rows, and the query's types."""
    while isinstance(query, exp.Subquery) and not query.alias:
        query = query.this
    body = session.compile(query)
    columns = f" ({', '.join(quote(name) for name in names)})" if names else ""
    session.execute(f"CREATE {'TEMP ' if table.temporary else ''}TABLE {table.sql}{columns} AS {body}")
    return Outcome(rows=session.changed().rows)


def _columns(session: Session, schema: exp.Schema) -> list[ColumnSpec]:
    specs: list[ColumnSpec] = []
    keys: set[str] = set()
    for item in schema.expressions:
        if isinstance(item, exp.ColumnDef):
            specs.append(_column(item))
        elif isinstance(item, exp.LikeProperty):
            source = session.find(item.this)
            options = {str(option.this).upper(): option.args["value"].name.upper() for option in item.expressions}
            defaults = options.get("INCLUDING") == "DEFAULTS"
            specs += [ColumnSpec.like(column, defaults) for column in session.columns(source)]
        elif isinstance(item, exp.PrimaryKey):
            keys.update(part.name.lower() for part in item.expressions)
        elif isinstance(item, exp.Constraint | exp.UniqueColumnConstraint | exp.ForeignKey):
            for key in item.find_all(exp.PrimaryKey):
                keys.update(part.name.lower() for part in key.expressions)
            if item.find(exp.CheckColumnConstraint):
                raise RedshiftError("CHECK constraints are not supported")
        else:
            raise NotServed(f"{item.sql('redshift')} in CREATE TABLE")
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise RedshiftError(f'column "{name}" specified more than once')
    for key in keys - set(names):
        raise RedshiftError(f'column "{key}" named in key does not exist')
    # Keys are not enforced, but the columns of a primary key are NOT NULL.
    return [replace(spec, not_null=True) if spec.name in keys else spec for spec in specs]


def _column(item: exp.ColumnDef) -> ColumnSpec:
    if item.args.get("kind") is None:
        raise RedshiftError(f'syntax error: column "{item.name}" has no type')
    spec = ColumnSpec.of(item.name.lower(), cast_type(item.kind))
    for constraint in item.constraints:
        kind = constraint.kind
        if isinstance(kind, exp.NotNullColumnConstraint):
            spec = replace(spec, not_null=not kind.args.get("allow_null"))
        elif isinstance(kind, exp.PrimaryKeyColumnConstraint):
            spec = replace(spec, not_null=True)
        elif isinstance(kind, exp.DefaultColumnConstraint):
            spec = replace(spec, default=generate(rewrite(kind.this)))
        elif isinstance(kind, exp.GeneratedAsIdentityColumnConstraint):
            spec = replace(spec, identity=(_whole(kind.args.get("start")), _whole(kind.args.get("increment"))))
        elif isinstance(kind, exp.UniqueColumnConstraint | exp.Reference):
            pass
        elif isinstance(kind, exp.CheckColumnConstraint):
            raise RedshiftError("CHECK constraints are not supported")
        else:
            raise NotServed(f"{constraint.sql('redshift')} in a column's definition")
    return spec


def _whole(node: exp.Expr | None) -> int:
    return int(node.sql()) if node is not None else 1


def make_table(session: Session, table: TableName, specs: list[ColumnSpec]) -> None:
    """Make a table of these columns. Redshift's names of the types are kept as the columns' comments."""
    definitions = []
    for spec in specs:
        sequence = None
        if spec.identity:
            # The sequence cannot be dropped before its table; a new table of that name gets a new one.
            count = session.execute("SELECT count(*) FROM duckdb_sequences()").fetchone()
            sequence = f"pg_internal.identity_{(count or (0,))[0] + 1}"
            start, step = spec.identity
            session.execute(f"CREATE SEQUENCE {sequence} START {start} INCREMENT {step}")
        definitions.append(spec.sql(sequence))
    temporary = "TEMP " if table.temporary else ""
    session.execute(f"CREATE {temporary}TABLE {table.sql} ({', '.join(definitions)})")
    for spec in specs:
        if spec.duckdb_type in ("VARCHAR", "JSON"):
            session.execute(f"COMMENT ON COLUMN {table.sql}.{quote(spec.name)} IS '{spec.redshift_type}'")


def drop(session: Session, tree: exp.Drop) -> Outcome:
    """DROP TABLE, VIEW or SCHEMA."""
    cascade = bool(tree.args.get("cascade"))
    if tree.kind not in ("TABLE", "VIEW", "SCHEMA"):
        raise NotServed(f"DROP {tree.kind}")
    # All locks before the first change: a transaction's first statement begins anew with each lock that it gets.
    if tree.kind == "SCHEMA":
        session.write(*(TableName("", f"schema {item.db.lower()}") for item in tree.args["tables"]))
    else:
        named = (session.find(item, must_exist=not tree.args.get("exists")) for item in tree.args["tables"])
        session.write(*(table for table in named if session.columns(table)))
    for item in tree.args["tables"]:
        if tree.kind == "SCHEMA":
            name = item.db.lower()
            if name == "public":
                raise NotServed("DROP SCHEMA public")
            _check_schema_name(name)
            exists = "IF EXISTS " if tree.args.get("exists") else ""
            session.execute(f"DROP SCHEMA {exists}{quote(name)}{' CASCADE' if cascade else ''}")
            session.set_search_path([schema for schema in session.search_path if schema != name])
            continue
        table = session.find(item, must_exist=not tree.args.get("exists"))
        if not session.columns(table):
            continue
        for view in _views_bound_to(session, table):
            if not cascade:
                raise RedshiftError(
                    f"cannot drop {tree.kind.lower()} {table} because other objects depend on it\n"
                    f"  Hint: Use DROP ... CASCADE to drop the dependent objects too. (view {view})"
                )
            session.execute(f"DROP VIEW {view}")
        session.execute(f"DROP {tree.kind} {table.sql}")
    return Outcome()


def _views_bound_to(session: Session, table: TableName) -> list[str]:
    rows = session.execute(
        "SELECT schema_name, view_name, comment FROM duckdb_views() WHERE database_name = current_database() "
        "AND comment LIKE '[%'"
    ).fetchall()
    return [f"{quote(schema)}.{quote(view)}" for schema, view, bound in rows if str(table) in json.loads(bound)]


def truncate(session: Session, tree: exp.TruncateTable) -> Outcome:
    """TRUNCATE, which commits the transaction it is run in: what came before it can no longer be rolled back."""
    for item in tree.expressions:
        table = session.find(item)
        session.write(table)
        session.execute(f"DELETE FROM {table.sql}")
    if session.block:
        session.commit()
    return Outcome()
