"""The serving contract: what the framework does where the user's module leaves something out."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from localaws.sagemaker.inference_worker import Handlers, UnsupportedType, load_module


def module(**functions: Any) -> ModuleType:
    made = ModuleType("inference")
    vars(made).update(functions)
    return made


class Doubler:
    """A scikit-learn-like model."""

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return rows.sum(axis=1) * 2


def test_scikit_learn_defaults_read_csv_and_json_and_write_what_is_accepted(tmp_path: Path) -> None:
    handlers = Handlers(module(model_fn=lambda _: Doubler()), "sklearn", tmp_path)
    assert handlers.transform(b"1,2\n3,4\n", "text/csv", "application/json") == (b"[6.0, 14.0]", "application/json")
    assert handlers.transform(b"[[1, 2]]", "application/json", "text/csv") == (b"6\n", "text/csv")
    with pytest.raises(UnsupportedType, match="application/x-parquet"):
        handlers.transform(b"", "application/x-parquet", "text/csv")
    with pytest.raises(UnsupportedType, match="text/html"):
        handlers.transform(b"1,2\n", "text/csv", "text/html")


def test_xgboost_defaults_load_the_one_booster(tmp_path: Path) -> None:
    import xgboost

    rows, labels = np.array([[0.0], [1.0]] * 20), np.array([0.0, 1.0] * 20)
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(rows, labels), num_boost_round=3)
    booster.save_model(tmp_path / "model.ubj")
    handlers = Handlers(None, "xgboost", tmp_path)
    answer, _ = handlers.transform(b"0\n1\n", "text/csv", "text/csv")
    low, high = (float(line) for line in answer.decode().splitlines())
    assert low < 0.5 < high
    (tmp_path / "second.ubj").write_bytes(b"")
    with pytest.raises(RuntimeError, match=r"expected one booster file.*'model\.ubj', 'second\.ubj'"):
        Handlers(None, "xgboost", tmp_path)


def test_without_a_way_to_load_the_model_it_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NotImplementedError, match=r"model_fn implementation\.$"):
        Handlers(None, "sklearn", tmp_path)
    with pytest.raises(NotImplementedError, match="model_fn"):
        Handlers(module(), "xgboost", tmp_path)
    (tmp_path / "code").mkdir()
    with pytest.raises(NotImplementedError, match="SAGEMAKER_PROGRAM is not set on the model's container"):
        Handlers(None, "sklearn", tmp_path)
    with pytest.raises(RuntimeError, match="SAGEMAKER_PROGRAM is not set on the model's container"):
        Handlers(None, "xgboost", tmp_path)


def test_transform_fn_takes_the_place_of_three(tmp_path: Path) -> None:
    made = module(
        model_fn=lambda _: 2, transform_fn=lambda model, body, kind, accept: (json.dumps([model, body]), kind)
    )
    assert Handlers(made, "sklearn", tmp_path).transform(b"x", "text/csv", "*/*") == (b'[2, "x"]', "text/csv")
    made.predict_fn = lambda rows, model: rows  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="Cannot use transform_fn"):
        Handlers(made, "sklearn", tmp_path)


def test_text_comes_as_str_and_everything_else_as_bytes(tmp_path: Path) -> None:
    made = module(
        model_fn=lambda _: None, input_fn=lambda body, kind: type(body).__name__, predict_fn=lambda seen, _: seen
    )
    made.output_fn = lambda seen, accept: seen  # type: ignore[attr-defined]
    handlers = Handlers(made, "sklearn", tmp_path)
    assert handlers.transform(b"1", "text/csv; charset=utf-8", "text/csv")[0] == b"str"
    assert handlers.transform(b"1", "application/x-npy", "text/csv")[0] == b"bytes"
    made.output_fn = lambda seen, accept: 5  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="output_fn must return str or bytes"):
        Handlers(made, "sklearn", tmp_path).transform(b"1", "text/csv", "text/csv")


def test_a_named_program_must_be_there(tmp_path: Path) -> None:
    assert load_module(tmp_path, None) is None
    with pytest.raises(FileNotFoundError, match=r"SAGEMAKER_PROGRAM is 'serve\.py'"):
        load_module(tmp_path, "serve.py")
