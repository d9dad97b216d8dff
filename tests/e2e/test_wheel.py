"""The whole wheel on a slice of the data: a real Airflow, the local AWS, the DAGs, driven through Airflow's API."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta

import pytest

from laptop import aws, report, stack
from laptop.demo import Calendar, Demo
from laptop.environment import Place
from laptop.landing import land

#: Six weeks, then four: the spec's holdout is 21 days, its window of monitoring 28.
SLICE = Calendar(date(2013, 1, 1), date(2013, 2, 10), ((date(2013, 2, 11), date(2013, 3, 12)),))


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
def test_monitoring_has_judged_what_was_served_and_told_cloudwatch(place: Place) -> None:
    warehouse = report.Warehouse(place)
    decisions = {
        table: warehouse.rows(f"SELECT * FROM monitoring.{table}_decisions WHERE model = 'flight_delay'")
        for table in ("drift", "accuracy")
    }
    assert "2013-03-11" in {row["period_end"] for row in decisions["drift"]} & {
        row["period_end"] for row in decisions["accuracy"]
    }
    assert all(row["level"] in ("none", "note", "alert", "retrain") for row in decisions["accuracy"])
    segments = warehouse.rows("SELECT DISTINCT segment FROM monitoring.accuracy")
    assert {"all", "origin=EWR", "origin=JFK", "origin=LGA", "carrier=UA"} <= {row["segment"] for row in segments}
    cloudwatch, now = aws.client(place, "cloudwatch"), datetime.now(UTC)
    told = cloudwatch.get_metric_statistics(
        Namespace="Flywheel", MetricName="MonitoringRuns", Dimensions=[{"Name": "Model", "Value": "flight_delay"}],
        StartTime=now - timedelta(hours=2), EndTime=now + timedelta(hours=1), Period=86400, Statistics=["Sum"],
    )["Datapoints"]  # fmt: skip
    assert sum(point["Sum"] for point in told) >= 1
    assert {metric["MetricName"] for metric in cloudwatch.list_metrics(Namespace="Flywheel")["Metrics"]} >= {
        "PSI", "Gini", "EvidenceOfLoss", "LabelCoverage",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dag_id", "task_id", "line"),
    [
        ("ingest_flights", "ingest_partitions", "| flights: 30 of 30 partitions written"),
        ("load_features_flight_delay", "v1.build_features", "| features/flight_delay/v1: 30 days"),
        ("train_flight_delay", "train_challenger", "validation-auc="),
    ],
)
def test_the_log_of_a_task_shows_its_jobs_log(place: Place, dag_id: str, task_id: str, line: str) -> None:
    api = stack.client(place)
    run_id = api.runs(dag_id)[-1]["dag_run_id"]
    (task,) = [task for task in api.task_instances(dag_id, run_id) if task["task_id"] == task_id]
    assert any(line in logged for logged in api.task_log(dag_id, run_id, task_id, task["try_number"], task["map_index"]))


@pytest.mark.slow
def test_playing_again_starts_nothing_twice(place: Place) -> None:
    before = report.read_facts(place, stack.client(place))
    demo = Demo(place, stack.client(place), SLICE)
    demo.play()
    after = report.read_facts(place, stack.client(place))
    assert [job.name for job in after.jobs] == [job.name for job in before.jobs]
    assert after.loads == before.loads
    assert [version["version"] for version in after.versions] == [version["version"] for version in before.versions]


def wait_for_predictions(place: Place, days: list[date]) -> None:
    """Until all of these days have been scored."""
    warehouse = report.Warehouse(place)
    wanted, scored = {day.isoformat() for day in days}, set()
    until = time.monotonic() + 240
    while not wanted <= scored and time.monotonic() < until:
        stack.check(place)
        time.sleep(2)
        rows = warehouse.rows(f"SELECT DISTINCT ds FROM predictions.flight_delay WHERE ds >= '{days[0]}'")
        scored = {row["ds"] for row in rows}
    assert wanted <= scored


@pytest.mark.slow
def test_a_backfill_is_one_run_for_many_days(place: Place) -> None:
    api, days = stack.client(place), [date(2013, 3, 13), date(2013, 3, 14), date(2013, 3, 15)]
    land(aws.client(place, "s3"), aws.settings(place)["bucket"], days[0], days[-1])
    start, end = datetime(2013, 3, 13, tzinfo=UTC), datetime(2013, 3, 15, 12, tzinfo=UTC)
    backfill = api.backfill("ingest_flights", start, end, max_active_runs=3)
    (run,) = api.wait_for_backfill(backfill, check=lambda: stack.check(place))
    assert api.xcom("ingest_flights", run["dag_run_id"], "plan_chunks") == [{"start": "2013-03-13", "end": "2013-03-15"}]
    wait_for_predictions(place, days)


@pytest.mark.slow
def test_of_runs_at_the_same_time_no_day_is_lost_on_the_way(place: Place) -> None:
    """Three days at once: their events reach a features DAG that runs one at a time."""
    api, days = stack.client(place), [date(2013, 3, 16), date(2013, 3, 17), date(2013, 3, 18)]
    land(aws.client(place, "s3"), aws.settings(place)["bucket"], days[0], days[-1])
    for day in days:
        conf = {"start": day.isoformat(), "end": day.isoformat()}
        logical_date = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        api.trigger("ingest_flights", f"at-once-{day}", conf=conf, logical_date=logical_date)
    wait_for_predictions(place, days)


@pytest.mark.slow
def test_clearing_a_task_runs_its_job_again(place: Place) -> None:
    """Airflow raises ``max_tries`` with a Clear; that is how a task knows that it begins a new life."""
    api, dag_id, task_id = stack.client(place), "score_flight_delay", "export_features"
    api.wait(dag_id, api.runs(dag_id)[-1]["dag_run_id"], check=lambda: stack.check(place))  # one run at a time
    run_id = api.runs(dag_id, state="success")[-1]["dag_run_id"]
    before = api.xcom(dag_id, run_id, task_id, key="job")
    body = {"dry_run": False, "dag_run_id": run_id, "task_ids": [task_id], "only_failed": False, "reset_dag_runs": True}
    api.request("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)
    api.wait(dag_id, run_id, timeout=120, check=lambda: stack.check(place))
    assert api.xcom(dag_id, run_id, task_id, key="job") != before
    (task,) = [task for task in api.task_instances(dag_id, run_id) if task["task_id"] == task_id]
    assert (task["try_number"], task["max_tries"]) == (2, 3)


@pytest.mark.slow
def test_what_has_ended_is_struck_off_the_ledger_of_waiting_tasks(place: Place) -> None:
    """And ``maintain_jobs``, which reads it, runs by itself."""
    api = stack.client(place)
    (watching,) = api.task_instances("maintain_jobs", api.runs("maintain_jobs")[-1]["dag_run_id"])
    assert watching["state"] == "deferred"
    s3, bucket, until = aws.client(place, "s3"), aws.settings(place)["bucket"], time.monotonic() + 180
    # What the cleared run has set off may still be under way: it is in the ledger with good reason.
    while waiting := s3.list_objects_v2(Bucket=bucket, Prefix="jobs/waiting/").get("Contents", []):
        assert time.monotonic() < until, [entry["Key"] for entry in waiting]
        time.sleep(2)
