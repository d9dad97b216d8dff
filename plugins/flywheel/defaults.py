"""What all DAGs have in common: default arguments, tags, params, assets and the template names."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from airflow.sdk import Asset, Param, timezone

from flywheel.callbacks import alert_on_failure
from flywheel.core.contract_files import load_contracts
from flywheel.core.contracts import Contract
from flywheel.core.features import Features, load_feature_groups
from flywheel.core.specs import ModelSpec, load_model_specs
from flywheel.macros import group_names, template_names
from flywheel.settings import include_dir, settings
from flywheel.timetables import SourceCalendarTimetable

DEFAULT_ARGS: dict[str, Any] = {
    "owner": "flywheel",
    "retries": 2,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=10),
    # Longer than Glue (8 h) and EMR Serverless (6 h) let a job run: those tell why they ended it.
    "execution_timeout": timedelta(hours=12),
    "aws_conn_id": settings().aws_conn_id,
    "on_failure_callback": alert_on_failure(),
}


#: What a task may take besides its job's own limit: queues, starting machines, retried calls.
MARGIN = timedelta(hours=1)


class Stage(StrEnum):
    """The stage of the lifecycle that a DAG belongs to; its first tag."""

    INGEST = "stage/ingest"
    FEATURES = "stage/features"
    TRAIN = "stage/train"
    SCORE = "stage/score"
    MONITOR = "stage/monitor"
    MAINTAIN = "stage/maintain"


def impact(tier: str) -> str:
    """The tag that tells the person on duty how soon to act (docs/runbook.md)."""
    return f"impact/{tier}"


def window_params() -> dict[str, Param]:
    """Params of every DAG that covers dates: a manual run or a backfill by chunk gives both, a scheduled run neither."""
    day: dict[str, Any] = {"type": ["null", "string"], "format": "date", "default": None}
    return {
        "start": Param(**day, title="First day", description="First day to cover (YYYY-MM-DD); empty: the run's data interval"),
        "end": Param(**day, title="Last day", description="Last day to cover, inclusive; give both days or neither"),
    }


def chunk_params() -> dict[str, Param]:
    """Params of the DAGs that make only what is not up to date, in chunks of days."""
    overwrite = Param(
        False,
        type="boolean",
        title="Overwrite",
        description="Make all days anew, also those that are up to date",
    )
    return {**window_params(), "overwrite": overwrite}


def model_specs() -> tuple[ModelSpec, ...]:
    """All models of ``include/models/``."""
    return load_model_specs(include_dir() / "models")


def feature_groups() -> Mapping[str, Mapping[int, Features]]:
    """All definitions of ``include/features/``, by group and version."""
    return load_feature_groups(include_dir() / "features")


def of_model(model: ModelSpec, stage: Stage) -> dict[str, Any]:
    """What all DAGs of a model give to ``@dag`` besides id, schedule and document."""
    return {
        "start_date": day(model.start_date),
        "catchup": False,
        "max_active_runs": 1,
        "default_args": DEFAULT_ARGS | {"owner": model.owner},
        "params": window_params(),
        "tags": [stage, impact(model.tier)],
        "template_searchpath": [str(include_dir() / "sql")],
        "user_defined_macros": template_names(model),
    }


def of_group(versions: Mapping[int, Features]) -> dict[str, Any]:
    """What the DAG of a feature group gives to ``@dag`` besides id, schedule and document. The newest version's owner owns it."""
    newest = versions[max(versions)]
    return {
        "start_date": day(min(definition.start_date for definition in versions.values())),
        "catchup": False,
        "max_active_runs": 1,
        "default_args": DEFAULT_ARGS | {"owner": newest.owner},
        "params": chunk_params(),
        "tags": [Stage.FEATURES, impact(min(definition.tier for definition in versions.values()))],
        "template_searchpath": [str(include_dir() / "sql")],
        "user_defined_macros": group_names(versions),
    }


def contracts_by_name() -> dict[str, Contract]:
    """All contracts of ``include/datasets/``."""
    return load_contracts(include_dir() / "datasets")


def source_contracts() -> list[tuple[Contract, list[Contract]]]:
    """Each dataset that has a delivery of its own, with those that are delivered together with it."""
    contracts = contracts_by_name()
    return [
        (contract, [other for other in contracts.values() if other.delivered_with == contract.name])
        for contract in contracts.values()
        if contract.delivered_with is None
    ]


def all_zones() -> list[str]:
    """The zones that jobs write (:mod:`flywheel.core.commits`)."""
    definitions = [definition for versions in feature_groups().values() for definition in versions.values()]
    products = [f"{kind}/{definition.zone}" for kind in ("features", "labels") for definition in definitions]
    return [*(f"processed/{dataset}" for dataset in contracts_by_name()), *products]


def processed_asset(dataset: str) -> Asset:
    """Processed partitions of a dataset; events carry ``start`` and ``end`` in their extra."""
    return Asset(name=f"processed/{dataset}", uri=f"flywheel://processed/{dataset}")


def features_asset(definition: Features) -> Asset:
    """Partitions of a feature group at one version in Redshift; events carry ``start`` and ``end``."""
    return Asset(name=f"features/{definition.table}", uri=f"flywheel://features/{definition.table}")


def champion_asset(model: ModelSpec) -> Asset:
    """A new champion in the registry; events carry ``version`` and ``run_key``."""
    return Asset(name=f"champion/{model.name}", uri=f"flywheel://champion/{model.name}")


def predictions_asset(model: ModelSpec) -> Asset:
    """Published predictions of a model; events carry ``start`` and ``end``."""
    return Asset(name=f"predictions/{model.name}", uri=f"flywheel://predictions/{model.name}")


def day(value: date) -> Any:
    """A day of a spec as Airflow wants dates: midnight UTC."""
    return timezone.datetime(value.year, value.month, value.day)


def clock(cron: str | None, until: date | None, chunk_days: int = 1) -> SourceCalendarTimetable | None:
    """A cron schedule whose runs cover the interval that has just ended; None for a DAG that runs by hand only.

    :param until: last day with data; None while data keep coming
    :param chunk_days: the most days that one run of a backfill takes
    """
    return None if cron is None else SourceCalendarTimetable(cron, until.isoformat() if until else None, chunk_days)
