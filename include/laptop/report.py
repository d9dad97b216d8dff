"""The demo's report: figures read back from Redshift, the registry, S3 and the services, checked and drawn."""

from __future__ import annotations

import base64
import io
import json
import time
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, select_autoescape

from laptop import aws, jobs_bill
from laptop.airflow_api import AirflowApi
from laptop.demo import MODEL
from laptop.environment import PROJECT, Place


@dataclass(frozen=True)
class Check:
    """One thing that a stage claims to have done, and what was found."""

    what: str
    passed: bool
    found: str


@dataclass(frozen=True)
class Facts:
    """All that the report shows; every list is of plain rows ``{column: value}``."""

    loads: list[dict[str, Any]]
    accuracy: list[dict[str, Any]]
    drift: list[dict[str, Any]]
    versions: list[dict[str, Any]]
    jobs: list[jobs_bill.Job]
    stages: list[dict[str, Any]]
    seconds: float
    checks: list[Check]


class Warehouse:
    """Queries on the demo's Redshift, through the Data API."""

    def __init__(self, place: Place):
        settings = aws.settings(place)
        self._client = aws.client(place, "redshift-data")
        self._target = {
            "WorkgroupName": settings["redshift_workgroup"],
            "Database": settings["redshift_database"],
        }

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a query as ``{column: value}``.

        :raises RuntimeError: with Redshift's reason
        """
        statement = self._client.execute_statement(Sql=sql, **self._target)["Id"]
        while (answer := self._client.describe_statement(Id=statement))["Status"] not in (
            "FINISHED",
            "FAILED",
            "ABORTED",
        ):
            time.sleep(0.05)
        if answer["Status"] != "FINISHED":
            raise RuntimeError(f"{sql.strip().splitlines()[0]} …: {answer['Status']}: {answer.get('Error')}")
        rows = []
        for page in self._client.get_paginator("get_statement_result").paginate(Id=statement):
            names = [column["name"] for column in page["ColumnMetadata"]]
            for record in page["Records"]:
                values = (None if "isNull" in value else next(iter(value.values())) for value in record)
                rows.append(dict(zip(names, values, strict=True)))
        return rows


def read_facts(place: Place, api: AirflowApi) -> Facts:
    """Asks Redshift, the registry, S3 and the services; nothing comes from what the demo remembers but its stages' times."""
    settings = aws.settings(place)
    warehouse = Warehouse(place)
    played = json.loads((place.home / "demo.json").read_text(encoding="utf-8"))
    loads = warehouse.rows(
        "SELECT table_name, MIN(ds) AS first_day, MAX(ds) AS last_day, COUNT(DISTINCT ds) AS days, SUM(row_count) AS rows_loaded "
        "FROM monitoring.loads GROUP BY table_name ORDER BY table_name"
    )
    for row in loads:
        row["rows_now"] = warehouse.rows(f"SELECT COUNT(*) AS n FROM {row['table_name']}")[0]["n"]
    accuracy = warehouse.rows(f"SELECT * FROM monitoring.accuracy WHERE model = '{MODEL}' ORDER BY period_end, period_start")
    drift = warehouse.rows(f"SELECT * FROM monitoring.feature_drift WHERE model = '{MODEL}' ORDER BY period_end, feature")
    versions = _versions(place)
    jobs = [
        *jobs_bill.glue_jobs(aws.client(place, "glue"), settings["glue_job"]),
        *jobs_bill.emr_jobs(aws.client(place, "emr-serverless"), settings["emr_application_id"]),
        *jobs_bill.sagemaker_jobs(aws.client(place, "sagemaker")),
    ]
    checks = _checks(place, api, warehouse, settings["bucket"], loads, accuracy, drift, versions, jobs)
    return Facts(loads, accuracy, drift, versions, jobs, played["stages"], played["seconds"], checks)


