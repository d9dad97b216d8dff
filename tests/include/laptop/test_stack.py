"""The stack as it is started for the user: the real local AWS and a real Airflow, with a DAG of the test's own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from laptop import processes, stack
from laptop.airflow_api import AirflowApi, AirflowApiError, RunFailed, RunTimedOut, TaskEnd
from laptop.environment import MARK, PROJECT, Place

TOY_DAG = """
from datetime import datetime, timedelta

from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import dag, task


@dag(schedule=None, params={"fail": False, "seconds": 0})
def toy():
    @task
    def first(params=None):
        import time

        time.sleep(params["seconds"])
        if params["fail"]:
            raise ValueError("the toy was told to fail")
        return {"answer": 42}

    first() >> TimeDeltaSensor(task_id="nap", delta=timedelta(seconds=3), deferrable=True)


toy()
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def place_in(home: Path) -> Place:
    airflow_port, aws_port = free_ports(2)
    dags = home / "dags"
    dags.mkdir(parents=True)
    return Place(home=home / "state", airflow_port=airflow_port, aws_port=aws_port, dags=dags)


# -- without a stack --


def test_a_second_command_is_refused_with_who_runs_and_how_to_stop_it(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    program = (
        "import sys, time; from pathlib import Path; from laptop import stack; from laptop.environment import Place\n"
        "with stack.exclusive(Place(home=Path(sys.argv[1])), 'make demo'): print('held', flush=True); time.sleep(600)"
    )
    env = {**os.environ, "PYTHONPATH": str(PROJECT / "include")}
    command = [sys.executable, "-c", program, str(place.home)]
    holder = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        expected = rf"(?s)`make demo` is running already \(process {holder.pid}, since .*kill -INT {holder.pid}"
        with pytest.raises(stack.StackBusy, match=expected), stack.exclusive(place, "make up"):
            pass
    finally:
        holder.kill()
        holder.wait()
    with stack.exclusive(place, "make up"):
        pass  # a lock dies with its holder


def test_a_taken_port_is_told_with_its_holder_and_nothing_is_started(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", place.aws_port))
        holder.listen()
        with pytest.raises(stack.StackError, match=rf"(?s)port {place.aws_port} on 127.0.0.1 is taken.*FLYWHEEL_AWS_PORT="):
            stack.start(place)
    assert not any(row.running for row in stack.state(place))


def test_down_without_a_stack_says_that_nothing_ran(tmp_path: Path) -> None:
    assert stack.shut_down(place_in(tmp_path)) is False


# -- with one --


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A running stack. Nothing is provisioned: the toy needs no resources of AWS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stack, "provision", lambda place: {})
        place = place_in(tmp_path_factory.mktemp("stack"))
        (place.dags / "toy.py").write_text(TOY_DAG)
        try:
            assert stack.start(place) is True
            yield place
        finally:
            stack.shut_down(place)


@pytest.fixture(scope="module")
def api(started: Place) -> AirflowApi:
    client = stack.client(started)
    client.unpause("toy")
    return client


@pytest.mark.slow
def test_all_components_run_on_the_loopback_only(started: Place) -> None:
    assert [row.name for row in stack.state(started) if row.running] == [
        "local-aws", "api-server", "triggerer", "dag-processor", "scheduler"
    ]  # fmt: skip
    stack.check(started)
    if shutil.which("ss"):
        ours = {str(pid) for pid in processes.marked(MARK, str(started.home))}
        lines = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout.splitlines()
        addresses = [line.split()[3] for line in lines if any(f"pid={pid}," in line for pid in ours)]
        assert len(addresses) >= 2
        assert all(address.startswith(("127.0.0.1:", "[::ffff:127.0.0.1]:")) for address in addresses)


@pytest.mark.slow
def test_starting_again_finds_it_up(started: Place) -> None:
    assert stack.start(started) is False


@pytest.mark.slow
def test_a_run_with_a_deferral_is_triggered_once_and_waited_for(api: AirflowApi) -> None:
    ended: list[TaskEnd] = []
    date = datetime.now(UTC)  # so that the sensor's time lies ahead and it defers
    first = api.trigger("toy", "once", logical_date=date)
    assert api.trigger("toy", "once", logical_date=date)["dag_run_id"] == first["dag_run_id"]
    assert api.wait("toy", "once", timeout=120, on_task=ended.append)["state"] == "success"
    assert [(end.task_id, end.state) for end in ended] == [("first", "success"), ("nap", "success")]
    assert any("DEFERRED" in line for line in api.task_log("toy", "once", "nap", 1))
    assert len(api.runs("toy", logical_date_gte=date.isoformat(), logical_date_lte=date.isoformat())) == 1
    assert api.xcom("toy", "once", "first") == {"answer": 42}
    with pytest.raises(AirflowApiError, match=r"run another of toy was not started: run once has its logical date"):
        api.trigger("toy", "another", logical_date=date)


@pytest.mark.slow
def test_a_failed_run_is_told_with_its_log_and_can_go_on(api: AirflowApi) -> None:
    api.trigger("toy", "bad", conf={"fail": True})
    with pytest.raises(RunFailed, match=r"task first, try 1(.|\n)*ValueError: the toy was told to fail"):
        api.wait("toy", "bad", timeout=120)
    assert "first" in api.clear_failed("toy", "bad")
    with pytest.raises(RunFailed, match=r"task first, try 2"):
        api.wait("toy", "bad", timeout=120)


@pytest.mark.slow
def test_a_run_that_takes_too_long_is_told_with_where_it_stands(api: AirflowApi) -> None:
    api.trigger("toy", "slow", conf={"seconds": 600})
    with pytest.raises(RunTimedOut, match=r"run slow of toy is (running|queued) after 2 s, at: first"):
        api.wait("toy", "slow", timeout=2)


@pytest.mark.slow
def test_what_airflow_refuses_is_told_with_its_reason(api: AirflowApi) -> None:
    with pytest.raises(AirflowApiError, match=r"POST .*/dags/nope/dagRuns: HTTP 404: .*nope"):
        api.trigger("nope", "one")
    with pytest.raises(AirflowApiError, match="HTTP 401"):
        AirflowApi(api.url, "admin", "wrong").dags()


@pytest.mark.slow
def test_a_dag_file_that_cannot_be_read_is_told_while_the_stack_stays_up(started: Place) -> None:
    (started.dags / "broken.py").write_text("from airflow.sdk import dag\nimport nonsense_of_a_test\n")
    with pytest.raises(stack.DagsBroken, match=r"broken\.py(.|\n)*nonsense_of_a_test"):
        stack.start(started)
    assert all(row.running for row in stack.state(started))


@pytest.mark.slow
def test_a_component_that_dies_is_noticed_and_nothing_of_the_stack_stays_behind(started: Place) -> None:
    """The last test of the running stack. A task is still running when it goes down."""
    scheduler = next(row for row in stack.state(started) if row.name == "scheduler")
    assert scheduler.pid
    os.kill(scheduler.pid, signal.SIGKILL)
    processes.wait_for_end([scheduler.pid], 10)
    with pytest.raises(stack.ComponentDied, match=r"scheduler has ended\. The last lines of .*scheduler\.log"):
        stack.check(started)
    assert stack.shut_down(started) is True
    assert processes.marked(MARK, str(started.home)) == []
    assert stack.shut_down(started) is False
