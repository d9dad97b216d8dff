"""However often the publication of predictions is killed, run twice at once and over overlapping windows: whoever looks finds
each day scored whole by one run, other versions of the model are not touched, and the end is that of the last run alone.

``KILL_SEED`` changes the seed.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from data_readers import Reader
from data_warehouse import PROJECT, ROLE, SHORT, SQL, TEMPLATES, Warehouse

from flywheel.core.features import Label

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SEED = os.environ.get("KILL_SEED", "2013")
KILLS = 24
BUCKET = "publications"
FIRST = date(2013, 1, 1)
ENTITIES = 30
_DAG = (PROJECT / "dags" / "score.py").read_text()
PUBLISH = re.findall(r'"((?:scoring|checks)/\w+)\.sql"', _DAG.split("sql=[")[-1].split("]")[0])
"""The statements of a publication, as the DAG lists them."""
DELETE, INSERT = PUBLISH.index("scoring/delete_predictions"), PUBLISH.index("scoring/insert_predictions")
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Run:
    """A scoring run: the days that it covers, the model's version, and what a transform job has left for it."""

    key: str
    first: int
    last: int
    version: int = 2

    @property
    def days(self) -> list[date]:
        """Its days."""
        return [FIRST + timedelta(days=number) for number in range(self.first, self.last + 1)]

    def rows(self) -> list[list[Any]]:
        """What it publishes: entity, day, version, score, run."""
        return [[f"{day}-{n}", str(day), self.version, self.score(n), self.key] for day in self.days for n in range(ENTITIES)]

    def score(self, number: int) -> float:
        """No two runs score alike."""
        return float(f"0.{int(self.key[1:]):03d}{number:03d}")


class Predictions:
    """The tables of one model, with features of four days, and its runs."""

    def __init__(self, warehouse: Warehouse):
        self.warehouse = warehouse
        self.name = f"publications{next(_NUMBERS)}"
        self.table = f"predictions.{self.name}"
        columns = {"n": SimpleNamespace(sql_type="INTEGER")}
        self.features = SimpleNamespace(table=f"{self.name}_v1", columns=columns, label=Label(meaning="late", lag_days=1))
        names = {"features": self.features, "model": SimpleNamespace(name=self.name, features=self.features)}
        for part in ("features", "model"):
            setup = sorted((SQL / "setup" / part).glob("*.sql"))
            warehouse.run([TEMPLATES.get_template(str(path.relative_to(SQL))).render(names) for path in setup])
        rows = ", ".join(
            f"('{day}-{n}', '{day} 10:00:00', '{day}', {n}, {n + 1})" for day in Run("r0", 0, 3).days for n in range(ENTITIES)
        )
        table = f"features.{self.features.table} (entity_id, event_time, ds, n, checksum)"
        warehouse.run([f"INSERT INTO {table} VALUES {rows}"])

    def scored(self, run: Run) -> Run:
        """Leaves on S3 what a transform job leaves."""
        lines = "".join(f"{row[0]},{row[3]}\n" for row in run.rows())
        key = f"predictions/{self.name}/{run.key}/output/part-0.parquet.out"
        self.warehouse.s3.put_object(Bucket=BUCKET, Key=key, Body=lines.encode())
        return run

    def publication(self, run: Run) -> list[str]:
        """The statements that publish a run."""
        window = SimpleNamespace(start=run.days[0], end=run.days[-1])
        names: dict[str, Any] = {
            "model": SimpleNamespace(name=self.name),
            "features": lambda: self.features,
            "champion": lambda key: {"version": run.version}[key],
            "window": lambda: window,
            "run_key": lambda: run.key,
            "settings": SimpleNamespace(bucket=BUCKET, redshift_role_arn=ROLE),
        }
        return [TEMPLATES.get_template(f"{name}.sql").render(names) for name in PUBLISH]

    def rows(self) -> list[list[Any]]:
        """Everything that is published."""
        return self.warehouse.rows(f"SELECT * FROM {self.table} ORDER BY model_version, ds, entity_id")


