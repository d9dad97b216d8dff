"""Sweeping a zone of a real local S3."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from flywheel.core.commits import Commit, DataFile
from flywheel.operators.sweep import SweepLakeOperator

BUCKET = "flywheel-tests"
#: As if everything had been there for long.
LONG_AGO = timedelta(seconds=-5)


class Zone:
    """A zone of the test's own."""

    def __init__(self, s3: Any, name: str):
        self.s3, self.name = s3, name

    def write(self, write: str, *days: int) -> None:
        for day in days:
            self.s3.put_object(Bucket=BUCKET, Key=f"{self.name}/write={write}/ds=2013-01-{day:02d}/part-0.parquet", Body=b"rows")
        self.s3.put_object(Bucket=BUCKET, Key=f"{self.name}/write={write}/_SUCCESS", Body=b"")

    def commit(self, write: str, *days: int) -> None:
        for day in days:
            commit = Commit(self.name, date(2013, 1, day), write, (DataFile("part-0.parquet", 4),), 1, {"n": "int"})
            self.s3.put_object(Bucket=BUCKET, Key=commit.key, Body=commit.to_json().encode())

    def left(self) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{self.name}/write=").get("Contents", [])
        return [entry["Key"].removeprefix(f"{self.name}/write=").removesuffix("/part-0.parquet") for entry in found]


@pytest.fixture
def zone(aws: Any, request: pytest.FixtureRequest) -> Zone:
    return Zone(aws.client("s3"), f"processed/{request.node.name}")


def test_what_no_commit_names_is_deleted_once_nobody_can_read_it(zone: Zone, run: Any) -> None:
    zone.write("first", 1, 2)
    zone.commit("first", 1, 2)
    zone.write("second", 2)
    zone.commit("second", 2)
    zone.write("died", 3)
    zone.write("died-too", 1)
    everything = zone.left()
    assert run(SweepLakeOperator(task_id="sweep", zones=[zone.name])) == {zone.name: 0}
    assert zone.left() == everything, "what was given up a moment ago may still be read"

    assert run(SweepLakeOperator(task_id="sweep", zones=[zone.name], keep=LONG_AGO)) == {zone.name: 5}
    assert zone.left() == ["first/_SUCCESS", "first/ds=2013-01-01", "second/_SUCCESS", "second/ds=2013-01-02"]
    assert run(SweepLakeOperator(task_id="sweep", zones=[zone.name], keep=LONG_AGO)) == {zone.name: 0}


def test_an_old_write_stays_for_a_while_after_it_was_replaced(zone: Zone, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    zone.write("first", 1)
    zone.commit("first", 1)
    zone.commit("second", 1)
    zone.write("second", 1)
    import flywheel.operators.sweep as sweep

    objects = sweep.objects
    monkeypatch.setattr(sweep, "objects", lambda *args: [(key, at - timedelta(days=99)) for key, at in objects(*args)])
    run(SweepLakeOperator(task_id="sweep", zones=[zone.name]))
    assert "first/ds=2013-01-01" in zone.left(), "its files are old, but it was the partition until just now"


def test_a_zone_that_is_not_there_yet(zone: Zone, run: Any) -> None:
    assert run(SweepLakeOperator(task_id="sweep", zones=[zone.name])) == {zone.name: 0}
