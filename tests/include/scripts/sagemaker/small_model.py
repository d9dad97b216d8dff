"""Helpers: a small snapshot with something to learn in it, and a model trained on it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

COLUMNS = ["entity_id", "event_time", "ds", "wait", "carrier", "noise", "label"]


def snapshot(first_day: str = "2013-01-01", days: int = 40, rows_per_day: int = 60, seed: int = 0) -> pd.DataFrame:
    """Rows whose label depends on a number (``wait``, sometimes missing) and a category (``carrier``)."""
    rng = np.random.default_rng(seed)
    rows = days * rows_per_day
    day = pd.Timestamp(first_day) + pd.to_timedelta(np.repeat(np.arange(days), rows_per_day), unit="D")
    wait, carrier = rng.normal(size=rows), rng.choice(["AA", "B6", "DL", "UA", "9E"], rows)
    chance = 1 / (1 + np.exp(-(1.5 * wait + np.where(np.isin(carrier, ["B6", "9E"]), 1.0, -1.0))))
    return pd.DataFrame(
        {
            "entity_id": [f"{d:%Y%m%d}|{i:05d}" for i, d in enumerate(day)],
            "event_time": day + pd.Timedelta(hours=9),
            "ds": day.date,
            "wait": np.where(rng.random(rows) < 0.05, np.nan, wait),
            "carrier": carrier,
            "noise": rng.normal(size=rows),
            "label": (rng.random(rows) < chance).astype("int32"),
        }
    )


def channel(folder: Path, rows: pd.DataFrame, parts: int = 2) -> Path:
    """A channel's folder as UNLOAD fills it: several Parquet files."""
    folder.mkdir(parents=True)
    for i in range(parts):
        rows[i::parts].to_parquet(folder / f"{i:04d}_part_00.parquet", index=False)
    return folder


def train_model(folder: Path, rows: pd.DataFrame, *hyperparameters: str) -> dict[str, float]:
    """Train on the rows into ``folder``/model; the metrics that the script printed last."""
    from train import parse_arguments, train

    data = folder / "train" if (folder / "train").is_dir() else channel(folder / "train", rows)
    arguments = ["--train", str(data), "--model_dir", str(folder / "model"), "--categorical", "carrier"]
    arguments += ["--num_round", "40", "--early_stopping_rounds", "8", "--validation_days", "8", "--seed", "3"]
    return train(*parse_arguments([*arguments, *hyperparameters]))


def forecast_snapshot(first_day: str = "2013-01-01", days: int = 40, rows_per_day: int = 60, seed: int = 0) -> pd.DataFrame:
    """Rows whose label is a count, five times ``size`` on average, with the label of a season before where it is known."""
    rows = snapshot(first_day, days, rows_per_day, seed)
    rng = np.random.default_rng(seed)
    size = rng.gamma(1.0, 1.0, len(rows))
    before = np.where(rng.random(len(rows)) < 0.1, np.nan, rng.poisson(5 * size * rng.uniform(0.5, 1.5, len(rows))))
    return rows.assign(size=size, label=rng.poisson(5 * size).astype(float), naive_label=before)


#: A user's own: least squares, its coefficients in a JSON file.
FORECAST_INFERENCE = """
import io, json, pathlib
import numpy as np
import pandas as pd

def model_fn(folder):
    return json.loads((pathlib.Path(folder) / "line.json").read_text())

def input_fn(body, content_type):
    return pd.read_csv(io.StringIO(body), header=None)

def predict_fn(rows, line):
    return np.clip(line["slope"] * rows[0] + line["intercept"], 0, None)
"""


def forecast_model(folder: Path, rows: pd.DataFrame) -> Path:
    """A regressor of ``label`` on ``size``, as a training job of the user's own would leave it; returns its folder."""
    from sklearn.linear_model import LinearRegression

    fitted = LinearRegression().fit(rows[["size"]], rows["label"])
    (folder / "code").mkdir(parents=True)
    line = {"slope": float(fitted.coef_[0]), "intercept": float(fitted.intercept_)}
    columns = {"features": [{"name": "size", "kind": "numeric"}], "label": "label"}
    for name, content in (
        ("line.json", json.dumps(line)),
        ("columns.json", json.dumps(columns)),
        ("code/inference.py", FORECAST_INFERENCE),
    ):
        (folder / name).write_text(content)
    return folder
