"""Redshift under the loads: tables of each chain's own, the statements of the DAG, and ways to end them early."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
from aws_process import LocalAwsProcess
from data_deliveries import FEATURES, GROUP, LABELS
from fault_helpers import Faults

from flywheel.core.features import Label

PROJECT = Path(__file__).parents[2]
SQL = PROJECT / "include" / "sql"
TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(SQL), undefined=jinja2.StrictUndefined)  # noqa: S701
ROLE = "arn:aws:iam::123456789012:role/flywheel-jobs"
TARGET = {"WorkgroupName": "tests", "Database": "lake"}
OVER = ("FINISHED", "FAILED", "ABORTED")
_COUNT = "SELECT COUNT(*) FROM (SELECT ROW_NUMBER() OVER () AS n FROM {})"
#: Takes far longer than a test waits, and can be interrupted at any time; and what takes half a second.
SLOW, SHORT = (_COUNT.format(", ".join(f"two AS t{n}" for n in range(tables))) for tables in (34, 21))
_DAG = (PROJECT / "dags" / "load_features.py").read_text()
LOAD = re.findall(r'"((?:features|checks)/\w+)\.sql"', _DAG.split("sql=[")[1].split("]")[0])
"""The statements of a load, as the DAG lists them."""
_NUMBERS = itertools.count(1)


class Warehouse:
    """The local Redshift, which may be killed and started anew.

    :ivar clean_seconds: how long a load takes that nothing befalls
    :ivar kills: how often it was killed
    :ivar there: it is not just being started anew
    """

    def __init__(self, root: Path):
        self.root = root
        self.aws = LocalAwsProcess(root)
        self.clean_seconds, self.kills, self.there = 1.0, 0, True
        self.connect()
        self.run([path.read_text() for path in sorted((SQL / "setup").glob("create_schema_*.sql"))])
        self.run([path.read_text() for path in sorted((SQL / "setup").glob("create_monitoring_*.sql"))])
        self.run(["CREATE TABLE two AS SELECT 1 AS x UNION ALL SELECT 2"])

    def connect(self) -> None:
        """Clients of the server that runs now."""
        self.client, self.s3 = self.aws.client("redshift-data"), self.aws.client("s3")
        self.faults = Faults(self.aws.endpoint)

    def kill_server(self) -> None:
        """Kills the server with whatever it is at, and starts another one over what is left."""
        self.kills, self.there = self.kills + 1, False
        port = int(self.aws.endpoint.rsplit(":", 1)[1])
        self.aws.kill()
        self.aws = LocalAwsProcess(self.root, port)
        self.connect()
        self.there = True

    def start(self, statements: Sequence[str], name: str = "") -> str:
        """Sends a batch; its Id."""
        more = {"StatementName": name} if name else {}
        return str(self.client.batch_execute_statement(Sqls=list(statements), **TARGET, **more)["Id"])

    def ended(self, statement: str) -> dict[str, Any]:
        """DescribeStatement's answer once the batch has ended."""
        for _ in range(4):
            found = self.client.describe_statement(Id=statement, WaitTimeSeconds=30)
            if found["Status"] in OVER:
                return dict(found)
        raise AssertionError(f"{statement} has not ended: {found}")

    def run(self, statements: Sequence[str]) -> str:
        """Runs a batch that has to succeed; its Id."""
        found = self.ended(self.start(statements))
        assert found["Status"] == "FINISHED", found["Error"]
        return str(found["Id"])

    def rows(self, sql: str) -> list[list[Any]]:
        """The rows of a query, as plain values."""
        pages = self.client.get_paginator("get_statement_result").paginate(Id=f"{self.run([sql])}:1")
        return [
            [None if "isNull" in value else next(iter(value.values())) for value in record]
            for page in pages
            for record in page["Records"]
        ]

    def cut_short(self, statements: Sequence[str], name: str, how: dict[str, Any]) -> dict[str, Any]:
        """Starts a batch that is to end early; DescribeStatement's answer.

        :param how: ``{"at": n}``: cancelled while it is before its n-th statement; ``{"killed_after": seconds}``: its session is
            terminated; ``{"server_after": seconds}``: the whole server is killed
        """
        if "at" in how:
            slowed = [*statements[: how["at"]], SLOW, *statements[how["at"] :]]
            running = self.start(slowed, name)
            while True:
                found = self.client.describe_statement(Id=running)
                if found["SubStatements"][how["at"]]["Status"] == "STARTED" or found["Status"] in OVER:
                    break
                time.sleep(0.01)
            self.client.cancel_statement(Id=running)
        elif "killed_after" in how:
            kill = {"kill": {"after_seconds": how["killed_after"]}}
            self.faults.add(job="redshift_data", match=f"^{name}$", do=kill)
            running = self.start(statements, name)
        else:
            running = self.start(statements, name)
            time.sleep(how["server_after"])
            self.kill_server()
        return self.ended(running)


