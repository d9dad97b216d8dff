"""The model registry: who is champion, registering a challenger, promoting or rejecting it.

The champion is the highest approved version of the model's package group. Rejecting the newest approved version makes the one
before it champion again: that is the roll-back, and it needs no code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import BaseBranchOperator, BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from botocore.exceptions import ClientError

from flywheel.core.promotion import decide
from flywheel.core.specs import ModelSpec
from flywheel.operators.sagemaker import CONTENT_TYPE, PARQUET

if TYPE_CHECKING:
    from airflow.sdk import Context

#: AWS's framework containers use the code that lies in model.tar.gz only when they are told so.
INFERENCE_ENVIRONMENT = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}


class RegistryOperator(BaseOperator):
    """Base: the SageMaker client and the model's package group (API: ``ListModelPackages``).

    :param model: the model's spec
    :param aws_conn_id: Airflow connection for AWS
    """

    def __init__(self, *, model: ModelSpec, aws_conn_id: str | None = "aws_default", **kwargs: Any):
        super().__init__(**kwargs)
        self.model, self.aws_conn_id = model, aws_conn_id

    @cached_property
    def client(self) -> Any:
        """The SageMaker client."""
        return AwsBaseHook(client_type="sagemaker", aws_conn_id=self.aws_conn_id).conn

    def packages(self, **filters: Any) -> list[dict[str, Any]]:
        """Summaries of the group's versions, newest first; none when the group does not exist yet."""
        return list_packages(self.client, self.model.package_group, **filters)


class ResolveChampionOperator(RegistryOperator):
    """Looks up the champion (API: ``ListModelPackages``, ``DescribeModelPackage``).

    Returns ``{"version", "arn", "name", "model_data", "image", "metadata", "last_trained_until"}``; ``last_trained_until`` is the
    last training day of the newest version, champion or not.

    :param if_none: without a champion ``fail``, ``skip`` the task, or ``pass`` with all values but the last None
    :raises AirflowFailException: no champion, naming the group and what to run
    """

    def __init__(self, *, if_none: Literal["fail", "skip", "pass"] = "fail", **kwargs: Any):
        super().__init__(**kwargs)
        self.if_none = if_none

    def execute(self, context: Context) -> dict[str, Any]:
        """One page of summaries, one or two descriptions."""
        packages = self.packages()
        newest = self.client.describe_model_package(ModelPackageName=packages[0]["ModelPackageArn"]) if packages else {}
        last = newest.get("CustomerMetadataProperties", {}).get("trained_until")
        approved = [p for p in packages if p["ModelApprovalStatus"] == "Approved"]
        if not approved:
            problem = (
                f"model package group {self.model.package_group}: expected an approved version, found none "
                f"among {len(packages)}; run the DAG train_{self.model.name} first"
            )
            if self.if_none == "fail":
                raise AirflowFailException(problem)
            if self.if_none == "skip":
                raise AirflowSkipException(problem)
            return {
                **dict.fromkeys(("version", "arn", "name", "model_data", "image", "metadata")),
                "last_trained_until": last,
            }
        champion = self.client.describe_model_package(ModelPackageName=approved[0]["ModelPackageArn"])
        container = champion["InferenceSpecification"]["Containers"][0]
        self.log.info("Champion of %s: version %s", self.model.name, champion["ModelPackageVersion"])
        return {
            "version": champion["ModelPackageVersion"],
            "arn": champion["ModelPackageArn"],
            "name": f"{self.model.package_group}-v{champion['ModelPackageVersion']}",
            "model_data": container["ModelDataUrl"],
            "image": container["Image"],
            "metadata": champion.get("CustomerMetadataProperties", {}),
            "last_trained_until": last,
        }


