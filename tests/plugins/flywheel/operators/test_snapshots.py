"""Pinning snapshots from a real local Redshift."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from flywheel.core.contracts import Contract
from flywheel.defaults import contracts_by_name, model_specs
from flywheel.operators.snapshots import PinSnapshotOperator

BUCKET = "flywheel-tests"
UNLOAD = """UNLOAD ($$ SELECT id, label FROM snapshot_{test} WHERE part = '{part}' $$)
TO 's3://flywheel-tests/snapshots/{test}/run/{part}/' IAM_ROLE 'arn:aws:iam::123456789012:role/r'
FORMAT AS PARQUET MANIFEST VERBOSE CLEANPATH"""
DESCRIBE = """SELECT part, '2013-01-01' AS first_day, '2013-01-02' AS last_day, 1 AS feature_version,
COUNT(*) AS row_count,
SUM(id)::VARCHAR AS features_checksum, SUM(label)::VARCHAR AS labels_checksum FROM snapshot_{test} GROUP BY part"""


class Snapshot:
    """A table of the test's own, and the snapshot of it that one run pins."""

    def __init__(self, aws: Any, run: Any, name: str):
        self.times = 0
        self.run, self.name, self.s3 = run, name, aws.client("s3")
        self.redshift = aws.client("redshift-data")
        self.sql(f"CREATE TABLE snapshot_{name} (part VARCHAR(8), id BIGINT, label INTEGER)")
        self.insert("train", 1, 2, 3)
        self.insert("holdout", 4, 5)

    def sql(self, statement: str) -> None:
        started = self.redshift.execute_statement(WorkgroupName="flywheel", Database="flywheel", Sql=statement)["Id"]
        while (told := self.redshift.describe_statement(Id=started))["Status"] not in ("FINISHED", "FAILED"):
            time.sleep(0.02)
        assert told["Status"] == "FINISHED", told.get("Error")

    def insert(self, part: str, *ids: int) -> None:
        rows = ", ".join(f"('{part}', {i}, {i % 2})" for i in ids)
        self.sql(f"INSERT INTO snapshot_{self.name} VALUES {rows}")

    def pin(self, describe: str = DESCRIBE, champion_version: str = "1") -> dict[str, Any]:
        contracts: dict[str, Contract] = contracts_by_name()
        self.times += 1
        operator = PinSnapshotOperator(
            task_id=f"pin_{self.name}_{self.times}", model=model_specs()[0], contracts=contracts, run_key="run",
            champion_version=champion_version,
            snapshot=f"s3://{BUCKET}/snapshots/{self.name}/run",
            sql=[sql.format(test=self.name, part=part) for sql, part in ((UNLOAD, "train"), (UNLOAD, "holdout"), (describe, ""))],
        )  # fmt: skip
        return dict(self.run(operator))

    def files(self) -> dict[str, str]:
        found = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"snapshots/{self.name}/")["Contents"]
        return {entry["Key"]: entry["ETag"] for entry in found}

    def manifest(self) -> dict[str, Any]:
        body = self.s3.get_object(Bucket=BUCKET, Key=f"snapshots/{self.name}/run/manifest.json")["Body"]
        return dict(json.loads(body.read()))


@pytest.fixture
def snapshot(aws: Any, run: Any, request: pytest.FixtureRequest) -> Snapshot:
    return Snapshot(aws, run, request.node.name.removeprefix("test_")[:40])


def test_the_manifest_says_what_was_seen_and_what_made_it(snapshot: Snapshot) -> None:
    told = snapshot.pin()
    manifest = snapshot.manifest()
    assert {name: part["rows"] for name, part in manifest["parts"].items()} == {"train": 3, "holdout": 2}
    assert manifest["parts"]["train"]["features_checksum"] == "6" and manifest["parts"]["train"]["labels_checksum"] == "2"
    assert sum(manifest["parts"]["train"]["files"].values()) == 3
    assert set(manifest["parts"]["train"]["columns"]) == {"id", "label"}
    assert manifest["contracts"]["flights"] == contracts_by_name()["flights"].version
    assert manifest["features"] == {"group": "flight_delay", "version": 1} and len(manifest["code"]) == 12
    assert told["content_hash"] == manifest["content_hash"] and "files" not in told["parts"]["train"]


def test_a_run_stays_with_its_snapshot_whatever_becomes_of_the_tables(snapshot: Snapshot) -> None:
    first, files = snapshot.pin(), snapshot.files()
    snapshot.insert("train", 99)
    assert snapshot.pin() == first and snapshot.files() == files


def test_a_run_that_has_pinned_nothing_to_judge_its_champion_on_does_not_go_on(snapshot: Snapshot) -> None:
    """The task is cleared after a roll-back, to a champion that was trained on another version of the features."""
    snapshot.pin()
    with pytest.raises(ValueError, match="expected a holdout with features of version 2, for the champion, found 1"):
        snapshot.pin(champion_version="2")
    snapshot.pin(champion_version="1")


def test_a_snapshot_without_a_manifest_is_taken_again(snapshot: Snapshot) -> None:
    first = snapshot.pin()
    snapshot.s3.delete_object(Bucket=BUCKET, Key=f"snapshots/{snapshot.name}/run/manifest.json")  # the task died before it
    snapshot.insert("train", 99)
    again = snapshot.pin()
    assert again["parts"]["train"]["rows"] == 4 and again["content_hash"] != first["content_hash"]
    assert again["schema_hash"] == first["schema_hash"]


def test_files_that_do_not_hold_what_the_tables_hold_are_not_pinned(snapshot: Snapshot) -> None:
    with pytest.raises(ValueError, match="expected the 4 rows that the tables have, found 3"):
        snapshot.pin(DESCRIBE.replace("COUNT(*)", "COUNT(*) + CASE part WHEN 'train' THEN 1 ELSE 0 END"))
    assert not any(Path(key).name == "manifest.json" for key in snapshot.files())
