"""SageMaker processing job: challenger and champion on the same holdout, which neither has seen.

    input/holdout/           Parquet files with entity_id, ds, the features, and label (0 or 1; with --label-kind number a number,
                             and naive_label, the label of a season before, where the label has a season)
    input/challenger/        a model archive (model.tar.gz, or unpacked)
    input/champion/          the same, or absent: there is no champion yet
    input/holdout_champion/  the rows of holdout with the features that the champion was trained on, where they are others

All below ``--root`` (``/opt/ml/processing``). Writes ``output/evaluation.json``, and what the challenger will be watched by once
it serves: ``output/profile.json``, its reference for drift, as its archive has it; ``output/baseline.json``, what came of its
predictions on the holdout by day, of all and by the levels of the columns ``--segments`` (see flywheel.core.outcomes).

Each model scores with its own ``code/inference.py`` and its own columns, through CSV lines, as a transform job would: what is
judged is what will serve. So this script knows no algorithm. Labels are those of ``holdout``, for both.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flywheel.core.metrics import (
    Estimate,
    auc,
    auc_difference,
    calibration_ratio,
    logloss,
    mape,
    naive_ratio,
    ratio_interval,
    wape,
)
from flywheel.core.outcomes import count_segments, write_baseline

RESAMPLES = 1000


class Contestant:
    """A model from its archive.

    :param folder: where the archive lies, packed or not
    :raises FileNotFoundError: the folder holds no model
    """

    def __init__(self, folder: Path):
        self.name, self.folder = folder.name, folder
        archive = folder / "model.tar.gz"
        if archive.is_file():
            self.folder = folder / "unpacked"
            with tarfile.open(archive) as packed:
                packed.extractall(self.folder, filter="data")
        for needed in ("columns.json", "code/inference.py"):
            if not (self.folder / needed).is_file():
                raise FileNotFoundError(f"{self.name}: expected {needed} in the model's archive, found none in {self.folder}")
        self.columns: dict[str, Any] = json.loads((self.folder / "columns.json").read_text(encoding="utf-8"))

    def scores(self, rows: pd.DataFrame) -> np.ndarray:
        """One score per row, shape (rows,).

        :raises ValueError: the holdout lacks one of the model's features, or the model did not answer each line
        """
        names = [feature["name"] for feature in self.columns["features"]]
        missing = [name for name in names if name not in rows]
        if missing:
            raise ValueError(f"{self.name}: expected its features in the holdout, found none of {', '.join(missing)}")
        inference = self._inference()
        lines = rows[names].to_csv(header=False, index=False)
        scores = inference.predict_fn(inference.input_fn(lines, "text/csv"), inference.model_fn(str(self.folder)))
        if len(scores) != len(rows):
            raise ValueError(f"{self.name}: expected {len(rows)} scores, found {len(scores)}")
        return np.asarray(scores, dtype=float)

    def _inference(self) -> Any:
        """The model's own inference code, under a name of its own: two models may bring two versions of it."""
        specification = importlib.util.spec_from_file_location(f"inference_of_{self.name}", self.folder / "code" / "inference.py")
        module = importlib.util.module_from_spec(specification)
        sys.modules[specification.name] = module
        specification.loader.exec_module(module)
        return module


