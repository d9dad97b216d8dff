"""What contracts, whole partitions and the swap cost: the ingest and the feature job beside the same work in plain Spark.

    python tests/bench/data_layer.py [--copies 30] [--days 365] [--repeat 3] [--json FILE]

The flights of 2013 are delivered ``copies`` times over (30 make ten million rows), a file a day. Then, each in a process of its
own, on two cores, after a warm-up:

``ingest``           include/scripts/glue/ingest_dataset.py: raw copies, contract, keys, partitions, commits
``ingest, plain``    spark.read.parquet(all).write.parquet(one folder)
``features``         include/scripts/emr/build_features.py: checksums, partitions, read back, commits, manifests
``features, plain``  the same feature module, spark.read.parquet(all) and write.parquet(one folder)

Plain Spark is given the schema, so neither infers it. Printed: rows per second, wall and CPU time and peak memory of the JVM, and
the ratio of the medians. The turns alternate, so that a machine that is busy is so for both.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "include"))

from laptop.landing import FIRST_DAY  # noqa: E402
from simulate import lake  # noqa: E402
from simulate.lake import DATASETS, LAST_WITH_WEATHER  # noqa: E402

lake.use_jobs()


def ingest(root: Path, days: int) -> None:
    """The job on the flights."""
    lake.ingest(root, FIRST_DAY, FIRST_DAY + timedelta(days=days - 1), ["flights"])


def schema_of(dataset: str) -> str:
    """A dataset's columns and its day as Spark's DDL."""
    from flywheel.core.contract_files import load_contract

    contract = load_contract(PROJECT / f"include/datasets/{dataset}.yaml")
    return ", ".join(f"`{column.name}` {column.spark_type}" for column in contract.columns) + ", ds DATE"


def ingest_plain(root: Path, days: int) -> None:
    """The same rows, read and written."""
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.getOrCreate()
    spark.read.schema(schema_of("flights")).parquet(f"file://{root}/landing/flights").write.parquet(
        f"file://{root}/plain/flights"
    )


def features(root: Path, days: int) -> None:
    """The job on all days that have weather."""
    lake.build_features(root, FIRST_DAY, min(FIRST_DAY + timedelta(days=days - 1), LAST_WITH_WEATHER))


def features_plain(root: Path, days: int) -> None:
    """The same module over the same days, features and labels, read and written."""
    from features import flight_delay
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as F

    spark = SparkSession.builder.getOrCreate()
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    last = min(FIRST_DAY + timedelta(days=days - 1), LAST_WITH_WEATHER)
    frames = {}
    for name in DATASETS:
        frame = spark.read.schema(schema_of(name)).parquet(f"file://{root}/landing/{name}")
        frames[name] = frame.drop("ds") if name == "planes" else frame.where(F.col("ds") <= str(last))
    flight_delay.features(frames).write.parquet(f"file://{root}/plain/features")
    flight_delay.labels(frames).write.parquet(f"file://{root}/plain/labels")


WORK = {"ingest": ingest, "ingest, plain": ingest_plain, "features": features, "features, plain": features_plain}
LEFT = {
    "ingest": ("raw", "processed"),
    "ingest, plain": ("plain",),
    "features": ("features", "labels"),
    "features, plain": ("plain",),
}


def work(name: str, root: Path, days: int) -> None:
    """Does one of the works and prints what it took as the last line."""
    spark = lake.session()
    jvm = int(spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid())
    cpu, began = _cpu_seconds(jvm), time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        WORK[name](root, days)
    wall = time.perf_counter() - began
    peak = next(line for line in Path(f"/proc/{jvm}/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"wall": wall, "cpu": _cpu_seconds(jvm) - cpu, "mb": int(peak.split()[1]) / 1024}))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Command line; see the module's head."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=--data")
    parser.add_argument("--copies", type=int, default=30)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--work", choices=WORK, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options.root, options.days)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        print(f"Delivering {options.days} days, {options.copies} times over ...", flush=True)
        rows = lake.deliver(root, options.days, options.copies)
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in WORK}
        prepared = False
        for turn in range(options.repeat):
            for name in WORK:
                if name == "features" and not prepared:  # what it reads
                    _prepare(root, options.days)
                    prepared = True
                taken[name].append(_in_process(name, root, options.days))
                _forget(root, name)
                print(f"  turn {turn + 1}, {name}: {taken[name][-1]['wall']:.1f} s", flush=True)
                if name == "ingest":
                    prepared = False
        print_table(rows, taken)
        if options.json:
            options.json.write_text(json.dumps({"rows": rows, "taken": taken}, indent=1))
    return 0


def _prepare(root: Path, days: int) -> None:
    """What the feature job reads: all datasets committed, by the ingest job, not timed."""
    code = f"import data_layer as b; from pathlib import Path; s=b.lake.session(); b.prepare(Path({str(root)!r}), {days})"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent, stdout=subprocess.DEVNULL)


def prepare(root: Path, days: int) -> None:
    """Ingests all datasets."""
    lake.ingest(root, FIRST_DAY, FIRST_DAY + timedelta(days=days - 1), DATASETS)


def _in_process(name: str, root: Path, days: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--work", name, "--root", str(root), "--days", str(days)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=PROJECT)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _forget(root: Path, name: str) -> None:
    for folder in LEFT[name]:
        shutil.rmtree(root / folder, ignore_errors=True)


def print_table(rows: int, taken: dict[str, list[dict[str, float]]]) -> None:
    """Medians, and Flywheel's against plain Spark's."""

    def median(name: str, key: str) -> float:
        return statistics.median(one[key] for one in taken[name])

    print(f"\n{rows:,} flights; medians of {len(taken['ingest'])} turns")
    print(f"  {'':18} {'wall':>9} {'cpu':>9} {'rows/s':>10} {'peak':>9}")
    for name in taken:
        wall = median(name, "wall")
        print(f"  {name:18} {wall:>7.1f} s {median(name, 'cpu'):>7.1f} s {rows / wall:>10,.0f} {median(name, 'mb'):>6.0f} MB")
    for name in ("ingest", "features"):
        ratios = [median(name, key) / median(f"{name}, plain", key) for key in ("wall", "cpu")]
        print(f"  {name}: {ratios[0]:.2f} times plain Spark's wall time, {ratios[1]:.2f} times its CPU time")


if __name__ == "__main__":
    sys.exit(main())