class RegisterChallengerOperator(RegistryOperator):
    """Registers the trained model as a version that waits for its decision (API: ``CreateModelPackage``).

    The run's key is in the version's metadata; a retry finds the version that it registered before and makes no second one.

    :param run_key: name of the pipeline run (templated)
    :param model_data: S3 URI of model.tar.gz (templated)
    :param image: URI of the inference container (templated)
    :param metadata: further properties: reason, snapshot, trained_from, trained_until … (templated)
    :param evaluation: S3 URI of evaluation.json (templated)
    Returns ``{"arn", "version"}``.
    """

    template_fields: Sequence[str] = ("run_key", "model_data", "image", "metadata", "evaluation")

    def __init__(self, *, run_key: str, model_data: str, image: str, metadata: Mapping[str, str], evaluation: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.run_key, self.model_data, self.image, self.evaluation = run_key, model_data, image, evaluation
        self.metadata = dict(metadata)

    def execute(self, context: Context) -> dict[str, Any]:
        """Creates group and version unless they are there."""
        self._ensure_group()
        for package in self.packages():
            known = self.client.describe_model_package(ModelPackageName=package["ModelPackageArn"])
            if known.get("CustomerMetadataProperties", {}).get("run_key") == self.run_key:
                self.log.info("Version %s was registered by an earlier try of this run", known["ModelPackageVersion"])
                return {"arn": known["ModelPackageArn"], "version": known["ModelPackageVersion"]}
        report = json.loads(S3Hook(aws_conn_id=self.aws_conn_id).read_key(**_bucket_and_key(self.evaluation)))
        metric = self.model.promotion.metric
        created = self.client.create_model_package(
            ModelPackageGroupName=self.model.package_group,
            ModelPackageDescription=f"{self.model.description} Started by: {self.metadata.get('reason', 'hand')}"[:1024],
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [{"Image": self.image, "ModelDataUrl": self.model_data, "Environment": INFERENCE_ENVIRONMENT}],
                "SupportedContentTypes": [CONTENT_TYPE, PARQUET],
                "SupportedResponseMIMETypes": [CONTENT_TYPE],
            },
            ModelMetrics={
                "ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": self.evaluation}},
            },
            CustomerMetadataProperties={
                **{key: as_metadata(value) for key, value in self.metadata.items()},
                "run_key": self.run_key,
                f"{metric}_holdout": f"{report['challenger'][metric]:.6f}",
            },
        )
        version = int(created["ModelPackageArn"].rsplit("/", 1)[1])
        self.log.info("Registered %s version %s", self.model.package_group, version)
        return {"arn": created["ModelPackageArn"], "version": version}

    def _ensure_group(self) -> None:
        try:
            self.client.describe_model_package_group(ModelPackageGroupName=self.model.package_group)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("ValidationException", "ResourceNotFound"):
                raise
            self.client.create_model_package_group(
                ModelPackageGroupName=self.model.package_group, ModelPackageGroupDescription=self.model.description
            )


class DecidePromotionOperator(BaseBranchOperator):
    """Champion or challenger: reads the evaluation (API: S3 ``GetObject``) and follows one of two tasks.

    XCom ``decision``: ``{"promote", "reason"}``.

    :param model: the model's spec
    :param evaluation: S3 URI of evaluation.json (templated)
    :param if_won: task id to go on with when the challenger won
    :param if_lost: task id to go on with when it lost
    :param aws_conn_id: Airflow connection for AWS
    """

    template_fields: Sequence[str] = ("evaluation",)

    def __init__(
        self,
        *,
        model: ModelSpec,
        evaluation: str,
        if_won: str,
        if_lost: str,
        aws_conn_id: str | None = "aws_default",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.model, self.evaluation, self.if_won, self.if_lost = model, evaluation, if_won, if_lost
        self.aws_conn_id = aws_conn_id

    def choose_branch(self, context: Context) -> str:
        """The next task, by :func:`flywheel.core.promotion.decide`."""
        report = json.loads(S3Hook(aws_conn_id=self.aws_conn_id).read_key(**_bucket_and_key(self.evaluation)))
        rules = self.model.promotion
        decision = decide(report, metric=rules.metric, min_improvement=rules.min_improvement, floor=rules.floor)
        self.log.info(decision.reason)
        context["ti"].xcom_push("decision", {"promote": decision.promote, "reason": decision.reason})
        return self.if_won if decision.promote else self.if_lost


class SettleChallengerOperator(RegistryOperator):
    """Writes the decision into the registry (API: ``UpdateModelPackage``): approved and so champion, or rejected.

    :param arn: the version's ARN (templated)
    :param status: ``Approved`` or ``Rejected``
    :param reason: why, as it stands in the registry (templated; AWS keeps 1024 characters)
    :param asset_extra: what the events of the task's outlets carry (templated)
    """

    template_fields: Sequence[str] = ("arn", "reason", "asset_extra")

    def __init__(self, *, arn: str, status: str, reason: str, asset_extra: Mapping[str, str] | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.arn, self.status, self.reason, self.asset_extra = arn, status, reason, dict(asset_extra or {})

    def execute(self, context: Context) -> dict[str, str]:
        """Idempotent: the same status again changes nothing."""
        self.client.update_model_package(
            ModelPackageArn=self.arn, ModelApprovalStatus=self.status, ApprovalDescription=self.reason[:1024]
        )
        self.log.info("%s is now %s: %s", self.arn, self.status, self.reason)
        for asset in self.outlets if self.asset_extra else ():
            context["outlet_events"][asset].extra = dict(self.asset_extra)
        return {"arn": self.arn, "status": self.status, "reason": self.reason}


def list_packages(client: Any, group: str, **filters: Any) -> list[dict[str, Any]]:
    """Summaries of a package group's versions, newest first; none when the group does not exist.

    :param client: a ``sagemaker`` client
    """
    pages = client.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group, **filters)
    try:
        found = [package for page in pages for package in page["ModelPackageSummaryList"]]
    except ClientError as error:
        if error.response["Error"]["Code"] in ("ValidationException", "ResourceNotFound"):
            return []
        raise
    return sorted(found, key=lambda package: package["ModelPackageVersion"], reverse=True)


def as_metadata(text: str) -> str:
    """``text`` as the registry takes it for a property: some characters it refuses become blanks, 256 it keeps."""
    return " ".join(re.sub(r"[^\w\s.:/=+\-@]", " ", text).split())[:256]


def _bucket_and_key(uri: str) -> dict[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return {"bucket_name": bucket, "key": key}