class PredictionsReader(Reader):
    """Looks whether each day of each version is one run's, and whole.

    :ivar looks: how many days it has looked at
    :ivar seen: day and run of what it has found
    """

    def __init__(self, predictions: Predictions):
        super().__init__(self._look_at_days, pause=0.05)
        self.predictions = predictions
        self.looks, self.seen = 0, set[tuple[str, str]]()

    def _look_at_days(self) -> None:
        warehouse, kills = self.predictions.warehouse, self.predictions.warehouse.kills
        sql = (
            "SELECT ds, model_version, COUNT(*), COUNT(DISTINCT entity_id), MIN(run_key), MAX(run_key) "
            f"FROM {self.predictions.table} GROUP BY ds, model_version"
        )
        try:
            found = warehouse.rows(sql)
        except Exception:
            if warehouse.kills == kills and warehouse.there:
                raise
            return
        for day, version, rows, entities, first, last in found:
            self.looks += 1
            self.seen.add((day, first))
            if rows != ENTITIES or entities != ENTITIES or first != last:
                self.wrong.append(f"ds={day} version {version}: {rows} rows of {entities} entities by {first} and {last}")


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    """A Redshift that may be killed."""
    warehouse = Warehouse(tmp_path / "aws")
    warehouse.s3.create_bucket(Bucket=BUCKET)
    yield warehouse
    warehouse.aws.stop()


def strike(random: Random, predictions: Predictions, runs: Sequence[Run], name: str) -> str:
    """A publication that is cut short, with or without another one beside it. Returns where it was; empty: it had ended."""
    warehouse, kind = predictions.warehouse, random.random()
    if kind < 0.5:
        how: dict[str, Any] = {"at": random.randint(0, len(PUBLISH))}
    elif kind < 0.85:
        how = {"killed_after": random.uniform(0, warehouse.clean_seconds)}
    else:
        how = {"server_after": random.uniform(0, warehouse.clean_seconds)}
    beside = None
    if random.random() < 0.4 and "server_after" not in how:
        beside = warehouse.start(predictions.publication(random.choice(runs)))
    answer = warehouse.cut_short(predictions.publication(random.choice(runs)), name, how)
    if beside:
        found = warehouse.ended(beside)
        assert found["Status"] == "FINISHED", f"beside one that was killed: {found.get('Error')}"
    if answer["Status"] == "FINISHED":
        return ""
    done = sum(part["Status"] == "FINISHED" for part in answer["SubStatements"])
    return ("before the delete", "between delete and insert", "after the insert")[(done > DELETE) + (done > INSERT)]


def test_predictions_are_published_whole_or_not_at_all(warehouse: Warehouse) -> None:
    random, predictions = Random(f"{SEED}-publication"), Predictions(warehouse)
    other_version = predictions.scored(Run("r1", 0, 3, version=1))
    warehouse.run(predictions.publication(other_version))
    began = time.monotonic()
    warehouse.run(predictions.publication(predictions.scored(Run("r2", 0, 3))))
    warehouse.clean_seconds = time.monotonic() - began
    reader = PredictionsReader(predictions)
    reader.start()
    where: list[str] = []
    try:
        for number in range(10 * KILLS):
            if len(where) == KILLS:
                break
            runs = [Run(f"r{10 + 2 * number}", 0, 2), Run(f"r{11 + 2 * number}", 1, 3)]
            for run in runs:
                predictions.scored(run)
            where += filter(None, [strike(random, predictions, runs, f"publication-{SEED}-{number}")])
            if number % 4 == 0:  # two that both live, and the one that waits comes last
                slow, other = (predictions.publication(run) for run in runs)
                for statement in [warehouse.start([*slow[: DELETE + 1], SHORT, *slow[DELETE + 1 :]]), warehouse.start(other)]:
                    found = warehouse.ended(statement)
                    assert found["Status"] == "FINISHED", found.get("Error")
    finally:
        reader.stop()
    assert len(where) == KILLS and len(set(where)) == 3, where
    assert not reader.wrong, reader.wrong[:3]
    assert reader.looks > 100 and len(reader.seen) > 20, "the reader has looked too seldom to prove much"

    last = [predictions.scored(Run("r901", 0, 2)), predictions.scored(Run("r902", 1, 3))]
    for run in last:
        warehouse.run(predictions.publication(run))
    expected = [*other_version.rows(), *(row for row in last[0].rows() if row[1] == str(FIRST)), *last[1].rows()]
    assert predictions.rows() == sorted(expected, key=lambda row: (row[2], row[1], row[0]))
