"""The wheel again, after ``test_wheel``: days that are done, days that are delivered again, deliveries in breach."""

from __future__ import annotations

import io
import json
import time
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import pytest

from laptop import aws, report, stack
from laptop.airflow_api import AirflowApi
from laptop.environment import Place
from laptop.landing import land

INGEST, FEATURES = "ingest_flights", "load_features_flight_delay"
DAYS = [date(2013, 3, day) for day in (20, 21, 22, 23)]


class Lab:
    """The stack, and what a source team does to the landing zone."""

    def __init__(self, place: Place):
        self.place, self.api = place, stack.client(place)
        self.s3, self.bucket = aws.client(place, "s3"), aws.settings(place)["bucket"]
        self.runs = 0

    def check(self) -> None:
        stack.check(self.place)

    def read(self, day: date) -> pd.DataFrame:
        body = self.s3.get_object(Bucket=self.bucket, Key=f"landing/flights/ds={day}/flights.parquet")["Body"]
        return pd.read_parquet(io.BytesIO(body.read()))

    def deliver(self, day: date, rows: pd.DataFrame) -> None:
        time.sleep(1.1)  # S3 tells whole seconds
        body = rows.to_parquet(index=False)
        self.s3.put_object(Bucket=self.bucket, Key=f"landing/flights/ds={day}/flights.parquet", Body=body)

    def ingest(self, first: date, last: date, **conf: Any) -> str:
        """Starts a run for these days, as a person does. Returns its id."""
        self.runs += 1
        run_id = f"data-layer-{self.runs}"
        logical_date = datetime(2013, 5, 1, 0, self.runs, tzinfo=UTC)
        self.api.trigger(INGEST, run_id, conf={"start": str(first), "end": str(last), **conf}, logical_date=logical_date)
        return run_id

    def turn(self, first: date, last: date, **conf: Any) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """A run for these days and the feature run that it causes; returns the chunks that each has made."""
        run_id = self.ingest(first, last, **conf)
        self.api.wait(INGEST, run_id, check=self.check)
        caused = self.api.run_caused_by(FEATURES, run_id, check=self.check)["dag_run_id"]
        self.api.wait(FEATURES, caused, check=self.check)
        return self.api.xcom(INGEST, run_id, "plan_chunks"), self.api.xcom(FEATURES, caused, "v1.plan_chunks")

    def succeeded(self, dag_id: str, run_id: str) -> set[str]:
        return {task["task_id"] for task in self.api.task_instances(dag_id, run_id) if task["state"] == "success"}

    def parquet(self, prefix: str, folder: str = "") -> pd.DataFrame:
        """The rows of all Parquet files below a prefix, those whose key has ``folder`` in it."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page["Contents"] if folder in entry["Key"]]
        bodies = [self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys if key.endswith(".parquet")]
        return pd.concat([pd.read_parquet(io.BytesIO(body)) for body in bodies], ignore_index=True)

    def features(self) -> dict[str, tuple[int, str]]:
        """Rows and checksum of each day in Redshift."""
        sums = "ds, COUNT(*) AS n, SUM(checksum)::VARCHAR AS s"
        rows = report.Warehouse(self.place).rows(
            f"SELECT {sums} FROM features.flight_delay_v1 WHERE ds BETWEEN '{DAYS[0]}' AND '{DAYS[-1]}' GROUP BY ds"
        )
        return {row["ds"]: (row["n"], row["s"]) for row in rows}


@pytest.fixture(scope="module")
def lab(place: Place) -> Lab:
    """The days landed, and made once."""
    lab = Lab(place)
    land(lab.s3, lab.bucket, date(2013, 3, 19), DAYS[-1])
    lab.turn(date(2013, 3, 19), DAYS[-1])
    assert len(lab.features()) == 4
    return lab


def task(api: AirflowApi, run_id: str, task_id: str) -> dict[str, Any]:
    (found,) = [one for one in api.task_instances(INGEST, run_id) if one["task_id"] == task_id]
    return found


@pytest.mark.slow
def test_days_that_are_done_are_not_made_again_unless_asked(lab: Lab) -> None:
    before = lab.features()
    assert lab.turn(DAYS[0], DAYS[-1]) == ([], [])
    chunk = [{"start": str(DAYS[1]), "end": str(DAYS[1])}]
    assert lab.turn(DAYS[1], DAYS[1], overwrite=True)[0] == chunk
    assert lab.features() == before


@pytest.mark.slow
def test_a_corrected_day_is_made_again_and_with_it_the_day_that_looks_back_on_it(lab: Lab) -> None:
    before, rows = lab.features(), lab.read(DAYS[1])
    # So late that what should have left in the evening leaves shortly before the next morning's flights.
    lab.deliver(DAYS[1], rows.assign(dep_delay=(rows["dep_delay"] + 330).astype("Int32")))
    ingested, built = lab.turn(DAYS[0], DAYS[-1])
    assert ingested == [{"start": "2013-03-21", "end": "2013-03-21"}]
    assert built == [{"start": "2013-03-21", "end": "2013-03-22"}]
    after = lab.features()
    assert {day for day in after if after[day] != before[day]} == {"2013-03-21", "2013-03-22"}
    assert {day: n for day, (n, _) in after.items()} == {day: n for day, (n, _) in before.items()}

    lab.deliver(DAYS[1], rows)
    lab.turn(DAYS[0], DAYS[-1])
    assert lab.features() == before, "what was delivered first, delivered again, gives the same features to the last bit"


@pytest.mark.slow
def test_a_delivery_in_breach_is_quarantined_until_it_is_corrected(lab: Lab) -> None:
    before, rows = lab.features(), lab.read(DAYS[2])
    lab.deliver(DAYS[2], rows.assign(origin="XXX"))
    run_id = lab.ingest(DAYS[2], DAYS[2])
    until = time.monotonic() + 120
    while task(lab.api, run_id, "ingest_partitions")["state"] != "up_for_retry":
        lab.check()
        assert time.monotonic() < until, task(lab.api, run_id, "ingest_partitions")["state"]
        time.sleep(1)
    key = f"quarantine/flights/ds={DAYS[2]}.json"
    told = json.loads(lab.s3.get_object(Bucket=lab.bucket, Key=key)["Body"].read())
    (breach,) = told["breaches"]
    assert (breach["column"], breach["expected"], breach["samples"]) == ("origin", "one of EWR, JFK, LGA", ["XXX"])
    log = lab.api.task_log(INGEST, run_id, "ingest_partitions", 1, 0)
    assert any("partition ds=2013-03-22" in line and "column origin" in line for line in log)
    assert lab.features() == before and task(lab.api, run_id, "publish_partitions")["state"] is None

    lab.deliver(DAYS[2], rows)  # Airflow's own retry finds it
    lab.api.wait(INGEST, run_id, check=lab.check)
    caused = lab.api.run_caused_by(FEATURES, run_id, check=lab.check)["dag_run_id"]
    lab.api.wait(FEATURES, caused, check=lab.check)
    assert lab.features() == before
    assert "Contents" not in lab.s3.list_objects_v2(Bucket=lab.bucket, Prefix=key)


@pytest.mark.slow
def test_what_was_scored_is_to_the_last_bit_what_a_training_snapshot_holds_of_it(lab: Lab) -> None:
    """One definition of the features, one way through Spark and Redshift, and no text in between."""
    conf = {"start": "2013-02-11", "end": "2013-03-12", "reason": "test"}
    run = lab.api.trigger("train_flight_delay", "bits", conf=conf, logical_date=datetime(2013, 3, 12, 13, tzinfo=UTC))
    until = time.monotonic() + 240
    while "pin_snapshot" not in lab.succeeded("train_flight_delay", run["dag_run_id"]):
        lab.check()
        assert time.monotonic() < until
        time.sleep(1)
    snapshot = lab.api.xcom("train_flight_delay", run["dag_run_id"], "pin_snapshot")
    pinned = lab.parquet(f"snapshots/flight_delay/{snapshot['run_key']}/")
    scored = lab.parquet("predictions/flight_delay/", folder="/input/").drop_duplicates("entity_id")
    both = sorted(set(scored["entity_id"]) & set(pinned["entity_id"]))
    assert len(both) > 20_000
    features = [column for column in scored.columns if column != "entity_id"]
    left, right = (frame.set_index("entity_id").loc[both, features] for frame in (scored, pinned))
    assert list(left.dtypes) == list(right.dtypes) and len(features) == 20
    for column in features:
        bits = [frame[column].to_numpy() for frame in (left, right)]
        if bits[0].dtype.kind == "f":
            assert (bits[0].view("int64") == bits[1].view("int64")).all(), column
        else:
            assert (bits[0] == bits[1]).all(), column
