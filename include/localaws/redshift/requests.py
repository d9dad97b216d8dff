"""Checking what the Data API is asked for, as AWS does, before anything is run."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from moto.core.exceptions import JsonRESTError

from localaws.redshift.dialect import placeholders
from localaws.redshift.errors import RedshiftError
from localaws.redshift.history import Part, Request

MAX_SQL_BYTES = 100 * 1024
MAX_ACTIVE = 500
STATEMENT_ID = re.compile(r"[a-z0-9]{8}(-[a-z0-9]{4}){3}-[a-z0-9]{12}(:\d{1,2})?")
_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_$-]{0,126}")

Params = dict[str, Any]


class ValidationException(JsonRESTError):
    """The request is wrong."""

    def __init__(self, message: str):
        super().__init__("ValidationException", message)


class ResourceNotFoundException(JsonRESTError):
    """There is no such statement."""

    def __init__(self, resource: str, message: str = "Query does not exist."):
        super().__init__("ResourceNotFoundException", message)
        self.description = json.dumps({"__type": "ResourceNotFoundException", "Message": message, "ResourceId": resource})


class ActiveStatementsExceededException(JsonRESTError):
    """Too many statements run or wait."""

    def __init__(self) -> None:
        super().__init__("ActiveStatementsExceededException", f"Active statements exceeded the allowed quota ({MAX_ACTIVE}).")


def check_target(params: Params, *, session: bool = False) -> None:
    """Check where a request goes: one of cluster and workgroup, with the authorization that it takes.

    :raises ValidationException: what is missing or too much.
    """
    named = [key for key in ("ClusterIdentifier", "WorkgroupName", "SessionId") if params.get(key)]
    if session and "SessionId" in named:
        extra = [key for key in ("ClusterIdentifier", "WorkgroupName", "Database", "DbUser", "SecretArn") if params.get(key)]
        if extra:
            raise ValidationException(f"SessionId cannot be given together with {', '.join(extra)}.")
        return
    if not named:
        raise ValidationException("Either ClusterIdentifier or WorkgroupName must be specified.")
    if len(named) > 1:
        raise ValidationException(f"Only one of {' and '.join(named)} can be specified.")
    if params.get("DbUser") and params.get("SecretArn"):
        raise ValidationException("Only one of DbUser and SecretArn can be specified.")
    if params.get("WorkgroupName") and params.get("DbUser"):
        raise ValidationException("DbUser is not supported with WorkgroupName: the user comes from IAM or from SecretArn.")
    if not params.get("Database"):
        raise ValidationException("Database must be specified.")
    check_database(params["Database"])


def check_database(name: str) -> str:
    """The database's name, folded to lower case.

    :raises ValidationException: it cannot be a database's name.
    """
    if not _DATABASE.fullmatch(name):
        raise ValidationException(f"Database name {name!r} is not valid: letters, digits, _, - and $, 127 at most.")
    return name.lower()


def new_request(params: Params, batch: bool) -> Request:
    """The request that ExecuteStatement or BatchExecuteStatement asks for.

    :raises ValidationException: it is wrong in a way that AWS tells before it runs anything.
    """
    check_target(params, session=True)
    sqls = params["Sqls"] if batch else [params["Sql"]]
    if not 1 <= len(sqls) <= 40:
        raise ValidationException(f"Sqls must have between 1 and 40 statements, found {len(sqls)}.")
    for sql in sqls:
        if not sql.strip():
            raise ValidationException("Sql statement cannot be empty.")
        if len(sql.encode()) > MAX_SQL_BYTES:
            raise ValidationException(f"Sql statement has {len(sql.encode())} bytes; the maximum is {MAX_SQL_BYTES}.")
    _check_parameters(sqls, params.get("Parameters") or [])
    if params.get("WithEvent"):
        raise ValidationException("Flywheel's local AWS sends no events about statements; leave WithEvent out.")
    if len(params.get("StatementName") or "") > 500:
        raise ValidationException("StatementName must have 500 characters at most.")
    request_id = str(uuid.uuid4())
    mode = params.get("ExecutionMode") or "TRANSACTION"
    return Request(
        id=request_id,
        database=check_database(params["Database"]) if params.get("Database") else "",
        parts=[Part(f"{request_id}:{number}" if batch else request_id, sql) for number, sql in enumerate(sqls, 1)],
        batch=batch,
        transaction=mode == "TRANSACTION",
        cluster=params.get("ClusterIdentifier"),
        workgroup=params.get("WorkgroupName"),
        user=params.get("DbUser") or ("IAM:awsuser" if not params.get("SecretArn") else None),
        secret=params.get("SecretArn"),
        name=params.get("StatementName"),
        parameters=params.get("Parameters") or [],
        result_format=params.get("ResultFormat") or "JSON",
        token=params.get("ClientToken"),
        fingerprint=json.dumps({key: value for key, value in params.items() if key != "ClientToken"}, sort_keys=True),
    )


def _check_parameters(sqls: list[str], parameters: list[dict[str, str]]) -> None:
    names = [item["name"] for item in parameters]
    for item in parameters:
        if names.count(item["name"]) > 1:
            raise ValidationException(f"Parameters list contains duplicate parameters: [{item['name']}]")
        if item.get("value") in (None, ""):
            raise ValidationException(f"Parameter {item['name']} has no value; it must have a length of 1 at least.")
    used: set[str] = set()
    for sql in sqls:
        try:
            used |= placeholders(sql)
        except RedshiftError:
            return  # it cannot be read; the statement itself will fail and say why
    unused = [name for name in names if name not in used]
    if unused:
        raise ValidationException(f"Parameters list contains unused parameters. Unused parameters: [{', '.join(unused)}]")
    missing = sorted(used - set(names))
    if missing and names:
        raise ValidationException(f"Cannot find parameter: {missing[0]}")


def check_id(statement_id: str) -> str:
    """The Id of a statement, or of one of a batch.

    :raises ValidationException: it is no Id.
    """
    if not STATEMENT_ID.fullmatch(statement_id or ""):
        raise ValidationException(f"id must satisfy regex pattern: ^{STATEMENT_ID.pattern}$")
    return statement_id
