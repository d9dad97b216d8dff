"""SQL on Redshift through its Data API."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from flywheel.hooks.jobs import Identity
from flywheel.operators.job import JobOperator
from flywheel.settings import settings

#: Errors of a transaction that was rolled back for another's sake: the same statements may well succeed, and AWS says to send
#: them again (redshift/latest/dg/c_serial_isolation-serializable-isolation-troubleshooting.html).
ROLLED_BACK = re.compile(r"ERROR:\s*1023\b|Serializable isolation violation|deadlock detected")
#: How many times they are sent again.
AGAIN = 5
#: Mean seconds before the first of these times; each mean is twice the one before. The pauses scatter around them by half, or
#: the two that were in each other's way would meet again.
FIRST_PAUSE = 1.0


class RedshiftOperator(JobOperator):
    """What both have in common: the workgroup, the parameters, and where statements are listed.

    :param parameters: values of the ``:name`` parameters (templated)
    """

    kind = "redshift_data"
    template_fields: Sequence[str] = (*JobOperator.template_fields, "sql", "parameters")
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {"sql": "sql"}

    def __init__(self, *, parameters: Mapping[str, str] | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.parameters = dict(parameters or {})

    def target(self, name: str) -> dict[str, Any]:
        """The arguments that every statement carries. AWS answers a repeated token with the statement that it already has."""
        settings().need("redshift_workgroup", "redshift_database")
        values = [{"name": key, "value": str(value)} for key, value in self.parameters.items()]
        return {
            **self.listing(),
            "StatementName": name,
            "ClientToken": name,
            **({"Parameters": values} if values else {}),
        }

    def listing(self) -> dict[str, str]:
        """The statements of the project's workgroup and database."""
        return {"WorkgroupName": settings().redshift_workgroup, "Database": settings().redshift_database}


class RedshiftStatementsOperator(RedshiftOperator):
    """Runs SQL statements in one transaction (API: ``BatchExecuteStatement`` with a stable client token).

    All of them take effect or none. Instead of the provider's RedshiftDataOperator, which sends no client token and is not
    durable when deferred (apache/airflow #69530).

    A batch that Redshift rolled back because of another transaction (error 1023, deadlock) is sent again :data:`AGAIN` times in
    the same try: the other one is mostly gone in seconds, where a retry of the task waits half a minute, uses up one of the few
    that are there for real failures, and has to be configured for each task.

    :param sql: files below ``include/sql``, one statement each, or statements (templated). Those that are blank once they are
        rendered are not sent: a template can leave a statement out
    Returns ``{"Id", "rows": [rows that each statement returned or touched, -1 where AWS does not say]}``.
    """

    def __init__(self, *, sql: Sequence[str], **kwargs: Any):
        super().__init__(**kwargs)
        self.sql = list(sql)

    def start(self, client: Any, name: str) -> Identity:
        """Sends the batch."""
        statements = [statement for statement in self.sql if statement.strip()]
        return {"Id": client.batch_execute_statement(Sqls=statements, **self.target(name))["Id"]}

    def pause_before_next(self, failure: str) -> float | None:
        """A growing pause, as long as Redshift has not rolled the batch back too often."""
        times = sum(bool(ROLLED_BACK.search(job["reason"])) for job in self.failed_jobs)
        if not ROLLED_BACK.search(failure) or times > AGAIN:
            return None
        return FIRST_PAUSE * 2 ** (times - 1) * random.uniform(0.5, 1.5)

    def result(self, client: Any, identity: Identity, description: Mapping[str, Any]) -> Any:
        """The identity and the row counts."""
        return {**identity, "rows": [part.get("ResultRows", -1) for part in description.get("SubStatements", [])]}


class RedshiftQueryOperator(RedshiftOperator):
    """Runs one statement and returns its few rows (API: ``ExecuteStatement``, ``GetStatementResult``).

    :param sql: a file below ``include/sql`` or a statement (templated)
    Returns ``[{column: value}]``; meant for what a decision needs, not for data.
    """

    def __init__(self, *, sql: str = "", **kwargs: Any):
        super().__init__(**kwargs)
        self.sql = sql

    def start(self, client: Any, name: str) -> Identity:
        """Sends the statement."""
        return {"Id": client.execute_statement(Sql=self.sql, **self.target(name))["Id"]}

    def result(self, client: Any, identity: Identity, description: Mapping[str, Any]) -> Any:
        """The rows."""
        return read_rows(client, identity["Id"])


def read_rows(client: Any, statement_id: str) -> list[dict[str, Any]]:
    """The rows of a finished statement as ``{column: value}``; meant for the few rows that a decision needs.

    :param client: a ``redshift-data`` client
    :param statement_id: the statement's id; of a batch, the sub-statement's (``<id>:2``)
    """
    pages = client.get_paginator("get_statement_result").paginate(Id=statement_id)
    rows: list[dict[str, Any]] = []
    for page in pages:
        names = [column["name"] for column in page["ColumnMetadata"]]
        for record in page["Records"]:
            values = (None if "isNull" in value else next(iter(value.values())) for value in record)
            rows.append(dict(zip(names, values, strict=True)))
    return rows
