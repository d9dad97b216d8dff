"""One DagBag for all tests of the DAGs, loaded as the DAG processor loads it, with no network and no database."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag


@pytest.fixture(scope="session")
def dagbag() -> DagBag:
    """All DAGs of ``dags/``."""
    import socket

    from airflow.dag_processing.dagbag import DagBag

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a DAG file opened a network connection while it was read")

    connect, socket.socket.connect = socket.socket.connect, refuse  # type: ignore[method-assign]
    try:
        return DagBag()
    finally:
        socket.socket.connect = connect  # type: ignore[method-assign]
