"""Helpers: a small snapshot with something to learn in it, and a model trained on it."""

from __future__ import annotations

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
