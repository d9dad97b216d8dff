"""What an HTTP request to AWS asks for: service, operation and parameters, read by botocore's own models."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote

from botocore.exceptions import UnknownServiceError
from botocore.model import OperationModel, ServiceModel, Shape
from moto.core.utils import get_service_model

SERVICE_OF_SIGNING_NAME = {
    "monitoring": "cloudwatch",
    "states": "stepfunctions",
    "elasticmapreduce": "emr",
    "elasticloadbalancing": "elbv2",
    "tagging": "resourcegroupstaggingapi",
    "airflow": "mwaa",
    "email": "sesv2",
    "eventbridge": "events",
}
"""botocore's name of a service where it is not the name that requests are signed for."""

SAGEMAKER_PATHS = (
    ("/invocations", "sagemaker-runtime"),
    ("/BatchPutMetrics", "sagemaker-metrics"),
    ("/FeatureGroup/", "sagemaker-featurestore-runtime"),
)
"""Services that are signed as ``sagemaker`` and are told from it by their path."""

CREDENTIAL = re.compile(r"Credential=[^/]*/\d{8}/([^/]+)/([^/]+)/aws4_request")
RPC_PATH = re.compile(r"/service/[^/]+/operation/(\w+)$")


@dataclass
class Call:
    """One API call.

    :param service: botocore's name of the service (``"emr-serverless"``); ``"unknown"`` when it is not told.
    :param operation: the operation's name, or None when the request fits none of the service's operations.
    :param protocol: ``json``, ``rest-json``, ``rest-xml``, ``query``, ``ec2`` or ``smithy-rpc-v2-cbor``.
    :param headers: the request's headers, names in lower case.
    :param body: the request's body; empty for S3, whose bodies are not read here.
    """

    service: str
    operation: str | None
    protocol: str
    method: str
    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    uri_values: dict[str, str] = field(default_factory=dict)

    @property
    def model(self) -> OperationModel | None:
        """botocore's model of the operation."""
        model = service_model(self.service)
        return model.operation_model(self.operation) if model and self.operation else None

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The parameters by the names of the operation's input shape; JSON values as they were sent.

        :raises ValueError: the body is not what the protocol asks for.
        """
        model = self.model
        if model is None or model.input_shape is None:
            return {}
        found: dict[str, Any] = {}
        if self.protocol in ("json", "rest-json"):
            payload = model.input_shape.serialization.get("payload")
            if payload is None or model.input_shape.members[payload].type_name == "structure":
                body = json.loads(self.body) if self.body.strip() else {}
                if not isinstance(body, dict):
                    raise ValueError("the body is not a JSON object")
                found = {payload: body} if payload else body
        elif self.protocol == "query":
            found = dict(parse_qsl(self.body.decode(errors="replace"), keep_blank_values=True)) | {
                name: values[0] for name, values in self.query.items()
            }
        for name, shape in model.input_shape.members.items():
            value = self._from_envelope(name, shape)
            if value is not None:
                found[name] = value
        return found

    def _from_envelope(self, name: str, shape: Shape) -> Any:
        """The value of a member that travels in the path, the query string or a header; None where it is not there."""
        sent_as = shape.serialization.get("name", name)
        location = shape.serialization.get("location")
        if location == "uri":
            return self.uri_values.get(sent_as)
        if location == "querystring":
            values = self.query.get(sent_as)
            if not values:
                return None
            return [_typed(v, shape.member) for v in values] if shape.type_name == "list" else _typed(values[0], shape)
        if location == "header":
            value = self.headers.get(sent_as.lower())
            return None if value is None else _typed(value, shape)
        return None

    @property
    def resource(self) -> str | None:
        """The name, ARN or address of what the call is about, for people to read; None where it names nothing."""
        if self.service == "s3":
            return self.path.lstrip("/") or None
        try:
            parameters = self.parameters
        except ValueError:
            return None
        shape = self.model.input_shape if self.model else None
        required = list(shape.required_members) if shape else []
        telling = [name for name in parameters if re.search(r"(name|arn|id)$", name, re.IGNORECASE)]
        for name in [*(name for name in required if name in telling), *telling, *required]:
            value = parameters.get(name)
            if isinstance(value, (str, int)) and not isinstance(value, bool):
                return str(value)[:500]
        return None


@cache
def service_model(service: str) -> ServiceModel | None:
    """botocore's model of the service, or None when botocore knows no such service."""
    try:
        return get_service_model(service)
    except (UnknownServiceError, ValueError):
        return None


def identify(environ: Mapping[str, Any], body: bytes) -> Call:
    """Tell which operation a WSGI request asks for. Never fails: what cannot be told is ``"unknown"`` or None."""
    path = environ.get("PATH_INFO", "/").encode("latin-1").decode("utf-8", "replace")
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    headers["content-type"] = environ.get("CONTENT_TYPE", "")
    service = _service(headers, path, query, body)
    call = Call(service, None, _protocol(headers, path, body), environ["REQUEST_METHOD"], path, query, headers, body)
    model = service_model(service)
    if model is None:
        return call
    operation: str | None = None
    if rpc := RPC_PATH.search(path):
        operation = rpc.group(1)
    elif target := headers.get("x-amz-target"):
        operation = target.rpartition(".")[2]
    elif model.metadata["protocol"] in ("rest-json", "rest-xml"):
        call.protocol = model.metadata["protocol"]
        operation, call.uri_values = _route(service, environ["REQUEST_METHOD"], path, query, headers)
    else:
        form = parse_qs(body.decode(errors="replace")) if call.protocol == "query" else {}
        operation = (form.get("Action") or query.get("Action") or [None])[0]
        if model.metadata["protocol"] == "ec2":
            call.protocol = "ec2"
    if operation in model.operation_names:
        call.operation = operation
    return call


