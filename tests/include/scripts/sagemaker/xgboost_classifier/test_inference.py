"""Scoring Parquet files and CSV lines through the four functions, as a container calls them."""

from __future__ import annotations

import io

import inference
import numpy as np
import pandas as pd
import pytest
from small_model import snapshot


@pytest.fixture(scope="module")
def model(trained) -> inference.Model:
    return inference.model_fn(str(trained / "model"))


def score(model: inference.Model, text: str | bytes) -> list[float]:
    answer = inference.output_fn(inference.predict_fn(inference.input_fn(text, "text/csv"), model), "text/csv")
    return [float(line) for line in answer.splitlines()]


def test_lines_score_as_the_rows_they_came_from(model):
    rows = snapshot(seed=4)
    lines = rows[["wait", "carrier", "noise"]].to_csv(header=False, index=False)
    direct = model.booster.predict(inference.to_matrix(rows, model.columns["features"]))
    assert score(model, lines) == pytest.approx(direct.tolist(), rel=1e-6)
    assert score(model, lines.encode()) == score(model, lines)
    # Any cut between two lines gives the same answers, each in its place.
    head, tail = "".join(lines.splitlines(True)[:700]), "".join(lines.splitlines(True)[700:])
    assert score(model, head) + score(model, tail) == score(model, lines)


def test_a_parquet_file_scores_to_the_last_bit_as_the_rows_it_holds(model):
    rows = snapshot(seed=5)
    direct = model.booster.predict(inference.to_matrix(rows, model.columns["features"]))
    body = rows[["noise", "entity_id", "carrier", "wait"]].to_parquet(index=False)  # columns go by name
    frame = inference.input_fn(body, "application/x-parquet")
    answer = inference.output_fn(inference.predict_fn(frame, model), "text/csv")
    scored = pd.read_csv(io.StringIO(answer), header=None, names=["entity_id", "score"])
    assert scored["entity_id"].tolist() == rows["entity_id"].tolist()
    assert (scored["score"].to_numpy(np.float32) == direct).all()


def test_a_parquet_file_without_ids_or_with_features_missing_is_refused(model):
    rows = snapshot(days=1)
    with pytest.raises(ValueError, match="expected a column entity_id, found wait, carrier"):
        inference.input_fn(rows[["wait", "carrier"]].to_parquet(), "application/x-parquet")
    frame = inference.input_fn(rows[["entity_id", "wait"]].to_parquet(index=False), "application/x-parquet")
    with pytest.raises(ValueError, match="found none named carrier, noise"):
        inference.predict_fn(frame, model)


def test_missing_values_unseen_categories_and_texts_that_look_like_numbers(model):
    known, unseen, missing = score(model, "0.5,B6,0\n0.5,ZZ,0\n0.5,,0\n")
    assert unseen == missing != known
    assert score(model, "0.5,NA,0\n") == [missing]
    assert score(model, ",9E,\n") != score(model, ",AA,\n")


def test_one_line_and_none(model):
    assert len(score(model, "0.5,B6,0")) == 1
    assert score(model, "") == [] and score(model, "\n") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,B6\n", r"expected 3 fields per line \(wait, carrier, noise\), found 2"),
        ("1,B6,0,0\n", "found 4"),
        ("late,B6,0\n", "column wait: expected numbers"),
    ],
)
def test_lines_that_do_not_fit_are_refused(model, text, expected):
    with pytest.raises(ValueError, match=expected):
        score(model, text)


def test_other_content_types_are_refused(model):
    with pytest.raises(ValueError, match="expected text/csv or application/x-parquet, found application/json"):
        inference.input_fn("{}", "application/json")
    with pytest.raises(ValueError, match="expected text/csv, found application/json"):
        inference.output_fn(pd.Series([0.5]), "application/json")
    assert inference.input_fn(io.BytesIO(b"1,B6,0\n").getvalue(), "text/csv; charset=utf-8").shape == (1, 3)
