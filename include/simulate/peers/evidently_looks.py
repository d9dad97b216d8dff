"""Evidently with its defaults looks at windows of days: runs in ``.venv-evidently`` and imports nothing of this project.

    python evidently_looks.py FOLDER       reads looks.json and the Parquet files it names, writes evidently.json

Each look compares the last 28 days (``window_days``) with the reference by ``DataDriftPreset()``: tests and thresholds as it
chooses them by type and size.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

os.environ["DO_NOT_TRACK"] = "1"  # before the import: Evidently would report its use


def main(folder: Path) -> None:
    """Makes all looks."""
    import pandas as pd

    warnings.filterwarnings("ignore")
    plan = json.loads((folder / "looks.json").read_text(encoding="utf-8"))
    reference = pd.read_parquet(folder / "reference.parquet")
    answers: dict[str, dict[str, Any]] = {}
    began = time.monotonic()
    for file in plan["files"]:
        rows = pd.read_parquet(folder / file["file"])
        answers[file["file"]] = {}
        for last in file["looks"]:
            end = pd.Timestamp(last)
            window = rows[(rows["ds"] <= end) & (rows["ds"] > end - pd.Timedelta(days=plan["window_days"]))]
            answers[file["file"]][last] = look(reference, window, file["columns"], plan["category"])
        print(f"{file['file']}: {len(file['looks'])} looks", flush=True)
    seconds = time.monotonic() - began
    (folder / "evidently.json").write_text(json.dumps({"seconds": seconds, "answers": answers}), encoding="utf-8")


def look(reference: Any, window: Any, columns: list[str], category: list[str]) -> list[str]:
    """The columns that Evidently calls drifted."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    numeric = [name for name in columns if name not in category]
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=[n for n in columns if n in category])
    current, before = (Dataset.from_pandas(rows[columns], data_definition=definition) for rows in (window, reference))
    found = []
    for metric in Report([DataDriftPreset()]).run(current, before).dict()["metrics"]:
        config = metric["config"]
        if "column" in config:
            # Distances are over their threshold when drifted, p-values under it.
            over = metric["value"] > config["threshold"]
            if over != ("p_value" in config["method"]):
                found.append(config["column"])
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
