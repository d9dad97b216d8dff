"""Writes docs/DAGs.md from the DagBag: `make docs`. A test fails when the page is not what this would write.

Runs with Airflow's Python; needs no database and no network.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent / "DAGs.md"
STAGES = ("ingest", "features", "train", "score", "monitor", "maintain")


def render(dags: Iterable[Any]) -> str:
    """The page: a table of all DAGs in the order of the lifecycle, then each with its document, parameters and tasks."""
    ordered = sorted(dags, key=lambda dag: (STAGES.index(_stage(dag)), dag.dag_id))
    lines = ["# The DAGs", "", "Made by `make docs` from the DAGs themselves.", ""]
    lines += ["| DAG | stage | impact | owner | runs |", "|---|---|---|---|---|"]
    for dag in ordered:
        impact = next(tag.removeprefix("impact/") for tag in dag.tags if tag.startswith("impact/"))
        lines.append(
            f"| [{dag.dag_id}](#{dag.dag_id}) | {_stage(dag)} | {impact} | {dag.default_args['owner']} | {_schedule(dag)} |"
        )
    for dag in ordered:
        lines += ["", f"## {dag.dag_id}", "", _document(dag), "", f"Scheduled: {_schedule(dag)}.", ""]
        lines += ["| param | default | meaning |", "|---|---|---|"] if dag.params else []
        lines += [
            f"| `{name}` | {dag.params.get_param(name).value} | {dag.params.get_param(name).description} |" for name in dag.params
        ]
        lines += [""] if dag.params else []
        lines += ["| task | operator | then |", "|---|---|---|"]
        for task in dag.topological_sort():
            then = ", ".join(f"`{name}`" for name in sorted(task.downstream_task_ids)) or "–"
            lines.append(f"| `{task.task_id}` | {task.task_type} | {then} |")
    return "\n".join(lines) + "\n"


def _stage(dag: Any) -> str:
    return next(tag.removeprefix("stage/") for tag in dag.tags if tag.startswith("stage/"))


def _schedule(dag: Any) -> str:
    from airflow.sdk import AssetAny
    from airflow.sdk.definitions.timetables.simple import ContinuousTimetable

    timetable = dag.timetable
    condition = getattr(timetable, "asset_condition", None)
    assets = getattr(condition, "objects", None)
    if assets:
        either = " or " if isinstance(condition, AssetAny) else " and "
        return f"when {either.join(f'`{asset.name}`' for asset in assets)} is updated"
    if isinstance(timetable, ContinuousTimetable):
        return "always, one run after the other"
    expression = getattr(timetable, "_expression", None)
    if expression is None:
        return "by hand only"
    until = f", for days until {timetable.until}" if getattr(timetable, "until", None) else ""
    return f"`{expression}` UTC{until}"


def _document(dag: Any) -> str:
    """The DAG's own document without its title: the page has one."""
    return "\n".join(line for line in dag.doc_md.strip().splitlines() if not line.startswith("# ")).strip()


def main() -> int:
    """Write the page; exit code 1 when a DAG file cannot be read."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag()
    for file, error in bag.import_errors.items():
        print(f"{file}: {error}", file=sys.stderr)
    if bag.import_errors:
        return 1
    PAGE.write_text(render(bag.dags.values()), encoding="utf-8")
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
