"""A stack of the tests' own: a real Airflow, the local AWS, the DAGs, and a copy of the specs that a test may change."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from laptop import stack
from laptop.environment import PROJECT, Place


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Up for the session; the logs are kept in ``.flywheel/e2e-logs``."""
    home = tmp_path_factory.mktemp("wheel")
    place = Place(home, stack.free_port(), stack.free_port(), include=home / "include")
    shutil.copytree(PROJECT / "include", place.include, ignore=shutil.ignore_patterns("__pycache__"))
    with stack.exclusive(place, "tests"):
        stack.start(place)
        try:
            yield place
        finally:
            stack.shut_down(place)
            keep = Path(".flywheel") / "e2e-logs"
            shutil.rmtree(keep, ignore_errors=True)
            shutil.copytree(place.logs, keep)
