"""The model registry and models: round trips, and the parts of AWS' behaviour that pipelines stand on."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

METRICS = {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://sagemaker-tests/e.json"}}}


def specification(sm: Any, uri: str) -> dict[str, Any]:
    container = {"Image": sm.XGBOOST, "ModelDataUrl": uri, "Environment": {"SAGEMAKER_PROGRAM": "inference.py"}}
    return {
        "Containers": [container],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
        "SupportedTransformInstanceTypes": ["ml.m5.large"],
    }


@pytest.fixture
def group(sm: Any) -> str:
    """A new group."""
    name = sm.name("group")
    sm.client.create_model_package_group(ModelPackageGroupName=name, ModelPackageGroupDescription="late arrivals")
    return name


def register(sm: Any, group: str, **request: Any) -> str:
    uri = sm.put(f"models/{group}/model.tar.gz", sm.tar_gz({"model.json": "{}"}))
    answer = sm.client.create_model_package(
        ModelPackageGroupName=group, InferenceSpecification=specification(sm, uri), **request
    )
    return answer["ModelPackageArn"]


def test_a_version_says_all_that_was_registered(sm: Any, group: str) -> None:
    arn = register(
        sm,
        group,
        ModelPackageDescription="challenger",
        ModelMetrics=METRICS,
        CustomerMetadataProperties={"run_key": "r1", "auc_holdout": "0.73"},
        ModelApprovalStatus="PendingManualApproval",
        SourceUri="https://example.com/flywheel",
    )
    assert arn == f"arn:aws:sagemaker:us-east-1:123456789012:model-package/{group}/1"
    found = sm.client.describe_model_package(ModelPackageName=arn)
    assert (found["ModelPackageGroupName"], found["ModelPackageVersion"]) == (group, 1)
    assert found["ModelPackageStatus"] == "Completed"
    assert found["ModelApprovalStatus"] == "PendingManualApproval"
    assert found["CustomerMetadataProperties"] == {"run_key": "r1", "auc_holdout": "0.73"}
    assert found["ModelMetrics"] == METRICS
    assert found["SourceUri"] == "https://example.com/flywheel"
    assert found["InferenceSpecification"]["Containers"][0]["Environment"] == {"SAGEMAKER_PROGRAM": "inference.py"}
    assert "LastModifiedTime" not in found


def test_update_keeps_what_it_does_not_name(sm: Any, group: str) -> None:
    arn = register(sm, group, CustomerMetadataProperties={"run_key": "r1", "auc_holdout": "0.73"}, ModelMetrics=METRICS)
    before = sm.client.describe_model_package(ModelPackageName=arn)
    sm.client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="better")
    after = sm.client.describe_model_package(ModelPackageName=arn)
    kept = ("CustomerMetadataProperties", "InferenceSpecification", "ModelMetrics", "CreationTime")
    assert [after[key] for key in kept] == [before[key] for key in kept]
    assert (after["ModelApprovalStatus"], after["ApprovalDescription"]) == ("Approved", "better")
    assert after["LastModifiedTime"] >= after["CreationTime"]
    sm.client.update_model_package(
        ModelPackageArn=arn,
        CustomerMetadataProperties={"reason": "drift", "run_key": "r2"},
        CustomerMetadataPropertiesToRemove=["auc_holdout"],
    )
    after = sm.client.describe_model_package(ModelPackageName=arn)
    assert after["CustomerMetadataProperties"] == {"run_key": "r2", "reason": "drift"}
    assert (after["ModelApprovalStatus"], after["ApprovalDescription"]) == ("Approved", "better")


def test_versions_count_up_and_the_latest_approved_one_is_found(sm: Any, group: str) -> None:
    arns = [register(sm, group, ModelApprovalStatus=s) for s in ("Approved", "Rejected", "Approved")]
    sm.client.delete_model_package(ModelPackageName=arns[2])
    arns.append(register(sm, group, ModelApprovalStatus="Rejected"))
    assert [arn.rsplit("/", 1)[1] for arn in arns] == ["1", "2", "3", "4"]
    latest = sm.client.list_model_packages(
        ModelPackageGroupName=group,
        ModelApprovalStatus="Approved",
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=1,
    )
    assert [p["ModelPackageVersion"] for p in latest["ModelPackageSummaryList"]] == [1]
    pages = sm.client.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group, SortOrder="Descending", PaginationConfig={"PageSize": 2}
    )
    versions = [p["ModelPackageVersion"] for page in pages for p in page["ModelPackageSummaryList"]]
    assert versions == [4, 2, 1]
    unversioned = sm.client.list_model_packages(NameContains=group)["ModelPackageSummaryList"]
    assert unversioned == []


def test_a_client_token_makes_one_version(sm: Any, group: str) -> None:
    arns = {register(sm, group, ClientToken="token-" + group) for _ in range(3)}
    assert len(arns) == 1
    with pytest.raises(ClientError) as other:
        register(sm, group, ClientToken="token-" + group, ModelPackageDescription="another")
    assert other.value.response["Error"]["Code"] == "ConflictException"


def test_groups_are_unique_found_and_deleted_when_empty(sm: Any, group: str) -> None:
    with pytest.raises(ClientError) as taken:
        sm.client.create_model_package_group(ModelPackageGroupName=group)
    assert taken.value.response["Error"]["Message"].startswith("Model Package Group already exists")
    described = sm.client.describe_model_package_group(ModelPackageGroupName=group)
    assert described["ModelPackageGroupDescription"] == "late arrivals"
    assert described["ModelPackageGroupStatus"] == "Completed"
    listed = sm.client.list_model_package_groups(NameContains=group)["ModelPackageGroupSummaryList"]
    assert [g["ModelPackageGroupName"] for g in listed] == [group]
    arn = register(sm, group)
    with pytest.raises(ClientError, match="still contains the versions"):
        sm.client.delete_model_package_group(ModelPackageGroupName=group)
    sm.client.delete_model_package(ModelPackageName=arn)
    sm.client.delete_model_package_group(ModelPackageGroupName=group)
    with pytest.raises(ClientError, match="does not exist"):
        sm.client.describe_model_package_group(ModelPackageGroupName=group)
    with pytest.raises(ClientError, match="does not exist"):
        register(sm, group)


def test_tags_of_every_kind_of_resource(sm: Any, group: str) -> None:
    arn = register(sm, group)
    for resource in (arn, sm.client.describe_model_package_group(ModelPackageGroupName=group)["ModelPackageGroupArn"]):
        sm.client.add_tags(ResourceArn=resource, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
        sm.client.add_tags(ResourceArn=resource, Tags=[{"Key": "a", "Value": "3"}])
        sm.client.delete_tags(ResourceArn=resource, TagKeys=["b", "never"])
        assert sm.client.list_tags(ResourceArn=resource)["Tags"] == [{"Key": "a", "Value": "3"}]
    with pytest.raises(ClientError, match="Could not find resource"):
        sm.client.list_tags(ResourceArn=arn + "9")


def test_models_are_made_from_containers_and_from_packages(sm: Any, group: str) -> None:
    arn = register(sm, group)
    sm.client.create_model(ModelName=group, ExecutionRoleArn=sm.ROLE, PrimaryContainer={"ModelPackageName": arn})
    found = sm.client.describe_model(ModelName=group)
    assert found["PrimaryContainer"] == {"ModelPackageName": arn, "Mode": "SingleModel"}
    with pytest.raises(ClientError, match=f'Cannot create already existing model "arn:aws:sagemaker:.*:model/{group}"'):
        sm.client.create_model(ModelName=group, ExecutionRoleArn=sm.ROLE, PrimaryContainer={"ModelPackageName": arn})
    assert [m["ModelName"] for m in sm.client.list_models(NameContains=group)["Models"]] == [group]
    sm.client.delete_model(ModelName=group)
    with pytest.raises(ClientError, match="Could not find model"):
        sm.client.describe_model(ModelName=group)


def test_a_model_needs_its_artefact_and_a_known_image(sm: Any) -> None:
    gone = {"Image": sm.XGBOOST, "ModelDataUrl": f"s3://{sm.BUCKET}/never/model.tar.gz"}
    with pytest.raises(ClientError, match=f"Could not find model data at s3://{sm.BUCKET}/never/model.tar.gz"):
        sm.client.create_model(ModelName=sm.name("m"), ExecutionRoleArn=sm.ROLE, PrimaryContainer=gone)
    with pytest.raises(ClientError, match="Requested image mine:1 not found"):
        sm.client.create_model(ModelName=sm.name("m"), ExecutionRoleArn=sm.ROLE, PrimaryContainer={"Image": "mine:1"})


def test_operations_that_would_be_made_up_are_refused(sm: Any) -> None:
    for call in (
        lambda: sm.client.create_endpoint(EndpointName="e", EndpointConfigName="c"),
        lambda: sm.client.list_auto_ml_jobs(),
        lambda: sm.client.search(Resource="TrainingJob"),
    ):
        with pytest.raises(ClientError) as refused:
            call()
        assert refused.value.response["Error"]["Code"] == "UnsupportedOperation"
