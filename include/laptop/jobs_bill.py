"""What the jobs took, and what they would have cost on AWS: read from the services' own answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRICES = json.loads((Path(__file__).parent / "prices.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Job:
    """One ended job.

    :param seconds: its run time
    :param dollars: what AWS's list prices ask for it; None where no price is known for its machine
    """

    service: str
    name: str
    state: str
    started: Any
    seconds: float
    dollars: float | None


def glue_jobs(glue: Any, job_name: str) -> list[Job]:
    """The runs of a Glue job: workers (one DPU each for G.1X) times seconds, a minute at least."""
    jobs = []
    for run in glue.get_job_runs(JobName=job_name)["JobRuns"]:
        seconds = float(run.get("ExecutionTime") or 0)
        billed = max(seconds, PRICES["glue_minimum_seconds"])
        dollars = billed / 3600 * run.get("NumberOfWorkers", 2) * PRICES["glue_dpu_hour"]
        name = run.get("Arguments", {}).get("--flywheel_run_name", run["Id"])
        jobs.append(Job("Glue", name, run["JobRunState"], run["StartedOn"], seconds, dollars))
    return jobs


def emr_jobs(emr: Any, application_id: str) -> list[Job]:
    """The job runs of an EMR Serverless application, by the resources that EMR says it bills."""
    jobs = []
    for page in emr.get_paginator("list_job_runs").paginate(applicationId=application_id):
        for summary in page["jobRuns"]:
            run = emr.get_job_run(applicationId=application_id, jobRunId=summary["id"])["jobRun"]
            billed = run.get("billedResourceUtilization") or {}
            dollars = billed.get("vCPUHour", 0) * PRICES["emr_vcpu_hour"] + billed.get("memoryGBHour", 0) * PRICES["emr_gb_hour"]
            seconds = float(run.get("totalExecutionDurationSeconds") or 0)
            jobs.append(Job("EMR Serverless", run.get("name", summary["id"]), run["state"], run["createdAt"], seconds, dollars))
    return jobs


def sagemaker_jobs(sagemaker: Any) -> list[Job]:
    """Training, processing and transform jobs: instances times seconds, spot training at its discount."""
    kinds = [
        ("training", "TrainingJob", lambda job: job["ResourceConfig"]),
        ("processing", "ProcessingJob", lambda job: job["ProcessingResources"]["ClusterConfig"]),
        ("transform", "TransformJob", lambda job: job["TransformResources"]),
    ]
    jobs = []
    for kind, noun, machines in kinds:
        for page in sagemaker.get_paginator(f"list_{kind}_jobs").paginate():
            for summary in page[f"{noun}Summaries"]:
                job = getattr(sagemaker, f"describe_{kind}_job")(**{f"{noun}Name": summary[f"{noun}Name"]})
                start = job.get(f"{kind.title()}StartTime") or job["CreationTime"]
                end = job.get(f"{kind.title()}EndTime") or start
                seconds = (end - start).total_seconds()
                used = machines(job)
                hourly = PRICES["sagemaker_instance_hour"].get(used["InstanceType"])
                discount = 1 - PRICES["spot_discount"] if job.get("EnableManagedSpotTraining") else 1
                dollars = None if hourly is None else seconds / 3600 * hourly * used["InstanceCount"] * discount
                jobs.append(Job(f"SageMaker {kind}", summary[f"{noun}Name"], job[f"{noun}Status"], start, seconds, dollars))
    return jobs
