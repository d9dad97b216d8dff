"""Tags of everything that SageMaker keeps here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from localaws.sagemaker import state
from localaws.sagemaker.state import LOCK, Place, invalid

PAGE = 50


def add_tags(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Sets tags; a key that is there gets the new value. Answers with all tags of the resource."""
    with LOCK:
        tags = _tags(place, request["ResourceArn"])
        tags |= state.tag_map(request["Tags"])
    return {"Tags": _listed(tags)}


def list_tags(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """The tags of a resource by key, in pages."""
    tags = _tags(place, request["ResourceArn"])
    listed = [tag for tag in _listed(tags) if tag["Key"] > request.get("NextToken", "")]
    size = int(request.get("MaxResults") or PAGE)
    more = listed[size - 1]["Key"] if len(listed) > size else None
    return {"Tags": listed[:size], **state.described(NextToken=more)}


def delete_tags(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Removes tags; keys that are not there are passed over."""
    with LOCK:
        tags = _tags(place, request["ResourceArn"])
        for key in request["TagKeys"]:
            tags.pop(key, None)
    return {}


def _tags(place: Place, arn: str) -> dict[str, str]:
    found = place.flywheel.tags.get(arn.lower())
    if found is None:
        raise invalid(f"Could not find resource {arn}.")
    return found


def _listed(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": tags[key]} for key in sorted(tags)]


OPERATIONS: dict[str, Callable[[Any, dict[str, Any]], dict[str, Any]]] = {
    "AddTags": add_tags,
    "ListTags": list_tags,
    "DeleteTags": delete_tags,
}
