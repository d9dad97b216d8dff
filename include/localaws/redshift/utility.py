"""Statements that are neither queries nor DDL: transactions, settings, locks, and what has no effect here."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlglot import exp

from localaws.redshift.dialect import tokens
from localaws.redshift.engine import Outcome, Session
from localaws.redshift.errors import NotServed, RedshiftError

# Settings that change neither results nor what may be run, so that taking them without effect is the truth.
_HARMLESS = {"query_group", "enable_result_cache_for_session", "wlm_query_slot_count", "analyze_threshold_percent",
             "application_name", "client_encoding", "mv_enable_aqmv_for_session"}  # fmt: skip
# Settings that are served with one value only: the one that the engine has.
_FIXED = {"timezone": ("utc", "etc/utc", "default"), "enable_case_sensitive_identifier": ("false", "off", "0"),
          "datestyle": ("iso", "iso, mdy", "iso,mdy"), "describe_field_name_in_uppercase": ("false", "off", "0")}  # fmt: skip


def transaction(session: Session, word: str) -> Outcome:
    """BEGIN, COMMIT, ROLLBACK and their other names."""
    if word in ("BEGIN", "START"):
        if not session.block:
            session.begin()
    elif word in ("COMMIT", "END"):
        session.commit()
    else:
        session.rollback()
    return Outcome()


def setting(session: Session, sql: str) -> Outcome:
    """SET and RESET."""
    match = re.match(r"(?is)^\s*set\s+(?:session\s+|local\s+)?(\w+|time\s+zone)\s*(?:=|\bto\b|\s)\s*(.+?)\s*$", sql) or re.match(
        r"(?is)^\s*reset\s+(\w+)()\s*$", sql
    )
    if not match:
        raise RedshiftError(f"syntax error in {sql!r}")
    name, value = match.group(1).lower(), match.group(2).strip()
    plain = value.strip("'\"").lower()
    if name == "search_path":
        names = [part.strip().strip("'\"").lower() for part in value.split(",")] if value else ["public"]
        if plain == "default":
            names = ["public"]
        rows = session.execute("SELECT schema_name FROM duckdb_schemas() WHERE database_name = current_database()").fetchall()
        known = {row[0] for row in rows} - {"main", "pg_internal"}
        session.set_search_path([part for part in names if part in known])
    elif name in _FIXED or name == "time zone":
        if value and plain not in _FIXED.get(name, _FIXED["timezone"]):
            raise NotServed(f"SET {name} TO {value}", f"the one value it has is {_FIXED.get(name, ('utc',))[0]}")
    elif name == "statement_timeout":
        if value and not plain.isdigit():
            raise RedshiftError(f'invalid value for parameter "statement_timeout": "{plain}"')
        session.timeout_s = int(plain) / 1000 if value else 0.0
    elif name not in _HARMLESS:
        raise NotServed(f"SET {name}", f"known: {', '.join(sorted(_HARMLESS | set(_FIXED)))}, search_path, statement_timeout")
    return Outcome()


def show(session: Session, sql: str) -> Outcome:
    """SHOW of the settings that are served."""
    name = sql.split(None, 1)[1].strip().lower() if len(sql.split()) > 1 else ""
    values = {"search_path": ", ".join(session.search_path), "timezone": "UTC", "time zone": "UTC",
              "datestyle": "ISO, MDY", "statement_timeout": str(int(session.timeout_s * 1000))}  # fmt: skip
    if name not in values:
        raise NotServed(f"SHOW {name}", f"known: {', '.join(values)}")
    value = values[name]

    def rows() -> Iterator[list[tuple]]:
        yield [(value,)]

    return Outcome(columns=[(name, "VARCHAR")], fetch=rows)


def lock(session: Session, sql: str) -> Outcome:
    """LOCK TABLE: really locks, until the transaction ends."""
    match = re.match(r"(?is)^\s*lock\s+(?:table\s+)?(.+?)\s*$", sql)
    if not match:
        raise RedshiftError("syntax error at end of input")
    for name in match.group(1).split(","):
        session.write(session.find(exp.to_table(name.strip(), dialect="redshift")))
    return Outcome()


def maintenance(session: Session, word: str, sql: str) -> Outcome:
    """VACUUM and ANALYZE: there is nothing to do, but the table must exist."""
    if word == "VACUUM" and session.block:
        raise RedshiftError("VACUUM cannot run inside a transaction block")
    words = [token.text for token in tokens(sql)][1:]
    skip = {"full", "sort", "only", "delete", "reindex", "recluster", "verbose", "compression", "boost"}
    names = [text for text in words if text.lower() not in skip]
    if names and names[0].lower() not in ("to", "predicate", "all", "("):
        name = ".".join(names[0:3:2]) if len(names) > 2 and names[1] == "." else names[0]
        session.find(exp.to_table(name, dialect="redshift"))
    if "compression" in (text.lower() for text in words):
        raise NotServed("ANALYZE COMPRESSION")
    return Outcome()


def privileges(session: Session, sql: str) -> Outcome:
    """GRANT and REVOKE: there is one user, who may do everything; a table that is named must exist."""
    match = re.search(r"(?is)\bon\s+(?:table\s+)?([\w.\"]+)\s+(?:to|from)\b", sql)
    if match and match.group(1).lower() not in ("schema", "database", "all", "function", "procedure", "language"):
        session.find(exp.to_table(match.group(1), dialect="redshift"))
    return Outcome()
