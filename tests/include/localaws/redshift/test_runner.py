"""What is told of requests that a stopped server left running."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from localaws.redshift.history import Part, Request
from localaws.redshift.runner import Warehouse


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "s3").mkdir()
    return tmp_path / "redshift", tmp_path / "s3"


def request(number: int, *sqls: str) -> Request:
    name = f"00000000-0000-0000-0000-{number:012d}"
    parts = [Part(f"{name}:{n}" if len(sqls) > 1 else name, sql) for n, sql in enumerate(sqls, 1)]
    return Request(name, "dev", parts, batch=len(sqls) > 1)


def run(house: Warehouse, wanted: Request) -> Request:
    house.submit(wanted)
    house.wait(wanted, 30)
    return wanted


def as_if_running(house: Warehouse, wanted: Request) -> None:
    """Make the history look as it does when the server is killed before it could write the end down."""
    wanted.status, wanted.error = "STARTED", None
    for part in wanted.parts:
        part.status = "STARTED" if part is wanted.parts[0] else "SUBMITTED"
    house.history.save(wanted)
    house.close()


def test_committed_just_before_a_kill_is_finished(folders):
    house = Warehouse(*folders)
    run(house, request(1, "create table t (x int)"))
    done = run(house, request(2, "insert into t values (1), (2)"))
    as_if_running(house, done)
    again = Warehouse(*folders)
    again.recover()
    found = again.history.get(done.id)
    assert (found.status, found.parts[0].rows) == ("FINISHED", 2)
    again.close()


def test_a_committed_batch_is_finished_with_its_parts(folders):
    house = Warehouse(*folders)
    done = run(house, request(1, "create table t (x int)", "insert into t values (1)", "select x from t"))
    as_if_running(house, done)
    again = Warehouse(*folders)
    again.recover()
    found = again.history.get(done.id)
    assert found.status == "FINISHED"
    assert [(part.status, part.rows, part.has_result) for part in found.parts] == [
        ("FINISHED", 0, False), ("FINISHED", 1, False), ("FINISHED", 1, True),
    ]  # fmt: skip
    assert again.results.read(found.parts[2].id, 0)[1] == [[{"longValue": 1}]]
    again.close()


def test_what_was_not_committed_is_failed(folders):
    house = Warehouse(*folders)
    done = run(house, request(1, "select 1"))
    as_if_running(house, done)
    again = Warehouse(*folders)
    again.recover()
    found = again.history.get(done.id)
    assert found.status == "FAILED"
    assert "was stopped while the statement ran" in found.error
    again.close()


def test_closing_ends_what_runs(folders):
    house = Warehouse(*folders)
    run(house, request(1, "create table two as select 1 as x union all select 2"))
    crossed = ", ".join(f"two t{n}" for n in range(34))
    running = house.submit(request(2, f"select count(*) from (select row_number() over () as n from {crossed})"))
    while running.status != "STARTED":
        time.sleep(0.01)
    house.close()
    assert running.status == "FAILED"
    assert "was stopped while the statement ran" in running.error


def test_databases_are_separate(folders):
    house = Warehouse(*folders)
    run(house, request(1, "create table t (x int)"))
    other = request(2, "select * from t")
    other.database = "other"
    assert run(house, other).error == 'ERROR: relation "t" does not exist'
    assert house.names() == ["dev", "other"]
    house.close()
