"""Scores rows with a model that ``train.py`` made: SageMaker's four functions of a framework container.

A batch is a Parquet file with ``entity_id`` and the features by name, the same file format, types and bits that the model was
trained on; it is answered by lines ``entity_id,probability``. A single question is CSV: a line holds the features in the order of
the model's ``columns.json``, without header, and is answered by its probability. (Redshift writes doubles into CSV with 15
digits, which is not all of them, so batches are not CSV.) An empty field is a missing value, and so is a category that the model
has never seen.

The file travels inside the model's archive (``code/``), so it needs nothing but what the container has.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before XGBoost is loaded: its idle threads shall sleep, not spin, which on shared cores costs five times the work itself.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd
import xgboost as xgb

CSV, PARQUET = "text/csv", "application/x-parquet"
ID = "entity_id"
MODEL_FILE, COLUMNS_FILE = "model.ubj", "columns.json"


@dataclass(frozen=True)
class Model:
    """A booster, and the columns it was trained on as ``columns.json`` has them."""

    booster: xgb.Booster
    columns: Mapping[str, Any]


def model_fn(model_dir: str) -> Model:
    """The model from its unpacked archive."""
    folder = Path(model_dir)
    booster = xgb.Booster({"nthread": os.cpu_count() or 1})
    booster.load_model(folder / MODEL_FILE)
    return Model(booster, json.loads((folder / COLUMNS_FILE).read_text(encoding="utf-8")))


def input_fn(request_body: bytes | str, request_content_type: str = CSV) -> pd.DataFrame:
    """The rows of a request: those of a Parquet file by name, with their ids as index; CSV's as texts, a column per field.

    :raises ValueError: another content type, or a Parquet file without ids
    """
    kind = request_content_type.split(";")[0].strip()
    body = request_body.encode() if isinstance(request_body, str) else bytes(request_body)
    if kind == PARQUET:
        frame = pd.read_parquet(io.BytesIO(body))
        if ID not in frame.columns:
            raise ValueError(f"input: expected a column {ID}, found {', '.join(frame.columns)}")
        return frame.set_index(ID)
    if kind != CSV:
        raise ValueError(f"content type: expected {CSV} or {PARQUET}, found {request_content_type}")
    if not body.strip():
        return pd.DataFrame()
    return pd.read_csv(io.BytesIO(body), header=None, dtype=str, keep_default_na=False, na_values=[""], skip_blank_lines=False)


def predict_fn(input_object: pd.DataFrame, model: Model) -> pd.Series:
    """One probability per row, under the row's index.

    :raises ValueError: a feature of the model is missing, lines have another number of fields, or a number is none
    """
    features, frame = model.columns["features"], input_object
    names = [feature["name"] for feature in features]
    if frame.empty:
        return pd.Series(np.empty(0), index=frame.index)
    if frame.index.name == ID:
        if missing := [name for name in names if name not in frame.columns]:
            raise ValueError(f"input: expected the columns {', '.join(names)}, found none named {', '.join(missing)}")
    elif frame.shape[1] != len(names):
        raise ValueError(f"input: expected {len(names)} fields per line ({', '.join(names)}), found {frame.shape[1]}")
    else:
        frame = frame.set_axis(names, axis="columns")
    return pd.Series(model.booster.predict(to_matrix(frame, features)), index=frame.index)


def output_fn(prediction: pd.Series, accept: str = CSV) -> str:
    """The probabilities as lines, after their ids where the rows have ids.

    :raises ValueError: another type than CSV is asked for
    """
    if accept.split(";")[0].strip() not in (CSV, "*/*", ""):
        raise ValueError(f"accept: expected {CSV}, found {accept}")
    # Nine digits name each float32, which is what XGBoost gives.
    return prediction.to_csv(header=False, index=prediction.index.name == ID, float_format="%.9g")


def to_matrix(frame: pd.DataFrame, features: list[Mapping[str, Any]], label: Any = None) -> xgb.DMatrix:
    """What XGBoost takes: categories as the place of their level among the model's, unknown ones missing.

    The places are made here and not by pandas' categorical columns, whose codes depend on the data at hand.

    :param features: ``[{"name", "kind": "numeric" | "category", "levels"}]``, as in ``columns.json``
    :raises ValueError: a numeric column holds text
    """
    values = np.empty((len(frame), len(features)), dtype=np.float32)
    for i, feature in enumerate(features):
        column = frame[feature["name"]]
        if feature["kind"] == "category":
            codes = pd.Categorical(column, categories=feature["levels"]).codes.astype(np.float32)
            values[:, i] = np.where(codes < 0, np.nan, codes)
        else:
            try:
                values[:, i] = pd.to_numeric(column)
            except (ValueError, TypeError) as error:
                raise ValueError(f"column {feature['name']}: expected numbers, found something else: {error}") from None
    return xgb.DMatrix(
        values,
        label=label,
        feature_names=[feature["name"] for feature in features],
        feature_types=["c" if feature["kind"] == "category" else "q" for feature in features],
        enable_categorical=True,
    )
