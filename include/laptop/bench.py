"""`make bench`: where the time goes. Prints tables; nothing here is asserted, machines differ.

Wall and CPU time of the demo by stage and the overhead of its tasks come from the last `make demo` in this place; without one the
demo is played first. Parse time and the local AWS are measured now. What faults do to Flywheel's operators and to the amazon
provider's is compared when asked for by --reliability, and by itself: it takes its time. So is what a thousand waiting jobs cost,
by --waiting, what the data layer costs beside plain Spark by --data, backfills by --backfill, and what measuring drift costs by
--drift.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from laptop import aws, demo, stack
from laptop.environment import MARK, PROJECT, Place, aws_environment, base_environment

CALLS = 100


def main(place: Place, argv: list[str]) -> int:
    """Measure and print. Returns 0, or the demo's exit code when it had to be played and went wrong."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--models", nargs="*", default=["1", "10", "100"], help="numbers of model specs to parse")
    parser.add_argument(
        "--reliability",
        nargs=argparse.REMAINDER,
        metavar="OPTION",
        help="only play faults on Flywheel's operators and on the provider's own, side by side, in a stack of their own: most of "
        "an hour; options for a part of it follow (--reliability --help lists them)",
    )
    parser.add_argument(
        "--waiting",
        nargs=argparse.REMAINDER,
        metavar="OPTION",
        help="only let a thousand jobs wait on one triggerer, with Flywheel's trigger and with the provider's: a quarter of an "
        "hour; options for a part of it follow (--waiting --help lists them)",
    )
    parser.add_argument(
        "--data",
        nargs=argparse.REMAINDER,
        metavar="OPTION",
        help="only ingest ten million flights and compute their features, beside plain Spark: a quarter of an hour",
    )
    parser.add_argument(
        "--backfill",
        nargs=argparse.REMAINDER,
        metavar="OPTION",
        help="only backfill 1, 7, 31 and 365 days in chunks, as one job and as a job per day: ten minutes",
    )
    parser.add_argument(
        "--drift",
        nargs=argparse.REMAINDER,
        metavar="OPTION",
        help="only count 60 features of up to ten million rows into a profile's bins, by each engine, beside a bare scan and "
        "Evidently's report: most of an hour; options for a part of it follow (--drift --help lists them)",
    )
    arguments = parser.parse_args(argv)
    scripts = {"data_layer": arguments.data, "backfill": arguments.backfill, "drift": arguments.drift}
    for name, options in scripts.items():
        if options is not None:
            return subprocess.run(
                [str(stack.JOBS_PYTHON), f"tests/bench/{name}.py", *options], cwd=PROJECT, check=False
            ).returncode
    if arguments.reliability is not None:
        return reliability(place, arguments.reliability)
    if arguments.waiting is not None:
        return waiting(arguments.waiting)
    if not (place.home / "demo.json").exists():
        print("No demo was played here yet; playing it.")
        code = demo.main(place, [])
        if code:
            return code
    stages(json.loads((place.home / "demo.json").read_text(encoding="utf-8")))
    parsing(arguments.models)
    local_aws()
    return 0


def stages(played: dict[str, Any]) -> None:
    """The demo by stage, and what Airflow adds to each task."""
    print(f"\nThe demo: {played['seconds']:.0f} s wall")
    print(f"  {'stage':36} {'runs':>4} {'wall':>9} {'cpu':>9}")
    for name in dict.fromkeys(stage["name"] for stage in played["stages"]):
        same = [stage for stage in played["stages"] if stage["name"] == name]
        wall, cpu = sum(stage["seconds"] for stage in same), sum(stage["cpu_seconds"] for stage in same)
        print(f"  {name:36} {len(same):>4} {wall:>7.1f} s {cpu:>7.1f} s")
    print("\nOverhead of orchestration: wall time of the runs less their jobs' own time")
    print(f"  {'DAG':36} {'runs':>4} {'tasks':>5} {'wall':>9} {'jobs':>9} {'per task':>9}")
    dag_ids = dict.fromkeys(run["dag_id"] for run in played["runs"])
    groups = [(dag_id, [run for run in played["runs"] if run["dag_id"] == dag_id]) for dag_id in dag_ids]
    for name, same in [*groups, ("all", played["runs"])]:
        tasks, wall, jobs = (sum(run[key] for run in same) for key in ("tasks", "wall", "jobs"))
        each = (wall - jobs) / max(tasks, 1)
        print(f"  {name:36} {len(same):>4} {tasks:>5} {wall:>7.1f} s {jobs:>7.1f} s {each:>7.2f} s")


