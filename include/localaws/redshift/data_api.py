"""The Redshift Data API in moto's place. What answers is imported when it is needed: a start need not wait for it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from moto.redshiftdata import urls
from moto.redshiftdata.responses import RedshiftDataAPIServiceResponse

from localaws.redshift.history import has_open_requests

Reply = tuple[int, dict[str, str], str]


def install(root: Path) -> None:
    """Answer the calls from the databases below ``root/redshift``."""
    DataApi.root = root
    for path in list(urls.url_paths):
        urls.url_paths[path] = DataApi.dispatch


def recover() -> None:
    """Open the databases if a statement ran when the server ended: what became of it is told then."""
    if has_open_requests(DataApi.root / "redshift" / "history.sqlite"):
        from localaws.redshift import operations

        operations.use_root(DataApi.root)
        operations.warehouse()


def close() -> None:
    """Stop what runs and close the databases, if any call has opened them."""
    operations = sys.modules.get("localaws.redshift.operations")
    if operations is not None:
        operations.close()


class DataApi(RedshiftDataAPIServiceResponse):
    """The operations, each named as moto's dispatcher looks for them; their meaning is in ``operations``."""

    root: Path

    def _answer(self, operation: str) -> Reply:
        from localaws.redshift import operations

        operations.use_root(self.root)
        found = getattr(operations, operation)(json.loads(self.body or "{}"))
        answer = {key: value for key, value in found.items() if value is not None}
        return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(answer)

    def execute_statement(self) -> Reply:  # type: ignore[override]
        """ExecuteStatement."""
        return self._answer("execute_statement")

    def batch_execute_statement(self) -> Reply:  # type: ignore[override]
        """BatchExecuteStatement."""
        return self._answer("batch_execute_statement")

    def describe_statement(self) -> Reply:  # type: ignore[override]
        """DescribeStatement."""
        return self._answer("describe_statement")

    def get_statement_result(self) -> Reply:  # type: ignore[override]
        """GetStatementResult."""
        return self._answer("get_statement_result")

    def get_statement_result_v2(self) -> Reply:  # type: ignore[override]
        """GetStatementResultV2."""
        return self._answer("get_statement_result_v2")

    def cancel_statement(self) -> Reply:  # type: ignore[override]
        """CancelStatement."""
        return self._answer("cancel_statement")

    def list_statements(self) -> Reply:  # type: ignore[override]
        """ListStatements."""
        return self._answer("list_statements")

    def list_sessions(self) -> Reply:  # type: ignore[override]
        """ListSessions."""
        return self._answer("list_sessions")

    def list_databases(self) -> Reply:  # type: ignore[override]
        """ListDatabases."""
        return self._answer("list_databases")

    def list_schemas(self) -> Reply:  # type: ignore[override]
        """ListSchemas."""
        return self._answer("list_schemas")

    def list_tables(self) -> Reply:  # type: ignore[override]
        """ListTables."""
        return self._answer("list_tables")

    def describe_table(self) -> Reply:  # type: ignore[override]
        """DescribeTable."""
        return self._answer("describe_table")
