"""Dropping a version of a feature group: only when nobody can want it any more, and then all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from flywheel.core.commits import commits_prefix
from flywheel.core.features import Features
from flywheel.core.specs import ModelSpec
from flywheel.hooks.catalog import ZoneTable
from flywheel.hooks.zones import delete, objects
from flywheel.operators.registry import list_packages
from flywheel.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context


class RequireUnusedFeaturesOperator(BaseOperator):
    """Fails as long as somebody may want a version of a feature group
    (API: ``ListModelPackageGroups``, ``ListModelPackages``, ``DescribeModelPackage``).

    That is a spec that pins it, and every registered version of any model that was trained on it and is not rejected: the
    champion, a challenger that waits for its decision, and former champions, each of which is champion again once those after it
    are rejected. When nobody does, it still fails while ``include/features`` defines the version, because the DAG that loads it
    would make it anew: so the file is removed when it is known that nobody wants it, and this run again.

    :param group: the feature group (templated)
    :param version: its version (templated)
    :param models: all model specs
    :param groups: all feature definitions, by group and version
    :param aws_conn_id: Airflow connection for AWS
    :raises AirflowFailException: naming the models and their versions in the registry, or the file to remove
    """

    template_fields: Sequence[str] = ("group", "version")

    def __init__(
        self,
        *,
        group: str,
        version: str,
        models: Sequence[ModelSpec],
        groups: Mapping[str, Mapping[int, Features]],
        aws_conn_id: str | None = "aws_default",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.group, self.version, self.models, self.groups = group, version, list(models), groups
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> None:
        """Asks the specs, then the registry about each version that is not rejected."""
        table = f"{self.group}_v{self.version}"
        users = [f"the spec of {model.name} pins it" for model in self.models if model.features.table == table]
        users += self._registered()
        if users:
            raise AirflowFailException(f"features {table}: expected nobody to use them, found {len(users)}: {'; '.join(users)}")
        if int(self.version) in self.groups.get(self.group, {}):
            raise AirflowFailException(
                f"features {table}: nobody uses them, but include/features/{table}.yaml is there and load_features_{self.group} "
                "would make them anew. Remove the file, then run this again"
            )
        self.log.info("Nobody uses the features %s", table)

    def _registered(self) -> list[str]:
        """The registered versions that were trained on the features, as parts of a sentence."""
        client = AwsBaseHook(client_type="sagemaker", aws_conn_id=self.aws_conn_id).conn
        pinned = {model.package_group: model.features.group for model in self.models}
        pages = client.get_paginator("list_model_package_groups").paginate()
        found = []
        for name in [group["ModelPackageGroupName"] for page in pages for group in page["ModelPackageGroupSummaryList"]]:
            packages = [package for package in list_packages(client, name) if package["ModelApprovalStatus"] != "Rejected"]
            champion = next((p["ModelPackageVersion"] for p in packages if p["ModelApprovalStatus"] == "Approved"), None)
            for package in packages:
                known = client.describe_model_package(ModelPackageName=package["ModelPackageArn"])
                metadata = known.get("CustomerMetadataProperties", {})
                trained_on = (metadata.get("feature_group", pinned.get(name)), metadata.get("feature_version"))
                if trained_on == (self.group, str(self.version)):
                    number, status = package["ModelPackageVersion"], package["ModelApprovalStatus"]
                    found.append(f"version {number} of {name} ({'the champion' if number == champion else status})")
        return found


class DropZonesOperator(BaseOperator):
    """Removes zones: their tables in the Data Catalog, then their commits, then all that lies in them
    (API: ``DeleteTable``, ``ListObjectsV2``, ``DeleteObjects``).

    Idempotent: what is gone is no error. In a bucket with versioning S3 keeps what was deleted as long as its lifecycle says.

    :param zones: e.g. ``["features/flight_delay/v1", "labels/flight_delay/v1"]`` (templated)
    :param aws_conn_id: Airflow connection for AWS
    Returns ``{zone: number of objects deleted}``.
    """

    template_fields: Sequence[str] = ("zones",)

    def __init__(self, *, zones: Sequence[str], aws_conn_id: str | None = "aws_default", **kwargs: Any):
        super().__init__(**kwargs)
        self.zones, self.aws_conn_id = list(zones), aws_conn_id

    def execute(self, context: Context) -> dict[str, int]:
        """In this order nobody finds a partition whose files are gone."""
        settings().need("bucket", "catalog_database")
        bucket, database = settings().bucket, settings().catalog_database
        glue, s3 = (AwsBaseHook(client_type=service, aws_conn_id=self.aws_conn_id).conn for service in ("glue", "s3"))
        dropped = {}
        for zone in self.zones:
            was_there = ZoneTable(glue, database, bucket, zone).drop()
            dropped[zone] = 0
            for prefix in (commits_prefix(zone), f"{zone}/"):
                dropped[zone] += delete(s3, bucket, [key for key, _ in objects(s3, bucket, prefix)])
            table = "its table in the Data Catalog and " if was_there else ""
            self.log.info("%s: %s%s objects deleted", zone, table, dropped[zone])
        return dropped
