"""Files below the zones' root, through Hadoop's file systems, so that ``s3://`` and ``file://`` are alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from flywheel.core.commits import delivery_stamp

THREADS = 16
"""Small calls at once: each is a round trip to S3 and little else."""

_DAY = re.compile(r"ds=\d{4}-\d{2}-\d{2}")

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """The function's results over the items, in their order, :data:`THREADS` at once."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, items))


@dataclass(frozen=True)
class File:
    """One file: its key below the root, length in bytes, modification time in milliseconds."""

    key: str
    length: int
    modified: int

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rsplit("/", 1)[-1]

    @property
    def day(self) -> date | None:
        """The day of the ``ds=YYYY-MM-DD`` folder that the file lies in, if it does."""
        found = re.search(r"/ds=(\d{4}-\d{2}-\d{2})/", self.key)
        return date.fromisoformat(found[1]) if found else None

    @property
    def stamp(self) -> str:
        """Tells this delivery of the key from a later one."""
        return delivery_stamp(self.modified, self.length)


class Zones:
    """What lies below one root (``s3://bucket`` or ``file:///folder``). Keys are relative to it.

    :ivar root: without a slash at the end
    """

    def __init__(self, spark: SparkSession, root: str):
        assert spark._jvm
        self.spark, self.root = spark, root.rstrip("/")
        self._jvm, self._conf = spark._jvm, spark._jsc.hadoopConfiguration()
        self._hadoop = self._jvm.org.apache.hadoop.fs
        root_path = self._hadoop.Path(self.root)
        self._fs = root_path.getFileSystem(self._conf)
        self._root_path = str(root_path.toUri().getPath()).rstrip("/")

    def uri(self, key: str) -> str:
        """The whole address of a key."""
        return f"{self.root}/{key}"

    def read_text(self, key: str) -> str | None:
        """Content of a small file; None if there is none."""
        try:
            stream = self._fs.open(self._path(key))
        except Py4JJavaError as error:
            if error.java_exception.getClass().getSimpleName() == "FileNotFoundException":
                return None
            raise
        try:
            return str(self._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
        finally:
            stream.close()

    def write_text(self, key: str, text: str) -> None:
        """Writes a small file in place of what was there, in one piece: S3 shows an object when it is whole."""
        stream = self._fs.create(self._path(key), True)
        stream.write(bytearray(text.encode()))
        stream.close()  # makes the object: where writing fails, the stream stays open and there is none

    def delete(self, key: str) -> None:
        """Removes a file; does nothing where there is none."""
        self._fs.delete(self._path(key), False)

    def copy(self, source: str, target: str) -> None:
        """Copies a file's bytes (they pass through the driver); like a small file, the copy is there when it is whole."""
        copy = self._hadoop.FileUtil.copy
        copy(self._fs, self._path(source), self._fs, self._path(target), False, True, self._conf)

    def days(self, folder: str) -> list[date]:
        """The days for which ``<folder>/ds=YYYY-MM-DD`` exists as a folder, in order."""
        names = [status.getPath().getName() for status in self._glob(f"{folder}/ds=*") if status.isDirectory()]
        return sorted(date.fromisoformat(name[len("ds=") :]) for name in names if _DAY.fullmatch(name))

    def files(self, pattern: str) -> list[File]:
        """The files whose keys fit a pattern of Hadoop's (``*`` within a folder, ``{a,b}`` one of these), without hidden ones."""
        return [file for status in self._glob(pattern) if status.isFile() and not _hidden((file := self._file(status)).name)]

    def files_below(self, folder: str) -> list[File]:
        """The files anywhere below a folder, hidden ones left out."""
        path = self._path(folder)
        if not self._fs.exists(path):
            return []
        statuses, found = self._fs.listFiles(path, True), []
        while statuses.hasNext():
            file = self._file(statuses.next())
            if not any(_hidden(part) for part in file.key[len(folder) + 1 :].split("/")):
                found.append(file)
        return sorted(found, key=lambda file: file.key)

    def footer(self, key: str) -> tuple[dict[str, str], int]:
        """Columns (name to Spark's type) and number of rows of a Parquet file, from its footer alone.

        :raises ValueError: it is no whole Parquet file
        """
        try:
            source = self._jvm.org.apache.parquet.hadoop.util.HadoopInputFile.fromPath(self._path(key), self._conf)
            reader = self._jvm.org.apache.parquet.hadoop.ParquetFileReader.open(source)
        except Py4JJavaError as error:
            raise ValueError(root_message(error)) from None
        try:
            return parquet_columns(reader.getFileMetaData().getSchema().toString()), reader.getRecordCount()
        finally:
            reader.close()

    def _path(self, key: str) -> Any:
        return self._hadoop.Path(self.uri(key))

    def _glob(self, pattern: str) -> list[Any]:
        """The statuses of what fits a pattern: one call, however many there are."""
        return list(self._fs.globStatus(self._path(pattern)) or [])

    def _file(self, status: Any) -> File:
        path = str(status.getPath().toUri().getPath())
        return File(path[len(self._root_path) + 1 :], status.getLen(), status.getModificationTime())


def of_days(days: Iterable[date]) -> str:
    """The folders of these days as a pattern for :meth:`Zones.files`."""
    return f"ds={{{','.join(map(str, days))}}}"


def _hidden(name: str) -> bool:
    return name.startswith(("_", "."))


def root_message(error: Py4JJavaError) -> str:
    """The first line of what Java says was the cause."""
    cause = error.java_exception
    while cause.getCause() is not None:
        cause = cause.getCause()
    return str(cause.getMessage()).splitlines()[0]


# A top-level line of Parquet's schema text, e.g. `  optional int64 at (TIMESTAMP(MICROS,true));`
_FIELD = re.compile(
    r"^ {2}(?:required|optional|repeated) (?P<kind>\w+)(?:\(\d+\))? (?P<name>[^ ;]+)"
    r"(?: \((?P<logical>.+)\))?(?: =.*)?[;{ ]*$"
)
_INTEGERS = {f"INTEGER({bits},true)": name for bits, name in ((8, "tinyint"), (16, "smallint"), (32, "int"), (64, "bigint"))}
_PLAIN = {"boolean": "boolean", "int32": "int", "int64": "bigint", "int96": "timestamp", "float": "float", "double": "double"}


def parquet_columns(message_type: str) -> dict[str, str]:
    """Top-level columns of a Parquet schema, in the text form of Parquet's own ``MessageType``, with their Spark types."""
    columns = {}
    for line in message_type.splitlines():
        found = _FIELD.match(line)
        if not found:
            continue
        kind, logical = found["kind"], found["logical"] or ""
        if logical in ("STRING", "UTF8", "ENUM"):
            spark_type = "string"
        elif logical.startswith("TIMESTAMP"):
            spark_type = "timestamp" if logical.endswith(",true)") else "timestamp_ntz"
            if "NANOS" in logical:  # which Spark reads as neither
                spark_type = "timestamp(nanos)"
        elif logical in _INTEGERS:
            spark_type = _INTEGERS[logical]
        elif logical:
            spark_type = logical.lower()
        else:
            spark_type = _PLAIN.get(kind, "struct" if kind == "group" else kind)
        columns[found["name"]] = spark_type
    return columns
