"""A Redshift database on a DuckDB file, and the sessions that run statements in it.

One file per database, opened by this process alone. A session is one DuckDB connection: temporary tables and settings
are its own. Outside of a transaction block every statement is a transaction.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
from sqlglot import exp

from localaws.redshift import catalog, macros
from localaws.redshift.catalog import Column, TableName, columns_of, quote
from localaws.redshift.dialect import generate
from localaws.redshift.errors import Cancelled, RedshiftError, from_duckdb, serializable_violation
from localaws.redshift.locks import TableLocks
from localaws.redshift.rewrite import rewrite
from localaws.redshift.typed import apply_types

MEMORY_LIMIT = "2GB"
THREADS = 2
FETCH_ROWS = 2000

_SETTINGS = ("SET integer_division = true", "SET TimeZone = 'UTC'", "SET schema = 'public'",
             "SET default_null_order = 'nulls_last_on_asc_first_on_desc'")  # fmt: skip


@dataclass
class Outcome:
    """What a statement gave. ``columns``: (name, DuckDB type) of a result, ``None`` if it has none; ``rows``: how many
    rows it returned or changed, -1 where Redshift gives no number."""

    rows: int = 0
    columns: list[tuple[str, str]] | None = None
    fetch: Callable[[], Iterator[list[tuple]]] | None = None
    size: int = 0


class Database:
    """One database. Thread-safe.

    :param folder: where the file lies, and a folder for what does not fit into memory.
    :param s3_root: the folder of all S3 objects; besides its own folder nothing else of the disk can be read.
    """

    def __init__(self, name: str, folder: Path, s3_root: Path):
        self.name = name
        self.folder = folder
        self.work = folder / "work"
        self.work.mkdir(parents=True, exist_ok=True)
        self.locks = TableLocks()
        self._scratch_lock = threading.Lock()
        self._main = duckdb.connect(
            str(folder / f"{name}.duckdb"),
            config={"threads": THREADS, "memory_limit": MEMORY_LIMIT, "temp_directory": str(folder / "spill"),
                    "autoinstall_known_extensions": "false", "autoload_known_extensions": "false"},
        )  # fmt: skip
        macros.install(self._main)
        catalog.install(self._main)
        # Bodies that cannot lie at their key's place lie beside the folder of the objects (see localaws.objects).
        folders = (s3_root, s3_root.with_name(f"{s3_root.name}-aside"), self.work)
        allowed = ", ".join("'" + str(path).replace("'", "''") + "/'" for path in folders)
        self._main.execute(f"SET allowed_directories = [{allowed}]")
        self._main.execute("SET enable_external_access = false")
        self._scratch = duckdb.connect(":memory:", config={"threads": 1, "memory_limit": "200MB"})
        macros.install(self._scratch)
        catalog.install(self._scratch)
        self._scratch.execute("SET enable_external_access = false")
        self._settings(self._scratch)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A new connection with Redshift's settings."""
        cursor = self._main.cursor()
        self._settings(cursor)
        return cursor

    @staticmethod
    def _settings(connection: duckdb.DuckDBPyConnection) -> None:
        for setting in _SETTINGS:
            connection.execute(setting)

    def bind(self, tables: list[tuple[str, str, list[Column]]], sql: str, values: dict[str, str]) -> list[str]:
        """The types of a query's columns, told by DuckDB's binder on empty tables.

        A statement that does not bind would abort the transaction it runs in, so questions are asked elsewhere.

        :param tables: (schema, name, columns) of the tables it reads. :raises duckdb.Error: it does not bind.
        """
        with self._scratch_lock:
            self._scratch.execute("BEGIN")
            try:
                for schema, name, columns in tables:
                    self._scratch.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}")
                    definition = ", ".join(f"{quote(column.name)} {column.duckdb_type}" for column in columns)
                    self._scratch.execute(f"CREATE OR REPLACE TABLE {quote(schema)}.{quote(name)} ({definition})")
                command = "DESCRIBE" if sql.startswith(("SELECT", "WITH", "(")) else "EXPLAIN"
                rows = self._scratch.execute(f"{command} {sql}", used_values(sql, values)).fetchall()
                return [row[1] for row in rows]
            finally:
                self._scratch.execute("ROLLBACK")

    def forget_committed(self) -> None:
        """Delete the notes about committed requests, once all of them are in the history."""
        cursor = self.cursor()
        cursor.execute("DELETE FROM pg_internal.committed")
        cursor.close()

    def close(self) -> None:
        """Write everything down and close the file."""
        self._scratch.close()
        self._main.close()


def used_values(sql: str, values: dict[str, str]) -> dict[str, str]:
    """The parameters that the SQL has; DuckDB refuses others."""
    if not values:
        return {}
    outside = re.sub(r"'(?:[^']|'')*'", "''", sql)
    return {name: value for name, value in values.items() if re.search(rf"\${name}\b", outside)}


