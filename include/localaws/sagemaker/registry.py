"""The model registry: groups, their versions, approval, and all that a version says about its model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from moto.sagemaker.exceptions import SagemakerClientError

from localaws.sagemaker import state
from localaws.sagemaker.state import LOCK, Columns, Package, PackageGroup, Place, invalid, now, refuse_unserved

PENDING = "PendingManualApproval"

SERVED_PARAMETERS = (
    "ModelPackageName ModelPackageGroupName ModelPackageDescription InferenceSpecification CertifyForMarketplace Tags "
    "ModelApprovalStatus MetadataProperties ModelMetrics ClientToken Domain Task SamplePayloadUrl "
    "CustomerMetadataProperties DriftCheckBaselines AdditionalInferenceSpecifications SkipModelValidation SourceUri "
    "SecurityConfig ModelCard ModelLifeCycle"
).split()
UPDATED = "ModelApprovalStatus ApprovalDescription InferenceSpecification SourceUri ModelCard ModelLifeCycle".split()
UPDATE_PARAMETERS = [
    *UPDATED,
    *"ModelPackageArn CustomerMetadataProperties CustomerMetadataPropertiesToRemove ClientToken".split(),
    "AdditionalInferenceSpecificationsToAdd",
]


def create_model_package_group(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Makes a group for the versions of one model.

    :raises SagemakerClientError: ValidationException, the group exists
    """
    served = ("ModelPackageGroupName", "ModelPackageGroupDescription", "Tags")
    refuse_unserved("CreateModelPackageGroup", request, served)
    name = request["ModelPackageGroupName"]
    arn = state.arn(place, "model-package-group", name)
    with LOCK:
        if name in place.flywheel.groups:
            raise invalid(f"Model Package Group already exists: {arn}")
        kept = {key: value for key, value in request.items() if key != "Tags"}
        place.flywheel.groups[name] = PackageGroup(name, arn, kept, now())
        place.flywheel.tags[arn] = state.tag_map(request.get("Tags"))
    return {"ModelPackageGroupArn": arn}


