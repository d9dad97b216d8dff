"""moto's IAM without its weight: AWS' own 1,300 managed policies are loaded for one partition, and never saved.

moto loads them for each of AWS' six partitions at the first signed call, 24 MB that would also be written with every
change of a role.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from moto.iam import models
from moto.iam.models import AWSManagedPolicy, IAMBackend, ManagedPolicy

_load_policies = IAMBackend._init_aws_policies


def install(root: Path) -> None:
    """Make moto's IAM light. ``root`` is not used: IAM has no files of its own."""
    IAMBackend._init_aws_policies = _policies_of_partition  # type: ignore[method-assign]
    AWSManagedPolicy.__reduce__ = _reduce  # type: ignore[assignment, method-assign]


def _policies_of_partition(backend: IAMBackend) -> list[ManagedPolicy]:
    return _load_policies(backend) if backend.region_name == "aws" else []


def _reduce(policy: AWSManagedPolicy) -> tuple[Callable[..., AWSManagedPolicy], tuple[Any, ...]]:
    return _policy, (policy.name, policy.account_id, policy.id, policy.attachment_count)


def _policy(name: str, account_id: str, policy_id: str, attachment_count: int) -> AWSManagedPolicy:
    policy = AWSManagedPolicy.from_data(name, account_id, "aws", _policy_data()[name])
    policy.id = policy_id
    policy.attachment_count = attachment_count
    return policy


@cache
def _policy_data() -> dict[str, Any]:
    return json.loads(models.aws_managed_policies_data)
