"""Files below the zones' root, through Hadoop's file systems, so that ``s3://`` and ``file://`` are alike."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

THREADS = 16
"""Small calls at once: each is a round trip to S3 and little else."""
_WRITTEN_WITHIN = 1.0
"""Seconds that a small file may be empty because somebody is just writing it (on S3 it never is)."""

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
        """Tells this delivery of a key from a later one: modification time and length, fit for a folder's name."""
        return f"{self.modified:x}-{self.length:x}"


class Zones:
    """What lies below one root (``s3://bucket`` or ``file:///folder``). Keys are relative to it.

    :ivar root: without a slash at the end
    """

    def __init__(self, spark: SparkSession, root: str):
        assert spark._jvm
        self.spark, self.root = spark, root.rstrip("/")
        self._jvm, self._conf = spark._jvm, spark._jsc.hadoopConfiguration()
        self._hadoop = self._jvm.org.apache.hadoop.fs
        self._root_path = str(self._hadoop.Path(self.root).toUri().getPath()).rstrip("/")

    def uri(self, key: str) -> str:
        """The whole address of a key."""
        return f"{self.root}/{key}"

    def read_text(self, key: str) -> str | None:
        """Content of a small file; None if there is none."""
        path, fs = self._at(key)
        until = time.monotonic() + _WRITTEN_WITHIN
        while True:
            try:
                stream = fs.open(path)
            except Py4JJavaError as error:
                if _is_not_found(error):
                    return None
                raise
            try:
                text = str(self._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
            finally:
                stream.close()
            if text or time.monotonic() > until:
                return text
            time.sleep(0.05)

    def write_text(self, key: str, text: str) -> None:
        """Writes a small file in place of what was there, in one piece: S3 shows an object when it is whole."""
        path, fs = self._at(key)
        content = text.encode()
        stream = fs.create(path, True, max(len(content), 4096))
        try:
            stream.write(bytearray(content))
        finally:
            stream.close()

    def delete(self, key: str) -> None:
        """Removes a file; does nothing where there is none."""
        path, fs = self._at(key)
        fs.delete(path, False)

    def copy(self, source: str, target: str) -> None:
        """Copies a file's bytes (they pass through the driver)."""
        (source_path, source_fs), (target_path, target_fs) = self._at(source), self._at(target)
        self._hadoop.FileUtil.copy(source_fs, source_path, target_fs, target_path, False, True, self._conf)

    def find(self, key: str) -> File | None:
        """The file of that key, if there is one."""
        path, fs = self._at(key)
        try:
            return self._file(fs.getFileStatus(path))
        except Py4JJavaError as error:
            if _is_not_found(error):
                return None
            raise

    def days(self, folder: str) -> list[date]:
        """The days for which ``<folder>/ds=YYYY-MM-DD`` exists as a folder, in order."""
        found = [re.fullmatch(r"ds=(\d{4}-\d{2}-\d{2})", status.getPath().getName()) for status in self._list([folder])]
        return sorted(date.fromisoformat(match[1]) for match in found if match)

    def files(self, *folders: str) -> list[File]:
        """The files directly in these folders, hidden ones left out. Folders that do not exist have none."""
        return [file for status in self._list(folders) if status.isFile() and not _hidden((file := self._file(status)).name)]

    def files_below(self, folder: str) -> list[File]:
        """The files anywhere below a folder, hidden ones left out."""
        path, fs = self._at(folder)
        if not fs.exists(path):
            return []
        statuses, found = fs.listFiles(path, True), []
        while statuses.hasNext():
            file = self._file(statuses.next())
            if not any(_hidden(part) for part in file.key[len(folder) + 1 :].split("/")):
                found.append(file)
        return sorted(found, key=lambda file: file.key)

    def footer(self, key: str) -> tuple[dict[str, str], int]:
        """Columns (name to Spark's type) and number of rows of a Parquet file, from its footer alone.

        :raises ValueError: it is no whole Parquet file
        """
        path, _ = self._at(key)
        try:
            source = self._jvm.org.apache.parquet.hadoop.util.HadoopInputFile.fromPath(path, self._conf)
            reader = self._jvm.org.apache.parquet.hadoop.ParquetFileReader.open(source)
        except Py4JJavaError as error:
            raise ValueError(root_message(error)) from None
        try:
            return parquet_columns(reader.getFileMetaData().getSchema().toString()), reader.getRecordCount()
        finally:
            reader.close()

    def _at(self, key: str) -> tuple[Any, Any]:
        path = self._hadoop.Path(self.uri(key))
        return path, path.getFileSystem(self._conf)

    def _file(self, status: Any) -> File:
        path = str(status.getPath().toUri().getPath())
        return File(path[len(self._root_path) + 1 :], status.getLen(), status.getModificationTime())

    def _list(self, folders: Sequence[str]) -> Iterator[Any]:
        """The statuses of what lies directly in these folders; of folders that do not exist, none."""

        def statuses(folder: str) -> list[Any]:
            path, fs = self._at(folder)
            try:
                return list(fs.listStatus(path))
            except Py4JJavaError as error:
                if _is_not_found(error):
                    return []
                raise

        for listed in in_parallel(statuses, folders):
            yield from listed


def _hidden(name: str) -> bool:
    return name.startswith(("_", "."))


def _is_not_found(error: Py4JJavaError) -> bool:
    return error.java_exception.getClass().getSimpleName() == "FileNotFoundException"


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
