"""Scores CSV lines with a model that ``train.py`` made: SageMaker's four functions of a framework container.

A line holds the features in the order of the model's ``columns.json``, without header; an empty field is a missing value, and so
is a category that the model has never seen. The answer is one probability per line.

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

CSV = "text/csv"
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
    """The lines of a request as texts, one column per field; empty fields are missing.

    :raises ValueError: another content type than CSV
    """
    if request_content_type.split(";")[0].strip() != CSV:
        raise ValueError(f"content type: expected {CSV}, found {request_content_type}")
    body = request_body.encode() if isinstance(request_body, str) else bytes(request_body)
    if not body.strip():
        return pd.DataFrame()
    return pd.read_csv(io.BytesIO(body), header=None, dtype=str, keep_default_na=False, na_values=[""], skip_blank_lines=False)


def predict_fn(input_object: pd.DataFrame, model: Model) -> np.ndarray:
    """One probability per line, shape (lines,).

    :raises ValueError: lines with another number of fields than the model has features, or a number that is none
    """
    features = model.columns["features"]
    if input_object.empty:
        return np.empty(0)
    if input_object.shape[1] != len(features):
        names = ", ".join(feature["name"] for feature in features)
        raise ValueError(f"input: expected {len(features)} fields per line ({names}), found {input_object.shape[1]}")
    frame = input_object.set_axis([feature["name"] for feature in features], axis="columns")
    return model.booster.predict(to_matrix(frame, features))


def output_fn(prediction: np.ndarray, accept: str = CSV) -> str:
    """The probabilities as text, one per line.

    :raises ValueError: another type than CSV is asked for
    """
    if accept.split(";")[0].strip() not in (CSV, "*/*", ""):
        raise ValueError(f"accept: expected {CSV}, found {accept}")
    return "\n".join(f"{probability:.9g}" for probability in prediction.tolist())


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