@dataclass
class Session:
    """A connection to a database. One statement at a time; only ``cancel`` may be called from another thread.

    :param on_commit: called before a transaction that wrote something is committed, to write more in the same one.
    :param after_end: called once after the transaction has ended, however it did.
    """

    database: Database
    cancelled: threading.Event = field(default_factory=threading.Event)
    search_path: list[str] = field(default_factory=lambda: ["public"])
    block: bool = False
    on_commit: Callable[[duckdb.DuckDBPyConnection], None] | None = None
    after_end: Callable[[], None] | None = None
    copied: int = 0
    timeout_s: float = 0.0
    pid: int = field(default_factory=lambda: uuid.uuid4().int % 0x3FFFFFFF)

    def __post_init__(self) -> None:
        self.connection = self.database.cursor()
        self._open = False
        self._wrote = False
        self._failed = False
        self._fresh = True  # whether the transaction's first statement is still to come
        self._moment = 0  # what the transaction sees (TableLocks.now)
        self._changed: set[str] = set()
        self._appended: set[str] = set()
        self._read: set[str] = set()
        self._committed = False

    def close(self) -> None:
        """End the session; an open transaction is rolled back."""
        self.rollback()
        self.connection.close()

    def cancel(self) -> None:
        """Stop the running statement; it fails with ``Cancelled``."""
        self.cancelled.set()
        self.connection.interrupt()

    @contextmanager
    def timeout(self) -> Iterator[None]:
        """Cancel what is done inside when it takes longer than ``statement_timeout``."""
        if not self.timeout_s:
            yield
            return
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self.cancel()

        timer = threading.Timer(self.timeout_s, expire)
        timer.start()
        try:
            yield
        except Cancelled as error:
            if expired.is_set():
                self.cancelled.clear()
                raise RedshiftError("Query cancelled on user's request (statement_timeout)") from error
            raise
        finally:
            timer.cancel()

    # transactions

    def begin(self) -> None:
        """Begin a transaction block: what follows is committed together."""
        self._start()
        self.block = True

    def _start(self) -> None:
        if not self._open:
            self.connection.execute("BEGIN TRANSACTION")
            self._open, self._wrote, self._failed = True, False, False
            self._fresh, self._changed, self._committed = True, set(), False
            self._appended, self._read = set(), set()

    def commit(self) -> None:
        """Commit what the transaction did.

        :raises RedshiftError: a concurrent transaction changed the same (1023), or the block had failed before.
        """
        if not self._open:
            self.block = False
            return
        if self._failed:
            self.rollback()
            return
        try:
            if self._wrote and self.on_commit is not None:
                self.on_commit(self.connection)
            if self.cancelled.is_set():
                raise Cancelled()
            locks, written = self.database.locks, self._changed | self._appended
            with locks.order:
                if written:
                    locks.check(self._moment, self._read, written)
                self.connection.execute("COMMIT")
                self._open, self._committed = False, True
                if written:
                    locks.record(self._read, written)
        except duckdb.Error as error:
            raise from_duckdb(error) from error
        finally:
            self.rollback()

    def rollback(self) -> None:
        """Undo the open transaction, if there is one, and let go of its locks."""
        if self._open:
            self._open = False
            try:
                self.connection.execute("ROLLBACK")
            except duckdb.Error:
                pass  # DuckDB has ended it itself
        self.block = False
        self.database.locks.release(self, self._changed if self._committed else set())
        self._changed, self._committed = set(), False
        hook, self.after_end = self.after_end, None
        if hook is not None:
            hook()

    def run(self, work: Callable[[], Outcome], consume: Callable[[Outcome], None]) -> Outcome:
        """Do a statement's work in the open block, or in a transaction of its own.

        :param consume: takes the rows of a result before the transaction ends.
        """
        if self.block and self._failed:
            raise RedshiftError("current transaction is aborted, commands ignored until end of transaction block")
        alone = not self.block
        self._start()
        if self._fresh:
            self._moment = self.database.locks.now()
        try:
            self.check_cancelled()
            outcome = work()
            consume(outcome)
            self._fresh = False
            self.check_cancelled()
            if alone:
                self.commit()
            return outcome
        except BaseException as error:
            self._failed = True
            if alone:
                self.rollback()
            if isinstance(error, duckdb.Error):
                raise from_duckdb(error) from error
            raise

    def check_cancelled(self) -> None:
        """:raises Cancelled: the statement is to stop."""
        if self.cancelled.is_set():
            raise Cancelled()

    # SQL

    def execute(self, sql: str, values: dict[str, str] | None = None) -> duckdb.DuckDBPyConnection:
        """Run DuckDB's SQL in the session's transaction.

        :raises RedshiftError: it fails, in Redshift's words.
        """
        self.check_cancelled()
        try:
            return self.connection.execute(sql, used_values(sql, values or {}))
        except duckdb.Error as error:
            if self.cancelled.is_set():
                raise Cancelled() from error
            raise from_duckdb(error) from error

    def write(self, *tables: TableName, append: bool = False) -> None:
        """Lock tables before they are changed, and note that the transaction writes.

        :param append: rows are only added. Anything else reads the table as it was when the transaction's first statement
            began; if another transaction has changed it since, the two cannot be put into an order.
        :raises RedshiftError: they cannot (1023), or waiting would never end.
        """
        self._wrote = True
        for table in tables:
            if table.temporary:
                continue
            self.database.locks.acquire(self, str(table))
            if self._fresh:
                # What was committed while the lock was waited for is seen, as nothing was read before.
                self.connection.execute("ROLLBACK")
                self.connection.execute("BEGIN TRANSACTION")
                self._moment = self.database.locks.now()
            if not append:
                if self.database.locks.changed_since(str(table), self._moment):
                    raise serializable_violation(str(table))
                self._changed.add(str(table))
            else:
                self._appended.add(str(table))

    def set_search_path(self, schemas: list[str]) -> None:
        """Look for bare names in these schemas, which must exist; ``public`` if there are none."""
        self.search_path = schemas or ["public"]
        self.execute(f"SET search_path = '{','.join(self.search_path)}'")

    def compile(self, tree: exp.Expr, values: dict[str, str] | None = None) -> str:
        """The statement as DuckDB's SQL, with Redshift's meaning."""
        names = sorted({table.name.lower() for table in tree.find_all(exp.Table) if table.name})
        found = columns_of(self.connection, names)
        temporary = {name for _, name, is_temporary in found if is_temporary}
        self._note_reads(tree, found)
        tree = rewrite(tree, temporary)
        known = {(schema, name): columns for (schema, name, is_temporary), columns in found.items() if not is_temporary}
        for name in names:
            first = ("main", name, True) if name in temporary else (self._first(name, found), name, False)
            if first in found:
                known["public", name] = found[first]  # what the bare name means
        tables = [(schema, name, columns) for (schema, name), columns in known.items()]
        bound = values or {}
        tree = apply_types(tree, lambda sql: self.database.bind(tables, sql, bound))
        return generate(tree)

    def _note_reads(self, tree: exp.Expr, found: dict[tuple[str, str, bool], Any]) -> None:
        """Remember the tables that a statement reads: all that it names but the one that an INSERT adds to."""
        target = tree.this if isinstance(tree, exp.Insert) else None
        target = target.this if isinstance(target, exp.Schema) else target
        for table in tree.find_all(exp.Table):
            name, schema = table.name.lower(), table.db.lower()
            if table is target or (not schema and ("main", name, True) in found):
                continue
            where = schema or self._first(name, found)
            if where is not None and (where, name, False) in found:
                self._read.add(str(TableName(where, name)))

    def _first(self, name: str, found: dict[tuple[str, str, bool], Any]) -> str | None:
        return next((schema for schema in self.search_path if (schema, name, False) in found), None)

    def find(self, table: exp.Table, must_exist: bool = True) -> TableName:
        """The table that a name means: a temporary one, else the first of the search path.

        :raises RedshiftError: there is none, and there must be.
        """
        name, schema = table.name.lower(), table.db.lower()
        found = columns_of(self.connection, [name])
        if not schema and ("main", name, True) in found:
            return TableName("main", name, temporary=True)
        where = schema or self._first(name, found) or self.search_path[0]
        if must_exist and (where, name, False) not in found:
            raise RedshiftError(f'relation "{f"{schema}." if schema else ""}{name}" does not exist')
        if where in ("main", "temp", "pg_internal", "rs"):
            raise RedshiftError(f"permission denied for schema {where}")
        return TableName(where, name)

    def columns(self, table: TableName) -> list[Column]:
        """The table's columns, in order."""
        return columns_of(self.connection, [table.name]).get((table.schema, table.name, table.temporary), [])

    def result(self) -> Outcome:
        """The outcome of the query that was just executed; its rows are fetched by whoever consumes it."""
        columns = [(name, str(kind)) for name, kind, *_ in self.connection.description or []]

        def fetch() -> Iterator[list[tuple]]:
            while True:
                try:
                    rows = self.connection.fetchmany(FETCH_ROWS)
                except duckdb.Error as error:
                    raise (Cancelled() if self.cancelled.is_set() else from_duckdb(error)) from error
                if not rows:
                    return
                yield rows

        return Outcome(columns=columns, fetch=fetch)

    def changed(self) -> Outcome:
        """The outcome of the INSERT, UPDATE, DELETE or MERGE that was just executed."""
        row = self.connection.fetchone()
        return Outcome(rows=int(row[0]) if row else 0)


__all__ = ["Database", "Outcome", "Session", "serializable_violation"]
