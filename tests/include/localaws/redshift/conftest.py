"""A Redshift for the tests: the engine alone for SQL, the Data API of the running local AWS for everything else."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from localaws.redshift.engine import Database, Outcome, Session
from localaws.redshift.statements import run_statement

NUMBERS = itertools.count(1)


class Sql:
    """A session: ``sql("select ...")`` gives the rows, or the number of rows that were changed."""

    def __init__(self, session: Session):
        self.session = session
        self.columns: list[tuple[str, str]] = []

    def __call__(self, statement: str, **parameters: str) -> Any:
        rows: list[tuple] = []

        def consume(outcome: Outcome) -> None:
            self.columns = outcome.columns or []
            for chunk in outcome.fetch() if outcome.fetch else ():
                rows.extend(chunk)

        outcome = run_statement(self.session, statement, parameters, consume)
        return rows if outcome.columns is not None else outcome.rows

    def one(self, statement: str, **parameters: str) -> Any:
        """The only field of the only row."""
        ((value,),) = self(statement, **parameters)
        return value

    def type_of(self, statement: str) -> str:
        """DuckDB's type of the first column."""
        self(statement)
        return self.columns[0][1]


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    root = tmp_path_factory.mktemp("redshift")
    (root / "s3").mkdir()
    opened = Database("dev", root / "redshift", root / "s3")
    yield opened
    opened.close()


@pytest.fixture
def connect(database: Database) -> Iterator[Callable[[], Sql]]:
    """Open sessions that look for tables in a schema of the test's own."""
    schema = f"test_{next(NUMBERS)}"
    opened: list[Sql] = []

    def open_session() -> Sql:
        sql = Sql(Session(database))
        sql(f"create schema if not exists {schema}")
        sql(f"set search_path to {schema}")
        opened.append(sql)
        return sql

    yield open_session
    for sql in opened:
        sql.session.cancelled.clear()
        sql.session.close()


@pytest.fixture
def sql(connect: Callable[[], Sql]) -> Sql:
    return connect()


class DataApi:
    """The Data API of a running local AWS, and a bucket."""

    def __init__(self, aws: Any, database: str):
        self.client = aws.client("redshift-data")
        self.s3 = aws.client("s3")
        self.target = {"WorkgroupName": "tests", "Database": database}

    def start(self, sql: str | list[str], **more: Any) -> str:
        """Start a statement, or a batch, and return its Id."""
        wanted = self.target | more
        if isinstance(sql, list):
            return self.client.batch_execute_statement(Sqls=sql, **wanted)["Id"]
        return self.client.execute_statement(Sql=sql, **wanted)["Id"]

    def ended(self, statement: str) -> dict[str, Any]:
        """DescribeStatement, once it has ended."""
        for _ in range(4):
            found = self.client.describe_statement(Id=statement, WaitTimeSeconds=30)
            if found["Status"] in ("FINISHED", "FAILED", "ABORTED"):
                return found
        raise AssertionError(f"{statement} has not ended: {found}")

    def run(self, sql: str | list[str], **more: Any) -> dict[str, Any]:
        """Run a statement to its end."""
        return self.ended(self.start(sql, **more))

    def rows(self, sql: str, **more: Any) -> list[list[Any]]:
        """The rows of a query, as plain values."""
        found = self.run(sql, **more)
        assert found["Status"] == "FINISHED", found
        records = self.client.get_statement_result(Id=found["Id"])["Records"]
        return [[None if "isNull" in field else next(iter(field.values())) for field in record] for record in records]

    def error(self, sql: str | list[str], **more: Any) -> str:
        """The error of a statement that must fail."""
        found = self.run(sql, **more)
        assert found["Status"] == "FAILED", found
        return found["Error"]

    def clear(self) -> None:
        """Drop what an earlier test has made."""
        schemas = [name for name in self.client.list_schemas(**self.target)["Schemas"] if name != "public"]
        tables = self.client.list_tables(SchemaPattern="public", **self.target)["Tables"]
        gone = [f"drop table if exists {table['name']} cascade" for table in tables if table["type"] == "TABLE"]
        gone += [f"drop schema {name} cascade" for name in schemas]
        if gone:
            self.run(gone)

    def put(self, key: str, body: bytes | str) -> None:
        """Write an object into the tests' bucket."""
        self.s3.put_object(Bucket="redshift-tests", Key=key, Body=body)

    def keys(self, prefix: str) -> list[str]:
        """The keys below a prefix of the tests' bucket."""
        listed = self.s3.list_objects_v2(Bucket="redshift-tests", Prefix=prefix)
        return [item["Key"] for item in listed.get("Contents", [])]

    def read(self, key: str) -> bytes:
        """An object of the tests' bucket."""
        return self.s3.get_object(Bucket="redshift-tests", Key=key)["Body"].read()


@pytest.fixture
def data_api() -> type[DataApi]:
    return DataApi


@pytest.fixture
def api(aws: Any) -> DataApi:
    found = DataApi(aws, "tests")
    found.s3.create_bucket(Bucket="redshift-tests")
    found.clear()
    return found
