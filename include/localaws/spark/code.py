"""A job's code, brought from S3 into its working folder before it starts."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from moto.logs.models import logs_backends
from moto.s3.models import s3_backends

from localaws import ACCOUNT_ID, REGION, objects, persistence

ARCHIVES = (".zip", ".egg", ".whl")


class CodeMissing(Exception):
    """A script, module or file of a job is not where the job says; the message is Glue's, with bucket and key."""

    def __init__(self, uri: str):
        try:
            bucket, key = objects.split_uri(uri)
        except ValueError:
            super().__init__(f"{uri} is no S3 address; expected s3://bucket/key")
        else:
            super().__init__(f"Error downloading from S3 for bucket: {bucket}, key: {key}. Not Found (Status Code: 404)")
        self.uri = uri


def stage_file(uri: str, folder: Path) -> Path:
    """Copy one object into ``folder`` under its own name and give the file. Raises :class:`CodeMissing`."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / uri.rstrip("/").rpartition("/")[2]
    try:
        shutil.copyfile(objects.object_path(uri), target)
    except (KeyError, ValueError, OSError) as error:
        raise CodeMissing(uri) from error
    return target


def stage_modules(uris: Iterable[str], folder: Path) -> list[Path]:
    """Copy modules (``.py``, ``.zip``, ``.egg``, ``.whl``) below ``folder`` and give what belongs on ``sys.path`` for
    them.

    Archives are imported from as they are, so a wheel must be pure Python. Raises :class:`CodeMissing`, and
    ``ValueError`` for another kind of file.
    """
    modules = folder / "modules"
    path: list[Path] = []
    for uri in uris:
        if uri.endswith(ARCHIVES):
            path.append(stage_file(uri, modules))
        elif uri.endswith(".py"):
            stage_file(uri, modules)
            if modules not in path:
                path.append(modules)
        else:
            raise ValueError(f"{uri} is no Python module; expected .py, {', '.join(ARCHIVES)}")
    return path


def open_logs(*streams: tuple[str, str]) -> None:
    """Make the (log group, log stream) pairs of a job, so that who reads them finds them before the first line."""
    logs = logs_backends[ACCOUNT_ID][REGION]
    for group, stream in streams:
        logs.ensure_log_group(group)
        logs.ensure_log_stream(group, stream)
    persistence.touch("logs")


def visible_buckets() -> tuple[Path, list[str]]:
    """Give the folder whose subfolders are the buckets, and the names of the buckets that there are now."""
    names = sorted(s3_backends[ACCOUNT_ID]["aws"].buckets)
    root = objects.bucket_dir(names[0]).parent if names else Path("/nonexistent")
    return root, names


def adopt_written() -> None:
    """Register with S3 what a job wrote into the buckets' folders."""
    for bucket in visible_buckets()[1]:
        objects.adopt_changes(bucket)
