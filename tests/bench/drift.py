"""What measuring drift costs: 60 features counted into a profile's bins by each engine, beside its own bare scan of the files.

    python tests/bench/drift.py [--rows 100000 1000000 ...] [--engines polars duckdb spark evidently] [--turns 3] [--json FILE]

The features are 50 numbers (normal, lognormal, exponential with two decimals, Poisson) and 10 categories of 2 to 200 levels, as
Parquet, ten days a size, made once in ``.flywheel/bench``. Each engine runs in a process of its own, two threads, and takes turns
with its own scan, which reads every value and keeps next to nothing:

``polars``     laptop.drift_check, as `make drift` counts; beside it the whole cold process, from start to verdict
``duckdb``     flywheel.core.counting.sql_counts, the SQL that Redshift runs, in the engine of the local Redshift
``spark``      include/scripts/emr/count_features.py in a warm session on local[2]; the first run is told, too
``evidently``  its report of PSI drift, reading left out, where `.venv-evidently` is there; up to a million rows (minutes)

Memory is the peak of the whole process (of the JVM for Spark). All engines have to give the very same counts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(PROJECT / "include"), str(PROJECT / "plugins")]

ZONE, DAYS, FIRST = "features/bench/v1", 10, date(2026, 1, 1)
LEVELS = (2, 3, 5, 8, 12, 20, 40, 80, 120, 200)
NUMBERS, REFERENCE_ROWS, MOST_FOR_EVIDENTLY = 50, 200_000, 1_000_000
ENGINES = ("polars", "duckdb", "spark", "evidently")
#: What a vCPU comes with on EMR Serverless' workers, and what an RPU of Redshift Serverless is taken for: 16 GB, two cores.
GB_PER_VCPU, VCPU_PER_DPU, VCPU_PER_RPU = 4, 4, 2


def columns(seed: int, rows: int, shift: float = 0.0) -> Any:
    """A table of made-up features."""
    import numpy as np
    import pyarrow as pa

    rng, made = np.random.default_rng(seed), {}
    for i in range(NUMBERS):
        made[f"n{i:02}"] = (
            rng.normal(i + shift, 1 + i / 25, rows),
            rng.lognormal(shift, 0.5 + i / 50, rows),
            np.round(rng.exponential(10 + shift, rows), 2),
            rng.poisson(3 + i / 5 + shift, rows).astype(float),
        )[i % 4]
    for i, levels in enumerate(LEVELS):
        share = 1 / np.arange(1, levels + 1)
        codes = rng.choice(levels, rows, p=share / share.sum()).astype("int32")
        names = pa.array([f"level_{level:03}" for level in range(levels)])
        made[f"c{i:02}"] = pa.DictionaryArray.from_arrays(pa.array(codes), names).cast(pa.string())
    return pa.table(made)


def make_data(root: Path, rows: int) -> None:
    """A zone with this many rows, its profile, and a reference for those that have to read one."""
    import pyarrow.parquet as pq

    from flywheel.core.commits import Commit, DataFile, commit_key
    from flywheel.core.profiles import reference_profile

    for number in range(DAYS):
        day = FIRST + timedelta(days=number)
        path = root / ZONE / "write=w" / f"ds={day}" / "part-0.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table = columns(number + 1, rows // DAYS, 0.2 if number >= DAYS // 2 else 0.0)
        pq.write_table(table, path)
        kinds = {name: "string" if name.startswith("c") else "double" for name in table.column_names}
        commit = Commit(ZONE, day, "w", (DataFile(path.name, path.stat().st_size),), rows // DAYS, kinds)
        (root / commit_key(ZONE, day)).parent.mkdir(exist_ok=True)
        (root / commit_key(ZONE, day)).write_text(commit.to_json())
    reference = columns(0, REFERENCE_ROWS)
    if rows <= MOST_FOR_EVIDENTLY:
        pq.write_table(columns(0, rows), root / "reference.parquet")
    frame = reference.to_pandas()
    profile = reference_profile({name: frame[name] for name in frame}, [name for name in frame if name.startswith("c")])
    (root / "profile.json").write_text(json.dumps(profile))


class Watch:
    """Wall and CPU seconds of something, of this process or of the one with a given id."""

    def __init__(self, pid: int | None = None):
        self.pid = pid

    def take(self, what: Callable[[], Any]) -> dict[str, float]:
        """Does it and tells what it took."""
        cpu, wall = self._cpu(), time.perf_counter()
        what()
        return {"wall": time.perf_counter() - wall, "cpu": self._cpu() - cpu}

    def _cpu(self) -> float:
        if self.pid is None:
            return time.process_time()
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def taken(turns: int, count: Callable[[], Any], scan: Callable[[], Any], pid: int | None = None) -> dict[str, Any]:
    """First runs of both, then turns of both one after the other."""
    watch = Watch(pid)
    first = {"first scan": watch.take(scan), "first": watch.take(count)}
    found: dict[str, Any] = {**first, "scan": [], "count": []}
    for _ in range(turns):
        found["scan"].append(watch.take(scan))
        found["count"].append(watch.take(count))
    path = f"/proc/{pid or 'self'}/status"
    peak = next(line for line in Path(path).read_text().splitlines() if line.startswith("VmHWM"))
    return {**found, "mb": int(peak.split()[1]) / 1024}


def work_polars(root: Path, turns: int) -> dict[str, Any]:
    """The counts of `make drift`, and all greatest values."""
    import polars as pl

    from laptop.drift_check import FileCounter, find_files, load_profile

    profile, files = load_profile(root / "profile.json"), find_files([f"{root}/{ZONE}/**/*.parquet"])
    days: dict[date, Any] = {}

    def count() -> None:
        counter = FileCounter(profile)
        days.update({day: counter.count(paths) for day, paths in files.items()})

    def scan() -> None:
        for paths in files.values():
            pl.scan_parquet(paths, hive_partitioning=False).select(pl.all().max()).collect(engine="streaming")

    found = taken(turns, count, scan)
    return {**found, "counts": fingerprint({day: one.counts for day, one in days.items()})}


def work_duckdb(root: Path, turns: int) -> dict[str, Any]:
    """One row a day of Redshift's SQL, and all greatest values."""
    import duckdb

    from flywheel.core.counting import DayCounts, sql_counts
    from localaws.redshift.engine import MEMORY_LIMIT, THREADS

    profile = json.loads((root / "profile.json").read_text())
    database = duckdb.connect(config={"threads": THREADS, "memory_limit": MEMORY_LIMIT})
    database.execute(
        f"CREATE VIEW features AS SELECT * FROM read_parquet('{root}/{ZONE}/**/*.parquet', hive_partitioning = true)"
    )
    expressions = sql_counts(profile, moments=True, is_nan="CAST({column} AS FLOAT) = 'NaN'")
    aggregates = ", ".join(f"{expression} AS {alias}" for alias, expression in expressions.items())
    greatest = ", ".join(f"max({name})" for name in profile["features"])
    days: dict[date, Any] = {}

    def count() -> None:
        answer = database.execute(f"SELECT ds, {aggregates} FROM features GROUP BY ds")
        names = [column[0] for column in answer.description]
        for row in answer.fetchall():
            days[row[0]] = DayCounts.from_sql(profile, dict(zip(names, row, strict=True)))

    found = taken(turns, count, lambda: database.execute(f"SELECT {greatest} FROM features").fetchall())
    return {**found, "counts": fingerprint({day: one.counts for day, one in days.items()})}


