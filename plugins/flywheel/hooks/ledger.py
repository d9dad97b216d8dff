"""The ledger of jobs that a task waits for: one small object on S3 for each such task instance, from before its job is started
until its end has been told.

It is what remains when a task and its trigger are both gone, and AWS's own lists cannot say whose a job was.
:class:`~flywheel.triggers.orphans.OrphanTrigger` reads it and stops the jobs that nobody waits for any more.

An entry lies at ``s3://<bucket>/jobs/waiting/<environment>/<prefix>.json``: ``environment`` is made of Airflow's address, so that
two environments with one bucket do not stop each other's jobs; ``prefix`` is what the names of the task instance's jobs begin
with. It holds ``dag_id``, ``run_id``, ``task_id``, ``map_index``, ``kind``, ``listing`` and ``connection``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow.sdk.configuration import conf

from flywheel.core.runs import slug
from flywheel.settings import settings


def folder() -> str:
    """Key prefix of this environment's entries, with a trailing slash."""
    return f"jobs/waiting/{slug(conf.get('api', 'base_url', fallback='airflow'))}/"


def write(s3: Any, prefix: str, entry: Mapping[str, Any]) -> None:
    """Writes, or writes again, the entry of a task instance.

    :param s3: a boto3 client
    :raises ValueError: there is no bucket in the settings
    """
    settings().need("bucket")
    body = json.dumps({"prefix": prefix, **entry}).encode()
    s3.put_object(Bucket=settings().bucket, Key=f"{folder()}{prefix}.json", Body=body)


def strike(s3: Any, prefix: str) -> None:
    """Takes the entry of a task instance off; does nothing where there is none."""
    s3.delete_object(Bucket=settings().bucket, Key=f"{folder()}{prefix}.json")
