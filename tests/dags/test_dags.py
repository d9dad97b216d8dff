"""What holds for every DAG, and the exact graphs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flywheel.core.features import load_feature_groups
from flywheel.core.specs import load_model_specs
from flywheel.defaults import Stage

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

GOLDEN = Path(__file__).parent / "golden"
INCLUDE = Path(__file__).parents[2] / "include"
MODELS = [spec.name for spec in load_model_specs(INCLUDE / "models")]
DAG_IDS = [
    "drop_features",
    "ingest_flights",
    "maintain_jobs",
    "maintain_lake",
    *(f"load_features_{group}" for group in load_feature_groups(INCLUDE / "features")),
    *(f"{stage}_{model}" for model in MODELS for stage in ("train", "score", "monitor")),
]


def test_every_file_is_read_without_an_error(dagbag: DagBag) -> None:
    assert dagbag.import_errors == {}


def test_exactly_these_dags_exist(dagbag: DagBag) -> None:
    assert sorted(dagbag.dags) == sorted(DAG_IDS)


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_house_rules(dagbag: DagBag, dag_id: str) -> None:
    dag = dagbag.dags[dag_id]
    assert dag.doc_md and "| On failure |" in dag.doc_md
    assert len(dag.tags & set(Stage)) == 1
    assert len([tag for tag in dag.tags if tag.startswith("impact/")]) == 1
    assert dag.catchup is False
    assert {"start", "end"} <= set(dag.params) or Stage.MAINTAIN in dag.tags, "a DAG that covers dates takes them as params"
    assert dag.default_args["owner"] not in ("", "airflow")
    for task in dag.tasks:
        assert task.retries >= 1, task.task_id
        assert task.execution_timeout, task.task_id
        if hasattr(task, "compute"):
            assert task.execution_timeout > task.compute.longest, f"{task.task_id} would end its job before AWS's own limit"
        assert task.__module__.startswith(("flywheel.", "airflow.providers.")), "only provider operators or ours"
        if hasattr(task, "deferrable") and task.task_id != "start_retraining":
            assert task.deferrable, f"{task.task_id} holds a worker while it waits"


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_graph_is_the_golden_one(dagbag: DagBag, dag_id: str) -> None:
    """A changed graph has to be looked at: ``UPDATE_GOLDEN=1 make test-fast`` writes the new one."""
    dag = dagbag.dags[dag_id]
    found = {
        "schedule": dag.timetable.__class__.__name__,
        "tasks": {
            task.task_id: {
                "operator": task.task_type,
                "downstream": sorted(task.downstream_task_ids),
                "rule": str(task.trigger_rule),
            }
            for task in sorted(dag.tasks, key=lambda task: task.task_id)
        },
    }
    path = GOLDEN / f"{dag_id}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(json.dumps(found, indent=2) + "\n")
    assert found == json.loads(path.read_text())


@pytest.mark.parametrize(
    ("dag_id", "mapped", "prefix"),
    [
        ("ingest_flights", ["ingest_partitions"], ""),
        ("load_features_flight_delay", ["v1.build_features", "v1.load_redshift"], "v1."),
    ],
)
def test_a_chunk_has_its_own_jobs_and_is_named_by_its_days(dagbag: DagBag, dag_id: str, mapped: list[str], prefix: str) -> None:
    dag = dagbag.dags[dag_id]
    assert [task.task_id for task in dag.tasks if task.get_closest_mapped_task_group()] == mapped
    for task_id in mapped:
        assert "chunk()" in dag.get_task(task_id).map_index_template
    publish = dag.get_task(f"{prefix}publish_partitions")
    assert publish.outlets, "the days of a run are told once, when all of its chunks are done"
    assert publish.trigger_rule == "none_failed", "without chunks their tasks are skipped"


def test_drift_leads_to_training_and_promotion_only_follows_the_decision(dagbag: DagBag) -> None:
    for model in MODELS:
        monitor, train = dagbag.dags[f"monitor_{model}"], dagbag.dags[f"train_{model}"]
        assert monitor.get_task("start_retraining").trigger_dag_id == train.dag_id
        # Both sensors are awaited, and neither's failure silences the other: one_success would not wait, and
        # all_done_min_one_success is skipped as soon as one of them is. That one could not tell still fails the run.
        assert {monitor.get_task(task_id).trigger_rule for task_id in ("raise_alarm", "respect_limits")} == {"all_done"}
        leaf = monitor.get_task("able_to_tell")
        assert leaf.trigger_rule == "none_failed" and not leaf.downstream_task_ids
        assert leaf.upstream_task_ids == {"psi_drift", "accuracy_drift"}
        assert {"psi_drift", "accuracy_drift", "respect_limits"} <= monitor.get_task("start_retraining").get_flat_relative_ids(
            upstream=True
        )
        assert {"evaluate", "decide_promotion"} <= train.get_task("promote_challenger").get_flat_relative_ids(upstream=True)


def test_assets_wire_ingest_to_features_to_scoring_to_monitoring(dagbag: DagBag) -> None:
    def produced(dag_id: str) -> set[str]:
        return {asset.name for task in dagbag.dags[dag_id].tasks for asset in task.outlets}

    def consumed(dag_id: str) -> set[str]:
        return {asset.name for asset in dagbag.dags[dag_id].timetable.asset_condition.objects}

    assert consumed("load_features_flight_delay") == produced("ingest_flights")
    assert consumed("score_flight_delay") == produced("load_features_flight_delay")
    assert consumed("monitor_flight_delay") == produced("score_flight_delay")
    assert produced("train_flight_delay") == {"champion/flight_delay"}
