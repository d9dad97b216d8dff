"""The names that Flywheel's templates know, besides Airflow's own.

``{{ window().start }}``, ``{{ window().end }}`` the days that the run covers; ``{{ run_key() }}`` the run's name;
``{{ training().start }}``, ``{{ holdout().start }}`` the split of a training run; ``{{ judged().end }}`` the trailing days that
monitoring judges; ``{{ champion("version") }}`` what the task ``resolve_champion`` found; ``{{ chunk().start }}`` and
``{{ chunk().end }}`` the days of a mapped task; ``{{ manifest("features") }}`` and ``{{ expected("features") }}`` what the
feature job wrote for them; ``{{ model }}`` the spec; ``{{ settings }}`` the AWS side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from jinja2 import pass_context

from flywheel.core import runs
from flywheel.core.contracts import Contract
from flywheel.core.errors import WindowError
from flywheel.core.runs import Window
from flywheel.core.specs import ModelSpec
from flywheel.settings import settings

#: How the UI names a mapped task of a chunk.
CHUNK = "{{ chunk().start }} to {{ chunk().end }}"


@pass_context
def window(context: Mapping[str, Any]) -> Window:
    """The days that the run covers: what its task ``resolve_days`` has found, else from its params or its data interval.

    :raises WindowError: the run gives no days, or impossible ones
    """
    if context["dag"].has_task("resolve_days"):
        days = context["ti"].xcom_pull(task_ids="resolve_days")
        return Window(runs.parse_day(days["start"], "resolve_days start"), runs.parse_day(days["end"], "resolve_days end"))
    return runs.resolve_window(context["params"], [], (context.get("data_interval_start"), context.get("data_interval_end")))


@pass_context
def run_key(context: Mapping[str, Any]) -> str:
    """The one name of this pipeline run."""
    return runs.run_key(context["dag"].dag_id, context["run_id"])


@pass_context
def chunk(context: Mapping[str, Any]) -> Window:
    """The days of a mapped task: that of the chunks which the task ``plan_chunks`` has found that has the task's map index."""
    days = context["ti"].xcom_pull(task_ids="plan_chunks")[context["ti"].map_index]
    return Window(runs.parse_day(days["start"], "chunk start"), runs.parse_day(days["end"], "chunk end"))


def template_names(model: ModelSpec | None = None) -> dict[str, Any]:
    """``user_defined_macros`` of a DAG; with a model also those that depend on its spec."""
    names: dict[str, Any] = {"window": window, "chunk": chunk, "run_key": run_key, "settings": settings()}
    if model is not None:
        names |= {"model": model, **_of_model(model)}
    return names


def delivery_names(dataset: Contract, companions: Sequence[Contract]) -> dict[str, Any]:
    """``{{ last_delivery("weather") }}``: the last thing that has to have landed before a run can start."""
    contracts = {contract.name: contract for contract in (dataset, *companions)}

    @pass_context
    def last_delivery(context: Mapping[str, Any], name: str) -> str:
        """Key pattern of the last partition that a dataset owes to the run; where it owes none, of the leading dataset's."""
        asked = window(context)
        for contract in (contracts[name], dataset):
            if days := contract.expected_days(asked.start, asked.end):
                return f"landing/{contract.name}/ds={days[-1]}/*"
        raise WindowError(f"{dataset.name}: no partition is to be expected from {asked.start} to {asked.end}; see its contract")

    return {"last_delivery": last_delivery}


def _of_model(model: ModelSpec) -> dict[str, Any]:
    """The names that a model's DAGs know besides."""

    @pass_context
    def labelled(context: Mapping[str, Any]) -> Window:
        """The days whose labels became known with the run's window."""
        return window(context).shift(-model.label.lag_days)

    @pass_context
    def training_window(context: Mapping[str, Any]) -> Window:
        """The days whose features and labels the snapshot takes: as asked, else the newest that have their labels."""
        if context["params"].get("start"):
            return window(context)
        return labelled(context).last(model.training.window_days)

    @pass_context
    def holdout(context: Mapping[str, Any]) -> Window:
        """The last days of the training window, which no model of this run sees before it is judged."""
        return training_window(context).last(model.training.holdout_days)

    @pass_context
    def training(context: Mapping[str, Any]) -> Window:
        """The training window without its holdout."""
        whole, held = training_window(context), holdout(context)
        return Window(whole.start, held.start - timedelta(days=1))

    @pass_context
    def judged(context: Mapping[str, Any]) -> Window:
        """The trailing days that monitoring judges: those up to the last day whose labels are known."""
        return labelled(context).last(model.monitoring.window_days)

    @pass_context
    def periods(context: Mapping[str, Any]) -> list[dict[str, str]]:
        """What monitoring measures, as start and end: each week that ended in the run's days, and the trailing window judged."""
        days = labelled(context)
        weeks = [week for week in Window(days.start - timedelta(days=6), days.end).weeks() if week.end >= days.start]
        return [period.as_dict() for period in [*weeks, judged(context)]]

    @pass_context
    def champion(context: Mapping[str, Any], key: str) -> Any:
        """A value of the run's champion, as the task ``resolve_champion`` found it."""
        return context["ti"].xcom_pull(task_ids="resolve_champion")[key]

    def of_chunk(context: Mapping[str, Any], zone: str, ending: str) -> str:
        group, days = f"{model.features.group}/v{model.features.version}", chunk(context)
        return f"s3://{settings().bucket}/{zone}/{group}/_manifests/{run_key(context)}/{days.start}_{days.end}.{ending}"

    @pass_context
    def manifest(context: Mapping[str, Any], zone: str) -> str:
        """S3 URI of the manifest of what the chunk's feature job has committed to a zone (``features`` or ``labels``)."""
        return of_chunk(context, zone, "json")

    @pass_context
    def expected(context: Mapping[str, Any], zone: str) -> str:
        """S3 URI of what has to be in the table after it was loaded: lines of day, number of rows, sum of checksums."""
        return of_chunk(context, zone, "csv")

    return {
        "labelled": labelled,
        "training_window": training_window,
        "training": training,
        "holdout": holdout,
        "judged": judged,
        "periods": periods,
        "champion": champion,
        "manifest": manifest,
        "expected": expected,
    }
