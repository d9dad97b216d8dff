"""What Airflow adds: the wall time of DAG runs less the own time of the jobs that they started."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from laptop.airflow_api import AirflowApi, AirflowApiError

Client = Callable[[str], Any]


@dataclass(frozen=True)
class RunTime:
    """One DAG run: its wall time, its tasks that ran, and what of the time its jobs took (seconds)."""

    dag_id: str
    run_id: str
    tasks: int
    wall: float
    jobs: float


def measure(api: AirflowApi, client: Client, runs: Iterable[tuple[str, str]]) -> list[RunTime]:
    """Times of DAG runs, from Airflow's task instances and the services' own answers.

    :param client: gives a boto3 client for a service's name
    :param runs: pairs of DAG id and run id
    """
    found = []
    for dag_id, run_id in runs:
        run = api.run(dag_id, run_id)
        ran = [task for task in api.task_instances(dag_id, run_id) if task["start_date"]]
        identities = [_identity(api, dag_id, run_id, task["task_id"], task["map_index"]) for task in ran]
        jobs = sum(job_seconds(client, identity) for identity in identities if identity)
        wall = (datetime.fromisoformat(run["end_date"]) - datetime.fromisoformat(run["start_date"])).total_seconds()
        found.append(RunTime(dag_id, run_id, len(ran), wall, jobs))
    return found


def _identity(api: AirflowApi, dag_id: str, run_id: str, task_id: str, map_index: int) -> dict[str, str] | None:
    try:
        identity = api.xcom(dag_id, run_id, task_id, key="job", map_index=map_index)
    except AirflowApiError as error:
        if error.status == 404:
            return None
        raise
    return dict(identity)


def job_seconds(client: Client, identity: Mapping[str, str]) -> float:
    """How long a job itself ran, from its service; Glue and EMR tell whole seconds, so their start and end are taken."""
    if "RunId" in identity:
        run = client("glue").get_job_run(JobName=identity["JobName"], RunId=identity["RunId"])["JobRun"]
        return float((run["CompletedOn"] - run["StartedOn"]).total_seconds())
    if "jobRunId" in identity:
        run = client("emr-serverless").get_job_run(**identity)["jobRun"]
        return float((run["updatedAt"] - run["createdAt"]).total_seconds())
    if "Id" in identity:
        return float(client("redshift-data").describe_statement(Id=identity["Id"])["Duration"]) / 1e9
    ((key, name),) = identity.items()
    kind = key.removesuffix("JobName")
    job = getattr(client("sagemaker"), f"describe_{kind.lower()}_job")(**{key: name})
    return float((job[f"{kind}EndTime"] - job["CreationTime"]).total_seconds())
