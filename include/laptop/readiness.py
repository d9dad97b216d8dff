"""Whether the started components can do their work: questions that are asked again until the answer is yes."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from laptop.airflow_api import AirflowApi


def answers(url: str) -> bool:
    """Whether a web server answers at all: an error status is an answer, too."""
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def healthy(api: AirflowApi, since: float) -> bool:
    """Whether scheduler, triggerer and DAG processor have all given a sign of life after `since` (epoch seconds)."""
    health = api.health()
    for name in ("scheduler", "triggerer", "dag_processor"):
        beat = health[name].get(f"latest_{name}_heartbeat")
        if not beat or datetime.fromisoformat(beat).timestamp() < since:
            return False
    return True


def dag_files(folder: Path) -> set[str]:
    """The files below `folder` that Airflow takes for DAG files, by its own rule: both words occur in them."""
    found = set()
    for path in folder.rglob("*.py"):
        text = path.read_bytes().lower()
        if b"airflow" in text and b"dag" in text:
            found.add(str(path.relative_to(folder)))
    return found


@dataclass(frozen=True)
class DagsRead:
    """How far the DAG processor is: the ids of the DAGs, the errors by file, and the files it has not come to yet."""

    dags: list[str]
    errors: dict[str, str]
    missing: set[str]


def dags_read(api: AirflowApi, folder: Path, since: float) -> DagsRead:
    """What Airflow knows of the DAG files below `folder` that it has read after `since` (epoch seconds; 0: ever)."""
    dags = api.dags()
    read = {dag["relative_fileloc"] for dag in dags if datetime.fromisoformat(dag["last_parsed_time"]).timestamp() >= since}
    errors = {os.path.relpath(folder / name, folder): text for name, text in api.import_errors().items()}
    return DagsRead([dag["dag_id"] for dag in dags], errors, dag_files(folder) - read - set(errors))