def parsing(models: list[str]) -> None:
    """Parse time of the DAG folder with specs and of hand-written DAGs, each in fresh processes."""
    print("\nParse time of dags/, medians of fresh processes, Airflow's own import left out", flush=True)
    subprocess.run([str(stack.AIRFLOW_PYTHON), "tests/bench/parse_dags.py", "compare", *models], cwd=PROJECT, check=True)


def reliability(place: Place, options: list[str]) -> int:
    """Jobs doubled, lost and left running by both families of operators. Returns the comparison's exit code."""
    script = [str(stack.JOBS_PYTHON), "tests/reliability/compare.py", "--json", str(place.home / "reliability.json"), *options]
    env = base_environment(place) | {"PYTHONPATH": "plugins:include:tests/reliability"}
    del env[MARK]  # its stack is another
    # In a group of its own, so that Ctrl-C reaches it once and it can stop its stack in peace.
    with subprocess.Popen(script, cwd=PROJECT, env=env, start_new_session=True) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                process.terminate()


def waiting(options: list[str]) -> int:
    """Requests, memory and delay of many waiting jobs, with Flywheel's trigger and the provider's. Returns its exit code."""
    script = [str(stack.AIRFLOW_PYTHON), "tests/bench/waiting_jobs.py", *options]
    return subprocess.run(script, cwd=PROJECT, check=False).returncode


def local_aws() -> None:
    """Start-up and latency of a local AWS of its own, on a fresh root."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Place(home=Path(temporary), aws_port=stack.free_port())
        command = [str(stack.JOBS_PYTHON), "-m", "localaws", "serve", "--root", f"{temporary}/aws", "--port", str(place.aws_port)]
        starts = []
        for _ in range(3):
            began = time.perf_counter()
            server = subprocess.Popen(command, env=aws_environment(place), stdout=subprocess.PIPE, text=True)
            assert server.stdout is not None
            server.stdout.readline()
            starts.append(time.perf_counter() - began)
            if len(starts) < 3:
                server.terminate()
                server.wait()
        print(f"\nThe local AWS: start {statistics.median(starts):.2f} s (median of 3)")
        print(f"  {'call':36} {'median':>9} {'p95':>9}   ({CALLS} calls each, boto3's own time included)")
        try:
            for name, call in _calls(place):
                call()
                times = sorted(_timed(call) for _ in range(CALLS))
                print(f"  {name:36} {1000 * times[len(times) // 2]:>6.1f} ms {1000 * times[int(0.95 * len(times))]:>6.1f} ms")
        finally:
            server.terminate()
            server.wait()


def _calls(place: Place) -> list[tuple[str, Callable[[], Any]]]:
    s3, sts, glue = (aws.client(place, name) for name in ("s3", "sts", "glue"))
    redshift, sagemaker = aws.client(place, "redshift-data"), aws.client(place, "sagemaker")
    s3.create_bucket(Bucket="bench")
    s3.put_object(Bucket="bench", Key="key", Body=b"x" * 1000)
    glue.create_job(Name="bench", Role="role", Command={"Name": "glueetl", "ScriptLocation": "s3://bench/key"})
    sagemaker.create_model_package_group(ModelPackageGroupName="bench")
    target = {"WorkgroupName": "flywheel", "Database": "flywheel"}

    def query() -> None:
        statement = redshift.execute_statement(Sql="SELECT 1 AS one", **target)["Id"]
        while redshift.describe_statement(Id=statement)["Status"] not in ("FINISHED", "FAILED", "ABORTED"):
            time.sleep(0.002)
        redshift.get_statement_result(Id=statement)

    return [
        ("sts GetCallerIdentity", sts.get_caller_identity),
        ("s3 PutObject, 1 kB", lambda: s3.put_object(Bucket="bench", Key="key", Body=b"x" * 1000)),
        ("s3 GetObject, 1 kB", lambda: s3.get_object(Bucket="bench", Key="key")["Body"].read()),
        ("glue GetJob", lambda: glue.get_job(JobName="bench")),
        ("sagemaker ListModelPackages", lambda: sagemaker.list_model_packages(ModelPackageGroupName="bench")),
        ("redshift-data SELECT 1, to the rows", query),
    ]


def _timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
