"""The stack of the reliability tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import HERE, SETTINGS, Lab

from laptop import stack
from laptop.environment import Place


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A real Airflow and a local AWS, with one DAG for each operator and way of waiting."""
    home = tmp_path_factory.mktemp("reliability")
    place = Place(home=home, airflow_port=stack.free_port(), aws_port=stack.free_port(), dags=HERE / "dags", settings=SETTINGS)
    with stack.exclusive(place, "tests"):
        lab = Lab(place)
        try:
            lab.open()
            yield lab
        finally:
            lab.close()
            keep = Path(".flywheel") / "reliability-logs"
            shutil.rmtree(keep, ignore_errors=True)
            shutil.copytree(place.logs, keep)
            shutil.copytree(place.airflow_home / "logs", keep / "tasks")
            shutil.copy(place.aws_root / "journal.jsonl", keep)