class Tables:
    """The tables of one chain, set up as a deployment's.

    :param lake_uri: where the chain's zones lie
    """

    def __init__(self, warehouse: Warehouse, lake_uri: str):
        self.warehouse, self.lake_uri = warehouse, lake_uri
        columns = {"version": "INTEGER", "previous": "INTEGER", "amount": "DOUBLE PRECISION"}
        kinds = {name: SimpleNamespace(sql_type=kind) for name, kind in columns.items()}
        label = Label(meaning="whether somebody came", lag_days=1)
        self._definition = SimpleNamespace(table=f"visits{next(_NUMBERS)}_v1", columns=kinds, label=label)
        setup = sorted(path.name for path in (SQL / "setup" / "features").glob("*.sql"))
        warehouse.run([TEMPLATES.get_template(f"setup/features/{file}").render(features=self._definition) for file in setup])
        self.names = {zone: f"{zone.partition('/')[0]}.{self._definition.table}" for zone in (FEATURES, LABELS)}

    def load(self, run_key: str, window: str) -> list[str]:
        """The statements that load what a run has built of a window."""

        def manifest(zone: str, kind: str) -> str:
            return f"{self.lake_uri}/{zone}/{GROUP}/_manifests/{run_key}/{window}.{kind}"

        context: dict[str, Any] = {
            "features": lambda: self._definition,
            "settings": SimpleNamespace(redshift_role_arn=ROLE),
            "run_key": lambda: run_key,
            "manifest": lambda zone: manifest(zone, "json"),
            "expected": lambda zone: manifest(zone, "csv"),
        }
        return [TEMPLATES.get_template(f"{name}.sql").render(context) for name in LOAD]

    def look(self, zone: str) -> dict[date, list[Any]] | None:
        """Rows, keys, and least and largest of each version, by day; None while the server is not there."""
        versions = ("version", "previous") if zone == FEATURES else ("label",)
        extremes = ", ".join(f"MIN({name}), MAX({name})" for name in versions)
        sql = f"SELECT ds, COUNT(*), COUNT(DISTINCT entity_id), {extremes} FROM {self.names[zone]} GROUP BY ds"
        kills = self.warehouse.kills
        try:
            found = self.warehouse.rows(sql)
        except Exception:
            if self.warehouse.kills == kills and self.warehouse.there:
                raise
            return None
        return {date.fromisoformat(day): numbers for day, *numbers in found}

    def contents(self) -> dict[str, list[list[Any]]]:
        """All rows of both tables, whole."""
        order = "ORDER BY ds, entity_id, checksum"
        return {zone: self.warehouse.rows(f"SELECT * FROM {name} {order}") for zone, name in self.names.items()}

    def unchecked_days(self) -> list[list[Any]]:
        """Days whose rows are none that a load has checked."""
        told = "SELECT ds, rows_found, checksum_found FROM monitoring.load_checks WHERE passed AND table_name ="
        return [
            [name, *row]
            for name in self.names.values()
            for row in self.warehouse.rows(f"SELECT ds, COUNT(*), SUM(checksum) FROM {name} GROUP BY ds EXCEPT {told} '{name}'")
        ]
