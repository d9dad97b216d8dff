"""The demo's report: figures read back from Redshift, the registry, S3 and the services, checked and drawn."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape

from laptop import aws, jobs_bill, pictures
from laptop.airflow_api import AirflowApi
from laptop.demo import DAGS, MODEL
from laptop.environment import Place

#: Where the partitions of the flights show.
PARTITIONS = {"landing": "landing/flights/", "processed": "processed/flights/_commits/"}


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
    alarms: list[dict[str, Any]]
    versions: list[dict[str, Any]]
    jobs: list[jobs_bill.Job]
    runs: list[dict[str, Any]]
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
    """Asks Redshift, the registry, S3, the services, and Airflow for its runs; nothing comes from what the demo remembers."""
    settings = aws.settings(place)
    warehouse = Warehouse(place)
    loads = warehouse.rows(
        "SELECT table_name, MIN(ds) AS first_day, MAX(ds) AS last_day, COUNT(DISTINCT ds) AS days, "
        "SUM(rows_found) AS rows_loaded FROM monitoring.load_checks GROUP BY table_name ORDER BY table_name"
    )
    for row in loads:
        row["rows_now"] = warehouse.rows(f"SELECT COUNT(*) AS n FROM {row['table_name']}")[0]["n"]
    accuracy = warehouse.rows(
        f"SELECT * FROM monitoring.accuracy WHERE model = '{MODEL}' AND segment = 'all' ORDER BY period_end, period_start"
    )
    drift = warehouse.rows(f"SELECT * FROM monitoring.feature_drift WHERE model = '{MODEL}' ORDER BY period_end, feature")
    alarms = _alarms(place, warehouse, settings["bucket"])
    versions = _versions(place)
    jobs = [
        *jobs_bill.glue_jobs(aws.client(place, "glue"), settings["glue_job"]),
        *jobs_bill.emr_jobs(aws.client(place, "emr-serverless"), settings["emr_application_id"]),
        *jobs_bill.sagemaker_jobs(aws.client(place, "sagemaker")),
    ]
    checks = _checks(place, api, warehouse, settings["bucket"], loads, accuracy, drift, versions, jobs)
    return Facts(loads, accuracy, drift, alarms, versions, jobs, _runs(api), checks)


def _alarms(place: Place, warehouse: Warehouse, bucket: str) -> list[dict[str, Any]]:
    """What people were told, oldest first, with the page of pictures, which has to be there, as a file of the local S3."""
    alarms = warehouse.rows(f"SELECT * FROM monitoring.alarms WHERE model = '{MODEL}' ORDER BY judged_until, model_version")
    s3 = aws.client(place, "s3")
    for alarm in alarms:
        key = f"monitoring/{MODEL}/{alarm['run_key']}/drift.html"
        s3.head_object(Bucket=bucket, Key=key)
        alarm |= {"causes": ", ".join(json.loads(alarm["causes"])), "page": f"aws/s3/{bucket}/{key}"}
    return alarms


def _runs(api: AirflowApi) -> list[dict[str, Any]]:
    """The DAG runs in the order of their starts: ``{"dag", "run", "state", "seconds"}``, from Airflow."""
    runs = [run for dag_id in DAGS for run in api.runs(dag_id) if run["start_date"] and run["end_date"]]
    return [
        {
            "dag": run["dag_id"],
            "run": run["dag_run_id"],
            "state": run["state"],
            "seconds": (datetime.fromisoformat(run["end_date"]) - datetime.fromisoformat(run["start_date"])).total_seconds(),
        }
        for run in sorted(runs, key=lambda run: run["start_date"])
    ]


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

    days = {zone: _days(s3, bucket, prefix) for zone, prefix in PARTITIONS.items()}
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
    """The partitions that hold an object, or have their commit, below a prefix."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = (item["Key"].removeprefix(prefix) for page in pages for item in page.get("Contents", []))
    return {key[: len("ds=YYYY-MM-DD")] for key in keys if key.startswith("ds=")}


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
    lines += ["", "AUC within days of what was served, by trailing window, beside the holdout's"]
    for row in facts.accuracy:
        if pictures.days_of(row) > 7 and row["auc"] is not None:
            period = f"{row['period_start']} to {row['period_end']}"
            figures = f"{row['auc']:.4f} ({row['auc_low']:.4f} to {row['auc_high']:.4f}) against {row['baseline_auc']:.4f}"
            lines.append(f"  v{row['model_version']}  {period}  {figures}  {row['labelled']:>7,} labels")
    lines += ["", "What people were told"]
    for alarm in facts.alarms:
        lines.append(f"  {alarm['judged_until']}  v{alarm['model_version']}  {alarm['causes']}")
        lines.append(f"      .flywheel/{alarm['page']}")
    lines += ["", "Jobs                        runs   seconds  simulated cost"]
    for service in dict.fromkeys(job.service for job in facts.jobs):
        jobs = [job for job in facts.jobs if job.service == service]
        dollars = sum(job.dollars or 0 for job in jobs)
        lines.append(f"  {service:24} {len(jobs):>5} {sum(job.seconds for job in jobs):>9.1f} {dollars:>12.2f} $")
    lines += ["", f"{len(facts.runs)} DAG runs, {sum(run['seconds'] for run in facts.runs):.0f} s together"]
    return "\n".join(lines)


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
        auc=pictures.auc_picture(facts),
        psi=pictures.psi_picture(facts),
        times=pictures.time_picture(facts),
        services=services,
        price_note=jobs_bill.PRICES["note"],
    )
    temporary = path.with_suffix(".new")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)
    return path