def _versions(place: Place) -> list[dict[str, Any]]:
    """The registry's versions with their metadata and evaluation, oldest first."""
    sagemaker, s3 = aws.client(place, "sagemaker"), aws.client(place, "s3")
    group = MODEL.replace("_", "-")
    found = []
    for page in sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group):
        for summary in page["ModelPackageSummaryList"]:
            package = sagemaker.describe_model_package(ModelPackageName=summary["ModelPackageArn"])
            bucket, _, key = package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"].removeprefix("s3://").partition("/")
            found.append(
                {
                    "version": package["ModelPackageVersion"],
                    "status": package["ModelApprovalStatus"],
                    "why": package.get("ApprovalDescription", ""),
                    **package["CustomerMetadataProperties"],
                    "evaluation": json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read()),
                }
            )
    return sorted(found, key=lambda version: version["version"])


def _checks(
    place: Place,
    api: AirflowApi,
    warehouse: Warehouse,
    bucket: str,
    loads: list[dict[str, Any]],
    accuracy: list[dict[str, Any]],
    drift: list[dict[str, Any]],
    versions: list[dict[str, Any]],
    jobs: list[jobs_bill.Job],
) -> list[Check]:
    """Whether every stage did what it says, from what it left behind."""
    s3 = aws.client(place, "s3")
    tables = {row["table_name"]: row for row in loads}
    features = next((row for name, row in tables.items() if name.startswith("features.")), None)
    checks = []

    def check(what: str, passed: object, found: object) -> None:
        checks.append(Check(what, bool(passed), str(found)))

    days = {zone: _days(s3, bucket, f"{zone}/flights/") for zone in ("landing", "processed")}
    check("ingest: every landed day of flights is processed", days["landing"] and days["landing"] == days["processed"],
          f"{len(days['landing'])} landed, {len(days['processed'])} processed")  # fmt: skip
    check("features: a row in Redshift for every day processed", features and features["days"] == len(days["processed"]),
          f"{features and features['days']} days, {features and features['rows_now']} rows")  # fmt: skip
    check(
        "features: no row twice",
        features and _same(warehouse, features["table_name"]),
        features and features["rows_now"],
    )
    first = versions[0] if versions else {}
    check("training: the first challenger became champion", first.get("status") == "Approved", first.get("why"))
    served = warehouse.rows(
        f"SELECT p.model_version AS version, COUNT(*) AS n, COUNT(DISTINCT p.entity_id) AS entities, MIN(p.ds) AS first_day "
        f"FROM predictions.{MODEL} AS p GROUP BY p.model_version ORDER BY 1"
    )
    expected = warehouse.rows(
        f"SELECT COUNT(*) AS n FROM {features['table_name']} WHERE ds >= '{served[0]['first_day']}'"
    )[0]["n"] if features and served else None  # fmt: skip
    scored, entities = sum(row["n"] for row in served), sum(row["entities"] for row in served)
    check("scoring: each flight since the first scored day has one prediction", served and scored == entities == expected,
          f"{scored} predictions, {expected} flights")  # fmt: skip
    measured = [row for row in accuracy if row["auc"] is not None]
    check("monitoring: accuracy is measured, and better than chance", measured and all(row["auc"] > 0.5 for row in measured),
          f"{len(measured)} periods, AUC {min((r['auc'] for r in measured), default=0):.3f} to "
          f"{max((r['auc'] for r in measured), default=0):.3f}")  # fmt: skip
    check("monitoring: PSI is measured for every feature and period", drift and len({r["feature"] for r in drift}) > 1,
          f"{len(drift)} values")  # fmt: skip
    retrained = [version for version in versions[1:] if version["reason"] != "first champion"]
    check("drift: the data started a retraining", retrained, retrained[0]["reason"] if retrained else "none")
    right = retrained and all(_decided_rightly(version) for version in retrained)
    check("promotion: challenger and champion met on one holdout, and the better one is champion", right,
          "; ".join(version["why"] for version in retrained))  # fmt: skip
    # A job's name ends in its attempt: a failed attempt counts only if no later one has made it good.
    last = {job.name.rsplit("-", 1)[0]: job for job in sorted(jobs, key=lambda job: job.started)}
    bad = [job.name for job in last.values() if job.state not in ("SUCCEEDED", "SUCCESS", "Completed")]
    check("jobs: each ended well", jobs and not bad, f"{len(jobs)} jobs, {len(bad)} not: {bad}" if bad else f"{len(jobs)} jobs")
    return checks


