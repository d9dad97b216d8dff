"""What SageMaker remembers: jobs, models, the registry, tags; and the listing that all of them share.

Everything here is plain data below one attribute of moto's back end, so it is pickled with the rest of its state and is
there again after a restart. Threads and processes of running jobs are kept in `jobs`, never here.
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

from moto.sagemaker.exceptions import SagemakerClientError

Item = TypeVar("Item")

LOCK = threading.RLock()
"""Held while the state is changed, so that names stay unique and a snapshot never sees half a change."""

JOB_KINDS = ("training", "processing", "transform", "tuning")
FINAL = frozenset({"Completed", "Failed", "Stopped"})
PAGE = 10
MAX_REASON = 1024


@dataclass
class Job:
    """One training, processing, transform or tuning job: what was asked, and what happened.

    :param run_id: the name of the job's folder; unlike the job's name it is never used twice
    :param results: fields of the Describe answer that the run found out (artefacts, metrics, exit message)
    :param launched: of a tuning job: the names of its training jobs in the order of their start
    """

    kind: str
    name: str
    arn: str
    request: dict[str, Any]
    run_id: str
    created: datetime
    modified: datetime
    status: str = "InProgress"
    started: datetime | None = None
    ended: datetime | None = None
    failure_reason: str | None = None
    transitions: list[dict[str, Any]] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)
    launched: tuple[str, ...] = ()

    def enter(self, status: str, message: str) -> None:
        """Goes to the next secondary status (training jobs tell them all)."""
        moment = now()
        transitions = list(self.transitions)
        if transitions:
            transitions[-1] = {**transitions[-1], "EndTime": moment}
        transitions.append({"Status": status, "StartTime": moment, "StatusMessage": message})
        self.transitions, self.modified = transitions, moment


@dataclass
class Model:
    """A model made with CreateModel."""

    name: str
    arn: str
    request: dict[str, Any]
    created: datetime


@dataclass
class PackageGroup:
    """A model package group; `last_version` only grows, so a deleted version's number is not given again."""

    name: str
    arn: str
    request: dict[str, Any]
    created: datetime
    last_version: int = 0


@dataclass
class Package:
    """A model package: a version in a group, or one of its own with a name."""

    name: str
    arn: str
    fields: dict[str, Any]
    created: datetime
    group: str | None = None
    version: int | None = None
    modified: datetime | None = None


@dataclass
class State:
    """All that one account and region holds. `jobs` is by kind and name, everything else by name or ARN."""

    jobs: dict[str, dict[str, Job]] = field(default_factory=lambda: {kind: {} for kind in JOB_KINDS})
    models: dict[str, Model] = field(default_factory=dict)
    groups: dict[str, PackageGroup] = field(default_factory=dict)
    packages: dict[str, Package] = field(default_factory=dict)
    tokens: dict[str, tuple[str, str]] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)

    def __setstate__(self, saved: dict[str, Any]) -> None:
        # What an earlier version has saved lacks the kinds of job that came after it.
        vars(self).update(saved | {"jobs": State().jobs | saved["jobs"]})


class Place(Protocol):
    """The back end of one account and region, as far as the operations need it."""

    account_id: str
    region_name: str
    partition: str
    flywheel: State


def now() -> datetime:
    """This moment in UTC."""
    return datetime.now(UTC)


def arn(place: Place, resource: str, name: str) -> str:
    """The ARN of a resource, in lower case as SageMaker makes them."""
    return f"arn:{place.partition}:sagemaker:{place.region_name}:{place.account_id}:{resource}/{name}".lower()


def invalid(message: str) -> SagemakerClientError:
    """The error for a request that AWS would not take."""
    return SagemakerClientError("ValidationException", message)


def unserved(message: str) -> SagemakerClientError:
    """The error for what AWS can do and the local AWS cannot; it never pretends."""
    return SagemakerClientError("UnsupportedOperation", f"Flywheel's local AWS does not serve {message}")


