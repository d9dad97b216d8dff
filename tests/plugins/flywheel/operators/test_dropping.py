"""Dropping a version of a feature group: the check against a real local registry, and what is gone afterwards."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import jinja2
import pytest
from airflow.sdk.exceptions import AirflowFailException

from flywheel.core.commits import Commit, DataFile
from flywheel.core.features import Features, load_features
from flywheel.core.specs import ModelSpec, load_model_spec
from flywheel.hooks.catalog import ZoneTable
from flywheel.operators.dropping import DropZonesOperator, RequireUnusedFeaturesOperator
from flywheel.operators.redshift import RedshiftStatementsOperator
from flywheel.operators.registry import RegisterChallengerOperator, SettleChallengerOperator

INCLUDE = Path(__file__).parents[4] / "include"
SQL = INCLUDE / "sql"
BUCKET, DATABASE = "flywheel-tests", "flywheel"


class Registry:
    """A feature group of the test's own with two versions, a model on it, and its versions in the registry.

    The file of version 1 is not there any more; the spec pins version 2.
    """

    def __init__(self, aws: Any, run: Any, name: str):
        self.aws, self.run, self.group = aws, run, name
        first = load_features(INCLUDE / "features" / "flight_delay_v1.yaml")
        self.second: Features = first.model_copy(update={"group": name, "version": 2})
        spec = load_model_spec(INCLUDE / "models" / "flight_delay.yaml")
        self.model: ModelSpec = spec.model_copy(
            update={"name": f"model_of_{name}", "feature_version": 2, "feature_versions": {2: self.second}}
        )
        report = {"challenger": {"auc": 0.7}}
        aws.client("s3").put_object(Bucket=BUCKET, Key=f"evaluations/{name}.json", Body=json.dumps(report))

    def register(self, status: str, model: ModelSpec | None = None, **metadata: str) -> None:
        """A version of the model in the registry, trained on version 1 unless told otherwise."""
        model = model or self.model
        registered = self.run(
            RegisterChallengerOperator(
                task_id="register", model=model, run_key=f"run-{time.monotonic_ns()}",
                model_data=f"s3://{BUCKET}/models/model.tar.gz",
                image="683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.2-0",
                evaluation=f"s3://{BUCKET}/evaluations/{self.group}.json",
                metadata={"feature_group": self.group, "feature_version": "1", **metadata},
            )
        )  # fmt: skip
        if status != "PendingManualApproval":
            settle = SettleChallengerOperator(task_id="settle", model=model, arn=registered["arn"], status=status, reason="test")
            self.run(settle)

    def check(self, version: int = 1, groups: Mapping[str, Mapping[int, Features]] | None = None) -> None:
        """The check as the DAG makes it."""
        operator = RequireUnusedFeaturesOperator(
            task_id="require_unused", group=self.group, version=str(version), models=[self.model],
            groups=groups or {self.group: {2: self.second}},
        )  # fmt: skip
        self.run(operator)

    def refusal(self, **more: Any) -> str:
        """What the check says when it fails."""
        with pytest.raises(AirflowFailException) as refused:
            self.check(**more)
        return str(refused.value)


@pytest.fixture
def registry(aws: Any, run: Any, request: pytest.FixtureRequest) -> Registry:
    return Registry(aws, run, "".join(c if c.isalnum() else "_" for c in request.node.name)[5:25].lower().strip("_"))


def test_what_no_model_was_trained_on_may_go(registry: Registry) -> None:
    registry.check()
    registry.register("Approved", feature_version="2")
    registry.check()


def test_a_version_that_a_spec_pins_may_not_go(registry: Registry) -> None:
    said = registry.refusal(version=2)
    assert (
        f"features {registry.group}_v2: expected nobody to use them, found 1: the spec of {registry.model.name} pins it" in said
    )


def test_the_champion_a_challenger_and_the_retained_hold_their_version_and_the_rejected_does_not(registry: Registry) -> None:
    registry.register("Approved")  # 1, champion until 4 came
    registry.register("Rejected")  # 2
    registry.register("PendingManualApproval")  # 3
    registry.register("Approved")  # 4
    registry.register("Approved", feature_version="2")  # 5
    group = registry.model.package_group
    assert registry.refusal().split(": ", 2)[2].split("; ") == [
        f"version 4 of {group} (Approved)",
        f"version 3 of {group} (PendingManualApproval)",
        f"version 1 of {group} (Approved)",
    ]
    sagemaker = registry.aws.client("sagemaker")
    for package in sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]:
        if package["ModelPackageVersion"] != 5:
            sagemaker.update_model_package(ModelPackageArn=package["ModelPackageArn"], ModelApprovalStatus="Rejected")
    registry.check()


def test_the_champion_is_named_as_such(registry: Registry) -> None:
    registry.register("Approved")
    assert f"version 1 of {registry.model.package_group} (the champion)" in registry.refusal()


def test_a_model_whose_spec_is_gone_or_has_gone_to_another_group_counts_too(registry: Registry) -> None:
    other = registry.model.model_copy(update={"name": f"former_{registry.group}"})
    registry.register("Approved", model=other)
    assert f"version 1 of {other.package_group} (the champion)" in registry.refusal()


def test_the_same_version_of_another_group_holds_nothing(registry: Registry) -> None:
    registry.register("Approved", feature_group="weather")
    registry.check()


def test_a_version_that_is_still_defined_would_be_loaded_again(registry: Registry) -> None:
    first = registry.second.model_copy(update={"version": 1})
    groups = {registry.group: {1: first, 2: registry.second}}
    assert f"include/features/{registry.group}_v1.yaml is there" in registry.refusal(groups=groups)
    registry.register("Approved")
    assert "(the champion)" in registry.refusal(groups=groups), "who uses it is told first: then the file has to stay"


class Versions:
    """Tables, zones and catalog of two versions of the test's own; and of version 10, whose name begins like that of 1."""

    def __init__(self, aws: Any, run: Any, group: str):
        self.aws, self.run, self.group, self.s3, self.glue = aws, run, group, aws.client("s3"), aws.client("glue")
        if DATABASE not in [database["Name"] for database in self.glue.get_databases()["DatabaseList"]]:
            self.glue.create_database(DatabaseInput={"Name": DATABASE})
        for version in (1, 2, 10):
            definition = load_features(INCLUDE / "features" / "flight_delay_v1.yaml").model_copy(
                update={"group": group, "version": version}
            )
            create = [
                self.template(f"setup/features/{file.name}").render(features=definition)
                for file in sorted((SQL / "setup" / "features").glob("*.sql"))
            ]
            run(RedshiftStatementsOperator(task_id=f"create_{definition.table}", sql=create))
            for kind in ("features", "labels"):
                self.fill(f"{kind}/{definition.zone}")

    @staticmethod
    def template(name: str) -> jinja2.Template:
        environment = jinja2.Environment(loader=jinja2.FileSystemLoader(SQL), undefined=jinja2.StrictUndefined)  # noqa: S701
        return environment.get_template(name)

    def fill(self, zone: str) -> None:
        """A committed and registered day, and what a dead job has left."""
        commit = Commit(zone, date(2013, 1, 1), "w1", (DataFile("part-0.parquet", 4),), 1, {"n": "int"})
        for name in ("write=w1/ds=2013-01-01/part-0.parquet", "write=w0/ds=2013-01-01/part-0.parquet", "_manifests/run.json"):
            self.s3.put_object(Bucket=BUCKET, Key=f"{zone}/{name}", Body=b"rows")
        etag = self.s3.put_object(Bucket=BUCKET, Key=commit.key, Body=commit.to_json().encode())["ETag"]
        ZoneTable(self.glue, DATABASE, BUCKET, zone).register({commit.ds: (commit, etag)})

    def drop(self, version: int) -> dict[str, int]:
        """What the DAG does after its check."""
        params = {"group": self.group, "version": version}
        sql = [self.template(f"features/drop_{what}.sql").render(params=params) for what in ("latches", "tables")]
        self.run(RedshiftStatementsOperator(task_id=f"drop_{time.monotonic_ns()}", sql=sql))
        zones = [f"{kind}/{self.group}/v{version}" for kind in ("features", "labels")]
        return dict(self.run(DropZonesOperator(task_id="drop_zones", zones=zones)))

    def there(self) -> dict[str, set[str]]:
        """What there is of each version: names of tables in Redshift and the catalog, and zones with objects."""
        found: dict[str, set[str]] = {}
        for name in [*self.redshift(), *self.catalog(), *self.zones()]:
            version = name.replace("/v", "_v").rpartition("_v")[2]
            found.setdefault(version, set()).add(name)
        return found

    def redshift(self) -> Iterator[str]:
        client = self.aws.client("redshift-data")
        for schema in ("features", "labels", "latches"):
            for page in client.get_paginator("list_tables").paginate(
                WorkgroupName="flywheel", Database="flywheel", SchemaPattern=schema, TablePattern=f"%{self.group}%"
            ):
                yield from (f"{schema}.{table['name']}" for table in page["Tables"])

    def catalog(self) -> Iterator[str]:
        for page in self.glue.get_paginator("get_tables").paginate(DatabaseName=DATABASE):
            yield from (table["Name"] for table in page["TableList"] if f"_{self.group}_v" in table["Name"])

    def zones(self) -> Iterator[str]:
        for kind in ("features", "labels"):
            for entry in self.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{kind}/{self.group}/").get("Contents", []):
                yield "/".join(entry["Key"].split("/")[:3])


def everything(group: str, version: int) -> set[str]:
    table = f"{group}_v{version}"
    return {
        f"features.{table}", f"labels.{table}", f"latches.features_{table}", f"latches.labels_{table}",
        f"features_{table}", f"labels_{table}", f"features/{group}/v{version}", f"labels/{group}/v{version}",
    }  # fmt: skip


def test_a_version_is_dropped_with_all_that_it_has_and_no_other_and_again(aws: Any, run: Any) -> None:
    versions = Versions(aws, run, "dropped")
    assert versions.there() == {str(version): everything("dropped", version) for version in (1, 2, 10)}
    assert versions.drop(1) == {"features/dropped/v1": 4, "labels/dropped/v1": 4}
    assert versions.there() == {str(version): everything("dropped", version) for version in (2, 10)}
    assert versions.drop(1) == {"features/dropped/v1": 0, "labels/dropped/v1": 0}
    assert versions.there() == {str(version): everything("dropped", version) for version in (2, 10)}