def _same(warehouse: Warehouse, table: str) -> bool:
    counted = warehouse.rows(f"SELECT COUNT(*) AS n, COUNT(DISTINCT entity_id) AS entities FROM {table}")[0]
    return bool(counted["n"] == counted["entities"])


def _decided_rightly(version: dict[str, Any]) -> bool:
    """The evaluation's own figures agree with the registry's status."""
    report = version["evaluation"]
    if not report.get("champion"):
        return False
    won = report["challenger"]["auc"] > report["champion"]["auc"]
    return bool(version["status"] == ("Approved" if won else "Rejected"))


def _days(s3: Any, bucket: str, prefix: str) -> set[str]:
    """The partitions that hold an object below a prefix."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = (item["Key"] for page in pages for item in page.get("Contents", []))
    return {part for key in keys for part in key.split("/") if part.startswith("ds=")}


# -- showing -------------------------------------------------------------------------------------------------------------


def table(facts: Facts) -> str:
    """The figures for the terminal."""
    lines = ["", "Rows in Redshift"]
    for row in facts.loads:
        lines.append(f"  {row['table_name']:32} {row['first_day']} to {row['last_day']}  {row['rows_now']:>9,} rows")
    lines += ["", "Model versions"]
    for version in facts.versions:
        lines.append(
            f"  v{version['version']}  {version['status']:9} AUC {float(version['auc_holdout']):.4f}  {version['reason']}"
        )
        lines.append(f"      {version['why']}")
    lines += ["", "AUC of what was served, by trailing window"]
    for row in facts.accuracy:
        if _length(row) > 7 and row["auc"] is not None:
            period = f"{row['period_start']} to {row['period_end']}"
            lines.append(f"  v{row['model_version']}  {period}  {row['auc']:.4f}  {row['labelled']:>7,} labels")
    lines += ["", "Jobs                        runs   seconds  simulated cost"]
    for service in dict.fromkeys(job.service for job in facts.jobs):
        jobs = [job for job in facts.jobs if job.service == service]
        dollars = sum(job.dollars or 0 for job in jobs)
        lines.append(f"  {service:24} {len(jobs):>5} {sum(job.seconds for job in jobs):>9.1f} {dollars:>12.2f} $")
    lines += ["", f"Whole demo: {facts.seconds:.0f} s"]
    return "\n".join(lines)


def _length(row: dict[str, Any]) -> int:
    return (date.fromisoformat(row["period_end"]) - date.fromisoformat(row["period_start"])).days + 1


def write_report(facts: Facts, path: Path) -> Path:
    """One HTML page that needs nothing else: pictures inside. Returns its path."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(["jinja"]))
    template = environment.get_template("report.html.jinja")
    services: dict[str, list[jobs_bill.Job]] = {}
    for job in facts.jobs:
        services.setdefault(job.service, []).append(job)
    page = template.render(
        facts=facts,
        model=MODEL,
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        auc=_auc_picture(facts),
        psi=_psi_picture(facts),
        times=_time_picture(facts),
        services=services,
        price_note=jobs_bill.PRICES["note"],
    )
    temporary = path.with_suffix(".new")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)
    return path


def _figure(width: float, height: float) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Any) -> str:
    from matplotlib import pyplot

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    pyplot.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()


