"""What the source team delivers, and when; into a real local AWS."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest

from flywheel.core.contract_files import load_contracts
from flywheel.core.delivery_checks import check_schema
from laptop.landing import deliveries, land, main, parquet_bytes

INCLUDE = Path(__file__).resolve().parents[3] / "include"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory) -> Iterator[str]:
    """The address of a local AWS of this module's own."""
    command = [sys.executable, "-m", "localaws", "serve", "--root", str(tmp_path_factory.mktemp("aws")), "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    process = subprocess.Popen(command, env=environment | {"PYTHONPATH": str(INCLUDE)}, stdout=subprocess.PIPE, text=True)
    ready = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", ready)
    assert found, f"the local AWS did not start: {ready!r}"
    yield found.group()
    process.send_signal(signal.SIGTERM)
    process.wait(60)


@pytest.fixture
def s3(endpoint, monkeypatch) -> Any:
    for name, value in {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    return boto3.client("s3", endpoint_url=endpoint)


def landed(s3: Any, bucket: str) -> list[str]:
    return sorted(item["Key"].removeprefix("landing/") for item in s3.list_objects_v2(Bucket=bucket).get("Contents", []))


def test_a_day_lands_with_what_is_known_that_evening(s3):
    s3.create_bucket(Bucket="one-day")
    day = date(2013, 4, 2)
    assert land(s3, "one-day", day, day, today=day) == {"planes": 1, "flights": 1, "arrivals": 1, "weather": 1}
    assert landed(s3, "one-day") == [
        "arrivals/ds=2013-04-01/arrivals.parquet",
        "flights/ds=2013-04-02/flights.parquet",
        "planes/ds=2013-01-01/planes.parquet",
        "weather/ds=2013-04-02/weather.parquet",
    ]


def test_landing_again_uploads_only_what_is_new(s3, endpoint, capsys):
    s3.create_bucket(Bucket="again")
    window = ["--bucket", "again", "--endpoint", endpoint, "--start", "2013-02-01", "--end"]
    main([*window, "2013-02-03", "--today", "2013-02-03"])
    assert "landed arrivals: 3 new files" in capsys.readouterr().out  # 31 January to 2 February
    main([*window, "2013-02-03", "--today", "2013-02-04"])
    said = capsys.readouterr().out
    assert "landed flights: 0 new files" in said and "landed arrivals: 1 new files" in said
    main([*window, "2013-02-04", "--today", "2013-02-10"])
    assert "landed arrivals: 1 new files" in capsys.readouterr().out
    assert "arrivals/ds=2013-02-04/arrivals.parquet" in landed(s3, "again")


def test_nothing_lands_before_its_day(s3):
    s3.create_bucket(Bucket="future")
    land(s3, "future", date(2013, 2, 1), date(2013, 2, 9), today=date(2013, 2, 2))
    assert max(key.split("/")[1] for key in landed(s3, "future")) == "ds=2013-02-02"


def test_windows_outside_of_the_data_are_refused(s3):
    new_year, day = date(2013, 1, 1), date(2013, 6, 1)
    for start, end in ((date(2012, 12, 31), new_year), (day, date(2014, 1, 1)), (day, new_year)):
        with pytest.raises(ValueError, match="landing: expected 2013-01-01 <= start <= end <= 2013-12-31"):
            land(s3, "nowhere", start, end)


def test_every_file_keeps_its_contract():
    contracts = load_contracts(INCLUDE / "datasets")
    spark_types = {"int32": "int", "double": "double", "string": "string", "large_string": "string"}
    delivered = list(deliveries(date(2013, 12, 30), date(2013, 12, 31), date(2014, 1, 1)))
    assert {(name, str(day)) for name, day, _ in delivered if name == "weather"} == {("weather", "2013-12-30")}
    for dataset, day, rows in delivered:
        schema = pq.read_schema(io.BytesIO(parquet_bytes(rows)))
        types = {field.name: spark_types[str(field.type)] for field in schema}
        schema = check_schema(contracts[dataset], types, day=day, file="")
        assert (schema.breaches, schema.notes) == ([], [])
        assert not rows[list(contracts[dataset].key)].isna().any(axis=None)
        assert not rows.duplicated(list(contracts[dataset].key)).any()


def test_all_flights_of_the_year_are_delivered():
    rows = {"flights": 0, "arrivals": 0, "planes": 0, "weather": 0}
    for dataset, _, frame in deliveries(date(2013, 1, 1), date(2013, 12, 31), date(2014, 1, 1)):
        rows[dataset] += len(frame)
    assert rows == {"flights": 336_776, "arrivals": 336_776, "planes": 3322, "weather": 26_115}
