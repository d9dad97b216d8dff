"""Models trained as SageMaker would train them: the project's own script, its hyperparameters, its holdout; kept once trained."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sys
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from flywheel.core.artifacts import artifacts_version
from flywheel.core.metrics import auc, auc_difference
from flywheel.core.promotion import Decision, decide
from flywheel.core.specs import ModelSpec, load_model_spec
from laptop.environment import PROJECT
from simulate.year import FOLDER

SPEC: ModelSpec = load_model_spec(PROJECT / "include" / "models" / "flight_delay.yaml")
NOT_FEATURES = ("entity_id", "event_time", "ds", "label")


@dataclass(frozen=True)
class Trained:
    """A model, and what it says about every flight of the year.

    :param holdout: first and last day of what it was judged on; its training ended the day before
    :param scores: one per row of the year
    """

    holdout: tuple[date, date]
    profile: dict[str, Any]
    scores: Any


class Days:
    """Rows by their day.

    :param rows: as :func:`simulate.year.load_year` gives them
    """

    def __init__(self, rows: Any):
        self.rows = rows
        self.days = rows["ds"].to_numpy().astype("datetime64[D]")
        self.labels = rows["label"].to_numpy()

    def between(self, first: date, last: date) -> Any:
        """Mask of the rows of these days, both inclusive."""
        import numpy as np

        return (self.days >= np.datetime64(first)) & (self.days <= np.datetime64(last))


class Workshop(Days):
    """Trains on a year and remembers.

    :param rows: as :func:`simulate.year.load_year` gives them
    :ivar trained: how many models were asked for, those remembered included
    """

    def __init__(self, rows: Any):
        super().__init__(rows)
        self.trained = 0
        self._script, self._inference = _script()
        self._folder = FOLDER / f"models-{artifacts_version(PROJECT / 'include')}-{_fingerprint(rows)}"

    def train(self, last: date) -> Trained:
        """What ``train_<model>`` gives when the last labelled day is ``last``: window, split and script as the spec has them."""
        self.trained += 1
        return self._train(last)

    @lru_cache(maxsize=64)  # noqa: B019 (a workshop lives as long as its process)
    def _train(self, last: date) -> Trained:
        import numpy as np

        training = SPEC.training
        first = max(last - timedelta(days=training.window_days - 1), SPEC.start_date)
        holdout = (last - timedelta(days=training.holdout_days - 1), last)
        folder = self._folder / str(last)
        if not (folder / "scores.npy").exists():
            self._run_script(folder, self.between(first, holdout[0] - timedelta(days=1)))
            np.save(folder / "half.npy", self._scores(folder, self.rows))
            os.replace(folder / "half.npy", folder / "scores.npy")
        profile = json.loads((folder / "model" / "profile.json").read_text(encoding="utf-8"))
        return Trained(holdout, profile, np.load(folder / "scores.npy"))

    def score(self, last: date, rows: Any) -> Any:
        """What the model of :meth:`train` says about other rows than the year's: one number each."""
        self._train(last)
        return self._scores(self._folder / str(last), rows)

    def _scores(self, folder: Path, rows: Any) -> Any:
        model = self._inference.model_fn(str(folder / "model"))
        return self._inference.predict_fn(rows.set_index("entity_id"), model).to_numpy()

    def _run_script(self, folder: Path, chosen: Any) -> None:
        train = folder / "train"
        train.mkdir(parents=True, exist_ok=True)
        self.rows[chosen].assign(ds=self.rows.loc[chosen, "ds"].dt.date).to_parquet(train / "part-0.parquet", index=False)
        categorical = [name for name, column in SPEC.features.columns.items() if column.type == "category"]
        parameters = {**SPEC.training.hyperparameters, "categorical": ",".join(categorical)}
        words = [word for name, value in parameters.items() for word in (f"--{name}", str(value))]
        options = self._script.parse_arguments(["--train", str(train), "--model-dir", str(folder / "model"), *words])
        with contextlib.redirect_stdout(io.StringIO()):
            self._script.train(*options)

    def judge(self, challenger: Trained, champion: Trained | None) -> Decision:
        """Whether the challenger takes over, by the project's own rule, on the challenger's holdout."""
        chosen, rule = self.between(*challenger.holdout), SPEC.promotion
        labels, days = self.labels[chosen], self.days[chosen]
        report: dict[str, Any] = {
            "rows": int(chosen.sum()),
            "challenger": {"auc": auc(labels, challenger.scores[chosen])},
            "champion": None,
        }
        if champion:
            difference = auc_difference(labels, challenger.scores[chosen], champion.scores[chosen], days)
            report["champion"] = {"auc": auc(labels, champion.scores[chosen])}
            report["difference"] = {"auc": difference.value, "ci_low": difference.low, "ci_high": difference.high}
        return decide(report, metric=rule.metric, min_improvement=rule.min_improvement, floor=rule.floor)


def _script() -> tuple[Any, Any]:
    """The training script and its inference, imported as the container starts them."""
    folder = str(PROJECT / "include" / "scripts" / "sagemaker" / SPEC.training.script)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    import inference
    import train

    return train, inference


def _fingerprint(rows: Any) -> str:
    import pandas as pd

    return hashlib.sha256(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes()).hexdigest()[:8]