def _auc_picture(facts: Facts) -> str:
    """AUC week by week, a line for each champion, with its holdout's AUC as the level it promised."""
    figure, axes = _figure(9.5, 3.6)
    colours = ["#1f77b4", "#d95f02", "#1b9e77", "#7570b3"]
    for position, version in enumerate(facts.versions):
        weeks = [
            row for row in facts.accuracy
            if row["model_version"] == version["version"] and _length(row) == 7 and row["auc"] is not None
        ]  # fmt: skip
        if not weeks:
            continue
        colour = colours[position % len(colours)]
        middle = [date.fromisoformat(row["period_start"]) + timedelta(days=3) for row in weeks]
        axes.plot(middle, [row["auc"] for row in weeks], "o-", color=colour, label=f"version {version['version']}, by week")
        axes.plot([middle[0], middle[-1]], [float(version["auc_holdout"])] * 2, "--", color=colour, linewidth=1,
                  label=f"version {version['version']}, on its holdout")  # fmt: skip
    for version in facts.versions[1:]:
        axes.axvline(date.fromisoformat(version["trained_until"]), color="#888888", linewidth=1)
        axes.annotate(f"retrained:\nv{version['version']} {version['status'].lower()}",
                      (date.fromisoformat(version["trained_until"]), axes.get_ylim()[0]),
                      fontsize=8, color="#444444", xytext=(4, 4), textcoords="offset points")  # fmt: skip
    axes.set_ylabel("AUC")
    axes.legend(fontsize=8, frameon=False, ncols=2)
    return _png(figure)


def _psi_picture(facts: Facts) -> str:
    """PSI by feature and week as a grid; the colour scale ends at 0.5, the numbers say the rest."""
    weekly = [row for row in facts.drift if _length(row) == 7 and row["psi"] is not None]
    weeks = sorted({row["period_start"] for row in weekly})
    worst: dict[str, float] = {}
    for row in weekly:
        worst[row["feature"]] = max(worst.get(row["feature"], 0), row["psi"])
    features = sorted(worst, key=lambda name: -worst[name])
    value = {(row["feature"], row["period_start"]): row["psi"] for row in weekly}
    grid = [[value.get((feature, week), float("nan")) for week in weeks] for feature in features]
    figure, axes = _figure(9.5, 0.24 * max(len(features), 4) + 1.2)
    if grid and weeks:
        image = axes.imshow(grid, aspect="auto", cmap="YlOrRd", vmin=0, vmax=0.5)
        figure.colorbar(image, ax=axes, label="PSI", extend="max")
        if len(weeks) <= 26:
            for y, line in enumerate(grid):
                for x, psi in enumerate(line):
                    if psi == psi:
                        axes.text(x, y, f"{psi:.1f}" if psi >= 0.05 else "·", ha="center", va="center", fontsize=6.5,
                                  color="white" if psi > 0.35 else "#333333")  # fmt: skip
        axes.set_yticks(range(len(features)), features, fontsize=8)
        for name, label in zip(features, axes.get_yticklabels(), strict=True):
            label.set_color("#999999" if name in _context_features() else "#000000")
        step = max(1, len(weeks) // 12)
        axes.set_xticks(range(0, len(weeks), step), weeks[::step], fontsize=7, rotation=30, ha="right")
    return _png(figure)


def _context_features() -> set[str]:
    """The features that the model's spec calls context."""
    spec = yaml.safe_load((PROJECT / "include" / "models" / f"{MODEL}.yaml").read_text(encoding="utf-8"))
    return {name for name, column in spec["features"]["columns"].items() if column.get("context")}


def _time_picture(facts: Facts) -> str:
    """How long each stage of the demo took, in their order."""
    figure, axes = _figure(9.5, 0.22 * max(len(facts.stages), 4) + 0.8)
    palette = {"ingest": "#4c78a8", "features": "#72b7b2", "scoring": "#f58518", "monitoring": "#e45756"}
    names = [stage["name"] for stage in facts.stages]
    axes.barh(
        range(len(names)),
        [stage["seconds"] for stage in facts.stages],
        color=[palette.get(name, "#54a24b") for name in names],
    )
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("seconds, waiting included")
    return _png(figure)
