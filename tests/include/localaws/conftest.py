"""A real local AWS for the tests: a process of its own on a free port, with a root folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aws_process import LocalAwsProcess


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAwsProcess]:
    """One local AWS for all tests of the session: use names of your own for what you create."""
    running = LocalAwsProcess(tmp_path_factory.mktemp("localaws"))
    yield running
    assert running.stop() == 0, "the local AWS did not end cleanly"


@pytest.fixture
def start_local_aws() -> Iterator[Callable[..., LocalAwsProcess]]:
    """Start a local AWS of the test's own: ``start_local_aws(root, port=0)``; what still runs is killed at the end."""
    started: list[LocalAwsProcess] = []

    def start(root: Path, port: int = 0) -> LocalAwsProcess:
        started.append(LocalAwsProcess(root, port))
        return started[-1]

    yield start
    for running in started:
        running.kill()