def read_holdout(folder: Path) -> pd.DataFrame:
    """The rows of a channel to judge on.

    :raises ValueError: no files, no rows, or rows without day or label
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(("_", ".", "manifest")))
    rows = pd.concat([pd.read_parquet(path) for path in files], ignore_index=True) if files else pd.DataFrame()
    if rows.empty or not {"ds", "label"} <= set(rows.columns):
        found = f"{len(rows)} rows with {list(rows.columns)}"
        raise ValueError(f"{folder.name}: expected rows with ds and label in {folder}, found {found}")
    return rows


def same_entities(rows: pd.DataFrame, holdout: pd.DataFrame) -> pd.DataFrame:
    """The rows in the order of the holdout's, which has to hold the same entities on the same days, each once.

    :raises ValueError: it does not, with numbers and an example
    """
    key = ["entity_id", "ds"]
    for name, frame in (("holdout", holdout), ("holdout_champion", rows)):
        if "entity_id" not in frame:
            raise ValueError(f"{name}: expected a column entity_id, found {list(frame.columns)}")
        if (twice := frame.duplicated(key)).any():
            example = " of ".join(map(str, frame.loc[twice, key].iloc[0]))
            raise ValueError(f"{name}: expected each entity once a day, found {int(twice.sum())} more, e.g. {example}")
    wanted, found = pd.MultiIndex.from_frame(holdout[key]), pd.MultiIndex.from_frame(rows[key])
    missing, besides = wanted.difference(found), found.difference(wanted)
    if len(missing) or len(besides):
        example = " of ".join(map(str, [*missing, *besides][0]))
        raise ValueError(
            f"holdout_champion: expected the {len(wanted)} entities of the holdout, found {len(found)}: {len(missing)} of them "
            f"missing, {len(besides)} others, e.g. {example}. Both models have to be judged on the same ones: load the same days "
            "of both versions of the features"
        )
    return rows.set_index(found).loc[wanted].reset_index(drop=True)


def naive_forecasts(rows: pd.DataFrame) -> np.ndarray:
    """The label of a season before, NaN where it is not known or the label has no season, shape (rows,).

    :raises ValueError: a label is no number
    """
    if bad := int((~np.isfinite(rows["label"].to_numpy(dtype=float))).sum()):
        raise ValueError(f"holdout, column label: expected numbers, found {bad} rows of {len(rows)} without")
    return rows["naive_label"].to_numpy(dtype=float) if "naive_label" in rows else np.full(len(rows), np.nan)


def judge(labels: np.ndarray, scores: np.ndarray, naive: np.ndarray | None = None) -> dict[str, float | None]:
    """A contestant's metrics; null where the holdout holds one class only, or nothing that a ratio could be made of.

    :param naive: of labels that are numbers, their naive forecasts, NaN where there is none; None: labels are classes
    """
    if naive is None:
        found = {"auc": auc(labels, scores), "logloss": logloss(labels, scores)}
    else:
        percentages = mape(labels, scores)
        found = {
            "wape": wape(labels, scores),
            "naive_ratio": naive_ratio(labels, scores, naive),
            "mape": percentages.value,
            "zeros": percentages.zeros,
        }
    return {name: _json_number(value) for name, value in {**found, "calibration": calibration_ratio(labels, scores)}.items()}


def compare(labels: np.ndarray, first: np.ndarray, second: np.ndarray, days: pd.Series, metric: str) -> Estimate:
    """AUC or WAPE of the first minus that of the second, on the same rows, with the interval of a paired day-block bootstrap."""
    if metric == "auc":
        return auc_difference(labels, first, second, days, resamples=RESAMPLES)
    return ratio_interval(np.abs(labels - first) - np.abs(labels - second), np.abs(labels), days, resamples=RESAMPLES)


def _json_number(value: float) -> float | None:
    return None if value != value else round(value, 6)


def evaluate(root: Path, segments: Sequence[str] = (), label_kind: str = "class") -> dict[str, Any]:
    """Judge the contestants below ``root`` and write the report. Returns the report.

    :param segments: columns by whose levels the challenger's accuracy will be watched
    :param label_kind: ``class``, judged by AUC, or ``number``, judged by WAPE
    :raises ValueError: a holdout or a model cannot be used, or the holdout lacks one of ``segments``
    :raises FileNotFoundError: a model's archive is incomplete
    """
    rows = read_holdout(root / "input" / "holdout")
    labels, days = rows["label"].to_numpy(), pd.to_datetime(rows["ds"]).dt.strftime("%Y-%m-%d")
    metric, naive = ("wape", naive_forecasts(rows)) if label_kind == "number" else ("auc", None)
    challenger = Contestant(root / "input" / "challenger")
    scores = challenger.scores(rows)
    report: dict[str, Any] = {
        "metric": metric,
        "rows": len(rows),
        **({} if label_kind == "number" else {"positives": int(labels.sum())}),
        "holdout": {"start": days.min(), "end": days.max()},
        "challenger": judge(labels, scores, naive),
        "champion": None,
        "difference": None,
    }
    if _holds_files(root / "input" / "champion"):
        own = root / "input" / "holdout_champion"
        champion_rows = same_entities(read_holdout(own), rows) if _holds_files(own) else rows
        champion_scores = Contestant(root / "input" / "champion").scores(champion_rows)
        report["champion"] = judge(labels, champion_scores, naive)
        difference = compare(labels, scores, champion_scores, days, metric)
        report["difference"] = {
            metric: _json_number(difference.value),
            "ci_low": _json_number(difference.low),
            "ci_high": _json_number(difference.high),
            "method": f"paired day-block bootstrap, {RESAMPLES} resamples",
        }
    output = root / "output"
    output.mkdir(parents=True, exist_ok=True)
    (output / "evaluation.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    if missing := [name for name in segments if name not in rows]:
        raise ValueError(f"segments: expected columns of the holdout ({', '.join(rows.columns)}), found {', '.join(missing)}")
    baseline = count_segments(labels, scores, days, {name: rows[name] for name in segments}, naive=naive)
    (output / "baseline.json").write_text(json.dumps(write_baseline(baseline)), encoding="utf-8")
    profile = challenger.folder / "profile.json"
    if profile.is_file():
        shutil.copy(profile, output / "profile.json")
    return report


def _holds_files(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_file() for path in folder.iterdir())


def main(arguments: Sequence[str]) -> None:
    """Command line: see the module's head."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    parser.add_argument("--segments", type=lambda text: [name for name in text.split(",") if name], default=[])
    parser.add_argument("--label-kind", choices=["class", "number"], default="class")
    options = parser.parse_known_args(arguments)[0]
    report = evaluate(options.root, options.segments, options.label_kind)
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1:])
