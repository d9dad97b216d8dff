"""What a backfill costs: in chunks, as one job for everything, and as one job per day.

    python tests/bench/backfill.py [--days 1 7 31 365] [--chunk-days 92] [--most-daily-jobs 31] [--json FILE]

The real flights of 2013 are delivered once; then the ingest and the feature job run over the first so many days, each time on
empty zones, all in one warm JVM with two cores. Times are of the jobs' own work. What a job costs before it begins (Glue and EMR
Serverless bill at least a minute, and take half of one to start) comes on top of each job, so the number of jobs is printed
too. One job per day is measured up to so many days, beyond that its time is what those days took, times the days.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(PROJECT / folder) for folder in ("include", "plugins")]

from flywheel.core.chunks import chunks  # noqa: E402
from flywheel.core.runs import Window  # noqa: E402
from laptop.landing import FIRST_DAY  # noqa: E402
from simulate import lake  # noqa: E402
from simulate.lake import DATASETS, LAST_WITH_WEATHER  # noqa: E402


def windows(days: int, size: int) -> list[Window]:
    """The first ``days`` days as the DAGs would plan them, at most ``size`` in one job."""
    return chunks([FIRST_DAY + timedelta(days=i) for i in range(days)], size)


def play(root: Path, jobs: Sequence[Window]) -> float:
    """Ingests and builds features, job by job, on empty zones. Returns seconds."""
    for zone in ("raw", "processed", "features", "labels", "reports"):
        shutil.rmtree(root / zone, ignore_errors=True)
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        for job in jobs:
            lake.ingest(root, job.start, job.end, DATASETS)
            if job.start <= LAST_WITH_WEATHER:
                lake.build_features(root, job.start, min(job.end, LAST_WITH_WEATHER))
    return time.perf_counter() - began


def main() -> int:
    """Command line; see the module's head."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=--backfill")
    parser.add_argument("--days", type=int, nargs="*", default=[1, 7, 31, 365])
    parser.add_argument("--chunk-days", type=int, default=92)
    parser.add_argument("--most-daily-jobs", type=int, default=31)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        print("Delivering the flights ...", flush=True)
        lake.deliver(root, max(options.days))
        lake.session()
        play(root, windows(min(options.days), 1))  # the JVM is warm after this
        print(f"\n  {'days':>5} {'chunks':>16} {'one job':>16} {'a job per day':>22} {'per day of data':>16}")
        found = []
        for days in options.days:
            chunked = windows(days, options.chunk_days)
            measured = min(days, options.most_daily_jobs)
            row = {
                "days": days,
                "chunks": len(chunked),
                "chunked": play(root, chunked),
                "single": play(root, windows(days, days)),
                "daily": play(root, windows(measured, 1)) * days / measured,
            }
            found.append(row)
            daily = f"{'~' if measured < days else ''}{row['daily']:.0f} s in {days}"
            in_chunks, single = f"{row['chunked']:.0f} s in {row['chunks']}", f"{row['single']:.0f} s in 1"
            print(f"  {days:>5} {in_chunks:>16} {single:>16} {daily:>22} {row['chunked'] / days:>14.2f} s", flush=True)
        if options.json:
            options.json.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
