"""A spec that asks for approval puts a person between the decision and the promotion."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from flywheel.core.specs import load_model_spec

ROOT = Path(__file__).parents[2]


def test_manual_approval_stands_before_promotion() -> None:
    spec = load_model_spec(ROOT / "include" / "models" / "flight_delay.yaml")
    manual = spec.model_copy(update={"promotion": spec.promotion.model_copy(update={"approval": "manual"})})
    loaded = importlib.util.spec_from_file_location("train_dags", ROOT / "dags" / "train.py")
    assert loaded and loaded.loader
    module = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(module)
    dag = module.train_dag(manual)
    assert dag.get_task("promote_challenger").upstream_task_ids == {"approve_promotion"}
    assert dag.get_task("approve_promotion").upstream_task_ids == {"decide_promotion"}
    assert dag.get_task("decide_promotion").if_won == "approve_promotion"
