"""Jobs as processes: logs while they run, results, stopping, limits, orphans."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from localaws import processes
from localaws.processes import JobProcess, JobResult, job_environment


@pytest.fixture(autouse=True)
def registry(tmp_path: Path) -> Path:
    processes.configure("http://127.0.0.1:5005", tmp_path / "root")
    return tmp_path / "root" / "jobs" / ".running"


def run(script: str, tmp_path: Path, wait: bool = True, **options) -> tuple[JobProcess, list[JobResult]]:
    results: list[JobResult] = []
    job = JobProcess([sys.executable, "-c", script], env=job_environment(), cwd=tmp_path, on_exit=results.append, **options)
    job.start()
    if wait:
        assert job.wait(30)
    return job, results


def messages(group: str, stream: str) -> list[str]:
    from moto.logs.models import logs_backends

    streams = logs_backends["123456789012"]["us-east-1"].groups[group].streams
    return [event.message for event in streams[stream].events]


def wait_until(condition, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def test_output_result_and_log(tmp_path):
    script = "import sys; print('one'); print(); print('zwei ü'); print('bad', file=sys.stderr); sys.exit(3)"
    _, (result,) = run(script, tmp_path, log_streams=[("/t/both", "s")])
    assert result.exit_code == 3 and not result.stopped and not result.timed_out
    assert sorted(messages("/t/both", "s")) == ["bad", "one", "zwei ü"]
    assert result.started_at <= result.ended_at and result.ended_at.tzinfo is not None
    assert "bad" in result.last_error_lines


def test_stdout_and_stderr_apart(tmp_path):
    script = "import sys; print('out'); print('err', file=sys.stderr); sys.stdout.write('no newline')"
    _, (result,) = run(script, tmp_path, log_streams=[("/t/out", "s"), ("/t/err", "s")])
    assert messages("/t/out", "s") == ["out", "no newline"] and messages("/t/err", "s") == ["err"]
    assert result.last_error_lines == ["err"] and sorted(result.last_lines) == ["err", "no newline", "out"]


def test_the_log_grows_while_the_job_runs(tmp_path):
    job, _ = run("import time; print('started'); time.sleep(60)", tmp_path, wait=False, log_streams=[("/t/live", "s")])
    from moto.logs.models import logs_backends

    wait_until(lambda: "/t/live" in logs_backends["123456789012"]["us-east-1"].groups)
    assert messages("/t/live", "s") == ["started"]
    job.stop(grace_s=1)
    assert job.wait(10)


def test_a_stopped_job_may_tidy_up(tmp_path):
    script = "import signal, sys, time\nsignal.signal(15, lambda *_: (print('tidy'), sys.exit(0)))\nprint('up')\ntime.sleep(60)"
    job, results = run(script, tmp_path, wait=False)
    wait_until(lambda: "up" in job._lines)
    job.stop(grace_s=10)
    assert job.wait(10)
    assert results[0].stopped and results[0].exit_code == 0 and results[0].last_lines[-1] == "tidy"


def test_a_job_that_does_not_listen_is_killed_with_its_children(tmp_path):
    script = (
        "import signal, subprocess, sys, time\nsignal.signal(15, signal.SIG_IGN)\n"
        "deaf = 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)'\n"
        "child = subprocess.Popen([sys.executable, '-c', deaf])\n"
        "print(child.pid)\ntime.sleep(60)"
    )
    job, results = run(script, tmp_path, wait=False)
    wait_until(lambda: job._lines)
    child = int(job._lines[0])
    job.stop(grace_s=0.3)
    assert job.wait(10)
    assert results[0].exit_code == -9 and results[0].stopped
    wait_until(lambda: not alive(child))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return os.path.exists("/proc") is False


def test_a_child_that_holds_the_pipe_does_not_hold_the_job(tmp_path):
    sleeper = "[sys.executable, '-c', 'import time; time.sleep(60)']"
    script = f"import subprocess, sys; print('bye'); subprocess.Popen({sleeper})"
    started = time.monotonic()
    _, (result,) = run(script, tmp_path)
    assert result.exit_code == 0 and result.last_lines == ["bye"]
    assert time.monotonic() - started < 30


def test_the_time_limit(tmp_path):
    _, (result,) = run("import time; time.sleep(60)", tmp_path, timeout_s=0.3, grace_s=1)
    assert result.timed_out and not result.stopped and result.exit_code == -15


def test_a_job_sees_a_clean_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "x")
    monkeypatch.setenv("AWS_PROFILE", "production")
    _, (result,) = run("import json, os; print(sorted(os.environ))", tmp_path)
    assert "SECRET_OF_THE_SERVER" not in result.last_lines[0] and "AWS_PROFILE" not in result.last_lines[0]
    environment = job_environment(EXTRA="1")
    assert environment["EXTRA"] == "1" and environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:5005"
    assert (Path(environment["JAVA_HOME"]) / "bin" / "java").exists()


def test_a_program_that_does_not_exist_is_told(tmp_path):
    job = JobProcess(["no-such-program"], env=job_environment(), cwd=tmp_path)
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        job.start()


def test_jobs_end_with_the_server_and_are_not_told_as_ended(tmp_path):
    job, results = run("import time; time.sleep(60)", tmp_path, wait=False)
    processes.stop_all(grace_s=1)
    assert job.wait(0) and results == []


def test_what_a_killed_server_left_running_is_ended(tmp_path, registry):
    job, results = run("import time; time.sleep(60)", tmp_path, wait=False)
    assert [note.name for note in registry.iterdir()] == [f"{job.pid}.json"]
    assert processes.end_orphans() == [job.pid]
    assert job.wait(10) and results[0].exit_code == -9
    assert list(registry.iterdir()) == []


def test_a_very_long_line_becomes_several_events(tmp_path):
    run("print('x' * 300_000)", tmp_path, log_streams=[("/t/long", "s")])
    assert "".join(messages("/t/long", "s")) == "x" * 300_000 and len(messages("/t/long", "s")) > 1


def test_many_writers_lose_no_line():
    def write(number: int) -> None:
        for line in range(50):
            processes.write_log("/t/many", "s", [f"{number}-{line}"])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(messages("/t/many", "s")) == 200
