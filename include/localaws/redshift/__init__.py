"""Redshift and its Data API: real SQL on DuckDB, with Redshift's meaning, its COPY and UNLOAD, and its errors.

From the bottom up: ``dialect`` and ``rewrite`` read Redshift's SQL and refuse what cannot be served faithfully, ``typed``
settles what depends on types, ``engine`` is a database and its sessions, ``statements`` runs one statement, ``runner``
runs requests in threads and remembers them, ``operations`` answers the calls.

Known differences that no error tells of: CHAR(n) values are not padded with blanks, and trailing blanks count in
comparisons; MEDIAN and PERCENTILE_CONT of integers are doubles; a database that is named for the first time is created;
after a TRUNCATE in a batch every further statement commits alone. Where the documentation leaves a choice, the stricter
reading is taken: a Parquet INT32 does not load into a BIGINT, numeric quotients are cut and not rounded, and an UPDATE or
DELETE of a table that another transaction changed since this one began is a serialisation error (1023), and so is the commit
of a transaction that read a table which another has written since, when that other had read one that this one wrote (isolation
level SERIALIZABLE; under SNAPSHOT, the level of a new workgroup, Redshift lets the latter pass).
"""

from __future__ import annotations

from pathlib import Path

SERVED = frozenset(
    """
    ExecuteStatement BatchExecuteStatement DescribeStatement GetStatementResult GetStatementResultV2 CancelStatement
    ListStatements ListSessions ListDatabases ListSchemas ListTables DescribeTable
    """.split()
)
"""The operations of redshift-data that are served; these are all there are."""


def install(root: Path) -> None:
    """Answer the Redshift Data API's calls from the databases below ``root/redshift``.

    They are opened by the first call, or by :func:`recover` where a statement ran when the server ended.
    """
    from localaws.redshift import data_api

    data_api.install(root)


def recover() -> None:
    """After a start: tell requests that ran when the server ended as ended, if there are any."""
    from localaws.redshift import data_api

    data_api.recover()


def shutdown() -> None:
    """Stop what runs and close the databases, because the server ends."""
    from localaws.redshift import data_api

    data_api.close()
