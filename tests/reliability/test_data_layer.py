"""However often ingest, feature job and load are killed, run twice at once and fed late: what is there in the end is what a clean
single run over the final deliveries gives, row for row, and nobody has ever seen anything else than whole partitions.

``KILL_SEED`` and ``KILL_POINTS`` change the seed and the least number of kill points. One chain alone: ``-k chain-3``.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from data_chains import KILLS, KILLS_OF_A_CHAIN, LOAD_PHASES, Chain, Lab, write_summary
from data_jobs import BUCKET, Jobs
from data_phases import PHASES
from data_warehouse import Warehouse

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SEED = os.environ.get("KILL_SEED", "2013")
POINTS = int(os.environ.get("KILL_POINTS", "200"))
CHAINS = math.ceil(POINTS / KILLS_OF_A_CHAIN)


@pytest.fixture(scope="module")
def data_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A warehouse, a JVM, and readers who look at them until the end."""
    root = tmp_path_factory.mktemp("data-layer")
    with ExitStack() as ending:
        warehouse = Warehouse(root / "aws")
        ending.callback(lambda: warehouse.aws.stop())  # another process than now, once it was killed
        warehouse.s3.create_bucket(Bucket=BUCKET)
        jobs = Jobs(root / "jobs", root / "aws" / "s3")
        ending.callback(jobs.close)
        began = time.monotonic()
        lab = Lab(warehouse, jobs, SEED)
        lab.measure()
        lab.read()
        ending.callback(lab.stop_reading)
        ending.callback(lambda: print(write_summary(lab, root / "summary.txt", time.monotonic() - began)))
        yield lab


@pytest.mark.parametrize("number", [pytest.param(number, id=f"chain-{number}") for number in range(CHAINS)])
def test_the_end_is_that_of_a_clean_run_whatever_is_killed(data_lab: Lab, number: int) -> None:
    Chain(data_lab, number).play()


def test_the_kills_were_many_enough_and_struck_everywhere(data_lab: Lab) -> None:
    """Last: it counts what the chains have done."""
    struck = data_lab.kills
    assert struck.total() >= POINTS, struck
    expected = {(job, phase) for job in KILLS for phase in (LOAD_PHASES if job == "load" else PHASES)}
    assert set(struck) == expected, f"no kill in {expected - set(struck)}"
    assert set(data_lab.killed_by) == {"driver", "JVM", "cancel", "session", "Redshift"}, data_lab.killed_by
    assert data_lab.garbage > 0, "no job that died has left anything: nothing was proved about what it leaves"
    for reader, seen in ((data_lab.lake_reader, 25), (data_lab.table_reader, 8)):
        assert reader.looks > 300 * CHAINS and len(reader.seen) > seen * CHAINS, "a reader has looked too seldom to prove much"
