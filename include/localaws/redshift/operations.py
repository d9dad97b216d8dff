"""The operations of the Redshift Data API: a request's parameters in, the answer's members out."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

from localaws.redshift.history import Part, Request
from localaws.redshift.requests import (
    MAX_ACTIVE,
    ActiveStatementsExceededException,
    Params,
    ResourceNotFoundException,
    ValidationException,
    check_database,
    check_id,
    check_target,
    new_request,
)
from localaws.redshift.results import as_csv, page_of, page_token
from localaws.redshift.runner import LiveSession, Warehouse

_warehouse: Warehouse | None = None
_root: Path | None = None
_opening = threading.Lock()

Answer = dict[str, Any]


def use_root(root: Path) -> None:
    """Keep the databases below ``root/redshift``; they are opened by the first call."""
    global _root
    _root = root


def warehouse() -> Warehouse:
    """The databases of this server. When it is opened, requests that a stopped server left running are told as ended."""
    global _warehouse
    with _opening:
        if _warehouse is None:
            assert _root is not None, "localaws.redshift.install(root) comes first"
            _warehouse = Warehouse(_root / "redshift", _root / "s3")
            _warehouse.recover()
        return _warehouse


def close() -> None:
    """Stop what runs and close the databases."""
    global _warehouse
    with _opening:
        if _warehouse is not None:
            _warehouse.close()
            _warehouse = None


def execute_statement(params: Params) -> Answer:
    """ExecuteStatement."""
    return _execute(params, batch=False)


def batch_execute_statement(params: Params) -> Answer:
    """BatchExecuteStatement."""
    return _execute(params, batch=True)


def _execute(params: Params, batch: bool) -> Answer:
    house = warehouse()
    request = new_request(params, batch)
    known = house.history.by_token(request.token)
    if known is None:
        if sum(not other.ended for other in house.history.all()) >= MAX_ACTIVE:
            raise ActiveStatementsExceededException()
        _claim_session(house, params, request)
        known = house.submit(request)
    if known.fingerprint != request.fingerprint:
        raise ValidationException("ClientToken was used before with other parameters.")
    if params.get("WaitTimeSeconds"):
        house.wait(known, params["WaitTimeSeconds"])
    answer = {
        "Id": known.id,
        "CreatedAt": known.created,
        "ClusterIdentifier": known.cluster,
        "WorkgroupName": known.workgroup,
        "Database": known.database,
        "DbUser": known.user,
        "SecretArn": known.secret,
        "SessionId": known.session,
    }
    if params.get("WaitTimeSeconds"):
        answer |= {"Status": known.status, "HasResultSet": any(part.has_result for part in known.parts)}
    return answer


def _claim_session(house: Warehouse, params: Params, request: Request) -> None:
    keep_alive = params.get("SessionKeepAliveSeconds")
    if params.get("SessionId"):
        try:
            live = house.claim_session(params["SessionId"], request, keep_alive)
        except KeyError:
            raise ResourceNotFoundException(params["SessionId"], "Session does not exist or has expired.") from None
        if live is None:
            raise ValidationException(f"Session {params['SessionId']} is busy: it runs another statement.")
        request.database, request.cluster = live.like.database, live.like.cluster
        request.workgroup, request.user = live.like.workgroup, live.like.user
    elif keep_alive:
        house.keep_session(request, keep_alive)


def _found(params: Params) -> tuple[Request, Part | None]:
    """The request of an Id, and the statement of the batch that it names, if it does."""
    statement_id = check_id(params.get("Id", ""))
    request = warehouse().history.get(statement_id)
    if request is None:
        raise ResourceNotFoundException(statement_id)
    if params.get("WaitTimeSeconds"):
        warehouse().wait(request, params["WaitTimeSeconds"])
    if ":" not in statement_id:
        return request, None
    part = next((part for part in request.parts if part.id == statement_id), None)
    if part is None:
        raise ResourceNotFoundException(statement_id)
    return request, part


def describe_statement(params: Params) -> Answer:
    """DescribeStatement."""
    request, part = _found(params)
    only = part or (request.parts[0] if not request.batch else None)
    answer: Answer = {
        "Id": (part or request).id,
        "ClusterIdentifier": request.cluster,
        "WorkgroupName": request.workgroup,
        "Database": request.database,
        "DbUser": request.user,
        "SecretArn": request.secret,
        "CreatedAt": request.created,
        "UpdatedAt": request.updated,
        "RedshiftPid": request.pid,
        "ResultFormat": request.result_format,
        "SessionId": request.session,
        "QueryParameters": request.parameters or None,
        "ExecutionMode": ("TRANSACTION" if request.transaction else "AUTO_COMMIT") if request.batch else None,
    }
    if only is not None:
        answer |= _figures(only) | {"QueryString": only.sql}
        if part is None:  # the request's own state: a commit may fail after the statement
            answer |= {"Status": request.status, "Error": request.error, "Duration": request.duration_ns}
    else:
        answer |= {
            "Status": request.status,
            "Error": request.error,
            "Duration": request.duration_ns,
            "HasResultSet": any(part.has_result for part in request.parts),
            "RedshiftQueryId": 0,
            "ResultRows": sum(max(part.rows, 0) for part in request.parts) if request.ended else -1,
            "ResultSize": sum(max(part.size, 0) for part in request.parts) if request.ended else -1,
            "SubStatements": [
                {key: value for key, value in (_figures(part) | {"Id": part.id, "QueryString": part.sql,
                 "CreatedAt": part.created, "UpdatedAt": part.updated}).items() if value is not None}
                for part in request.parts
            ],
        }  # fmt: skip
    return answer


def _figures(part: Part) -> Answer:
    return {
        "Status": part.status,
        "Error": part.error,
        "Duration": part.duration_ns,
        "HasResultSet": part.has_result,
        "RedshiftQueryId": part.query_id,
        "ResultRows": part.rows,
        "ResultSize": part.size,
    }


def get_statement_result(params: Params) -> Answer:
    """GetStatementResult."""
    return _result(params, "JSON")


def get_statement_result_v2(params: Params) -> Answer:
    """GetStatementResultV2, which gives results that were asked for as CSV."""
    return _result(params, "CSV")


def _result(params: Params, wanted: str) -> Answer:
    request, part = _found(params)
    if part is None:
        if request.batch:
            raise ValidationException("BatchExecuteStatement result can only be retrieved with sub-statement id.")
        part = request.parts[0]
    if request.result_format != wanted:
        other = "GetStatementResultV2" if request.result_format == "CSV" else "GetStatementResult"
        raise ValidationException(f"The statement's ResultFormat is {request.result_format}; read it with {other}.")
    if not request.ended or part.status != "FINISHED" or not part.has_result:
        raise ResourceNotFoundException(part.id, "Query does not have result. Please check query status with DescribeStatement.")
    try:
        page = page_of(part.id, params.get("NextToken"))
        columns, records, rows, following = warehouse().results.read(part.id, page)
    except (ValueError, KeyError) as error:
        raise ValidationException(f"NextToken is not one of the result of {part.id}.") from error
    answer: Answer = {"ColumnMetadata": columns, "TotalNumRows": rows}
    answer["Records"] = records if wanted == "JSON" else [{"CSVRecords": as_csv(records)}]
    if wanted == "CSV":
        answer["ResultFormat"] = "CSV"
    answer["NextToken"] = page_token(part.id, following) if following is not None else None
    return answer


def cancel_statement(params: Params) -> Answer:
    """CancelStatement."""
    request, part = _found(params)
    if part is not None:
        raise ValidationException("A statement of a batch cannot be cancelled alone; cancel the batch.")
    was = request.status
    if not warehouse().cancel(request):
        state = request.status if request.ended else was
        raise ValidationException(f"Could not cancel a query that is already in {state} state with ID: {request.id}")
    return {"Status": True}


def _paged(params: Params, items: list[Any], size: int) -> tuple[list[Any], str | None]:
    """A page of a list; the token is the number of the next item."""
    token = params.get("NextToken") or "0"
    if not token.isdigit() or int(token) > len(items):
        raise ValidationException("NextToken is not valid.")
    end = int(token) + (params.get("MaxResults") or size)
    return items[int(token) : end], str(end) if end < len(items) else None


def list_statements(params: Params) -> Answer:
    """ListStatements."""
    status = params.get("Status") or "ALL"
    prefix = params.get("StatementName") or ""
    found = [
        request
        for request in warehouse().history.all()
        if status in ("ALL", request.status)
        and (request.name or "").startswith(prefix)
        and params.get("Database", request.database) == request.database
        and params.get("ClusterIdentifier", request.cluster) == request.cluster
        and params.get("WorkgroupName", request.workgroup) == request.workgroup
    ]
    page, token = _paged(params, found, 100)
    statements = []
    for request in page:
        item: Answer = {
            "Id": request.id,
            "Status": request.status,
            "CreatedAt": request.created,
            "UpdatedAt": request.updated,
            "IsBatchStatement": request.batch,
            "StatementName": request.name,
            "SecretArn": request.secret,
            "SessionId": request.session,
            "ResultFormat": request.result_format,
            "QueryParameters": request.parameters or None,
        }
        if request.batch:
            item["QueryStrings"] = [part.sql for part in request.parts]
        else:
            item["QueryString"] = request.parts[0].sql
        statements.append({name: value for name, value in item.items() if value is not None})
    return {"Statements": statements, "NextToken": token}


def list_sessions(params: Params) -> Answer:
    """ListSessions."""

    def shown(live: LiveSession) -> Answer:
        return {
            "SessionId": live.id,
            "Status": "BUSY" if live.current else "AVAILABLE",
            "CreatedAt": live.created,
            "UpdatedAt": live.used,
            "Database": live.like.database,
            "DbUser": live.like.user,
            "ClusterIdentifier": live.like.cluster,
            "WorkgroupName": live.like.workgroup,
            "SessionAliveSeconds": live.keep_alive_s,
            "SessionTtl": live.used + live.keep_alive_s,
            "CurrentStatementId": live.current,
        }

    found = [{key: value for key, value in shown(live).items() if value is not None} for live in warehouse().open_sessions()]
    for key in ("SessionId", "Status", "Database", "ClusterIdentifier", "WorkgroupName"):
        if params.get(key):
            found = [item for item in found if item.get(key) == params[key]]
    page, token = _paged(params, found, 100)
    return {"Sessions": page, "NextToken": token}


# --- the catalog


def _rows(params: Params, sql: str) -> list[tuple]:
    database = params.get("ConnectedDatabase") or params["Database"]
    cursor = warehouse().database(check_database(database)).cursor()
    try:
        return cursor.execute(sql).fetchall()
    finally:
        cursor.close()


def _like(pattern: str | None, name: str) -> bool:
    """Whether a name fits a pattern of LIKE (% and _)."""
    if not pattern:
        return True
    text = "".join(".*" if char == "%" else "." if char == "_" else re.escape(char) for char in pattern)
    return re.fullmatch(text, name, re.IGNORECASE) is not None


def list_databases(params: Params) -> Answer:
    """ListDatabases."""
    if params.get("Database"):
        check_target(params)
        warehouse().database(check_database(params["Database"]))
    else:
        check_target(params | {"Database": "dev"})
    page, token = _paged(params, warehouse().names(), 1000)
    return {"Databases": page, "NextToken": token}


def list_schemas(params: Params) -> Answer:
    """ListSchemas."""
    check_target(params)
    rows = _rows(params, "SELECT schema_name FROM pg_internal.information_schema_schemata ORDER BY 1")
    names = [name for (name,) in rows if _like(params.get("SchemaPattern"), name)]
    page, token = _paged(params, names, 1000)
    return {"Schemas": page, "NextToken": token}


def list_tables(params: Params) -> Answer:
    """ListTables."""
    check_target(params)
    rows = _rows(params, "SELECT table_schema, table_name, table_type FROM pg_internal.svv_tables ORDER BY 1, 2")
    tables = [
        {"schema": schema, "name": name, "type": "TABLE" if kind == "BASE TABLE" else "VIEW"}
        for schema, name, kind in rows
        if _like(params.get("SchemaPattern"), schema) and _like(params.get("TablePattern"), name)
    ]
    page, token = _paged(params, tables, 1000)
    return {"Tables": page, "NextToken": token}


def describe_table(params: Params) -> Answer:
    """DescribeTable."""
    check_target(params)
    if not params.get("Table"):
        raise ValidationException("Table must be specified.")
    rows = _rows(
        params,
        "SELECT table_schema, table_name, column_name, data_type, is_nullable, column_default, "
        "character_maximum_length, numeric_precision, numeric_scale FROM pg_internal.svv_columns ORDER BY 1, 2, ordinal_position",
    )
    columns = [
        {
            "name": name,
            "label": name,
            "typeName": _short(kind),
            "nullable": 1 if nullable == "YES" else 0,
            "schemaName": schema,
            "tableName": table,
            "length": length or precision or 0,
            "precision": precision or length or 0,
            "scale": scale or 0,
            "isCaseSensitive": kind.startswith("character"),
            "isCurrency": False,
            "isSigned": precision is not None,
        }
        | ({"columnDefault": default} if default else {})
        for schema, table, name, kind, nullable, default, length, precision, scale in rows
        if schema == (params.get("Schema") or "public").lower() and table == params["Table"].lower()
    ]
    page, token = _paged(params, columns, 1000)
    return {"TableName": params["Table"], "ColumnList": page, "NextToken": token}


def _short(kind: str) -> str:
    names = {"character varying": "varchar", "character": "bpchar", "smallint": "int2", "integer": "int4", "bigint": "int8",
             "real": "float4", "double precision": "float8", "boolean": "bool", "binary varying": "varbyte",
             "timestamp without time zone": "timestamp", "timestamp with time zone": "timestamptz",
             "time without time zone": "time"}  # fmt: skip
    return names.get(kind, kind)
