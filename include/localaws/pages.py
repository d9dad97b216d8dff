"""The server's own pages below ``/flywheel/``: what runs here, and its faults.

``GET /flywheel/status`` says what runs; ``/flywheel/faults`` takes rules (POST), lists them (GET) and removes them
(DELETE, also ``/flywheel/faults/<id>``); ``POST /flywheel/faults/<id>/release`` lets go of the calls that one holds.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from localaws.fault_rules import BadRule
from localaws.faults import Faults, NoSuchFault
from localaws.origin import check_origin
from localaws.replies import REASONS, AwsError

STATUS_PATH = "/flywheel/status"
"""Answers what runs here, as JSON: ``{"server": "flywheel-localaws", "pid": ..., "root": ...}``."""

FAULTS_PATH = re.compile(r"/flywheel/faults(?:/(?P<id>\w+)(?P<release>/release)?)?")


class Refused(Exception):
    """The page cannot answer so; the message says why."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def is_page(environ: dict[str, Any]) -> bool:
    """Whether a request is for one of these pages. Signed ones are for AWS: a bucket may be named ``flywheel``."""
    path = environ.get("PATH_INFO", "")
    if not path.startswith("/flywheel/") or "HTTP_AUTHORIZATION" in environ:
        return False
    return path == STATUS_PATH or FAULTS_PATH.fullmatch(path) is not None


def answer_page(environ: dict[str, Any], start_response: Callable[..., Any], root: Path, faults: Faults) -> Iterable[bytes]:
    """Answer a request for one of the pages."""
    path = environ["PATH_INFO"]
    try:
        if path == STATUS_PATH:
            status, told = 200, {"server": "flywheel-localaws", "pid": os.getpid(), "root": str(root)}
        else:
            check_origin(environ)
            found = FAULTS_PATH.fullmatch(path)
            assert found is not None, "is_page comes first"
            status, told = 200, _answer_faults(environ, found["id"], bool(found["release"]), faults)
    except Refused as why:
        status, told = why.status, {"error": str(why)}
    except AwsError as error:
        status, told = error.status, {"error": error.message}
    body = json.dumps(told).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(f"{status} {REASONS.get(status, 'OK')}", headers)
    return [body]


def _answer_faults(environ: dict[str, Any], fault_id: str | None, release: bool, faults: Faults) -> dict[str, Any]:
    method = environ["REQUEST_METHOD"]
    try:
        if method == "POST" and release:
            assert fault_id is not None
            return {"released": faults.release(fault_id, refuse=_read_refuse(environ))}
        if method == "DELETE" and fault_id and not release:
            faults.remove(fault_id)
            return {}
        if method == "DELETE" and not fault_id:
            faults.remove_all()
            return {}
        if method == "POST" and not fault_id:
            return {"id": faults.add(_read_json(environ))}
        if method == "GET" and not fault_id:
            return {"faults": faults.as_json()}
    except BadRule as why:
        raise Refused(400, str(why)) from why
    except NoSuchFault as why:
        raise Refused(404, f"there is no fault {fault_id}; GET /flywheel/faults lists those that there are") from why
    raise Refused(405, f"{method} is not served at {environ['PATH_INFO']}")


def _read_refuse(environ: dict[str, Any]) -> bool:
    asked = _read_json(environ)
    if not isinstance(asked, dict) or asked.keys() - {"refuse"} or not isinstance(asked.get("refuse", False), bool):
        raise Refused(400, f'the body: expected nothing or {{"refuse": true}}, found {asked!r}')
    return bool(asked.get("refuse"))


def _read_json(environ: dict[str, Any]) -> Any:
    length = environ.get("CONTENT_LENGTH") or "0"
    body = environ["wsgi.input"].read(int(length)) if length.isdigit() else b""
    try:
        return json.loads(body or b"{}")
    except ValueError as error:
        raise Refused(400, f"the body: expected JSON, found {body[:200]!r} ({error})") from error
