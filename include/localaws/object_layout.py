"""How S3 objects lie on the disk: every object is one plain file, ``s3/<bucket>/<key>``.

Spark and DuckDB read and write the very same files without a copy. What cannot be a plain file of that name lies in
``s3-aside/``: old versions, keys that end with ``/``, keys with segments such as ``..`` or longer than a file name may
be, and a key ``a`` beside ``a/b``. Bodies are written to ``s3-incoming/`` first, Spark's as ``spark-<process id>-<any>``.
On a disk that takes ``A`` and ``a`` for one name, keys that differ in nothing else are one object.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

INCOMING = "s3-incoming"
"""The folder, beside the one of the plain files, into which bodies are written; on the same disk, so that they are renamed."""

_SPARK_BODY = re.compile(r"spark-(\d+)-.+")

MAX_FILE_NAME_BYTES = 255
MAX_PATH_BYTES = 4000


class Layout:
    """The folders below the root in which objects lie. Paths are strings: they are built for every call."""

    def __init__(self, root: Path):
        self.root = str(root)
        self.plain = os.path.join(self.root, "s3")
        self.aside = os.path.join(self.root, "s3-aside")
        self.incoming = os.path.join(self.root, INCOMING)
        for folder in (self.plain, self.aside, self.incoming):
            os.makedirs(folder, exist_ok=True)

    def bucket(self, bucket: str) -> str:
        """The folder of the bucket's plain files."""
        return os.path.join(self.plain, bucket)

    def plain_path(self, bucket: str, key: str) -> str | None:
        """The plain file of the key, or None when no file can have that name."""
        path = f"{self.plain}/{bucket}/{key}"
        if "\0" in key or len(os.fsencode(path)) > MAX_PATH_BYTES:
            return None
        for segment in key.split("/"):
            if segment in ("", ".", "..") or len(os.fsencode(segment)) > MAX_FILE_NAME_BYTES:
                return None
        return path

    def aside_folder(self, bucket: str, key: str) -> str:
        """The folder for bodies of the key that cannot be its plain file; the file ``key`` in it holds its name."""
        folder = os.path.join(self.aside, bucket, hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest())
        if not os.path.isdir(folder):
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, "key"), "w", encoding="utf-8", errors="surrogatepass") as name:
                name.write(key)
        return folder

    def absolute(self, where: str) -> str:
        """The absolute path of a place that is kept relative to the root (so that the root may be moved)."""
        return os.path.join(self.root, where)

    def relative(self, path: str) -> str:
        """The place of an absolute path below the root."""
        return path[len(self.root) + 1 :]


_layout: Layout | None = None


def use_root(root: Path) -> Layout:
    """Lay the tree out below ``root`` and make it the one that every key uses."""
    global _layout
    _layout = Layout(root)
    return _layout


def layout() -> Layout:
    """The layout in use.

    :raises RuntimeError: ``use_root`` was not called yet.
    """
    if _layout is None:
        raise RuntimeError("localaws.object_files.use_root(root) must be called before an S3 object is touched")
    return _layout


def file_stamp(path: str) -> tuple[int, int, int] | None:
    """Size (bytes), modification time (ns) and inode: what tells whether a file was changed. None: no such file."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


def is_being_written(name: str) -> bool:
    """Whether an incoming body of this name is one of Spark's whose process lives: it may yet become an object."""
    writer = _SPARK_BODY.fullmatch(name)
    if writer is None:
        return False
    try:
        os.kill(int(writer[1]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's process: it is alive
    return True


def remove_bodies_of_the_dead(incoming: Path) -> None:
    """Remove from a folder for incoming bodies those that Spark processes left there which are over."""
    for name in os.listdir(incoming) if incoming.is_dir() else []:
        if _SPARK_BODY.fullmatch(name) and not is_being_written(name):
            (incoming / name).unlink(missing_ok=True)


def files_aside(bucket: str) -> Iterator[tuple[str, str]]:
    """The keys whose bodies lie aside, with the newest body's path. Used to find what an index that was lost had."""
    folder = os.path.join(layout().aside, bucket)
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        bodies = [entry for entry in os.scandir(os.path.join(folder, name)) if entry.name.startswith("body-")]
        if bodies:
            with open(os.path.join(folder, name, "key"), encoding="utf-8", errors="surrogatepass") as file:
                key = file.read()
            yield key, max(bodies, key=lambda entry: entry.stat().st_mtime_ns).path
