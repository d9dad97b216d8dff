"""Keeping a bucket's index in step with its folder: what Spark and DuckDB write, change or delete there.

A listing looks only into folders whose modification time changed since it last looked, so it stays cheap; a read looks
at the one file it is about.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict

from moto.s3.models import FakeBucket

from localaws.object_files import TREE_LOCK, StoredKey
from localaws.object_layout import file_stamp, files_aside, layout

RACY_NS = 100_000_000
"""A folder changed this recently (ns) may change again without its modification time changing: look again next time."""

_seen_folders: dict[str, dict[str, tuple[int, list[str]]]] = defaultdict(dict)
"""Per bucket: folder ("" or "a/b/") -> its modification time (ns) when last looked at, and its subfolders."""


def is_object_name(key: str) -> bool:
    """Whether a file or folder of this key, written by something else than the S3 API, counts as an object's."""
    if any("\udc80" <= character <= "\udcff" for character in key):
        return False  # a file name that is no text in UTF-8 cannot be told in an answer
    return not any(segment.startswith(".") or segment.endswith(".crc") or segment == "_temporary" for segment in key.split("/"))


def adopt_key(bucket: FakeBucket, key: str) -> None:
    """Bring one key in step with its file: register it, replace it or drop it."""
    entry = bucket.keys.get(key)
    known = isinstance(entry, StoredKey)
    if known and not entry.is_plain:
        return  # it lies aside, where only we write
    path = layout().plain_path(bucket.name, key)
    if path is None:
        return
    stamp = file_stamp(path)
    if (known and stamp != entry.stamp) or (not known and stamp is not None and is_object_name(key)):
        with TREE_LOCK:
            _adopt_file(bucket, key, path)


def adopt_tree(bucket: FakeBucket, prefix: str, *, thorough: bool = False) -> None:
    """Bring all keys that start with ``prefix`` in step with the disk.

    A file that was written to in place, without a rename, is found only by a thorough look (or when it is read).

    :param thorough: look into every folder and at every file, also where a folder's time did not change.
    """
    with TREE_LOCK:
        start = prefix[: prefix.rfind("/") + 1]
        if start and layout().plain_path(bucket.name, start.rstrip("/")) is None:
            start = ""
        seen = _seen_folders[bucket.name]
        known: dict[str, set[str]] | None = None
        pending = [start]
        while pending:
            folder = pending.pop()
            path = os.path.join(layout().bucket(bucket.name), folder)
            try:
                modified = os.stat(path).st_mtime_ns
                last = seen.get(folder)
                if last is not None and last[0] == modified and not thorough:
                    pending += last[1]
                    continue
                known = _plain_keys_by_folder(bucket) if known is None else known
                subfolders = _adopt_folder(bucket, folder, path, known)
            except (FileNotFoundError, NotADirectoryError):
                _drop_folder(bucket, folder)
                continue
            if time.time_ns() - modified > RACY_NS:
                seen[folder] = (modified, subfolders)
            else:
                seen.pop(folder, None)
            pending += subfolders


def adopt_aside(bucket: FakeBucket) -> None:
    """After a start: register bodies that lie aside and that the saved index lacks, drop keys whose body is gone."""
    for key, path in files_aside(bucket.name):
        if key not in bucket.keys:
            bucket.keys.setlist(key, [StoredKey.found(bucket, key, path)])
    for key, versions in list(bucket.keys.lists()):  # type: ignore[attr-defined]
        there = [v for v in versions if not isinstance(v, StoredKey) or v.is_plain or os.path.isfile(v.path)]
        if not any(isinstance(version, StoredKey) for version in there):
            bucket.keys.pop(key)
        elif len(there) < len(versions):
            bucket.keys.setlist(key, there)


def forget_folders(bucket: str) -> None:
    """Forget what was seen of a bucket that is gone."""
    _seen_folders.pop(bucket, None)


def _adopt_folder(bucket: FakeBucket, folder: str, path: str, known: dict[str, set[str]]) -> list[str]:
    """Bring the keys in one folder in step with it, and return its subfolders."""
    known_subfolders = {folder + name[len(folder) :].split("/")[0] + "/" for name in known if name.startswith(folder)}
    known_subfolders.discard(folder + "/")
    subfolders, names = [], set()
    with os.scandir(path) as entries:
        for entry in entries:
            key = folder + entry.name
            if entry.is_dir(follow_symlinks=False):
                if is_object_name(key) or f"{key}/" in known_subfolders:
                    subfolders.append(f"{key}/")
                continue
            names.add(key)
            current = bucket.keys.get(key)
            if isinstance(current, StoredKey):
                if current.is_plain and current.stamp != file_stamp(entry.path):
                    _adopt_file(bucket, key, entry.path)
            elif is_object_name(key):
                _adopt_file(bucket, key, entry.path)
    for key in known.get(folder, set()) - names:
        _adopt_file(bucket, key, os.path.join(layout().bucket(bucket.name), key))
    for gone in known_subfolders - set(subfolders):
        _drop_folder(bucket, gone)
    return subfolders


def _adopt_file(bucket: FakeBucket, key: str, path: str) -> None:
    try:
        found = StoredKey.found(bucket, key, path)
    except FileNotFoundError:
        found = None
    bucket.keys.adopt(key, found)  # type: ignore[attr-defined]


def _drop_folder(bucket: FakeBucket, folder: str) -> None:
    """Drop the keys below a folder that is gone."""
    _seen_folders[bucket.name].pop(folder, None)
    for key in [name for name in dict(bucket.keys) if name.startswith(folder)]:
        entry = bucket.keys.get(key)
        if isinstance(entry, StoredKey) and entry.is_plain:
            _adopt_file(bucket, key, entry.path)


def _plain_keys_by_folder(bucket: FakeBucket) -> dict[str, set[str]]:
    folders: dict[str, set[str]] = defaultdict(set)
    for key, entry in bucket.keys.items():
        if isinstance(entry, StoredKey) and entry.is_plain:
            folders[key[: key.rfind("/") + 1]].add(key)
    return folders
