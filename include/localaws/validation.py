"""Checking a request as AWS does before anything is done: required, types, enums, patterns, lengths and ranges.

The rules are botocore's own models of the services; the messages are AWS'. Members that a model does not have are
passed over, as AWS' JSON services do.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import regex
from botocore.model import Shape

from localaws.calls import Call
from localaws.replies import AwsError

MAX_TOLD = 1024
"""A longer value is cut in a message."""


def check_parameters(call: Call) -> None:
    """Check the call's parameters against its operation's input shape.

    :raises AwsError: ``SerializationException`` for a value of a wrong type, else ``ValidationException`` with all that
        is wrong, in AWS' words: "1 validation error detected: Value 'a b' at 'trainingJobName' failed to satisfy
        constraint: Member must satisfy regular expression pattern: ...".
    """
    model = call.model
    if model is None or model.input_shape is None:
        return
    try:
        parameters = call.parameters
    except ValueError as error:
        raise AwsError("SerializationException", f"the request cannot be read: {error}") from error
    problems: list[str] = []
    _check(model.input_shape, parameters, "", problems)
    if problems:
        plural = "" if len(problems) == 1 else "s"
        told = "; ".join(problems)
        raise AwsError("ValidationException", f"{len(problems)} validation error{plural} detected: {told}")


def _check(shape: Shape, value: Any, path: str, problems: list[str]) -> None:
    kind = shape.type_name
    if kind == "structure":
        if getattr(shape, "is_document_type", False):
            return
        _expect(isinstance(value, dict), value, path, "a structure")
        _check_structure(shape, value, path, problems)
    elif kind == "list":
        _expect(isinstance(value, list), value, path, "a list")
        _check_size(shape, value, len(value), path, problems)
        for number, item in enumerate(value, 1):
            if item is not None:
                _check(shape.member, item, f"{path}.{number}.member", problems)
    elif kind == "map":
        _expect(isinstance(value, dict), value, path, "a map")
        _check_size(shape, value, len(value), path, problems)
        for key, item in value.items():
            _check(shape.key, key, f"{path}.{key}.key" if path else key, problems)
            if item is not None:
                _check(shape.value, item, f"{path}.{key}.member", problems)
    elif kind == "string":
        _expect(isinstance(value, str), value, path, "a string")
        _check_string(shape, value, path, problems)
    elif kind in ("integer", "long"):
        whole = (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())
        _expect(whole, value, path, "an integer")
        _check_range(shape, value, path, problems)
    elif kind in ("float", "double"):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        _expect(number or value in ("NaN", "Infinity", "-Infinity"), value, path, "a number")
        if number:
            _check_range(shape, value, path, problems)
    elif kind == "boolean":
        _expect(isinstance(value, bool), value, path, "a boolean")


def _check_structure(shape: Shape, value: dict[str, Any], path: str, problems: list[str]) -> None:
    for name, member in shape.members.items():
        # In a body a member has its name on the wire; what came in the path or a header has the member's own.
        item = value.get(member.serialization.get("name", name), value.get(name))
        if item is not None:
            _check(member, item, _join(path, name), problems)
        elif name in shape.required_members:
            problems.append(_problem(None, _join(path, name), "Member must not be null"))


def _check_string(shape: Shape, value: str, path: str, problems: list[str]) -> None:
    if shape.enum:
        if value not in shape.enum:
            problems.append(_problem(value, path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"))
        return
    _check_size(shape, value, len(value), path, problems)
    pattern = shape.metadata.get("pattern")
    if pattern and (compiled := _pattern(pattern)) is not None:
        # AWS matches the whole value, unless the pattern itself is anchored at one end only.
        start, end = pattern.startswith("^"), pattern.endswith("$")
        match = compiled.fullmatch if start == end else compiled.match if start else compiled.search
        try:
            matches = match(value, timeout=2.0)
        except TimeoutError:
            return  # a pattern that backtracks without end says nothing
        if not matches:
            problems.append(_problem(value, path, f"Member must satisfy regular expression pattern: {pattern}"))


def _check_size(shape: Shape, value: Any, size: int, path: str, problems: list[str]) -> None:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        problems.append(_problem(value, path, f"Member must have length greater than or equal to {least}"))
    if most is not None and size > most:
        problems.append(_problem(value, path, f"Member must have length less than or equal to {most}"))


def _check_range(shape: Shape, value: float, path: str, problems: list[str]) -> None:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and value < least:
        problems.append(_problem(value, path, f"Member must have value greater than or equal to {least}"))
    if most is not None and value > most:
        problems.append(_problem(value, path, f"Member must have value less than or equal to {most}"))


def _expect(right: bool, value: Any, path: str, expected: str) -> None:
    if not right:
        found = {dict: "a structure", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
        told = found.get(type(value), "a number")
        raise AwsError("SerializationException", f"{path or 'the request'}: expected {expected}, found {told}")


def _problem(value: Any, path: str, constraint: str) -> str:
    told = "null" if value is None else str(value)
    told = told if len(told) <= MAX_TOLD else told[:MAX_TOLD] + "..."
    quoted = "null" if value is None else f"'{told}'"
    return f"Value {quoted} at '{path}' failed to satisfy constraint: {constraint}"


def _join(path: str, name: str) -> str:
    """AWS tells members in lower camel case: ``resourceConfig.instanceCount``."""
    name = name[:1].lower() + name[1:]
    return f"{path}.{name}" if path else name


@cache
def _pattern(pattern: str) -> regex.Pattern[str] | None:
    """The model's pattern (written for Java), or None when it cannot be understood: then it is not checked."""
    # Java's \uD800-\uDBFF pairs stand for characters beyond the basic plane, which Python has as one.
    text = re.sub(r"\\uD800\\uDC00-\\uDBFF\\uDFFF", lambda _: r"\U00010000-\U0010FFFF", pattern, flags=re.IGNORECASE)
    try:
        return regex.compile(text)
    except regex.error:
        return None
