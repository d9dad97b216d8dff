"""The schemas of a database, and Redshift's system views over DuckDB's catalog.

The schema ``pg_internal`` is ours: it cannot be named in a statement. A column's comment holds the type that Redshift
shows for it, where DuckDB's type does not tell it.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

_USER = "database_name = current_database() AND schema_name NOT IN ('pg_internal', 'main') AND NOT internal"

_TYPE = """CASE
    WHEN comment IS NOT NULL THEN comment
    WHEN data_type = 'VARCHAR' THEN 'character varying(65535)'
    WHEN data_type LIKE 'DECIMAL%' THEN 'numeric' || substr(data_type, 8)
    WHEN data_type = 'DOUBLE' THEN 'double precision'
    WHEN data_type = 'FLOAT' THEN 'real'
    WHEN data_type = 'TIMESTAMP' THEN 'timestamp without time zone'
    WHEN data_type = 'TIMESTAMP WITH TIME ZONE' THEN 'timestamp with time zone'
    WHEN data_type = 'TIME' THEN 'time without time zone'
    WHEN data_type = 'JSON' THEN 'super'
    WHEN data_type = 'BLOB' THEN 'binary varying'
    ELSE lower(data_type) END"""

_COLUMNS = f"""
    SELECT database_name AS table_catalog, schema_name AS table_schema, table_name, column_name,
           CAST(column_index AS INTEGER) AS ordinal_position, column_default,
           CASE WHEN is_nullable THEN 'YES' ELSE 'NO' END AS is_nullable,
           regexp_replace({_TYPE}, '\\(.*', '') AS data_type,
           CAST(CASE WHEN {_TYPE} LIKE 'character%' THEN regexp_extract({_TYPE}, '\\((\\d+)\\)', 1) END AS INTEGER)
               AS character_maximum_length,
           CASE data_type WHEN 'SMALLINT' THEN 16 WHEN 'INTEGER' THEN 32 WHEN 'BIGINT' THEN 64
                WHEN 'FLOAT' THEN 24 WHEN 'DOUBLE' THEN 53 ELSE CASE WHEN data_type LIKE 'DECIMAL%'
                THEN numeric_precision END END AS numeric_precision,
           CASE WHEN data_type LIKE 'DECIMAL%' THEN numeric_scale
                WHEN data_type IN ('SMALLINT', 'INTEGER', 'BIGINT') THEN 0 END AS numeric_scale
    FROM duckdb_columns() WHERE {_USER}"""

_TABLES = f"""
    SELECT database_name AS table_catalog, schema_name AS table_schema, table_name, 'BASE TABLE' AS table_type
    FROM duckdb_tables() WHERE {_USER} AND NOT temporary
    UNION ALL
    SELECT database_name, schema_name, view_name, 'VIEW' FROM duckdb_views() WHERE {_USER} AND NOT temporary"""

_VIEWS = {
    "svv_columns": _COLUMNS,
    "information_schema_columns": _COLUMNS,
    "svv_tables": _TABLES,
    "information_schema_tables": _TABLES,
    "information_schema_schemata": """
        SELECT database_name AS catalog_name, schema_name, 'awsuser' AS schema_owner FROM duckdb_schemas()
        WHERE database_name = current_database() AND schema_name NOT IN ('pg_internal', 'main')""",
    # Redshift's tbl_rows counts deleted rows that were not vacuumed yet, as DuckDB's estimate does; empty tables are
    # not in the view.
    "svv_table_info": f"""
        SELECT database_name AS "database", schema_name AS "schema", CAST(table_oid AS INTEGER) AS table_id,
               table_name AS "table", CAST(estimated_size AS DECIMAL(38,0)) AS tbl_rows,
               CAST(estimated_size AS DECIMAL(38,0)) AS estimated_visible_rows
        FROM duckdb_tables() WHERE {_USER} AND NOT temporary AND estimated_size > 0""",
    "pg_table_def": f"""
        SELECT schema_name AS schemaname, table_name AS tablename, column_name AS "column", {_TYPE} AS "type",
               NOT is_nullable AS "notnull"
        FROM duckdb_columns() WHERE {_USER} AND list_contains(current_schemas(false), schema_name)""",
}

_LOAD_ERRORS = """CREATE TABLE IF NOT EXISTS pg_internal.stl_load_errors (
    userid INTEGER, tbl INTEGER, starttime TIMESTAMP, session INTEGER, query INTEGER, filename VARCHAR,
    line_number BIGINT, colname VARCHAR, type VARCHAR, col_length VARCHAR, "position" INTEGER, raw_line VARCHAR,
    raw_field_value VARCHAR, err_code INTEGER, err_reason VARCHAR)"""

_DETAIL = """CREATE OR REPLACE VIEW pg_internal.sys_load_error_detail AS
    SELECT userid AS user_id, query AS query_id, session AS session_id, current_database() AS database_name,
           starttime AS start_time, tbl AS table_id, filename AS file_name, line_number, colname AS column_name,
           type AS column_type, col_length AS column_length, "position", raw_line, raw_field_value,
           err_code AS error_code, err_reason AS error_message
    FROM pg_internal.stl_load_errors"""


def install(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the schemas ``public`` and ``pg_internal`` with the system views in the connection's database."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS public")
    connection.execute("CREATE SCHEMA IF NOT EXISTS pg_internal")
    connection.execute(_LOAD_ERRORS)
    connection.execute(_DETAIL)
    connection.execute("CREATE TABLE IF NOT EXISTS pg_internal.committed (statement VARCHAR, outcome VARCHAR)")
    for name, query in _VIEWS.items():
        connection.execute(f"CREATE OR REPLACE VIEW pg_internal.{name} AS {query}")


@dataclass(frozen=True)
class Column:
    """A column of a table: DuckDB's type, Redshift's where it says more, and how it is filled."""

    name: str
    duckdb_type: str
    redshift_type: str
    nullable: bool
    default: str | None

    @property
    def identity(self) -> bool:
        """Whether the database numbers it."""
        return bool(self.default) and "nextval(" in str(self.default)

    @property
    def length(self) -> int | None:
        """The bytes a text may have, where it is limited."""
        if self.redshift_type.startswith("character"):
            return int(self.redshift_type.rstrip(")").rpartition("(")[2])
        return None


@dataclass(frozen=True)
class TableName:
    """A table, with the schema it was found in; ``temporary`` ones live in DuckDB's own schema."""

    schema: str
    name: str
    temporary: bool = False

    @property
    def sql(self) -> str:
        """The name as DuckDB's SQL."""
        if self.temporary:
            return f"temp.main.{quote(self.name)}"
        return f"{quote(self.schema)}.{quote(self.name)}"

    def __str__(self) -> str:
        return self.name if self.temporary else f"{self.schema}.{self.name}"


def quote(identifier: str) -> str:
    """The identifier between double quotes."""
    return '"' + identifier.replace('"', '""') + '"'


def columns_of(connection: duckdb.DuckDBPyConnection, names: list[str]) -> dict[tuple[str, str, bool], list[Column]]:
    """The columns of every table or view with one of these names: (schema, name, temporary) -> columns in order."""
    rows = connection.execute(
        f"SELECT schema_name, table_name, database_name = 'temp', column_name, data_type, {_TYPE}, is_nullable, "
        "column_default FROM duckdb_columns() WHERE database_name IN (current_database(), 'temp') "
        "AND list_contains(?, table_name) ORDER BY database_name, schema_name, table_name, column_index",
        [names],
    ).fetchall()
    found: dict[tuple[str, str, bool], list[Column]] = {}
    for schema, table, temporary, *column in rows:
        found.setdefault((schema, table, temporary), []).append(Column(*column))
    return found
