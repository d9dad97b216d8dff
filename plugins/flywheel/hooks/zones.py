"""Zones of the lake as S3 lists them (:mod:`flywheel.core.commits` tells how they are laid out).

What is there is asked of ``ListObjectsV2``, a thousand keys a call; commits that have to be known are read, ten at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Any

from flywheel.core.commits import Commit, commit_key, commits_prefix, delivery_stamp

#: A snapshot of whatever age is the newest until the next one: where their lists begin.
EVER = date(1970, 1, 1)
#: S3's own limit of keys in one DeleteObjects.
BATCH = 1000
#: Commits that are read at the same time: as many as botocore keeps connections.
READERS = 10


@dataclass(frozen=True)
class Listed:
    """One object of a list: when it was written (UTC), its length in bytes, and the ETag, which is another for other content."""

    key: str
    modified: datetime
    length: int
    etag: str

    @property
    def stamp(self) -> str:
        """As jobs stamp deliveries (:func:`flywheel.core.commits.delivery_stamp`), in whole seconds."""
        return delivery_stamp(int(self.modified.timestamp()) * 1000, self.length)


def by_day(s3: Any, bucket: str, folder: str, first: date, last: date) -> dict[date, list[Listed]]:
    """The objects of each day from ``first`` to ``last`` whose key begins ``<folder>ds=YYYY-MM-DD``, hidden ones left out.

    :param s3: a boto3 client
    :param folder: key prefix with a slash at the end
    """
    start, end = f"{folder}ds={first}", f"{folder}ds={last}"
    same = next((i for i, (one, other) in enumerate(zip(start, end, strict=True)) if one != other), len(start))
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=start[:same], StartAfter=start)
    found: dict[date, list[Listed]] = {}
    for page in pages:
        for entry in page.get("Contents", []):
            name = entry["Key"].removeprefix(folder)
            try:
                day = date.fromisoformat(name[len("ds=") : len("ds=YYYY-MM-DD")])
            except ValueError:
                continue
            if day > last:
                return found
            if not name.endswith("/") and not name.rsplit("/", 1)[-1].startswith(("_", ".")):
                listed = Listed(entry["Key"], entry["LastModified"], entry["Size"], entry["ETag"])
                found.setdefault(day, []).append(listed)
    return found


def landed(s3: Any, bucket: str, dataset: str, first: date, last: date) -> dict[date, dict[str, str]]:
    """The files of each landed partition: key to stamp."""
    found = by_day(s3, bucket, f"landing/{dataset}/", first, last)
    return {day: {file.key: file.stamp for file in files} for day, files in found.items()}


def list_commits(s3: Any, bucket: str, zone: str, first: date, last: date) -> dict[date, Listed]:
    """The commits of a zone as objects, unread."""
    found = by_day(s3, bucket, commits_prefix(zone), first, last)
    return {day: objects[0] for day, objects in found.items()}


def read_commits(s3: Any, bucket: str, zone: str, days: Iterable[date]) -> dict[date, tuple[Commit, str]]:
    """The commits of these days, each with the ETag of the very answer that it was read from."""

    def read(day: date) -> tuple[Commit, str]:
        answer = s3.get_object(Bucket=bucket, Key=commit_key(zone, day))
        return Commit.from_json(answer["Body"].read().decode()), answer["ETag"]

    wanted = sorted(days)
    with ThreadPoolExecutor(READERS) as pool:
        return dict(zip(wanted, pool.map(read, wanted), strict=True))


def committed(s3: Any, bucket: str, zone: str, first: date, last: date) -> dict[date, Commit]:
    """The commits of a zone from ``first`` to ``last``: a list, and a read of each."""
    days = list_commits(s3, bucket, zone, first, last)
    return {day: commit for day, (commit, _) in read_commits(s3, bucket, zone, days).items()}


def objects(s3: Any, bucket: str, prefix: str) -> Iterator[tuple[str, datetime]]:
    """Key and time of everything below a prefix."""
    pages: Iterable[dict[str, Any]] = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        for entry in page.get("Contents", []):
            yield entry["Key"], entry["LastModified"]


def delete(s3: Any, bucket: str, keys: Iterable[str]) -> int:
    """Deletes objects, a thousand in a call. Returns how many.

    :raises ValueError: S3 refuses one, naming it
    """
    count, left = 0, iter(keys)
    while some := list(islice(left, BATCH)):
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in some], "Quiet": True})
        for error in answer.get("Errors", []):
            raise ValueError(f"s3://{bucket}/{error['Key']}: expected to be deleted, S3 says {error['Code']}: {error['Message']}")
        count += len(some)
    return count
