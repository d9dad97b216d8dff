"""Airflow's metadata database on the laptop: migrated when it has to be, left alone when it is current."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
from pathlib import Path

from laptop.environment import PROJECT, Place, airflow_environment
from laptop.processes import last_lines


class SchemaError(Exception):
    """Airflow's tables could not be made; the message holds the last lines of Airflow's own log."""


def begin_migration(place: Place, python: Path, log: Path) -> subprocess.Popen[bytes] | None:
    """Start `airflow db migrate` and return its process, or None when the schema is current.

    Asking Airflow itself would cost a start of Airflow, 3 s of CPU time. So a finished migration leaves a note of the
    lock that Airflow was installed from and of the schema's revision, and both must still be so.
    """
    if _note_path(place).exists() and _note(place) == json.loads(_note_path(place).read_text(encoding="utf-8")):
        return None
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        return subprocess.Popen(
            [str(python), "-m", "airflow", "db", "migrate"],
            env=airflow_environment(place, {}),
            cwd=place.home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def finish_migration(place: Place, migration: subprocess.Popen[bytes]) -> None:
    """Wait for the migration and note that it is done. Raises SchemaError."""
    if migration.wait() != 0:
        log = place.logs / "db-migrate.log"
        lines = "\n".join(f"   {line}" for line in last_lines(log))
        raise SchemaError(f"`airflow db migrate` failed with exit code {migration.returncode}; from {log}:\n{lines}")
    _note_path(place).write_text(json.dumps(_note(place)), encoding="utf-8")


def _note_path(place: Place) -> Path:
    return place.airflow_home / "schema.json"


def _note(place: Place) -> dict[str, str | None]:
    lock = (PROJECT / "include" / "laptop" / "airflow.lock").read_bytes()
    return {"lock_sha256": hashlib.sha256(lock).hexdigest(), "revision": revision(place.airflow_home / "airflow.db")}


def revision(database: Path) -> str | None:
    """The schema revision that the database is at, or None for no database or one without Airflow's tables."""
    if not database.exists():
        return None
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.DatabaseError:
        return None
    finally:
        connection.close()
    return str(row[0]) if row else None
