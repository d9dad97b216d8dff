"""What a spec may ask for besides what the project's own specs do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rendering import made_by, render

from flywheel.core.specs import IntegerRange, ModelSpec, Tuning, load_model_spec

ROOT = Path(__file__).parents[2]


@pytest.fixture
def spec() -> ModelSpec:
    """The flights' spec."""
    return load_model_spec(ROOT / "include" / "models" / "flight_delay.yaml")


def train_dag(spec: ModelSpec) -> Any:
    """The training DAG of a spec, from the DAG file."""
    return made_by("train", spec)


def test_manual_approval_stands_before_promotion(spec: ModelSpec) -> None:
    dag = train_dag(spec.model_copy(update={"promotion": spec.promotion.model_copy(update={"approval": "manual"})}))
    assert dag.get_task("promote_challenger").upstream_task_ids == {"approve_promotion"}
    assert dag.get_task("approve_promotion").upstream_task_ids == {"decide_promotion"}
    assert dag.get_task("decide_promotion").if_won == "approve_promotion"


def test_a_search_takes_the_place_of_the_training(spec: ModelSpec) -> None:
    tuning = Tuning(metric="validation:auc", max_jobs=4, ranges={"max_depth": IntegerRange(type="integer", min=3, max=8)})
    plain = train_dag(spec)
    tuned = train_dag(spec.model_copy(update={"training": spec.training.model_copy(update={"tuning": tuning})}))
    assert type(tuned.get_task("train_challenger")).__name__ == "TuneOperator"
    assert type(plain.get_task("train_challenger")).__name__ == "TrainOperator"
    assert {t.task_id: t.upstream_task_ids for t in tuned.tasks} == {t.task_id: t.upstream_task_ids for t in plain.tasks}


@pytest.mark.parametrize(
    ("label", "judged_by", "kind", "metric"),
    [
        ({}, "gini", "class", "validation:auc"),
        ({"kind": "number"}, "wape", "number", "validation:rmse"),
        ({"kind": "number", "season_days": 7}, "naive_ratio", "number", "validation:mae"),
    ],
)
def test_each_kind_of_label_is_trained_and_judged_in_its_way(
    spec: ModelSpec, label: dict[str, Any], judged_by: str, kind: str, metric: str
) -> None:
    features = spec.features.model_copy(update={"label": spec.label.model_copy(update=label)})
    model = spec.model_copy(update={"feature_versions": {1: features}})
    assert render(made_by("monitor", model), "measure_accuracy").judged_by == judged_by
    train = train_dag(model)
    assert render(train, "evaluate").arguments[-2:] == ["--label-kind", kind]
    assert metric in train.get_task("train_challenger").metrics
    built = render(made_by("load_features", features.group, model.feature_versions), "v1.build_features").arguments
    assert built[built.index("--label-type") + 1] == ("int" if kind == "class" else "double")


def test_spark_may_count_the_features(spec: ModelSpec) -> None:
    plain, counted = (
        made_by("monitor", spec.model_copy(update={"monitoring": spec.monitoring.model_copy(update={"counting": engine})}))
        for engine in ("redshift", "spark")
    )
    assert {task.task_id for task in counted.tasks} - {task.task_id for task in plain.tasks} == {"count_features"}
    assert render(plain, "measure_drift").feature_counts == ""
    words = render(counted, "count_features").arguments
    told = dict(zip(words[::2], words[1::2], strict=True))
    assert told["--output"] == render(counted, "measure_drift").feature_counts
    assert told["--days"] == "2013-03-25:2013-04-29,2012-03-26:2012-04-30", "the same days of the week, a year before"
    assert told["--profile"] == "s3://flywheel-tests/profile.json" and told["--version"] == "1"
    assert counted.get_task("measure_drift").upstream_task_ids >= {"count_features"}
