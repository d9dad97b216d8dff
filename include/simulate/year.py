"""The flights of 2013 as a model sees them, made once by the project's own jobs and kept: ``.flywheel/simulate/year-….parquet``.

    python -m simulate.year FILE
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from flywheel.core.artifacts import artifacts_version
from flywheel.core.commits import Commit
from laptop.environment import PROJECT
from laptop.landing import FIRST_DAY
from simulate import lake

FOLDER = PROJECT / ".flywheel" / "simulate"


def load_year(say: Callable[[str], Any] = print) -> Any:
    """All labelled flights as a pandas frame: entity_id, event_time, ds, the features, label (0 or 1), in the order of time."""
    import pandas as pd

    path = FOLDER / f"year-{artifacts_version(PROJECT / 'include')}.parquet"
    if not path.exists():
        say("Making the year's features with the project's own Spark jobs, once (about a minute) ...")
        for old in FOLDER.glob("year-*.parquet"):
            old.unlink()
        # A process of its own: Spark's JVM ends with it, and its memory.
        subprocess.run([sys.executable, "-m", "simulate.year", str(path)], check=True)
    rows = pd.read_parquet(path)
    rows["ds"] = pd.to_datetime(rows["ds"])
    return rows


def make_year(path: Path) -> None:
    """Writes the file that :func:`load_year` reads, whole or not at all."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        lake.deliver(root, 365)
        lake.session()
        with contextlib.redirect_stdout(sys.stderr):
            lake.ingest(root, FIRST_DAY, date(2013, 12, 31), lake.DATASETS)
            lake.build_features(root, FIRST_DAY, lake.LAST_WITH_WEATHER)
        features, labels = (_committed(root, f"{kind}/flight_delay/v1") for kind in ("features", "labels"))
    rows = features.drop(columns="checksum").merge(labels[["entity_id", "ds", "label"]], on=["entity_id", "ds"])
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".new")
    rows.sort_values(["ds", "entity_id"], ignore_index=True).to_parquet(half, index=False)
    os.replace(half, path)


def _committed(root: Path, zone: str) -> Any:
    """The rows of a zone, by its commits, with their day."""
    import pandas as pd

    commits = [Commit.from_json(file.read_text()) for file in sorted((root / zone / "_commits").glob("*.json"))]
    return pd.concat(
        [pd.read_parquet(root / commit.folder / file.name, partitioning=None).assign(ds=str(commit.ds))
         for commit in commits for file in commit.files],
        ignore_index=True,
    )  # fmt: skip


if __name__ == "__main__":
    make_year(Path(sys.argv[1]))
