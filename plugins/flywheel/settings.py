"""Where Flywheel runs: the one place that reads its configuration.

Every value is an Airflow configuration option of section ``[flywheel]``; on MWAA they are custom configuration options
(``flywheel.bucket``), elsewhere environment variables (``AIRFLOW__FLYWHEEL__BUCKET``). ``include/infra/provision.py`` creates
what they name and prints them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from airflow.sdk.configuration import conf

from flywheel.core.artifacts import artifacts_version

SECTION = "flywheel"


@dataclass(frozen=True)
class Settings:
    """Names and limits of the AWS side. Missing ones are empty here and refused when a task needs them."""

    bucket: str
    role_arn: str
    redshift_role_arn: str
    glue_job: str
    emr_application_id: str
    redshift_workgroup: str
    redshift_database: str
    catalog_database: str
    alerts_topic_arn: str
    aws_conn_id: str
    region: str
    poll_seconds: float
    wait_before_deferring_seconds: float

    def need(self, *names: str) -> None:
        """Refuse to go on without the named settings.

        :raises ValueError: naming the option, its environment variable and how to get it
        """
        for name in names:
            if not getattr(self, name):
                raise ValueError(
                    f"configuration [{SECTION}] {name}: expected a value, found none; "
                    f"set AIRFLOW__{SECTION.upper()}__{name.upper()} "
                    "(on MWAA the configuration option flywheel." + name + "), include/infra/provision.py prints it"
                )

    @property
    def artifacts(self) -> str:
        """S3 prefix of the job scripts and contracts that belong to this code, without a trailing slash."""
        return f"s3://{self.bucket}/artifacts/{artifacts_version(include_dir())}"


@lru_cache
def settings() -> Settings:
    """The settings of this process, read once."""

    def option(name: str, fallback: str = "") -> str:
        return conf.get(SECTION, name, fallback=fallback)

    return Settings(
        bucket=option("bucket"),
        role_arn=option("role_arn"),
        redshift_role_arn=option("redshift_role_arn"),
        glue_job=option("glue_job", "flywheel-ingest"),
        emr_application_id=option("emr_application_id"),
        redshift_workgroup=option("redshift_workgroup", "flywheel"),
        redshift_database=option("redshift_database", "flywheel"),
        catalog_database=option("catalog_database", "flywheel"),
        alerts_topic_arn=option("alerts_topic_arn"),
        aws_conn_id=option("aws_conn_id", "aws_default"),
        region=option("region", "us-east-1"),
        poll_seconds=float(option("poll_seconds", "20")),
        wait_before_deferring_seconds=float(option("wait_before_deferring_seconds", "5")),
    )


@lru_cache
def include_dir() -> Path:
    """The folder ``include``: an explicit setting, else beside ``plugins/``, else inside it (where MWAA's bundle puts it).

    :raises FileNotFoundError: naming the places that were looked at
    """
    plugins = Path(__file__).resolve().parents[1]
    explicit = conf.get(SECTION, "include_dir", fallback="")
    places = [Path(explicit)] if explicit else [plugins.parent / "include", plugins / "include"]
    for place in places:
        if (place / "sql").is_dir():
            return place
    raise FileNotFoundError(f"folder include with its sql/ expected at one of {[str(p) for p in places]}, found at none")


@lru_cache
def image_uri(framework: str, region: str) -> str:
    """URI of AWS's framework container in a region, from ``images.json`` (taken from the SageMaker SDK by ``make images``).

    :raises KeyError: framework or region unknown, naming the known ones
    """
    images = json.loads((Path(__file__).resolve().parent / "images.json").read_text())
    if framework not in images:
        raise KeyError(f"no container known for framework {framework!r}; known: {sorted(images)}")
    image = images[framework]
    account = image["registries"].get(region)
    if account is None:
        raise KeyError(f"no {framework} container in region {region!r}; known: {sorted(image['registries'])}")
    return f"{account}.dkr.ecr.{region}.amazonaws.com/{image['repository']}:{image['tag']}"
