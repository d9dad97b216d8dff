"""AWS errors in the protocol of the service that was asked."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from typing import Any
from xml.sax.saxutils import escape

from localaws.calls import Call

REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    503: "Slow Down",
}


class AwsError(Exception):
    """An error to answer a call with.

    :param code: AWS' error code, for example ``ValidationException``.
    :param message: what is wrong, for the person who called.
    :param status: the HTTP status: 4xx the caller's fault, 5xx the server's.
    """

    def __init__(self, code: str, message: str, status: int = 400):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class Reply:
    """The head of an answer that is not sent yet; ``start`` is the ``start_response`` of whoever makes it.

    :param line: the HTTP status as it is sent, for example ``200 OK``; ``status`` is its number, 0 where nothing has
        answered.
    :param error: AWS' error code; None where there is none, or the head does not tell it.
    """

    def __init__(self) -> None:
        self.line = "000 No Answer"
        self.headers: list[tuple[str, str]] = []
        self.error: str | None = None
        self.request_id: str | None = None

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self.line.split()[0])

    def start(self, line: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        """Take status and headers; those that were there before are forgotten."""
        self.line, self.headers, self.error, self.request_id = line, list(headers), None, None
        for name, value in headers:
            if name.lower() in ("x-amzn-requestid", "x-amz-request-id"):
                self.request_id = value
            elif name.lower() in ("x-amzn-errortype", "x-amzn-query-error"):
                self.error = value.split(";")[0].split(":")[0]

    def fail(self, call: Call, error: AwsError) -> Iterable[bytes]:
        """Make it the error's answer, and return the body of that."""
        body = answer_error(call, error, self.start)
        self.error = error.code
        return body


def answer_error(call: Call, error: AwsError, start_response: Any) -> Iterable[bytes]:
    """Answer a WSGI request with the error as the service's protocol writes it."""
    request_id = str(uuid.uuid4())
    kind, body = _body(call, error, request_id)
    headers = [
        ("Content-Type", kind),
        ("Content-Length", str(len(body))),
        ("x-amzn-RequestId", request_id),
        ("x-amzn-ErrorType", error.code),
    ]
    if call.protocol == "smithy-rpc-v2-cbor":
        headers.append(("smithy-protocol", "rpc-v2-cbor"))
    start_response(f"{error.status} {REASONS.get(error.status, 'Error')}", headers)
    return [b"" if call.method == "HEAD" else body]


def _body(call: Call, error: AwsError, request_id: str) -> tuple[str, bytes]:
    code, message = escape(error.code), escape(error.message)
    side = "Sender" if error.status < 500 else "Receiver"
    if call.protocol in ("query", "ec2"):
        text = (
            f"<ErrorResponse><Error><Type>{side}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        if call.protocol == "ec2":
            text = (
                f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
                f"<RequestID>{request_id}</RequestID></Response>"
            )
        return "text/xml", text.encode()
    if call.protocol == "rest-xml":
        text = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{request_id}</RequestId></Error>"
        return "application/xml", text.encode()
    if call.protocol == "smithy-rpc-v2-cbor":
        return "application/cbor", b"\xa2" + _cbor("__type") + _cbor(error.code) + _cbor("message") + _cbor(error.message)
    version = "1.1" if call.protocol == "json" else "1.0"
    kind = f"application/x-amz-json-{version}" if call.protocol == "json" else "application/json"
    return kind, json.dumps({"__type": error.code, "message": error.message}).encode()


def _cbor(text: str) -> bytes:
    """A text string in CBOR (RFC 8949)."""
    data = text.encode()
    return b"\x7a" + len(data).to_bytes(4, "big") + data
