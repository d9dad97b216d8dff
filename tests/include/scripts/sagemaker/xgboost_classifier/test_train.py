"""Training on a small snapshot: the archive, its reproducibility, resuming, and what bad input is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import train as script
import xgboost as xgb
from small_model import channel, snapshot, train_model

from flywheel.core.drift import psi
from flywheel.core.profiles import bin_counts


def test_the_archive_holds_all_that_scoring_and_monitoring_need(trained):
    model = trained / "model"
    assert sorted(path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()) == [
        "code/inference.py",
        "columns.json",
        "model.ubj",
        "profile.json",
    ]
    columns = json.loads((model / "columns.json").read_text())
    assert columns == {
        "features": [
            {"name": "wait", "kind": "numeric"},
            {"name": "carrier", "kind": "category", "levels": ["9E", "AA", "B6", "DL", "UA"]},
            {"name": "noise", "kind": "numeric"},
        ],
        "label": "label",
    }
    profile = json.loads((model / "profile.json").read_text())
    assert (profile["rows"], profile["start"], profile["end"]) == (2400, "2013-01-01", "2013-02-09")
    wait = profile["features"]["wait"]
    assert psi(wait["counts"], bin_counts(wait, snapshot()["wait"])) == 0.0
    assert list(profile["features"]) == ["wait", "carrier", "noise"] and 0 < profile["score"]["min"] < profile["score"]["max"] < 1
    importance = {name: feature["importance"] for name, feature in profile["features"].items()}
    assert sum(importance.values()) == pytest.approx(1.0) and importance["wait"] > 0.5 > importance["noise"]
    assert (wait["blocks"], wait["block_days"]) == (5, 7) and profile["score"]["blocks"] > 0


def test_it_learns_and_prints_the_metrics_that_the_job_definition_looks_for(tmp_path, capsys):
    metrics = train_model(
        tmp_path, snapshot(), "--holdout", str(channel(tmp_path / "holdout", snapshot("2013-02-10", 10, seed=1)))
    )
    assert metrics["validation-auc"] > 0.8 and metrics["holdout-auc"] > 0.8
    last = capsys.readouterr().out.splitlines()[-1]
    assert f"validation-auc={metrics['validation-auc']:.6f}" in last and f"holdout-auc={metrics['holdout-auc']:.6f}" in last


def test_the_same_rows_in_any_files_give_the_same_model(trained, tmp_path):
    channel(tmp_path / "train", snapshot().sample(frac=1, random_state=5), parts=3)
    train_model(tmp_path, snapshot())
    assert (tmp_path / "model/model.ubj").read_bytes() == (trained / "model/model.ubj").read_bytes()


def test_the_number_of_trees_is_found_on_the_last_days_and_all_days_are_used(tmp_path):
    rows = snapshot()
    metrics = train_model(tmp_path, rows)
    booster = xgb.Booster(model_file=tmp_path / "model/model.ubj")
    assert booster.num_boosted_rounds() == metrics["best-rounds"] < 40
    # Other labels on the last days alone: another number of trees or another score, for these days judge.
    turned = rows.assign(label=rows["label"].where(rows["ds"] < rows["ds"].max(), 1 - rows["label"]))
    (tmp_path / "turned").mkdir()
    assert train_model(tmp_path / "turned", turned)["validation-auc"] < metrics["validation-auc"]
    (tmp_path / "searched").mkdir()
    train_model(tmp_path / "searched", rows, "--refit", "false")
    assert (tmp_path / "searched/model/model.ubj").read_bytes() != (tmp_path / "model/model.ubj").read_bytes()


class Interrupted(Exception):
    """The spot instance was taken away."""


@pytest.mark.parametrize(("saves_before_the_end", "phase"), [(1, "search"), (4, "search"), (12, "refit")])
def test_an_interrupted_training_goes_on_to_the_same_model(tmp_path, monkeypatch, capsys, saves_before_the_end, phase):
    checkpoints = tmp_path / "checkpoints"
    extra = ["--checkpoint_every", "4", "--eta", "0.08", "--subsample", "0.7", "--colsample_bytree", "0.7", "--checkpoint_dir"]
    for attempt in ("undisturbed", "interrupted", "resumed"):
        (tmp_path / attempt).mkdir()
    train_model(tmp_path / "undisturbed", snapshot(), *extra, str(tmp_path / "none"))

    checkpoints.mkdir()
    saved, save = [], script.Checkpoints.save

    def save_and_be_interrupted(self, phase, model, rounds):
        save(self, phase, model, rounds)
        saved.append(phase)
        if len(saved) == saves_before_the_end:
            raise Interrupted

    monkeypatch.setattr(script.Checkpoints, "save", save_and_be_interrupted)
    with pytest.raises(Interrupted):
        train_model(tmp_path / "interrupted", snapshot(), *extra, str(checkpoints))
    monkeypatch.undo()
    assert saved[-1] == phase and not (tmp_path / "interrupted/model").exists()

    train_model(tmp_path / "resumed", snapshot(), *extra, str(checkpoints))
    assert f"{phase}: resuming from {phase}-" in capsys.readouterr().out
    assert (tmp_path / "resumed/model/model.ubj").read_bytes() == (tmp_path / "undisturbed/model/model.ubj").read_bytes()
    assert 1 <= len(list(checkpoints.glob("search-*.ubj"))) <= script.KEPT_CHECKPOINTS


def test_checkpoints_of_other_data_and_broken_ones_are_passed_over(tmp_path, capsys):
    (tmp_path / "checkpoints").mkdir()
    train_model(tmp_path, snapshot(seed=9))
    (tmp_path / "checkpoints/search-000999.ubj").write_bytes(b"cut sh")
    shutil.rmtree(tmp_path / "train")
    capsys.readouterr()
    train_model(tmp_path, snapshot(seed=8))
    said = capsys.readouterr().out
    assert "checkpoint search-000999.ubj cannot be read" in said and "belongs to other data or hyperparameters" in said
    assert "resuming" not in said


def test_a_gpu_is_used_only_by_a_build_that_can(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SM_NUM_GPUS", "1")
    can = bool(xgb.build_info().get("USE_CUDA"))
    assert script.booster_parameters({})["device"] == ("cuda" if can else "cpu")
    assert ("training on the GPU" if can else "built without CUDA") in capsys.readouterr().out
    monkeypatch.setenv("SM_NUM_GPUS", "0")
    assert script.booster_parameters({"seed": 5})["device"] == "cpu" and script.booster_parameters({"seed": 5})["seed"] == 5


@pytest.mark.parametrize(
    ("change", "hyperparameters", "expected"),
    [
        (lambda rows: rows, ["--max_deph", "3"], "expected known names, found --max_deph 3"),
        (lambda rows: rows, ["--categorical", "carrier,hub"], "hyperparameter categorical: expected features .*, found hub"),
        (lambda rows: rows, ["--categorical", ""], "column carrier: expected numbers, or its name in the hyperparameter"),
        (lambda rows: rows, ["--validation_days", "40"], "training days .* found 0 rows of 0 days"),
        (lambda rows: rows.assign(label=0), [], "expected positives and negatives in the training days"),
        (lambda rows: rows.assign(label=2), [], r"column label: expected 0 and 1, found \[2\]"),
        (lambda rows: rows.drop(columns="label"), [], "found 2400 rows without label"),
        (lambda rows: rows.head(0), [], "channel train: expected rows with entity_id, event_time, ds, label, found 0 rows"),
    ],
)
def test_what_cannot_be_trained_on_is_said(tmp_path, change, hyperparameters, expected):
    with pytest.raises(ValueError, match=expected):
        train_model(tmp_path, change(snapshot()), *hyperparameters)
    assert not (tmp_path / "model").exists()


def test_an_empty_channel_is_said(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(ValueError, match=r"channel train: expected Parquet files in .*, found none"):
        train_model(tmp_path, snapshot())


def test_paths_come_from_the_container(monkeypatch):
    monkeypatch.setenv("SM_MODEL_DIR", "/opt/ml/model")
    monkeypatch.setenv("SM_CHANNEL_TRAIN", "/opt/ml/input/data/train")
    options, booster = script.parse_arguments(["--eta", "0.1", "--max_depth", "5"])
    assert (options.model_dir, options.checkpoint_dir) == (Path("/opt/ml/model"), Path("/opt/ml/checkpoints"))
    assert options.train == Path("/opt/ml/input/data/train") and options.holdout is None
    assert booster == {"eta": 0.1, "max_depth": 5}
