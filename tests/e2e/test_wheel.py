"""The whole wheel on a slice of the data: a real Airflow, the local AWS, the five DAGs, driven through Airflow's API."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from laptop import report, stack
from laptop.demo import Calendar, Demo
from laptop.environment import Place

#: Six weeks, then four: the spec's holdout is 21 days, its window of monitoring 28.
SLICE = Calendar(date(2013, 1, 1), date(2013, 2, 10), ((date(2013, 2, 11), date(2013, 3, 12)),))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A stack of the test's own, up for the module."""
    home = tmp_path_factory.mktemp("wheel")
    place = Place.from_environment(
        {"FLYWHEEL_HOME": str(home), "FLYWHEEL_AIRFLOW_PORT": str(free_port()), "FLYWHEEL_AWS_PORT": str(free_port())}
    )
    with stack.exclusive(place, "tests"):
        stack.start(place)
        try:
            yield place
        finally:
            stack.shut_down(place)
            keep = Path(".flywheel") / "e2e-logs"
            shutil.rmtree(keep, ignore_errors=True)
            shutil.copytree(place.logs, keep)


@pytest.mark.slow
def test_one_turn(place: Place) -> None:
    demo = Demo(place, stack.client(place), SLICE)
    demo.play()
    demo.remember()
    facts = report.read_facts(place, demo.api)
    page = report.write_report(facts, place.home / "report.html")
    print(report.table(facts))
    # Four weeks of the same season need not start a retraining; all else must be as it should.
    failed = [check for check in facts.checks if not check.passed and not check.what.startswith(("drift:", "promotion:"))]
    assert not failed
    assert "data:image/png;base64," in page.read_text()


@pytest.mark.slow
def test_playing_again_starts_nothing_twice(place: Place) -> None:
    before = report.read_facts(place, stack.client(place))
    demo = Demo(place, stack.client(place), SLICE)
    demo.play()
    after = report.read_facts(place, stack.client(place))
    assert [job.name for job in after.jobs] == [job.name for job in before.jobs]
    assert after.loads == before.loads
    assert [version["version"] for version in after.versions] == [version["version"] for version in before.versions]
