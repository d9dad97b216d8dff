"""The pool itself: one warm JVM for job after job, time limits, and workers that leave."""

from __future__ import annotations

import os
import queue
import signal
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from job_helpers import wait_for

from localaws.spark.pool import Outcome, SparkJob, SparkPool

pytestmark = pytest.mark.slow

COUNT = """
    from pyspark.sql import SparkSession
    spark = SparkSession.builder.getOrCreate()
    spark.range(10).write.mode("overwrite").parquet("s3://bucket/numbers")
    assert spark.read.parquet("s3://bucket/numbers").count() == 10
"""


class Pool:
    """A pool, a bucket that is a folder, and the outcomes of what was submitted."""

    def __init__(self, folder: Path, idle_s: float = 60):
        self.folder = folder
        (folder / "s3" / "bucket").mkdir(parents=True)
        self.pool = SparkPool(folder / "workers", max_workers=1, idle_s=idle_s)
        self.ended: queue.Queue[tuple[str, Outcome]] = queue.Queue()

    def submit(self, name: str, script: str, timeout_s: float | None = None) -> None:
        folder = self.folder / name
        folder.mkdir()
        (folder / "job.py").write_text(textwrap.dedent(script))
        self.pool.submit(
            SparkJob(
                job_id=name,
                script=folder / "job.py",
                arguments=[],
                folder=folder,
                settings={},
                s3_root=self.folder / "s3",
                buckets=["bucket"],
                stdout=("/tests/pool", f"{name}/stdout"),
                stderr=("/tests/pool", f"{name}/stderr"),
                timeout_s=timeout_s,
                on_end=lambda outcome: self.ended.put((name, outcome)),
            )
        )

    def run(self, name: str, script: str, timeout_s: float | None = None) -> Outcome:
        self.submit(name, script, timeout_s)
        return self.next(name)

    def next(self, name: str) -> Outcome:
        ended, outcome = self.ended.get(timeout=180)
        assert ended == name
        return outcome


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    made = Pool(tmp_path_factory.mktemp("pool"))
    yield made
    made.pool.close()


def test_jobs_share_one_jvm_and_only_that(pool: Pool) -> None:
    assert pool.run("first", COUNT).exit_code == 0
    workers = pool.pool.worker_pids()
    assert len(workers) == 1
    assert pool.run("second", COUNT).exit_code == 0
    assert pool.run("fails", "import no_such_module").reason == "ModuleNotFoundError: No module named 'no_such_module'"
    assert pool.run("third", COUNT).exit_code == 0
    assert pool.pool.worker_pids() == workers


def test_a_job_out_of_time_takes_its_worker_with_it(pool: Pool) -> None:
    before = pool.pool.worker_pids()
    outcome = pool.run("sleeps", "import time; time.sleep(600)", timeout_s=0.5)
    assert outcome.timed_out and outcome.exit_code != 0
    assert pool.run("after", COUNT).exit_code == 0
    assert set(pool.pool.worker_pids()).isdisjoint(before)


def test_a_long_message_is_told_from_its_beginning(pool: Pool) -> None:
    outcome = pool.run("long", "raise ValueError('2 of 3 refused\\n' + '\\n'.join(f'  breach {n}' for n in range(900)))")
    assert outcome.reason is not None and outcome.reason.startswith("ValueError: 2 of 3 refused\n  breach 0\n")


def test_a_worker_that_someone_killed_is_replaced(pool: Pool) -> None:
    assert pool.run("before", COUNT).exit_code == 0
    for pid in pool.pool.worker_pids():
        os.kill(pid, signal.SIGKILL)
    assert pool.run("then", COUNT).exit_code == 0


def test_a_waiting_job_can_be_stopped(pool: Pool) -> None:
    pool.submit("runs", "import time; time.sleep(600)")
    pool.submit("waits", COUNT)
    assert pool.pool.stop("waits")
    waiting = pool.next("waits")
    assert waiting.stopped and waiting.exit_code is None
    wait_for(lambda: pool.pool.stop("runs"), bool)
    assert pool.next("runs").stopped


def test_an_unknown_job_cannot_be_stopped(pool: Pool) -> None:
    assert not pool.pool.stop("nobody")


def test_a_worker_without_work_leaves_and_another_comes(tmp_path: Path) -> None:
    pool = Pool(tmp_path, idle_s=0.2)
    assert pool.run("one", "print('no Spark in here')").exit_code == 0
    wait_for(pool.pool.worker_pids, lambda pids: pids == [])
    assert pool.run("two", "print('nor here')").exit_code == 0
    pool.pool.close()
