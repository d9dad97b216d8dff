"""Every operation is told from its request: each one is serialised by botocore itself, and identified again."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from botocore.serialize import create_serializer

from localaws.calls import identify, service_model

SERVICES = [
    ("s3", "s3"),
    ("glue", "glue"),
    ("emr-serverless", "emr-serverless"),
    ("redshift-data", "redshift-data"),
    ("sagemaker", "sagemaker"),
    ("iam", "iam"),
    ("sns", "sns"),
    ("sqs", "sqs"),
    ("logs", "logs"),
    ("cloudwatch", "monitoring"),
    ("secretsmanager", "secretsmanager"),
]


def example(shape: Any, depth: int = 0) -> Any:
    """The smallest value that a shape takes."""
    kind = shape.type_name
    if kind == "structure":
        return {name: example(shape.members[name], depth + 1) for name in shape.required_members}
    if kind == "list":
        return [example(shape.member, depth + 1)] if depth < 4 else []
    if kind == "map":
        return {}
    return {
        "string": (getattr(shape, "enum", None) or ["value"])[0],
        "blob": b"x",
        "boolean": True,
        "timestamp": "2013-01-01T00:00:00Z",
    }.get(kind, 1)


def environ(service: str, signed_as: str, operation: str) -> tuple[dict[str, Any], bytes]:
    model = service_model(service).operation_model(operation)
    protocol = model.service_model.metadata["protocol"]
    request = create_serializer(protocol, include_validation=False).serialize_to_request(
        example(model.input_shape) if model.input_shape else {}, model
    )
    url = urlsplit(request["url_path"])
    query = request["query_string"]
    pairs = query.items() if isinstance(query, dict) else query or []
    text = "&".join([url.query] * bool(url.query) + [f"{name}={value}" for name, value in pairs])
    body = request["body"]
    if isinstance(body, dict):
        body = "&".join(f"{name}={value}" for name, value in body.items())
    made = {
        "REQUEST_METHOD": request["method"],
        "PATH_INFO": unquote(url.path).encode().decode("latin-1"),
        "QUERY_STRING": text,
        "HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/{signed_as}/aws4_request, S=1",
    }
    for name, value in request["headers"].items():
        key = name.upper().replace("-", "_")
        made["CONTENT_TYPE" if key == "CONTENT_TYPE" else f"HTTP_{key}"] = str(value)
    return made, body.encode() if isinstance(body, str) else body


@pytest.mark.parametrize(("service", "signed_as"), SERVICES)
def test_every_operation_is_told_from_its_request(service, signed_as):
    wrong = {}
    model = service_model(service)
    for operation in (name for name in model.operation_names if not model.operation_model(name).deprecated):
        made, body = environ(service, signed_as, operation)
        call = identify(made, body)
        if (call.service, call.operation) != (service, operation):
            wrong[operation] = (call.service, call.operation)
    wrong.pop("ListDirectoryBuckets", None)  # told from ListBuckets by the host that it is sent to
    assert wrong == {}


def test_parameters_come_from_path_query_and_body():
    made, _ = environ("emr-serverless", "emr-serverless", "StartJobRun")
    made["PATH_INFO"] = "/applications/00abc/jobruns"
    call = identify(made, b'{"executionRoleArn": "arn:aws:iam::123456789012:role/r", "clientToken": "t"}')
    assert call.parameters == {
        "applicationId": "00abc",
        "executionRoleArn": "arn:aws:iam::123456789012:role/r",
        "clientToken": "t",
    }
    assert call.resource == "00abc"


def test_sagemakers_other_services_are_told_by_their_paths():
    made = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/endpoints/e/invocations",
        "HTTP_AUTHORIZATION": "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/sagemaker/aws4_request, S=1",
    }
    call = identify(made, b"1,2")
    assert (call.service, call.operation) == ("sagemaker-runtime", "InvokeEndpoint")


def test_what_cannot_be_told_is_said_so():
    call = identify({"REQUEST_METHOD": "BREW", "PATH_INFO": "/a/b"}, b"")
    assert (call.service, call.operation) == ("s3", None)
