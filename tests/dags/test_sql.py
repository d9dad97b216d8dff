"""Every SQL file, as the DAGs and provisioning render it: Redshift in one style, one statement, nothing of a template left."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlfluff.core import FluffConfig, Linter

from flywheel.core.specs import load_model_specs
from flywheel.operators.redshift import RedshiftOperator

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

ROOT = Path(__file__).parents[2]
SQL = ROOT / "include" / "sql"
CHAMPION = {
    "version": 3,
    "name": "flight-delay-v3",
    "arn": "arn:aws:sagemaker:us-east-1:123456789012:model-package/flight-delay/3",
    "model_data": "s3://flywheel-tests/models/model.tar.gz",
    "metadata": {"profile": "s3://flywheel-tests/profile.json", "auc_holdout": "0.73"},
    "last_trained_until": "2013-03-30",
}
MEASURED = [
    {
        "start": "2013-04-01",
        "end": "2013-04-07",
        "feature": "carrier",
        "psi": 0.01,
        "threshold": 0.2,
        "rows": 7,
        "state": "ok",
    },
    {
        "start": "2013-04-02",
        "end": "2013-04-29",
        "feature": "temp",
        "psi": 0.9,
        "threshold": 0.2,
        "rows": 28,
        "state": "drift",
    },
]


class Run:
    """What templates ask of a task instance."""

    run_id = "manual__2013-05-01"
    map_index = 0
    log_url = "http://airflow/log"

    def xcom_pull(self, task_ids: str | None = None, key: str = "return_value") -> Any:
        """The values that the tasks before would have left."""
        days = {"start": "2013-04-01", "end": "2013-04-30"}
        found = {"resolve_days": days, "plan_chunks": [days], "resolve_champion": CHAMPION, "measure_drift": MEASURED}
        return found[task_ids or ""]


def rendered(dagbag: DagBag) -> Iterator[tuple[str, str]]:
    """Task and statement, for every statement of every DAG."""
    for dag in dagbag.dags.values():
        for task in dag.tasks:
            if isinstance(task, RedshiftOperator):
                copy = task.prepare_for_execution()
                copy.resolve_template_files()
                params = {"start": "2013-04-01", "end": "2013-04-30", "reason": "test"}
                copy.render_template_fields({"dag": dag, "ti": Run(), "run_id": Run.run_id, "params": params})  # type: ignore[typeddict-item]
                for statement in [copy.sql] if isinstance(copy.sql, str) else copy.sql:
                    if statement:
                        yield f"{dag.dag_id}.{task.task_id}", statement


logging.getLogger("sqlfluff").setLevel(logging.WARNING)  # it tells of each line that it reads


@cache
def problems(sql: str) -> list[str]:
    """What sqlfluff finds with the rules of ``.sqlfluff``; it knows no ``:name`` parameters, so they get a value."""
    linter = Linter(config=FluffConfig.from_path(str(ROOT)))
    return [str(violation) for violation in linter.lint_string(re.sub(r"(?<![:\w]):([a-z_]+)", "'1'", sql) + "\n").violations]


def test_every_rendered_statement_is_redshift(dagbag: DagBag) -> None:
    statements = list(rendered(dagbag))
    assert len(statements) > 20
    for task, sql in statements:
        assert "{{" not in sql and "{%" not in sql and ";" not in sql, f"{task}: {sql}"
        assert not problems(sql), f"{task}: {problems(sql)}\n{sql}"


@pytest.mark.parametrize("path", sorted((SQL / "setup").rglob("*.sql")), ids=lambda path: path.stem)
def test_setup_is_redshift(path: Path) -> None:
    templates = Environment(loader=FileSystemLoader(SQL), undefined=StrictUndefined)  # noqa: S701
    for model in load_model_specs(SQL.parent / "models"):
        sql = templates.get_template(str(path.relative_to(SQL))).render(model=model)
        assert ";" not in sql
        assert not problems(sql), f"{problems(sql)}\n{sql}"


def test_every_file_is_used(dagbag: DagBag) -> None:
    used = {text for dag in dagbag.dags.values() for task in dag.tasks if isinstance(task, RedshiftOperator)
            for text in ([task.sql] if isinstance(task.sql, str) else task.sql)}  # fmt: skip
    unused = {path.relative_to(SQL).parts[0] for path in SQL.rglob("*.sql") if path.read_text() not in used}
    assert unused == {"setup"}, "the DagBag has read the files of its templates; provisioning reads setup/"


def test_the_days_of_a_run_reach_its_sql(dagbag: DagBag) -> None:
    def of(task_id: str) -> str:
        return "\n".join(sql for task, sql in rendered(dagbag) if task == task_id)

    assert "WHERE ds BETWEEN '2013-04-01' AND '2013-04-30'" in of("score_flight_delay.export_features")
    assert "WHERE f.ds BETWEEN '2013-04-01' AND '2013-04-09'" in of("train_flight_delay.pin_snapshot"), "the rest is holdout"
    assert "period_start = '2013-04-02' AND period_end = '2013-04-29'" in of("monitor_flight_delay.measure_accuracy"), (
        "the labels of the last day are not known yet"
    )
