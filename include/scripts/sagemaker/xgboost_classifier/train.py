"""Trains a binary classifier with XGBoost under SageMaker's script mode.

Channel ``train``: Parquet files with entity_id, event_time, ds, the features, and label (0 or 1). All columns but those four are
features, in the order of the files. A channel ``holdout``, if there is one, is only scored at the end.

How many trees is found on the last ``validation_days`` days of the training data (never on the holdout), training on the days
before; then a model of that many trees is trained on all days, since the newest days say most about the next ones
(``--refit 0`` leaves this out).

Hyperparameters: those below, and XGBoost's own of :data:`BOOSTER_PARAMETERS` by their names. Training runs on the GPU where the
instance has one and the container's XGBoost can use it. With a folder for checkpoints (SageMaker makes one when the request has
a CheckpointConfig) an interrupted job goes on where it was, and ends with the same model as if it had not been interrupted.

The model's archive: ``model.ubj``; ``columns.json``, the features in order with the levels of the categories;
``profile.json``, the reference for drift (see flywheel.core.profiles) with the distribution of the scores; ``code/inference.py``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before XGBoost is loaded: its idle threads shall sleep, not spin, which on shared cores costs five times the work itself.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd
import xgboost as xgb
from inference import COLUMNS_FILE, MODEL_FILE, to_matrix

from flywheel.core.profiles import numeric_profile, reference_profile

NOT_FEATURES = ("entity_id", "event_time", "ds", "label")
BOOSTER_PARAMETERS = {
    **dict.fromkeys(("max_depth", "max_leaves", "max_bin", "num_parallel_tree", "seed"), int),
    **dict.fromkeys(("max_cat_to_onehot", "max_cat_threshold"), int),
    **dict.fromkeys(("eta", "learning_rate", "gamma", "lambda", "alpha", "subsample"), float),
    **dict.fromkeys(("min_child_weight", "max_delta_step", "scale_pos_weight", "base_score"), float),
    **dict.fromkeys(("colsample_bytree", "colsample_bylevel", "colsample_bynode"), float),
    **dict.fromkeys(("grow_policy", "monotone_constraints", "interaction_constraints", "sampling_method"), str),
}
KEPT_CHECKPOINTS = 2
LOG_EVERY = 10


@dataclass(frozen=True)
class Options:
    """The hyperparameters that are the script's own; days, rounds and rows are counts.

    :param stop_on: metric that early stopping watches, ``logloss`` or ``auc``
    """

    train: Path
    holdout: Path | None
    model_dir: Path
    checkpoint_dir: Path
    categorical: tuple[str, ...]
    num_round: int
    early_stopping_rounds: int
    validation_days: int
    stop_on: str
    refit: bool
    checkpoint_every: int


def parse_arguments(arguments: Sequence[str]) -> tuple[Options, dict[str, Any]]:
    """The script's options and XGBoost's parameters, from hyperparameters and the container's environment.

    :raises ValueError: an unknown hyperparameter
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--train", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN", "/opt/ml/input/data/train"))
    parser.add_argument("--holdout", type=Path, default=os.environ.get("SM_CHANNEL_HOLDOUT"))
    parser.add_argument("--model-dir", "--model_dir", type=Path, default=os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
    parser.add_argument("--checkpoint-dir", "--checkpoint_dir", type=Path, help="default: checkpoints, beside the model's folder")
    parser.add_argument("--categorical", type=lambda text: tuple(name for name in text.split(",") if name), default=())
    parser.add_argument("--num-round", "--num_round", type=int, default=400)
    parser.add_argument("--early-stopping-rounds", "--early_stopping_rounds", type=int, default=50)
    parser.add_argument("--validation-days", "--validation_days", type=int, default=14)
    parser.add_argument("--stop-on", "--stop_on", choices=("auc", "logloss"), default="logloss")
    parser.add_argument("--refit", type=_flag, default=True)
    parser.add_argument("--checkpoint-every", "--checkpoint_every", type=int, default=20)
    for name, kind in BOOSTER_PARAMETERS.items():
        parser.add_argument(f"--{name}", type=kind)
    found, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise ValueError(f"hyperparameters: expected known names, found {' '.join(unknown)}; see train.py --help")
    values = vars(found)
    values["checkpoint_dir"] = values["checkpoint_dir"] or found.model_dir.parent / "checkpoints"
    booster = {name: values.pop(name) for name in BOOSTER_PARAMETERS}
    return Options(**values), {name: value for name, value in booster.items() if value is not None}


def _flag(text: str) -> bool:
    if text.lower() not in ("0", "1", "true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, found {text}")
    return text.lower() in ("1", "true")


def read_channel(folder: Path) -> pd.DataFrame:
    """All rows of a channel's Parquet files in the order of their time, so that any order of files gives the same model.

    :raises ValueError: no files, no rows, or a missing column
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(("_", ".", "manifest")))
    if not files:
        raise ValueError(f"channel {folder.name}: expected Parquet files in {folder}, found none")
    rows = pd.concat([pd.read_parquet(path) for path in files], ignore_index=True)
    missing = [name for name in NOT_FEATURES if name not in rows]
    if missing or rows.empty:
        found = f"{len(rows)} rows" + (f" without {', '.join(missing)}" if missing else "")
        raise ValueError(f"channel {folder.name}: expected rows with {', '.join(NOT_FEATURES)}, found {found}")
    if not rows["label"].isin([0, 1]).all():
        raise ValueError(f"channel {folder.name}, column label: expected 0 and 1, found {rows['label'].unique().tolist()[:5]}")
    rows["ds"] = pd.to_datetime(rows["ds"])
    return rows.sort_values(["ds", "entity_id"], ignore_index=True)


def describe_features(rows: pd.DataFrame, categorical: Sequence[str]) -> list[dict[str, Any]]:
    """The features in order, with the levels of the categories, as ``columns.json`` has them.

    :raises ValueError: a category that is no column, or a column of texts that is no category
    """
    names = [name for name in rows.columns if name not in NOT_FEATURES]
    for name in categorical:
        if name not in names:
            raise ValueError(f"hyperparameter categorical: expected features ({', '.join(names)}), found {name}")
    features: list[dict[str, Any]] = []
    for name in names:
        if name in categorical:
            features.append({"name": name, "kind": "category", "levels": sorted(rows[name].dropna().astype(str).unique())})
        elif pd.api.types.is_numeric_dtype(rows[name]):
            features.append({"name": name, "kind": "numeric"})
        else:
            expected = "numbers, or its name in the hyperparameter categorical"
            raise ValueError(f"column {name}: expected {expected}, found {rows[name].dtype}")
    return features


def split_by_time(rows: pd.DataFrame, validation_days: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training days and the last ``validation_days`` days.

    :raises ValueError: no day is left to train on, or a side has one class only
    """
    first = rows["ds"].max() - pd.Timedelta(days=validation_days - 1)
    earlier, later = rows[rows["ds"] < first], rows[rows["ds"] >= first]
    for name, part in (("training", earlier), ("validation", later)):
        if part["label"].nunique() < 2:
            days = part["ds"].nunique()
            raise ValueError(
                f"channel train: expected positives and negatives in the {name} days (validation_days is {validation_days}), "
                f"found {len(part)} rows of {days} days with labels {sorted(part['label'].unique().tolist())}"
            )
    return earlier, later


class Checkpoints:
    """Boosters on their way, one file each; whole or not there. Those of other data or parameters are not taken up.

    :param fingerprint: what the training depends on
    """

    def __init__(self, folder: Path, every: int, fingerprint: str):
        self.folder, self.every, self.fingerprint = folder, every, fingerprint

    def _files(self, phase: str) -> list[Path]:
        return sorted(self.folder.glob(f"{phase}-*.ubj"), reverse=True) if self.folder.is_dir() else []

    def newest(self, phase: str) -> bytearray | None:
        """The newest usable checkpoint of a phase, as a model's bytes."""
        for path in self._files(phase):
            try:
                booster = xgb.Booster(model_file=path)
            except xgb.core.XGBoostError as error:
                print(f"checkpoint {path.name} cannot be read and is passed over: {str(error).splitlines()[0]}")
                continue
            if booster.attr("fingerprint") == self.fingerprint:
                print(f"{phase}: resuming from {path.name}, after {booster.num_boosted_rounds()} rounds", flush=True)
                return bytearray(path.read_bytes())
            print(f"checkpoint {path.name} belongs to other data or hyperparameters and is passed over")
        return None

    def save(self, phase: str, model: bytearray, rounds: int) -> None:
        """Write a checkpoint, and drop all but the newest. Does nothing where there is no folder for them."""
        if not self.folder.is_dir():
            return
        path = self.folder / f"{phase}-{rounds:06d}.ubj"
        half_written = self.folder / f".{path.name}"
        half_written.write_bytes(model)
        os.replace(half_written, path)
        for old in self._files(phase)[KEPT_CHECKPOINTS:]:
            old.unlink()


class Boosting:
    """One training run, tree after tree, that can be taken up from a checkpoint.

    :param phase: ``search`` (with early stopping) or ``refit``; names the checkpoints
    :param patience: rounds without gain after which the search ends
    """

    def __init__(self, phase: str, parameters: dict[str, Any], checkpoints: Checkpoints, stop_on: str, patience: int):
        self.phase, self.parameters, self.checkpoints = phase, parameters, checkpoints
        self.stop_on, self.patience = stop_on, patience
        self.history: list[float] = []

    def run(self, train: xgb.DMatrix, rounds: int, validation: xgb.DMatrix | None = None) -> xgb.Booster:
        """The booster after ``rounds`` trees, or with validation data after as many as the search took.

        Each stretch between two checkpoints starts from the last one's bytes with a seed of its own, whether or not there was
        an interruption: XGBoost's random state is not part of a model, and this way it need not be.
        """
        model = self.checkpoints.newest(self.phase)
        while True:
            booster = xgb.Booster(self.parameters, [train], model_file=model)
            self.history = json.loads(booster.attr("history") or "[]") if model else []
            done = booster.num_boosted_rounds() if model else 0
            booster.set_param({"seed": self.parameters["seed"] + done})
            stretch_end = min(done + self.checkpoints.every, rounds)
            while done < stretch_end and not (validation is not None and self._is_enough()):
                booster.update(train, iteration=done)
                done += 1
                if validation is not None:
                    self._judge(booster, validation, done)
            booster.set_attr(fingerprint=self.checkpoints.fingerprint, history=json.dumps(self.history))
            model = booster.save_raw("ubj")
            self.checkpoints.save(self.phase, model, done)
            if done < stretch_end or done >= rounds:
                return booster

    @property
    def best_rounds(self) -> int:
        """The number of trees with the best validation metric, 1 at least."""
        values = self.history if self.stop_on == "auc" else [-value for value in self.history]
        return int(np.argmax(values)) + 1 if values else 1

    def _is_enough(self) -> bool:
        return len(self.history) - self.best_rounds >= self.patience

    def _judge(self, booster: xgb.Booster, validation: xgb.DMatrix, done: int) -> None:
        text = booster.eval(validation, "validation", done - 1)
        metrics = {name: float(value) for name, value in re.findall(r"validation-(\w+):([-\d.e]+)", text)}
        self.history.append(metrics[self.stop_on])
        if done % LOG_EVERY == 0:
            print(f"[{done}] " + " ".join(f"validation-{name}={value:.6f}" for name, value in metrics.items()), flush=True)


def booster_parameters(own: dict[str, Any]) -> dict[str, Any]:
    """XGBoost's parameters: the hyperparameters, and what makes training the same each time and fast where it runs."""
    device = "cpu"
    if int(os.environ.get("SM_NUM_GPUS", "0") or 0) > 0:
        device = "cuda" if xgb.build_info().get("USE_CUDA") else "cpu"
        print("training on the GPU" if device == "cuda" else "the GPU is left alone: this XGBoost is built without CUDA")
    fixed = {"objective": "binary:logistic", "tree_method": "hist", "eval_metric": ["logloss", "auc"], "device": device}
    fixed |= {"nthread": int(os.environ.get("SM_NUM_CPUS") or os.cpu_count() or 1)}
    return {"seed": 0, **own, **fixed}


def train(options: Options, own_parameters: dict[str, Any]) -> dict[str, float]:
    """Train, and write the model's archive folder. Returns the metrics printed last.

    :raises ValueError: data or hyperparameters that cannot be used
    """
    rows = read_channel(options.train)
    features = describe_features(rows, options.categorical)
    parameters = booster_parameters(own_parameters)
    earlier, later = split_by_time(rows, options.validation_days)
    print(f"training on {len(rows)} rows, {len(features)} features, {rows['ds'].min():%Y-%m-%d} to {rows['ds'].max():%Y-%m-%d}")

    checkpoints = Checkpoints(
        options.checkpoint_dir, options.checkpoint_every, fingerprint(options, own_parameters, features, rows)
    )

    validation = to_matrix(later, features, later["label"])
    search = Boosting("search", parameters, checkpoints, options.stop_on, options.early_stopping_rounds)
    searched = search.run(to_matrix(earlier, features, earlier["label"]), options.num_round, validation)
    booster = searched[: search.best_rounds]
    scores = pd.Series(booster.predict(validation), index=later["ds"])
    evaluation = booster.eval(validation, "validation", search.best_rounds - 1)
    metrics = {f"validation-{name}": float(value) for name, value in re.findall(r"validation-(\w+):([-\d.e]+)", evaluation)}
    metrics["best-rounds"] = float(search.best_rounds)

    if options.refit:
        refit = Boosting("refit", parameters, checkpoints, options.stop_on, options.early_stopping_rounds)
        booster = refit.run(to_matrix(rows, features, rows["label"]), search.best_rounds)
    if options.holdout is not None:
        holdout = read_channel(options.holdout)
        evaluation = booster.eval(to_matrix(holdout, features, holdout["label"]), "holdout")
        metrics |= {f"holdout-{name}": float(value) for name, value in re.findall(r"holdout-(\w+):([-\d.e]+)", evaluation)}
    print(" ".join(f"{name}={value:.6f}" for name, value in metrics.items()), flush=True)
    write_archive(options.model_dir, booster, rows, features, scores)
    return metrics


def fingerprint(options: Options, own_parameters: dict[str, Any], features: list[dict[str, Any]], rows: pd.DataFrame) -> str:
    """A hash of all that the model depends on; where it lies and what it runs on are not among it."""
    rules = {name: value for name, value in vars(options).items() if value is not None and not isinstance(value, Path)}
    digest = hashlib.sha256(json.dumps([features, own_parameters, rules], sort_keys=True).encode())
    digest.update(pd.util.hash_pandas_object(rows.drop(columns="event_time"), index=False).to_numpy().tobytes())
    return digest.hexdigest()


def gain_shares(booster: xgb.Booster, features: list[dict[str, Any]]) -> dict[str, float]:
    """Each feature's share of what all splits of the model have gained; 0 for one that no tree has split on."""
    gains = booster.get_score(importance_type="total_gain")
    total = sum(gains.values()) or 1.0
    return {feature["name"]: gains.get(feature["name"], 0.0) / total for feature in features}


def write_archive(
    folder: Path, booster: xgb.Booster, rows: pd.DataFrame, features: list[dict[str, Any]], scores: pd.Series
) -> None:
    """The files of the model's archive (see the module's head).

    :param scores: of the validation days, which are its index, by a model that has not seen them: what scores look like when
        nothing has drifted
    """
    (folder / "code").mkdir(parents=True, exist_ok=True)
    booster.set_attr(fingerprint=None, history=None)
    booster.save_model(folder / MODEL_FILE)
    columns = {"features": features, "label": "label"}
    (folder / COLUMNS_FILE).write_text(json.dumps(columns, indent=1), encoding="utf-8")
    profile = reference_profile(
        {feature["name"]: rows[feature["name"]] for feature in features},
        categorical=[feature["name"] for feature in features if feature["kind"] == "category"],
        days=rows["ds"],
        importance=gain_shares(booster, features),
    )
    profile |= {"start": f"{rows['ds'].min():%Y-%m-%d}", "end": f"{rows['ds'].max():%Y-%m-%d}"}
    profile["score"] = numeric_profile(scores.to_numpy(), days=scores.index)
    (folder / "profile.json").write_text(json.dumps(profile), encoding="utf-8")
    shutil.copy(Path(__file__).with_name("inference.py"), folder / "code" / "inference.py")


if __name__ == "__main__":
    train(*parse_arguments(sys.argv[1:]))
