"""Challenger against champion on a small holdout, with their archives as training leaves them."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluate import evaluate
from small_model import channel, forecast_model, forecast_snapshot, snapshot, train_model

from flywheel.core.metrics import auc, mape, naive_ratio, wape
from flywheel.core.outcomes import WHOLE, read_baseline, total
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


def test_the_baseline_is_what_came_of_the_holdouts_predictions_by_day_and_segment(processing):
    carriers = HOLDOUT.columns.difference(["entity_id", "event_time", "ds", "label"])[0]
    report = evaluate(processing, [carriers])
    baseline = read_baseline(json.loads((processing / "output/baseline.json").read_text()))
    days = baseline[WHOLE]
    assert [str(one.day) for one in days] == sorted(set(HOLDOUT["ds"].astype(str)))
    assert total(days).positives == report["positives"] and total(days).scored == report["rows"]
    assert total(days).calibration == pytest.approx(report["challenger"]["calibration"], abs=1e-6)
    assert total(days).auc == pytest.approx(report["challenger"]["auc"], abs=0.05)
    levels = [part for name, part in baseline.items() if name.startswith(f"{carriers}=")]
    assert sum(one.scored for part in levels for one in part) == report["rows"]
    with pytest.raises(ValueError, match=r"segments: expected columns of the holdout \(.*\), found planet"):
        evaluate(processing, ["planet"])


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


@pytest.fixture(scope="module")
def other_features(tmp_path_factory) -> Path:
    """A model of another version of the features: ``wait`` is in other units there, and called otherwise."""
    folder = tmp_path_factory.mktemp("other")
    train_model(folder, in_other_units(snapshot()))
    return folder


def in_other_units(rows):
    """The same entities in a version of the features of its own."""
    return rows.assign(wait_minutes=rows["wait"] * 60).drop(columns=["wait", "noise"])


def test_the_champion_is_judged_with_its_own_features_on_the_same_rows(processing, trained, other_features):
    pack(other_features / "model", processing / "input/champion")
    with pytest.raises(ValueError, match="champion: expected its features in the holdout, found none of wait_minutes"):
        evaluate(processing)
    alone = evaluate_alone(processing, other_features / "model", in_other_units(HOLDOUT))
    shuffled = in_other_units(HOLDOUT).sample(frac=1, random_state=5).assign(label=0)
    channel(processing / "input/holdout_champion", shuffled, parts=3)
    report = evaluate(processing)
    assert report["champion"] == alone and alone["auc"] > 0.8, "whatever their order; labels are the challenger's"
    assert report["difference"]["auc"] == pytest.approx(report["challenger"]["auc"] - alone["auc"], abs=2e-6)


def evaluate_alone(processing, model, rows):
    """What a model gets that is judged alone on these rows."""
    root = processing / "alone"
    channel(root / "input/holdout", rows)
    pack(model, root / "input/challenger")
    return evaluate(root)["challenger"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[1:], "the 720 entities of the holdout, found 719: 1 of them missing, 0 others, e.g. 20130210|00000"),
        (lambda rows: rows.assign(entity_id=rows["entity_id"].str.replace("|00", "|x")), "720: 720 of them missing, 720 others"),
        (lambda rows: rows.assign(ds=rows["ds"].shift(1).bfill()), "found 720: 11 of them missing, 11 others"),
        (lambda rows: pd.concat([rows, rows[:2]]), "each entity once a day, found 2 more, e.g. 20130210|00000 of 2013-02-10"),
    ],
    ids=["one is missing", "others", "of another day", "one is there twice"],
)
def test_a_champion_is_not_judged_on_other_entities(processing, other_features, change, message):
    pack(other_features / "model", processing / "input/champion")
    channel(processing / "input/holdout_champion", change(in_other_units(HOLDOUT)), parts=1)
    with pytest.raises(ValueError, match=f"holdout_champion: .*{re.escape(message)}"):
        evaluate(processing)


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


FORECAST_HOLDOUT = forecast_snapshot("2013-02-10", 14, seed=1)


@pytest.fixture
def forecasting(tmp_path) -> Path:
    """A holdout of numbers, and a regressor as challenger."""
    channel(tmp_path / "input/holdout", FORECAST_HOLDOUT)
    pack(forecast_model(tmp_path / "good", forecast_snapshot()), tmp_path / "input/challenger")
    return tmp_path


def test_a_forecast_is_judged_by_its_errors(forecasting):
    report = evaluate(forecasting, ["carrier"], "number")
    challenger = report["challenger"]
    assert report["metric"] == "wape" and report["rows"] == len(FORECAST_HOLDOUT) and "positives" not in report
    forecast = FORECAST_HOLDOUT["size"] * 5  # what the regressor has found, but for noise
    labels, naive = FORECAST_HOLDOUT["label"], FORECAST_HOLDOUT["naive_label"]
    assert challenger["wape"] == pytest.approx(wape(labels, forecast), rel=0.05)
    assert (
        challenger["naive_ratio"] == pytest.approx(naive_ratio(labels, forecast, naive), rel=0.05)
        and challenger["naive_ratio"] < 0.8
    )
    assert challenger["zeros"] == mape(labels, forecast).zeros > 0 and challenger["mape"] > challenger["wape"]
    assert challenger["calibration"] == pytest.approx(1, abs=0.05)
    assert decide(report, metric="wape", min_improvement=0.0, floor=0.5).promote
    assert not decide(report, metric="wape", min_improvement=0.0, floor=0.1).promote

    baseline = read_baseline(json.loads((forecasting / "output/baseline.json").read_text()))
    whole = total(baseline[WHOLE])
    for name in ("wape", "naive_ratio", "mape", "calibration"):
        assert whole.ratio(name) == pytest.approx(challenger[name], abs=1e-6)
    assert len(baseline[WHOLE]) == 14 and len(baseline) == 1 + FORECAST_HOLDOUT["carrier"].nunique()


def test_the_forecast_with_less_errors_wins_and_the_interval_says_so(forecasting):
    noise = np.random.default_rng(0).permutation(forecast_snapshot()["label"])
    pack(forecast_model(forecasting / "poor", forecast_snapshot().assign(label=noise)), forecasting / "input/champion")
    report = evaluate(forecasting, label_kind="number")
    difference = report["difference"]
    assert difference["wape"] == pytest.approx(report["challenger"]["wape"] - report["champion"]["wape"], abs=2e-6)
    assert difference["ci_low"] < difference["wape"] < difference["ci_high"] < -0.1
    assert decide(report, metric="wape", min_improvement=0.05, floor=0.5).promote
    challenger, champion = (forecasting / "input" / name for name in ("challenger", "champion"))
    for one, other in ((challenger, "aside"), (champion, "challenger"), (forecasting / "input/aside", "champion")):
        shutil.move(one, forecasting / "input" / other)
    assert not decide(evaluate(forecasting, label_kind="number"), metric="wape", min_improvement=0.0, floor=0.5).promote


def test_without_a_season_there_is_no_naive_ratio_and_a_missing_label_is_refused(forecasting):
    shutil.rmtree(forecasting / "input/holdout")
    channel(forecasting / "input/holdout", FORECAST_HOLDOUT.drop(columns="naive_label"))
    found = evaluate(forecasting, label_kind="number")["challenger"]
    assert found["naive_ratio"] is None and found["wape"] > 0
    shutil.rmtree(forecasting / "input/holdout")
    channel(
        forecasting / "input/holdout",
        FORECAST_HOLDOUT.assign(label=FORECAST_HOLDOUT["label"].where(FORECAST_HOLDOUT["label"] > 0)),
    )
    with pytest.raises(ValueError, match=r"holdout, column label: expected numbers, found \d+ rows of"):
        evaluate(forecasting, label_kind="number")
