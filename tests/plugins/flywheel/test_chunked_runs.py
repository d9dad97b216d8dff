"""What Airflow makes of chunks: a real run with a database, and the code behind its backfills."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flywheel.core.runs import resolve_window

HERE = Path(__file__).parent / "chunked_runs"
PLUGINS = Path(__file__).parents[3] / "plugins"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ``chunked_runs/play.py`` has seen."""
    home = tmp_path_factory.mktemp("airflow")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(HERE),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(PLUGINS),
    }
    done = subprocess.run(
        [sys.executable, str(HERE / "play.py")], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("PLAYED ")]
    assert lines, done.stdout[-3000:] + done.stderr[-3000:]
    return dict(json.loads(lines[0].removeprefix("PLAYED ")))


def days(run: list[Any]) -> tuple[date, date]:
    """The days that Flywheel takes from a run's data interval."""
    window = resolve_window({}, [], (datetime.fromisoformat(run[1]), datetime.fromisoformat(run[2])))
    return window.start, window.end


def test_without_chunks_the_jobs_are_skipped_and_the_run_is_published(played: dict[str, Any]) -> None:
    run = played["nothing to do"]
    assert run["state"] == "success"
    assert {name: state for name, (state, _) in run["tasks"].items()} == {
        "v1.plan_chunks[-1]": "success", "v1.build[-1]": "skipped", "v1.load[-1]": "skipped", "v1.publish[-1]": "success"
    }  # fmt: skip
    assert run["events"] == 1


def test_each_chunk_is_a_mapped_task_that_shows_its_days(played: dict[str, Any]) -> None:
    run = played["two chunks"]
    assert run["state"] == "success"
    for task in ("build", "load"):
        assert run["tasks"][f"v1.{task}[0]"] == ["success", "2013-01-01 to 2013-01-31"]
        assert run["tasks"][f"v1.{task}[1]"] == ["success", "2013-03-01 to 2013-03-02"]
    assert run["events"] == 1


def test_a_chunk_that_fails_holds_back_no_other_chunk_but_the_event(played: dict[str, Any]) -> None:
    run = played["one fails"]
    states = {name: state for name, (state, _) in run["tasks"].items()}
    assert (states["v1.load[0]"], states["v1.build[1]"], states["v1.load[1]"]) == ("success", "failed", "upstream_failed")
    assert (states["v1.publish[-1]"], run["events"]) == ("upstream_failed", 0)


def test_a_year_is_twelve_runs_that_leave_no_day_out_and_take_none_twice(played: dict[str, Any]) -> None:
    windows = [days(run) for run in played["year"]]
    assert len(windows) == 12
    assert (windows[0][0], windows[-1][1]) == (date(2013, 1, 1), date(2013, 12, 31))
    assert all(after[0] - before[1] == timedelta(days=1) for before, after in pairwise(windows))
    assert max((end - start).days + 1 for start, end in windows) == 31


def test_ranges_that_begin_or_end_together_are_runs_of_their_own(played: dict[str, Any]) -> None:
    """The logical date and the run id of each have to be its own, or Airflow says that it exists."""
    names = [played["year"][0], played["a day"][0], played["five days"][0], played["the fifth day"][0]]
    assert [days(run) for run in names] == [
        (date(2013, 1, 1), date(2013, 1, 31)),
        (date(2013, 1, 1), date(2013, 1, 1)),
        (date(2013, 1, 1), date(2013, 1, 5)),
        (date(2013, 1, 5), date(2013, 1, 5)),
    ]
    assert len({run[0] for run in names}) == 4
    assert played["a day"][0][0] == "backfill__2013-01-02T06:00:00+00:00", "a single day is the daily run itself"


def test_the_same_range_again_is_the_same_run(played: dict[str, Any]) -> None:
    assert [run[3] for run in played["five days again"]] == ["already exists"]
    assert datetime.fromisoformat(played["five days again"][0][1]) == datetime(2013, 1, 1, 6, 0, 0, 4, tzinfo=UTC)