def refuse_unserved(operation: str, request: Mapping[str, Any], served: Iterable[str], where: str = "") -> None:
    """Refuses a request with a parameter whose effect is not served.

    :param where: the structure inside the request, for the message
    """
    unknown = sorted(key for key, value in request.items() if key not in set(served) and value not in (None, [], {}))
    if unknown:
        path = f"{where}.{unknown[0]}" if where else unknown[0]
        raise unserved(f"parameter {path} of sagemaker:{operation}")


def save() -> None:
    """Tells the persistence that the state changed outside of an API call."""
    from localaws import persistence

    persistence.touch("sagemaker")


def tag_map(tags: Iterable[Mapping[str, str]] | None) -> dict[str, str]:
    """Tags of a request as a mapping."""
    return {tag["Key"]: tag["Value"] for tag in tags or ()}


def described(**fields: Any) -> dict[str, Any]:
    """An answer's fields without those that have no value."""
    return {key: value for key, value in fields.items() if value is not None}


@dataclass(frozen=True)
class Columns(Generic[Item]):
    """How a kind of resource is listed: what is filtered on and sorted by.

    :param order: the operation's default SortOrder
    :param status: None where the operation has no StatusEquals
    :param other: what else the operation can sort by, by its name in SortBy
    """

    identity: Callable[[Item], str]
    name: Callable[[Item], str]
    created: Callable[[Item], datetime]
    order: str = "Ascending"
    modified: Callable[[Item], datetime] | None = None
    status: Callable[[Item], str] | None = None
    other: Mapping[str, Callable[[Item], Any]] = field(default_factory=dict)


def page(items: Iterable[Item], request: Mapping[str, Any], columns: Columns[Item]) -> tuple[list[Item], str | None]:
    """One page of a List operation: filtered, sorted, cut, and the token of the next one.

    The token names the last item of the page, so items made or removed between two calls shift nothing.
    """
    chosen = [item for item in items if _matches(item, request, columns)]
    by = request.get("SortBy") or "CreationTime"
    descending = (request.get("SortOrder") or columns.order) == "Descending"

    def key(item: Item) -> list[Any]:
        first = f"{columns.created(item).timestamp():017.6f}"
        if by in columns.other:
            first = columns.other[by](item)
        elif by == "Name":
            first = columns.name(item)
        elif by == "Status" and columns.status:
            first = columns.status(item)
        return [first, columns.identity(item)]

    chosen.sort(key=key, reverse=descending)
    if token := request.get("NextToken"):
        last = _read_token(token)
        chosen = [item for item in chosen if (key(item) < last if descending else key(item) > last)]
    size = int(request.get("MaxResults") or PAGE)
    more = _write_token(key(chosen[size - 1])) if len(chosen) > size else None
    return chosen[:size], more


def _matches(item: Item, request: Mapping[str, Any], columns: Columns[Item]) -> bool:
    created = columns.created(item)
    modified = columns.modified(item) if columns.modified else created
    text, status = request.get("NameContains"), request.get("StatusEquals")
    return (
        (not text or text.lower() in columns.name(item).lower())
        and (not status or columns.status is None or columns.status(item) == status)
        and _after(created, request.get("CreationTimeAfter"))
        and _before(created, request.get("CreationTimeBefore"))
        and _after(modified, request.get("LastModifiedTimeAfter"))
        and _before(modified, request.get("LastModifiedTimeBefore"))
    )


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _after(moment: datetime, bound: datetime | None) -> bool:
    return bound is None or moment > _utc(bound)


def _before(moment: datetime, bound: datetime | None) -> bool:
    return bound is None or moment < _utc(bound)


def _write_token(key: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _read_token(token: str) -> list[Any]:
    try:
        key = json.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError) as error:
        raise invalid("Invalid NextToken: it must come from the previous answer of the same operation") from error
    if not isinstance(key, list):
        raise invalid("Invalid NextToken: it must come from the previous answer of the same operation")
    return key
