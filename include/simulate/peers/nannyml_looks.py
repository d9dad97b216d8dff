"""NannyML with its defaults looks at weeks: runs in ``.venv-nannyml`` and imports nothing of this project.

    python nannyml_looks.py FOLDER       reads looks.json and the Parquet files it names, writes nannyml.json

Univariate drift is Jensen-Shannon's distance by week, over the mean and three standard deviations of the reference's own weeks.
Performance is ROC AUC by week, estimated by CBPE and realised, each against the weeks of ``served.parquet`` (the holdout, and
what the model has served before anything changed).
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"  # before the import: NannyML would report its use

WEEK = {"chunk_period": "W", "timestamp_column_name": "ds"}
MODEL = {"y_pred_proba": "score", "y_true": "label", "problem_type": "classification_binary", "metrics": ["roc_auc"]}


def main(folder: Path) -> None:
    """Fits once, and looks at each file's weeks."""
    import nannyml
    import pandas as pd

    warnings.filterwarnings("ignore")
    plan = json.loads((folder / "looks.json").read_text(encoding="utf-8"))
    columns = plan["columns"]
    began = time.monotonic()
    drift = nannyml.UnivariateDriftCalculator(column_names=columns, **WEEK)
    drift.fit(pd.read_parquet(folder / "reference.parquet"))
    served = pd.read_parquet(folder / "served.parquet")
    estimate, realised = nannyml.CBPE(**MODEL, **WEEK), nannyml.PerformanceCalculator(**MODEL, **WEEK)
    estimate.fit(served)
    realised.fit(served)
    answers: dict[str, dict[str, Any]] = {}
    for file in plan["files"]:
        rows = pd.read_parquet(folder / file["file"])
        first = pd.Timestamp(file["looks"][0]) - pd.Timedelta(days=6)
        rows = rows[(rows["ds"] >= first) & (rows["ds"] <= pd.Timestamp(file["looks"][-1]))]
        parts = {
            "drift": drift.calculate(rows),
            "estimated": estimate.estimate(rows),
            "realised": realised.calculate(rows),
        }
        answers[file["file"]] = read({name: part.filter(period="analysis").to_df() for name, part in parts.items()}, columns)
        print(f"{file['file']}: {len(answers[file['file']])} weeks", flush=True)
    seconds = time.monotonic() - began
    (folder / "nannyml.json").write_text(json.dumps({"seconds": seconds, "answers": answers}), encoding="utf-8")


def read(frames: dict[str, Any], columns: list[str]) -> dict[str, Any]:
    """What was in alarm, by the last day of each week."""
    found: dict[str, Any] = {}
    drift = frames["drift"]
    for at, end in enumerate(drift["chunk", "chunk", "end_date"]):
        alerts = [name for name in columns if bool(drift[name, "jensen_shannon", "alert"].iloc[at])]
        found[str(end.date())] = {
            "columns": alerts,
            **{name: bool(frames[name]["roc_auc", "alert"].iloc[at]) for name in ("estimated", "realised")},
        }
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
