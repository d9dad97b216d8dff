"""Challenger against champion on a small holdout, with their archives as training leaves them."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from evaluate import evaluate
from small_model import channel, snapshot, train_model

from flywheel.core.metrics import auc
from flywheel.core.promotion import decide

HOLDOUT = snapshot("2013-02-10", 12, seed=1)


@pytest.fixture(scope="module")
def poor(tmp_path_factory) -> Path:
    """A model that has learned from labels without meaning."""
    folder, rows = tmp_path_factory.mktemp("poor"), snapshot()
    train_model(folder, rows.assign(label=np.random.default_rng(0).permutation(rows["label"])))
    return folder


@pytest.fixture
def processing(tmp_path, trained) -> Path:
    """What the container finds: the holdout, and the challenger's archive as training packed it."""
    channel(tmp_path / "input/holdout", HOLDOUT)
    pack(trained / "model", tmp_path / "input/challenger")
    return tmp_path


def pack(model: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
        archive.add(model, arcname=".")


def test_a_first_champion_is_judged_alone(processing, trained):
    report = evaluate(processing)
    assert json.loads((processing / "output/evaluation.json").read_text()) == report
    assert report["champion"] is None and report["difference"] is None
    assert report["rows"] == 720 and report["positives"] == int(HOLDOUT["label"].sum())
    assert report["holdout"] == {"start": "2013-02-10", "end": "2013-02-21"}
    assert report["challenger"]["auc"] > 0.8 and 0.8 < report["challenger"]["calibration"] < 1.2
    assert (processing / "output/profile.json").read_bytes() == (trained / "model/profile.json").read_bytes()
    assert decide(report, metric="auc", min_improvement=0.0, floor=0.6).promote


def test_the_better_one_wins_and_the_interval_says_so(processing, poor):
    pack(poor / "model", processing / "input/champion")
    report = evaluate(processing)
    gain = report["challenger"]["auc"] - report["champion"]["auc"]
    assert report["difference"]["auc"] == pytest.approx(gain, abs=2e-6) and gain > 0.2
    assert 0 < report["difference"]["ci_low"] < gain < report["difference"]["ci_high"]
    assert decide(report, metric="auc", min_improvement=0.0, floor=0.6).promote


def test_a_worse_challenger_loses(processing, trained, poor):
    shutil.rmtree(processing / "input/challenger")
    pack(poor / "model", processing / "input/challenger")
    pack(trained / "model", processing / "input/champion")
    report = evaluate(processing)
    assert report["difference"]["ci_high"] < 0
    assert not decide(report, metric="auc", min_improvement=0.0, floor=0.6).promote


def test_each_model_scores_with_its_own_code(processing, trained):
    """The champion's archive brings an inference.py of another version, which answers by another rule."""
    shutil.copytree(trained / "model", processing / "input/champion")
    code = processing / "input/champion/code/inference.py"
    code.write_text(
        code.read_text() + "\n\ndef predict_fn(input_object, model):\n    return input_object[2].astype(float).to_numpy()\n"
    )
    report = evaluate(processing)
    assert report["champion"]["auc"] == pytest.approx(auc(HOLDOUT["label"], HOLDOUT["noise"]), abs=1e-6)
    assert report["challenger"]["auc"] > 0.8


def test_columns_are_found_by_name_in_whatever_order(processing, trained):
    expected = evaluate(processing)["challenger"]
    shutil.rmtree(processing / "input/holdout")
    channel(processing / "input/holdout", HOLDOUT[["label", "noise", "carrier", "ds", "wait", "entity_id", "event_time"]])
    assert evaluate(processing)["challenger"] == expected


def test_a_holdout_of_one_class_has_no_auc(processing):
    shutil.rmtree(processing / "input/holdout")
    channel(processing / "input/holdout", HOLDOUT[HOLDOUT["label"] == 0])
    report = evaluate(processing)
    assert report["challenger"]["auc"] is None and report["positives"] == 0


def test_what_is_missing_is_said(processing):
    holdout = processing / "input/holdout"
    shutil.rmtree(holdout)
    with pytest.raises(ValueError, match=r"holdout: expected rows with ds and label in .*, found 0 rows"):
        evaluate(processing)
    channel(holdout, HOLDOUT.drop(columns="noise"))
    with pytest.raises(ValueError, match="challenger: expected its features in the holdout, found none of noise"):
        evaluate(processing)
    shutil.rmtree(processing / "input/challenger")
    (processing / "input/challenger").mkdir()
    with pytest.raises(FileNotFoundError, match=r"challenger: expected columns.json in the model's archive"):
        evaluate(processing)