def describe_model_package_group(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """The group."""
    group = find_group(place, request["ModelPackageGroupName"])
    return {**_group_summary(group), "CreatedBy": {}}


def list_model_package_groups(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Groups by name and time."""
    columns: Columns[PackageGroup] = Columns(
        identity=lambda group: group.name, name=lambda group: group.name, created=lambda group: group.created
    )
    with LOCK:
        found, token = state.page(place.flywheel.groups.values(), request, columns)
    summaries = [_group_summary(group) for group in found]
    return {"ModelPackageGroupSummaryList": summaries, **state.described(NextToken=token)}


def delete_model_package_group(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Removes an empty group.

    :raises SagemakerClientError: ConflictException, it has versions
    """
    with LOCK:
        group = find_group(place, request["ModelPackageGroupName"])
        versions = sorted(p.version or 0 for p in place.flywheel.packages.values() if p.group == group.name)
        if versions:
            raise SagemakerClientError(
                "ConflictException",
                f"Model Package Group {group.arn} cannot be deleted because it still contains the versions {versions}.",
            )
        del place.flywheel.groups[group.name]
        place.flywheel.tags.pop(group.arn, None)
    return {}


def create_model_package(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Registers a new version in a group, or a package of its own with a name.

    The same ClientToken with the same request gives the package that the first call made.

    :raises SagemakerClientError: ValidationException; ConflictException for a token used with another request
    """
    refuse_unserved("CreateModelPackage", request, SERVED_PARAMETERS)
    name, group_name = request.get("ModelPackageName"), request.get("ModelPackageGroupName")
    if name and group_name:
        raise invalid(
            "Both ModelPackageName and ModelPackageGroupName are provided in the input. "
            "Cannot determine which one to use."
        )
    if not name and not group_name:
        raise invalid("Either ModelPackageName or ModelPackageGroupName must be provided.")
    if name and request.get("ModelApprovalStatus"):
        raise invalid("ModelApprovalStatus can only be set for versioned model packages.")
    with LOCK:
        token = request.get("ClientToken")
        if token and (known := _known_token(place, token, request)):
            return {"ModelPackageArn": known}
        if group_name:
            group = find_group(place, group_name)
            version = group.last_version + 1
            arn = state.arn(place, "model-package", f"{group.name}/{version}")
            package = Package(group.name, arn, _fields(request), now(), group=group.name, version=version)
            package.fields.setdefault("ModelApprovalStatus", PENDING)
            group.last_version = version
        else:
            arn = state.arn(place, "model-package", str(name))
            if arn in place.flywheel.packages:
                raise SagemakerClientError("ConflictException", f"ModelPackage {arn} already exists.")
            package = Package(str(name), arn, _fields(request), now())
        place.flywheel.packages[arn] = package
        place.flywheel.tags[arn] = state.tag_map(request.get("Tags"))
        if token:
            place.flywheel.tokens[token] = (_fingerprint(request), arn)
    return {"ModelPackageArn": arn}


def describe_model_package(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """All that the package says."""
    package = find_package(place, request["ModelPackageName"])
    return {
        **package.fields,
        **_package_summary(package),
        **state.described(LastModifiedTime=package.modified),
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "CreatedBy": {},
        **({"LastModifiedBy": {}} if package.modified else {}),
    }


def batch_describe_model_package(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Summaries of several packages; those that do not exist come as errors beside the others."""
    found, errors = {}, {}
    for arn in request["ModelPackageArnList"]:
        try:
            package = find_package(place, arn)
        except SagemakerClientError as error:
            errors[arn] = {"ErrorCode": error.code, "ErrorResponse": error.message}
            continue
        summary = _package_summary(package)
        summary.pop("ModelPackageName", None)
        specification = package.fields.get("InferenceSpecification")
        found[arn] = {**summary, **state.described(InferenceSpecification=specification)}
    return {"ModelPackageSummaries": found, "BatchDescribeModelPackageErrorMap": errors}


def list_model_packages(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """The versions of a group, or the packages of one type (those without a group where none is named)."""
    group = request.get("ModelPackageGroupName")
    wanted = find_group(place, group).name if group else None
    kind = "Versioned" if wanted else request.get("ModelPackageType") or "Unversioned"
    approval = request.get("ModelApprovalStatus")
    columns: Columns[Package] = Columns(
        # Versions made within one clock tick still come in their order.
        identity=lambda package: f"{package.name}/{package.version or 0:09d}",
        name=lambda package: package.name,
        created=lambda package: package.created,
    )
    with LOCK:
        chosen = [
            package
            for package in place.flywheel.packages.values()
            if (wanted is None or package.group == wanted)
            and (kind == "Both" or (kind == "Versioned") == (package.version is not None))
            and (not approval or package.fields.get("ModelApprovalStatus") == approval)
        ]
        found, token = state.page(chosen, request, columns)
    summaries = [_package_summary(package) for package in found]
    return {"ModelPackageSummaryList": summaries, **state.described(NextToken=token)}


def update_model_package(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Changes what the request names and keeps everything else; metadata properties are merged by key.

    :raises SagemakerClientError: ValidationException
    """
    refuse_unserved("UpdateModelPackage", request, UPDATE_PARAMETERS)
    with LOCK:
        package = find_package(place, request["ModelPackageArn"])
        if package.version is None and request.get("ModelApprovalStatus"):
            raise invalid("ModelApprovalStatus can only be set for versioned model packages.")
        fields = dict(package.fields)
        fields |= {key: request[key] for key in UPDATED if request.get(key) is not None}
        removed = set(request.get("CustomerMetadataPropertiesToRemove") or ())
        metadata = {
            **(fields.get("CustomerMetadataProperties") or {}),
            **(request.get("CustomerMetadataProperties") or {}),
        }
        metadata = {key: value for key, value in metadata.items() if key not in removed}
        if metadata or "CustomerMetadataProperties" in fields:
            fields["CustomerMetadataProperties"] = metadata
        if added := request.get("AdditionalInferenceSpecificationsToAdd"):
            present = fields.get("AdditionalInferenceSpecifications") or []
            fields["AdditionalInferenceSpecifications"] = [*present, *added]
        package.fields, package.modified = fields, now()
    return {"ModelPackageArn": package.arn}


def delete_model_package(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Removes a package; its version number is not used again."""
    with LOCK:
        package = find_package(place, request["ModelPackageName"])
        del place.flywheel.packages[package.arn]
        for token in [token for token, (_, arn) in place.flywheel.tokens.items() if arn == package.arn]:
            del place.flywheel.tokens[token]
        place.flywheel.tags.pop(package.arn, None)
    return {}


def find_group(place: Place, name_or_arn: str) -> PackageGroup:
    """The group of a name or an ARN.

    :raises SagemakerClientError: ValidationException with AWS' text
    """
    name = name_or_arn.rsplit("/", 1)[-1] if name_or_arn.startswith("arn:") else name_or_arn
    for group in place.flywheel.groups.values():
        if name == group.name or name_or_arn == group.arn:
            return group
    raise invalid(f"ModelPackageGroup {state.arn(place, 'model-package-group', name)} does not exist.")


def find_package(place: Place, name_or_arn: str) -> Package:
    """The package of an ARN, or of the name of a package without a group.

    :raises SagemakerClientError: ValidationException with AWS' text
    """
    arn = name_or_arn if name_or_arn.startswith("arn:") else state.arn(place, "model-package", name_or_arn)
    package = place.flywheel.packages.get(arn) or place.flywheel.packages.get(arn.lower())
    if package is None:
        raise invalid(f"ModelPackage {arn} does not exist.")
    return package


def _fields(request: dict[str, Any]) -> dict[str, Any]:
    own = ("ModelPackageName", "ModelPackageGroupName", "Tags", "ClientToken")
    return {key: value for key, value in request.items() if key not in own}


def _group_summary(group: PackageGroup) -> dict[str, Any]:
    return {
        **group.request,
        "ModelPackageGroupArn": group.arn,
        "CreationTime": group.created,
        "ModelPackageGroupStatus": "Completed",
    }


def _package_summary(package: Package) -> dict[str, Any]:
    kept = ("ModelPackageDescription", "ModelApprovalStatus", "ModelLifeCycle")
    return {
        **state.described(
            ModelPackageName=package.name if package.group is None else None,
            ModelPackageGroupName=package.group,
            ModelPackageVersion=package.version,
        ),
        **{key: package.fields[key] for key in kept if key in package.fields},
        "ModelPackageArn": package.arn,
        "CreationTime": package.created,
        "ModelPackageStatus": "Completed",
    }


def _fingerprint(request: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True, default=str).encode()).hexdigest()


def _known_token(place: Place, token: str, request: dict[str, Any]) -> str | None:
    if token not in place.flywheel.tokens:
        return None
    fingerprint, arn = place.flywheel.tokens[token]
    if fingerprint != _fingerprint(request):
        raise SagemakerClientError(
            "ConflictException", f"ClientToken {token} was used before for a request with other parameters ({arn})."
        )
    return arn


OPERATIONS: dict[str, Callable[[Any, dict[str, Any]], dict[str, Any]]] = {
    "CreateModelPackageGroup": create_model_package_group,
    "DescribeModelPackageGroup": describe_model_package_group,
    "ListModelPackageGroups": list_model_package_groups,
    "DeleteModelPackageGroup": delete_model_package_group,
    "CreateModelPackage": create_model_package,
    "DescribeModelPackage": describe_model_package,
    "BatchDescribeModelPackage": batch_describe_model_package,
    "ListModelPackages": list_model_packages,
    "UpdateModelPackage": update_model_package,
    "DeleteModelPackage": delete_model_package,
}