def work_spark(root: Path, turns: int) -> dict[str, Any]:
    """The job as EMR runs it, and all values thrown away."""
    from simulate import lake

    spark = lake.session()
    import count_features

    from flywheel.core.counting import days_from_json

    last = FIRST + timedelta(days=DAYS - 1)
    place = ["--zones-root", f"file://{root}", "--group", "bench", "--version", "1", "--profile", f"file://{root}/profile.json"]
    arguments = [*place, "--days", f"{FIRST}:{last}", "--output", f"file://{root}/counts.json"]
    frame = spark.read.parquet(f"file://{root}/{ZONE}/write=w")
    jvm = int(spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid())

    def scan() -> None:
        frame.write.format("noop").mode("overwrite").save()

    found = taken(turns, lambda: count_features.main(arguments), scan, jvm)
    days = days_from_json((root / "counts.json").read_text())
    return {**found, "counts": fingerprint({day: one.counts for day, one in days.items()})}


def work_evidently(root: Path, turns: int) -> dict[str, Any]:
    """Evidently's report of PSI drift; reading the files is not counted."""
    began = time.perf_counter()
    import pandas as pd
    from evidently import Report
    from evidently.presets import DataDriftPreset

    imported = time.perf_counter() - began
    reference = pd.read_parquet(root / "reference.parquet")
    paths = sorted((root / ZONE).glob("**/*.parquet"))
    current = pd.concat([pd.read_parquet(path, columns=list(reference)) for path in paths], ignore_index=True)
    report = Report([DataDriftPreset(method="psi")])
    count = Watch().take(lambda: report.run(current, reference).dict())
    return {"count": [count], "import": imported, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


WORK = {"polars": work_polars, "duckdb": work_duckdb, "spark": work_spark, "evidently": work_evidently}


def fingerprint(days: Mapping[date, Mapping[str, Any]]) -> str:
    """Tells equal counts from others."""
    plain = {str(day): {name: list(counts[name]) for name in sorted(counts)} for day, counts in days.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


def in_process(engine: str, root: Path, turns: int) -> dict[str, Any]:
    """An engine's work in a process of its own."""
    python = PROJECT / ".venv-evidently/bin/python" if engine == "evidently" else sys.executable
    command = [str(python), __file__, "--work", engine, "--root", str(root), "--turns", str(turns)]
    env = os.environ | {"POLARS_MAX_THREADS": "2", "DO_NOT_TRACK": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=PROJECT, env=env)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def cold_process(root: Path) -> dict[str, float]:
    """`make drift` on these files, from the start of its process to its end."""
    command = [sys.executable, "-m", "laptop.drift_check", "--profile", f"{root}/profile.json"]
    command += ["--files", f"{root}/{ZONE}/**/*.parquet"]
    env = os.environ | {"PYTHONPATH": f"{PROJECT}/include:{PROJECT}/plugins", "POLARS_MAX_THREADS": "2"}
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=env)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise RuntimeError(f"make drift: expected a verdict, found exit code {process.returncode}")
    wall = time.perf_counter() - began
    return {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "mb": used.ru_maxrss / 1024}


def median(found: list[dict[str, float]], key: str) -> float:
    """The median of one figure."""
    return statistics.median(one[key] for one in found)


def measure(rows: int, engines: list[str], turns: int) -> dict[str, Any]:
    """All engines on one size."""
    root, found = PROJECT / ".flywheel" / "bench" / f"drift-{rows}", {}
    if not (root / "profile.json").exists():
        print(f"Making {rows:,} rows in {root} ...", flush=True)
        # Elsewhere: a process that is started counts the memory of the one that has started it as its own.
        subprocess.run([sys.executable, __file__, "--make", "--root", str(root), "--rows", str(rows)], check=True)
    for engine in engines:
        if engine == "evidently" and (rows > MOST_FOR_EVIDENTLY or not (PROJECT / ".venv-evidently").exists()):
            continue
        print(f"  {rows:,} rows, {engine} ...", flush=True)
        found[engine] = in_process(engine, root, turns)
        if engine == "polars":
            found[engine]["cold"] = [cold_process(root) for _ in range(turns)]
    return found


def print_table(rows: int, found: Mapping[str, Any]) -> None:
    """Medians, ratios to the scan and to Evidently."""
    print(f"\n{rows:,} rows, 60 features")
    head = ("wall", "cpu", "peak", "rows/s", "x own scan", "(cpu)", "first run", "x Evidently")
    print(f"  {'':22}" + "".join(f"{name:>12}" for name in head))
    evidently = found.get("evidently", {}).get("count")
    for engine, one in found.items():
        parts = [(engine, one["count"])]
        parts += [(f"{engine}, its scan", one["scan"])] if "scan" in one else []
        parts += [("polars, cold process", one["cold"])] if "cold" in one else []
        for name, turns in parts:
            wall, cpu = median(turns, "wall"), median(turns, "cpu")
            peak = median(turns, "mb") if "mb" in turns[0] else one["mb"]
            cells = [f"{wall:.2f} s", f"{cpu:.2f} s", f"{peak:.0f} MB", f"{rows / wall:,.0f}"]
            if name == engine and "scan" in one:
                cells += [f"{wall / median(one['scan'], 'wall'):.2f}", f"{cpu / median(one['scan'], 'cpu'):.2f}"]
                cells += [f"{one['first']['wall']:.1f} s"]
            if evidently and engine != "evidently" and "scan" not in name:
                cells += [""] * (7 - len(cells)) + [f"{median(evidently, 'wall') / wall:,.0f}"]
            print(f"  {name:22}" + "".join(f"{cell:>12}" for cell in cells))
    same = {one["counts"] for one in found.values() if "counts" in one}
    print(f"  counts: {'the same in each engine' if len(same) == 1 else f'DIFFERENT {same}'}" if same else "")


def print_costs(rows: int, found: Mapping[str, Any]) -> None:
    """Dollars per billion rows, on paper."""
    from laptop.jobs_bill import PRICES

    print("\nOn paper, per billion monitored rows of 60 features: 10^9 / (rows per core-second) / 3600 x price of a core-hour")
    emr = PRICES["emr_vcpu_hour"] + GB_PER_VCPU * PRICES["emr_gb_hour"]
    core_hours = {
        "spark": {
            f"EMR Serverless, {GB_PER_VCPU} GB a vCPU": emr,
            f"Glue, {VCPU_PER_DPU} vCPU a DPU": PRICES["glue_dpu_hour"] / VCPU_PER_DPU,
        },
        "duckdb": {f"Redshift Serverless, a RPU for {VCPU_PER_RPU} cores": PRICES["redshift_rpu_hour"] / VCPU_PER_RPU},
    }
    for engine, places in core_hours.items():
        if engine in found:
            speed = rows / median(found[engine]["count"], "cpu")
            for place, price in places.items():
                dollars = 1e9 / speed / 3600 * price
                print(f"  {place:42} {speed:>9,.0f} rows per core-second as {engine} here, {price:.4f} $/h: {dollars:6.2f} $")
    print("  Assumed: a core there is as fast as one here, S3 is no slower than this disk; minimum charges are left out.")


def main() -> int:
    """Command line; see the module's head. Returns 1 when engines differ in their counts."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=--drift")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument(
        "--engines", nargs="+", choices=ENGINES, default=list(ENGINES), help="leave evidently out to save minutes"
    )
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--work", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make_data(options.root, options.rows[0])
        return 0
    if options.work:
        print("\n" + json.dumps(WORK[options.work](options.root, options.turns)))
        return 0
    found = {}
    for rows in options.rows:
        found[rows] = measure(rows, options.engines, options.turns)
        print_table(rows, found[rows])
    print_costs(max(found), found[max(found)])
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    fingerprints = [{one["counts"] for one in size.values() if "counts" in one} for size in found.values()]
    return 0 if all(len(same) <= 1 for same in fingerprints) else 1


if __name__ == "__main__":
    sys.exit(main())
