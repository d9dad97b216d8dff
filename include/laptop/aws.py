"""Clients of the place's local AWS, and the settings that name what was provisioned in it."""

from __future__ import annotations

from typing import Any

import boto3

from laptop.environment import ACCESS_KEY, REGION, SECRET_KEY, Place, read_settings


def client(place: Place, service: str) -> Any:
    """A boto3 client of the local AWS."""
    return boto3.client(
        service,
        endpoint_url=place.aws_url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )


def settings(place: Place) -> dict[str, str]:
    """What provisioning printed at the stack's start: ``{"bucket": …, "glue_job": …}``."""
    path = place.home / "settings.env"
    found = read_settings(path.read_text(encoding="utf-8"), str(path))
    return {name.removeprefix("AIRFLOW__FLYWHEEL__").lower(): value for name, value in found.items()}
