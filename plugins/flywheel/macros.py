"""The names that Flywheel's templates know, besides Airflow's own.

``{{ window().start }}``, ``{{ window().end }}`` the days that the run covers; ``{{ run_key() }}`` the run's name;
``{{ training().start }}``, ``{{ holdout().start }}`` the split of a training run; ``{{ judged().end }}`` the trailing days that
monitoring judges; ``{{ champion("version") }}`` what the task ``resolve_champion`` found; ``{{ chunks() }}`` what the task
``plan_chunks`` beside the task has planned, ``{{ chunk().start }}`` and ``{{ chunk().end }}`` the days of a mapped task;
``{{ manifest("features") }}`` and ``{{ expected("features") }}`` what the feature job wrote for them; ``{{ model }}`` the spec;
``{{ settings }}`` the AWS side.

``{{ features().table }}`` is a feature definition. In the DAG of a feature group it is that of the version whose task asks (it
is in the task group ``v<N>``). In a model's DAGs it is the one that the *champion* was trained on, which is not always the one
that the spec pins (``{{ model.features }}``): after a cut-over the old champion serves on until a challenger wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException
from jinja2 import pass_context

from flywheel.core import runs
from flywheel.core.contracts import Contract
from flywheel.core.errors import WindowError
from flywheel.core.features import Features
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
def chunks(context: Mapping[str, Any]) -> list[dict[str, str]]:
    """What the task ``plan_chunks`` has planned: the one in the task's own version, where there are several."""
    version, dot, _ = context["ti"].task_id.rpartition(".")
    return list(context["ti"].xcom_pull(task_ids=f"{version}{dot}plan_chunks"))


@pass_context
def chunk(context: Mapping[str, Any]) -> Window:
    """The days of a mapped task: the planned chunk that has the task's map index."""
    days = chunks(context)[context["ti"].map_index]
    return Window(runs.parse_day(days["start"], "chunk start"), runs.parse_day(days["end"], "chunk end"))


def template_names(model: ModelSpec | None = None) -> dict[str, Any]:
    """``user_defined_macros`` of a DAG; with a model also those that depend on its spec and its champion."""
    names: dict[str, Any] = {"window": window, "chunks": chunks, "chunk": chunk, "run_key": run_key, "settings": settings()}
    if model is not None:
        names |= {"model": model, **_of_model(model)}
    return names


def group_names(versions: Mapping[int, Features]) -> dict[str, Any]:
    """``user_defined_macros`` of the DAG of a feature group, whose tasks are in task groups ``v<N>``."""

    @pass_context
    def features(context: Mapping[str, Any]) -> Features:
        """The definition of the version that the task belongs to."""
        return versions[int(context["ti"].task_id.partition(".")[0].removeprefix("v"))]

    def of_chunk(context: Mapping[str, Any], kind: str, ending: str) -> str:
        zone, days = f"{kind}/{features(context).zone}", chunk(context)
        return f"s3://{settings().bucket}/{zone}/_manifests/{run_key(context)}/{days.start}_{days.end}.{ending}"

    @pass_context
    def manifest(context: Mapping[str, Any], kind: str) -> str:
        """S3 URI of the manifest of what the chunk's feature job has committed, of ``features`` or ``labels``."""
        return of_chunk(context, kind, "json")

    @pass_context
    def expected(context: Mapping[str, Any], kind: str) -> str:
        """S3 URI of what has to be in the table after it was loaded: lines of day, number of rows, sum of checksums."""
        return of_chunk(context, kind, "csv")

    return template_names() | {"features": features, "manifest": manifest, "expected": expected}


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
    def champion(context: Mapping[str, Any], key: str) -> Any:
        """A value of the run's champion, as the task ``resolve_champion`` found it.

        :raises AirflowSkipException: it has found none. Only a task that runs whatever became of those before it gets here
        """
        found = context["ti"].xcom_pull(task_ids="resolve_champion")
        if found is None:
            raise AirflowSkipException("resolve_champion has found no champion")
        return found[key]

    @pass_context
    def features(context: Mapping[str, Any]) -> Features:
        """The features that the champion was trained on; where there is no champion yet, those that the spec pins."""
        metadata = champion(context, "metadata")
        return model.features if metadata is None else trained_on(model, champion(context, "version"), metadata)

    @pass_context
    def labelled(context: Mapping[str, Any]) -> Window:
        """The days whose labels, for the champion's predictions, became known with the run's window."""
        return window(context).shift(-features(context).label.lag_days)

    @pass_context
    def training_window(context: Mapping[str, Any]) -> Window:
        """The days whose features and labels the snapshot takes: as asked, else the newest that have their labels."""
        if context["params"].get("start"):
            return window(context)
        return window(context).shift(-model.label.lag_days).last(model.training.window_days)

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
    def counted(context: Mapping[str, Any]) -> Window:
        """The days whose outcomes monitoring counts: those it judges, and those whose labels became known."""
        known, trailing = labelled(context), judged(context)
        return Window(min(known.start, trailing.start), known.end)

    @pass_context
    def segments(context: Mapping[str, Any]) -> list[str]:
        """The categories that accuracy is watched by, as far as the champion's version of the features has them."""
        known = features(context).names("category")
        return [name for name in model.monitoring.segments if name in known]

    @pass_context
    def periods(context: Mapping[str, Any]) -> list[dict[str, str]]:
        """What monitoring measures, as start and end: each week that ended in the run's days, and the trailing window judged.

        No period is there twice: its rows would be, too.
        """
        days, last = labelled(context), judged(context)
        weeks = [week for week in Window(days.start - timedelta(days=6), days.end).weeks() if week.end >= days.start]
        return [period.as_dict() for period in [*(week for week in weeks if week != last), last]]

    @pass_context
    def compared(context: Mapping[str, Any]) -> list[Window]:
        """The days that drift looks at, and the same of the year before."""
        asked = [Window(runs.parse_day(p["start"], "start"), runs.parse_day(p["end"], "end")) for p in periods(context)]
        now = Window(min(window.start for window in asked), max(window.end for window in asked))
        return [now, now.year_before()]

    return {
        "compared": compared,
        "labelled": labelled,
        "training_window": training_window,
        "training": training,
        "holdout": holdout,
        "judged": judged,
        "periods": periods,
        "counted": counted,
        "segments": segments,
        "champion": champion,
        "features": features,
    }


def trained_on(model: ModelSpec, version: int, metadata: Mapping[str, str]) -> Features:
    """The features that a registered version of a model was trained on.

    :param version: the model's version in the registry
    :param metadata: what the registry has of it
    :raises ValueError: ``include/features`` does not define them any more
    """
    group, number = metadata.get("feature_group", model.features.group), metadata.get("feature_version")
    known = {str(definition.version): definition for definition in model.feature_versions.values()}
    if group != model.features.group or number not in known:
        raise ValueError(
            f"version {version} of {model.name} was trained on features {group} version {number}: expected one of "
            f"{', '.join(definition.table for definition in known.values())}, the group that the spec pins. Put the definition "
            f"back into include/features, or reject version {version} in the registry"
        )
    return known[number]
