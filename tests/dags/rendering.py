"""DAGs as their files make them, and their tasks with templates rendered, in a run of April 2013 that has gone well so far."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CHAMPION: dict[str, Any] = {
    "version": 3,
    "name": "flight-delay-v3",
    "arn": "arn:aws:sagemaker:us-east-1:123456789012:model-package/flight-delay/3",
    "model_data": "s3://flywheel-tests/models/model.tar.gz",
    "metadata": {"profile": "s3://flywheel-tests/profile.json", "baseline": "s3://flywheel-tests/baseline.json"},
    "last_trained_until": "2013-03-30",
}


class Run:
    """What templates ask of a task instance.

    :param feature_version: the version of the features that the run's champion was trained on; None: there is no champion
    """

    run_id = "manual__2013-05-01"
    map_index = 0
    log_url = "http://airflow/log"

    def __init__(self, task_id: str, feature_version: int | None):
        self.task_id = task_id
        metadata = {**CHAMPION["metadata"], "feature_version": str(feature_version)}
        self.champion = CHAMPION | {"metadata": metadata} if feature_version else dict.fromkeys(CHAMPION)

    def xcom_pull(self, task_ids: str | list[str] | None = None, key: str = "return_value") -> Any:
        """The values that the tasks before would have left."""
        if isinstance(task_ids, list):
            return [self.xcom_pull(task_id, key) for task_id in task_ids]
        days = {"start": "2013-04-01", "end": "2013-04-30"}
        found = {
            "resolve_days": days,
            "plan_chunks": [days],
            "resolve_champion": self.champion,
            "train_challenger": {"model_data": "s3://flywheel-tests/models/model.tar.gz"},
            "measure_drift": {"metrics": [["PSI", 0.3, {"Model": "flight_delay", "Feature": "carrier"}]]},
            "measure_accuracy": {"metrics": []},
            "raise_alarm": {"causes": ["carrier shift"], "message": "carrier has shifted"},
        }
        told = {"reason": "carrier has shifted", "causes": ["carrier shift"], "level": "retrain"}
        task_id = (task_ids or "").rpartition(".")[2]
        return found[task_id] if key == "return_value" else told.get(key)


def made_by(stage: str, *arguments: Any) -> Any:
    """A DAG as its file makes it."""
    loaded = importlib.util.spec_from_file_location(f"{stage}_dags", ROOT / "dags" / f"{stage}.py")
    assert loaded and loaded.loader
    module = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(module)
    return getattr(module, f"{stage}_dag")(*arguments)


def render(dag: Any, task_id: str, feature_version: int | None = 1, params: dict[str, Any] | None = None) -> Any:
    """A copy of the task, rendered."""
    copy = dag.get_task(task_id).prepare_for_execution()
    copy.resolve_template_files()
    params = params or {"start": "2013-04-01", "end": "2013-04-30", "reason": "test", "group": "flight_delay", "version": 1}
    run = Run(task_id, feature_version)
    copy.render_template_fields({"dag": dag, "ti": run, "run_id": Run.run_id, "params": params})
    return copy


def statements(task: Any) -> list[str]:
    """The statements that a rendered task sends."""
    return [sql for sql in ([task.sql] if isinstance(task.sql, str) else task.sql) if sql.strip()]