def _service(headers: Mapping[str, str], path: str, query: Mapping[str, list[str]], body: bytes) -> str:
    signed = CREDENTIAL.search(headers.get("authorization", ""))
    name = signed.group(2) if signed else None
    if name is None and "X-Amz-Credential" in query:  # a presigned URL
        parts = unquote(query["X-Amz-Credential"][0]).split("/")
        name = parts[-2] if len(parts) >= 5 else None
    if name is None:
        # Unsigned: moto takes everything for S3 but the few calls to STS that carry no signature.
        return "sts" if b"Action=AssumeRoleWith" in body else "s3"
    if name == "sagemaker":
        return next((service for part, service in SAGEMAKER_PATHS if part in path), name)
    if name == "dynamodb" and headers.get("x-amz-target", "").startswith("DynamoDBStreams"):
        return "dynamodbstreams"
    if name == "email":
        return "sesv2" if path.startswith("/v2/") else "ses"
    return SERVICE_OF_SIGNING_NAME.get(name, name)


def _protocol(headers: Mapping[str, str], path: str, body: bytes) -> str:
    """The protocol as the request shows it; a REST service's model says more."""
    if headers.get("smithy-protocol") == "rpc-v2-cbor" or RPC_PATH.search(path):
        return "smithy-rpc-v2-cbor"
    if "x-amz-target" in headers:
        return "json"
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return "query"
    return "rest-json"


@dataclass(frozen=True)
class _Route:
    operation: str
    pattern: re.Pattern[str]
    literals: tuple[tuple[str, str], ...]
    required_query: tuple[str, ...]
    required_headers: tuple[str, ...]


@cache
def _routes(service: str, method: str) -> list[_Route]:
    """The operations of a REST service for one HTTP method, the most specific first."""
    model = service_model(service)
    routes = []
    for name in model.operation_names if model else []:
        operation = model.operation_model(name)  # type: ignore[union-attr]
        if operation.http["method"] != method or operation.deprecated:
            continue  # of two operations with one address, clients of today send the one that is not deprecated
        path, _, query = operation.http["requestUri"].partition("?")
        pattern = re.escape(path.rstrip("/")).replace(r"\{", "{").replace(r"\}", "}").replace(r"\+", "+")
        pattern = re.sub(r"\{([\w\\-]+)\+\}", lambda m: f"(?P<{_group(m.group(1))}>.+)", pattern)
        pattern = re.sub(r"\{([\w\\-]+)\}", lambda m: f"(?P<{_group(m.group(1))}>[^/]+)", pattern)
        members = operation.input_shape.members.items() if operation.input_shape else ()
        required = set(operation.input_shape.required_members) if operation.input_shape else set()
        sent = [(n, s.serialization.get("location"), s.serialization.get("name", n)) for n, s in members if n in required]
        routes.append(
            _Route(
                name,
                re.compile(pattern + "/?", re.DOTALL),
                # `x-id` only repeats the operation's name, and not every client sends it.
                tuple((k, v) for k, v in parse_qsl(query, keep_blank_values=True) if k != "x-id"),
                tuple(as_ for _, where, as_ in sent if where == "querystring"),
                tuple(as_.lower() for _, where, as_ in sent if where == "header"),
            )
        )
    routes.sort(
        key=lambda r: (
            -len(r.literals),
            -len(r.required_query) - len(r.required_headers),
            r.pattern.groups,
            -len(r.pattern.pattern),
        )
    )
    return routes


def _route(
    service: str, method: str, path: str, query: Mapping[str, list[str]], headers: Mapping[str, str]
) -> tuple[str | None, dict[str, str]]:
    routes = _routes(service, method)
    if "x-id" in query:  # some clients repeat the operation's name
        routes = sorted(routes, key=lambda route: route.operation not in query["x-id"])
    for route in routes:
        match = route.pattern.fullmatch(path)
        if (
            match
            and all(key in query and (not value or value in query[key]) for key, value in route.literals)
            and all(name in query for name in route.required_query)
            and all(name in headers for name in route.required_headers)
        ):
            return route.operation, {_name(group): value for group, value in match.groupdict().items()}
    return None, {}


def _group(name: str) -> str:
    """A name of a URI's part as a name that a regular expression's group may have."""
    return "g_" + base64.b16encode(name.replace("\\", "").encode()).decode()


def _name(group: str) -> str:
    return base64.b16decode(group[2:]).decode()


def _typed(text: str, shape: Shape) -> Any:
    """A value from a path, query string or header as the JSON value that it stands for; as it was where it does not."""
    try:
        if shape.type_name in ("integer", "long"):
            return int(text)
        if shape.type_name in ("float", "double"):
            return float(text)
        if shape.type_name == "boolean" and text in ("true", "false"):
            return text == "true"
        if shape.type_name == "timestamp":
            return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except ValueError:
        pass
    return text
