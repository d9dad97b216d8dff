"""Every SQL file, as the DAGs and provisioning render it: Redshift in one style, one statement, nothing of a template left."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rendering import made_by, render, statements
from sqlfluff.core import FluffConfig, Linter

from flywheel.core.features import Label, load_feature_groups
from flywheel.core.specs import ModelSpec, load_model_specs
from flywheel.operators.redshift import RedshiftOperator

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

ROOT = Path(__file__).parents[2]
SQL = ROOT / "include" / "sql"


def rendered(dagbag: DagBag) -> Iterator[tuple[str, str]]:
    """Task and statement, for every statement of every DAG."""
    for dag in dagbag.dags.values():
        for task in dag.tasks:
            if isinstance(task, RedshiftOperator):
                for statement in statements(render(dag, task.task_id)):
                    yield f"{dag.dag_id}.{task.task_id}", statement


logging.getLogger("sqlfluff").setLevel(logging.WARNING)  # it tells of each line that it reads


@cache
def problems(sql: str) -> list[str]:
    """What sqlfluff finds with the rules of ``.sqlfluff``; it knows no ``:name`` parameters, so they get a value."""
    linter = Linter(config=FluffConfig.from_path(str(ROOT)))
    return [str(violation) for violation in linter.lint_string(re.sub(r"(?<![:\w]):([a-z_]+)", "'1'", sql) + "\n").violations]


def test_every_rendered_statement_is_redshift(dagbag: DagBag) -> None:
    found = list(rendered(dagbag))
    assert len(found) > 20
    for task, sql in found:
        assert "{{" not in sql and "{%" not in sql and ";" not in sql, f"{task}: {sql}"
        assert not problems(sql), f"{task}: {problems(sql)}\n{sql}"


@pytest.mark.parametrize("path", sorted((SQL / "setup").rglob("*.sql")), ids=lambda path: path.stem)
def test_setup_is_redshift(path: Path) -> None:
    templates = Environment(loader=FileSystemLoader(SQL), undefined=StrictUndefined)  # noqa: S701
    definitions = load_feature_groups(SQL.parent / "features")["flight_delay"].values()
    values = {"features": [{"features": one} for one in definitions],
              "model": [{"model": one} for one in load_model_specs(SQL.parent / "models")]}  # fmt: skip
    for known in values.get(path.parent.name, [{}]):
        sql = templates.get_template(str(path.relative_to(SQL))).render(known)
        assert ";" not in sql
        assert not problems(sql), f"{problems(sql)}\n{sql}"


@pytest.mark.parametrize("season", [7, None])
def test_every_statement_for_labels_that_are_numbers_is_redshift(season: int | None) -> None:
    model = forecasting(season)
    dags = [
        made_by("load_features", model.features.group, model.feature_versions),
        made_by("train", model),
        made_by("monitor", model),
    ]
    tasks = {task.task_id: statements(render(dag, task.task_id)) for dag in dags for task in dag.tasks
             if isinstance(task, RedshiftOperator)}  # fmt: skip
    for task, sent in tasks.items():
        assert not [problem for sql in sent for problem in problems(sql)], f"{task}: {[(sql, problems(sql)) for sql in sent]}"
    assert any("label DOUBLE PRECISION NOT NULL" in sql for sql in tasks["v1.load_redshift"])
    train, holdout = tasks["pin_snapshot"][:2]
    assert "naive_label" not in train and ("AND n.ds = f.ds - 7" in holdout) == (season == 7)
    outcomes = tasks["count_outcomes"][-1]
    assert "RANK()" not in outcomes and ("AND n.ds = p.ds - 7" in outcomes) == (season == 7)
    table = Environment(loader=FileSystemLoader(SQL)).get_template("setup/features/create_labels.sql")  # noqa: S701
    assert "label DOUBLE PRECISION NOT NULL ENCODE ZSTD" in table.render(features=model.features)
    assert not problems(table.render(features=model.features))


def forecasting(season: int | None) -> ModelSpec:
    """The flights' model, were its label a number."""
    (model,) = load_model_specs(SQL.parent / "models")
    label = Label(meaning="minutes late", lag_days=1, kind="number", season_days=season)
    promotion = model.promotion.model_copy(update={"metric": "wape"})
    return model.model_copy(
        update={"feature_versions": {1: model.features.model_copy(update={"label": label})}, "promotion": promotion}
    )


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
    assert "period_start = '2013-04-02' AND period_end = '2013-04-29'" in of("monitor_flight_delay.record_accuracy"), (
        "the labels of the last day are not known yet"
    )
