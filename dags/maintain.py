"""# Maintain

Looks after what the other DAGs leave behind. `maintain_jobs`: a job that runs on although its task is over is stopped within half
a minute. `maintain_lake`: files that a dead job wrote, or that were replaced, are deleted when nobody can read them any more.
`drop_features`: a version of a feature group that no model uses any more is removed.

| | |
|---|---|
| Runs | `maintain_jobs` always; one run after the other, an hour each, in the triggerer. `maintain_lake` weekly |
| By hand | `drop_features`, with `group` and `version` |
| Reads | `jobs/waiting/` on S3, where each waiting task is written down; the states of those tasks; the commits of all zones |
| Writes | nothing; it stops jobs, takes entries off `jobs/waiting/`, deletes files that no commit has named for two days |
| Drops | `features.<group>_v<N>`, `labels.<group>_v<N>`, their zones on S3 and tables in the Data Catalog |
| Run again | looks again; what is dropped is dropped |
| On failure | jobs still stop with their tasks, as a rule; what a dead worker left runs to its own limit; files cost storage |
| `require_unused` fails | it says who uses the version: reject what nobody will go back to, or keep the features |
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import Param, chain, dag

from flywheel.defaults import DEFAULT_ARGS, Stage, all_zones, feature_groups, impact, model_specs
from flywheel.operators.dropping import DropZonesOperator, RequireUnusedFeaturesOperator
from flywheel.operators.orphans import StopOrphansOperator
from flywheel.operators.redshift import RedshiftStatementsOperator
from flywheel.operators.sweep import SweepLakeOperator
from flywheel.settings import include_dir


@dag(
    "maintain_jobs",
    schedule="@continuous",
    start_date=datetime(2013, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=[Stage.MAINTAIN, impact("tier_2")],
)
def maintain_jobs() -> None:
    """One task, which is never over for long."""
    StopOrphansOperator(task_id="stop_orphans", execution_timeout=timedelta(hours=2))


@dag(
    "maintain_lake",
    schedule="0 3 * * 0",
    start_date=datetime(2013, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=[Stage.MAINTAIN, impact("tier_3")],
)
def maintain_lake() -> None:
    """One task over all zones."""
    SweepLakeOperator(task_id="sweep_lake", zones=all_zones())


@dag(
    "drop_features",
    schedule=None,
    start_date=datetime(2013, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params={
        "group": Param(None, type="string", pattern="^[a-z][a-z0-9_]{0,47}$", description="The feature group"),
        "version": Param(None, type="integer", minimum=1, description="The version of it that is to be dropped"),
    },
    template_searchpath=[str(include_dir() / "sql")],
    doc_md=__doc__,
    tags=[Stage.MAINTAIN, impact("tier_3")],
)
def drop_features() -> None:
    """The check, then everything that the version has."""
    require_unused = RequireUnusedFeaturesOperator(
        task_id="require_unused",
        group="{{ params.group }}",
        version="{{ params.version }}",
        models=model_specs(),
        groups=feature_groups(),
    )
    drop_tables = RedshiftStatementsOperator(task_id="drop_tables", sql=["features/drop_latches.sql", "features/drop_tables.sql"])
    drop_zones = DropZonesOperator(
        task_id="drop_zones",
        zones=[f"{kind}/{{{{ params.group }}}}/v{{{{ params.version }}}}" for kind in ("features", "labels")],
    )
    chain(require_unused, drop_tables, drop_zones)


maintain_jobs()
maintain_lake()
drop_features()
