"""Transactions of sessions side by side."""

from __future__ import annotations

import threading

import pytest

from localaws.redshift.engine import Database, Session
from localaws.redshift.errors import Cancelled, RedshiftError
from localaws.redshift.statements import run_statement


@pytest.fixture
def pair(connect):
    first, second = connect(), connect()
    first("create table t (x int)")
    first("insert into t values (1)")
    return first, second


def test_rolled_back_is_gone(pair):
    first, second = pair
    first("begin")
    first("insert into t values (2)")
    first("create table u (x int)")
    assert second.one("select count(*) from t") == 1
    first("rollback")
    assert first.one("select count(*) from t") == 1
    with pytest.raises(RedshiftError, match='relation "u" does not exist'):
        first("select * from u")


def test_a_failed_statement_fails_its_block(pair):
    first, _ = pair
    first("begin")
    first("insert into t values (2)")
    with pytest.raises(RedshiftError, match="division by zero"):
        first("select 1 / 0")
    with pytest.raises(RedshiftError, match="current transaction is aborted"):
        first("select 1")
    first("commit")
    assert first.one("select count(*) from t") == 1


def test_a_writer_waits_for_the_writer_before_it(pair):
    first, second = pair
    first("begin")
    first("delete from t where x = 1")
    done = threading.Event()
    waiting = threading.Thread(target=lambda: (second("update t set x = 5"), done.set()))
    waiting.start()
    assert not done.wait(0.3)
    first("insert into t values (2)")
    first("commit")
    waiting.join(10)
    assert done.is_set()
    assert first("select x from t") == [(5,)]


def test_a_circle_of_waiting_is_broken(pair):
    first, second = pair
    first("create table u (x int)")
    first("begin")
    second("begin")
    first("insert into t values (2)")
    second("insert into u values (2)")
    errors = []

    def write() -> None:
        try:
            second("insert into t values (3)")
        except RedshiftError as error:
            errors.append(str(error))
        second("rollback")

    waiting = threading.Thread(target=write)
    waiting.start()
    try:
        first("insert into u values (3)")
    except RedshiftError as error:
        errors.append(str(error))
    first("rollback")
    waiting.join(10)
    assert len(errors) == 1
    assert "deadlock detected" in errors[0]


def test_a_conflict_is_error_1023(pair):
    first, second = pair
    second("begin")
    second("select * from t")
    first("update t set x = 2")
    with pytest.raises(RedshiftError, match=r"1023\n.*Serializable isolation violation"):
        second("update t set x = 3")


def test_two_that_each_read_what_the_other_writes_are_error_1023(pair):
    """The example of Redshift's guide: in no order would both selects have missed the other's row."""
    first, second = pair
    first("create table u (x int)")
    for session in pair:
        session("begin")
    first("select * from t")
    first("insert into u values (1)")
    second("select * from u")
    second("insert into t values (1)")
    first("commit")
    with pytest.raises(RedshiftError, match=r"1023\n.*Serializable isolation violation on table - \w+\.u"):
        second("commit")
    assert second("select count(*) from t") == [(1,)], "rolled back"


def test_two_that_only_add_rows_or_read_elsewhere_can_be_put_into_an_order(pair):
    first, second = pair
    first("create table u (x int)")
    for session in pair:
        session("begin")
    first("select * from t")
    first("insert into u select x from t")
    second("create temp table u2 as select 1 as x")
    second("insert into t select x from u2")
    second("commit")
    first("commit")
    assert (first("select count(*) from u"), first("select count(*) from t")) == ([(1,)], [(2,)])


def test_temporary_tables_are_the_sessions_own(pair):
    first, second = pair
    first("create temp table t as select 7 as x")
    assert first("select x / 2 from t") == [(3,)]
    assert second("select x from t") == [(1,)]
    schema = first.session.search_path[0]
    assert first(f"select x from {schema}.t") == [(1,)]


def test_cancel_while_waiting_for_a_lock(pair):
    first, second = pair
    first("begin")
    first("lock t")
    raised = []

    def write() -> None:
        try:
            second("delete from t")
        except Cancelled as error:
            raised.append(error)

    waiting = threading.Thread(target=write)
    waiting.start()
    second.session.cancel()
    waiting.join(10)
    assert raised


def test_what_was_committed_survives_a_crash(tmp_path):
    (tmp_path / "s3").mkdir()
    database = Database("crash", tmp_path / "redshift", tmp_path / "s3")
    session = Session(database)
    run_statement(session, "create table t (x varchar(2))", {})
    run_statement(session, "insert into t values ('ab')", {})
    database._main.execute("SET checkpoint_threshold = '1GB'")
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in (tmp_path / "redshift").glob("crash.duckdb*"):  # the file and its log as a killed process leaves them
        (copy / file.name).write_bytes(file.read_bytes())
    database.close()
    again = Session(Database("crash", copy, tmp_path / "s3"))
    rows = []
    run_statement(again, "select x from t", {}, lambda outcome: rows.extend(next(outcome.fetch())))
    assert rows == [("ab",)]
    with pytest.raises(RedshiftError, match="value too long"):
        run_statement(again, "insert into t values ('abc')", {})


def test_no_file_outside_the_own_folders_can_be_read(database, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("x\n1\n")
    session = Session(database)
    with pytest.raises(RedshiftError, match=r"(?i)permission|disabled|not allowed|access"):
        session.execute(f"SELECT * FROM read_csv('{secret}')")
    session.close()
