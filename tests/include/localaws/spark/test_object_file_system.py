"""Objects that Spark writes are there whole or not at all, for Spark and for the S3 API."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_process import LocalAwsProcess
from job_helpers import put_script, wait_for
from py4j.clientserver import ClientServer, JavaParameters, PythonParameters
from py4j.protocol import Py4JJavaError

from localaws.object_layout import is_being_written, remove_bodies_of_the_dead
from localaws.spark import conf
from localaws.spark.worker import SparkWorker

pytestmark = pytest.mark.slow


class Client:
    """A Spark JVM in which Hadoop's file system is open for one bucket of a local AWS, and that AWS's S3."""

    def __init__(self, aws: LocalAwsProcess, bucket: str, folder: Path):
        self.root, self.bucket = aws.root, bucket
        self.s3 = aws.client("s3")
        self.s3.create_bucket(Bucket=bucket)
        self.worker = SparkWorker(folder / "worker.log", dict(os.environ), memory="512m")
        self.worker.start()
        self.open()

    def open(self) -> None:
        settings = conf.s3_settings([self.bucket], self.root / "s3")
        gateway = self.worker.open_job(settings, print)
        self.jvm = ClientServer(
            JavaParameters(port=gateway.port, auth_token=gateway.secret, auto_convert=True),
            PythonParameters(port=0, eager_load=False),
        ).jvm
        self.conf = self.jvm.org.apache.hadoop.conf.Configuration()
        for name, value in settings.items():
            self.conf.set(name.removeprefix("spark.hadoop."), value)
        self.fs = self.path("").getFileSystem(self.conf)

    def path(self, key: str) -> Any:
        return self.jvm.org.apache.hadoop.fs.Path(f"s3://{self.bucket}/{key}")

    def write(self, key: str, content: bytes) -> Any:
        """Begin an object; the stream has all of its bytes and was flushed."""
        stream = self.fs.create(self.path(key))
        stream.write(content)
        stream.hflush()
        return stream

    def put(self, key: str, content: bytes) -> None:
        self.write(key, content).close()

    def read(self, key: str) -> bytes:
        stream = self.fs.open(self.path(key))
        content = self.jvm.org.apache.commons.io.IOUtils.toByteArray(stream)
        stream.close()
        return bytes(content)

    def listed(self) -> tuple[list[str], list[str]]:
        """The keys that the S3 API lists, and what Hadoop lists, folders included."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return keys, sorted(self._below(self.path("")))

    def _below(self, folder: Any) -> Iterator[str]:
        for status in self.fs.listStatus(folder):
            yield str(status.getPath().toUri().getPath()).lstrip("/") + "/" * bool(status.isDirectory())
            if status.isDirectory():
                yield from self._below(status.getPath())

    def incoming(self) -> list[str]:
        return sorted(os.listdir(self.root / "s3-incoming"))


@pytest.fixture(scope="module")
def client(aws: LocalAwsProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    made = Client(aws, "whole-objects", tmp_path_factory.mktemp("client"))
    yield made
    made.worker.kill()


@pytest.fixture(autouse=True)
def empty(client: Client) -> Iterator[None]:
    client.fs = client.path("").getFileSystem(client.conf)  # a new one if a test has closed it
    yield
    client.fs = client.path("").getFileSystem(client.conf)
    client.fs.delete(client.path("a"), True)
    assert client.listed() == ([], [])


def test_an_object_that_is_being_written_is_nowhere_until_it_is_closed(client: Client) -> None:
    stream = client.write("a/b", b"x" * 100_000)
    assert client.listed() == ([], [])
    assert not client.fs.exists(client.path("a/b"))
    stream.close()
    assert client.listed() == (["a/b"], ["a/", "a/b"])
    assert client.s3.get_object(Bucket=client.bucket, Key="a/b")["Body"].read() == b"x" * 100_000
    assert client.incoming() == []


def test_an_overwritten_object_is_the_old_or_the_new_one(client: Client) -> None:
    client.put("a/b", b"old")
    stream = client.write("a/b", b"newer")
    assert client.read("a/b") == b"old"
    assert client.s3.get_object(Bucket=client.bucket, Key="a/b")["Body"].read() == b"old"
    stream.close()
    assert client.read("a/b") == b"newer"
    assert client.s3.get_object(Bucket=client.bucket, Key="a/b")["Body"].read() == b"newer"


def test_readers_see_whole_objects_while_they_are_overwritten(client: Client) -> None:
    client.put("a/b", b"0" * 70_000)
    seen: list[tuple[int, set[int]]] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            body = client.s3.get_object(Bucket=client.bucket, Key="a/b")["Body"].read()
            seen.append((len(body), set(body)))

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for number in range(40):
            client.put("a/b", str(number % 10).encode() * (70_000 + number % 10))
    finally:
        over.set()
        reader.join()
    assert len(seen) > 3
    for length, digits in seen:
        assert [length - 70_000 + ord("0")] == list(digits)


def test_what_the_s3_api_overwrites_spark_reads(client: Client) -> None:
    client.put("a/b", b"of Spark")
    client.s3.put_object(Bucket=client.bucket, Key="a/b", Body=b"of the API")
    assert client.read("a/b") == b"of the API"


def test_a_killed_writer_leaves_nothing_that_is_listed(client: Client, aws: LocalAwsProcess, tmp_path: Path) -> None:
    other = Client(aws, "killed-writer", tmp_path)
    other.put("whole", b"x")
    other.write("half", b"x" * 1000)
    (body,) = other.incoming()
    remove_bodies_of_the_dead(other.root / "s3-incoming")
    assert other.incoming() == [body], "the body of a living writer"
    other.worker.kill()
    keys = [entry["Key"] for entry in other.s3.list_objects_v2(Bucket="killed-writer")["Contents"]]
    assert keys == ["whole"] == os.listdir(other.root / "s3" / "killed-writer")
    remove_bodies_of_the_dead(other.root / "s3-incoming")
    assert other.incoming() == []


def test_a_stream_that_its_job_never_closed_is_dropped_with_the_job(client: Client) -> None:
    stream = client.write("a/b", b"x")
    client.fs.close()
    with pytest.raises(Py4JJavaError, match="was not written"):
        stream.close()
    assert client.incoming() == []
    with pytest.raises(Py4JJavaError, match="file system is closed"):
        client.write("a/b", b"x")


def test_a_job_that_is_over_leaves_nothing_half_written(client: Client) -> None:
    client.write("a/b", b"x")
    assert client.worker.close_job()
    assert client.incoming() == []
    client.open()


def test_its_time_is_when_it_became_whole(client: Client) -> None:
    stream = client.write("a/b", b"x")
    time.sleep(0.05)
    began = client.root / "s3-incoming" / client.incoming()[0]
    first = began.stat().st_mtime_ns
    stream.close()
    modified = (client.root / "s3" / client.bucket / "a/b").stat().st_mtime_ns
    assert modified - first > 40_000_000
    assert client.fs.getFileStatus(client.path("a/b")).getModificationTime() == modified // 1_000_000


def test_what_s3_cannot_do_is_refused(client: Client) -> None:
    client.put("a/b", b"x")
    with pytest.raises(Py4JJavaError, match="UnsupportedOperationException: S3 does not append"):
        client.fs.append(client.path("a/b"))
    with pytest.raises(Py4JJavaError, match="UnsupportedOperationException: S3 does not truncate"):
        client.fs.truncate(client.path("a/b"), 0)
    assert not client.fs.hasPathCapability(client.path("a/b"), "fs.capability.paths.append")
    with pytest.raises(Py4JJavaError, match="FileAlreadyExistsException"):
        client.fs.create(client.path("a/b"), False)
    with pytest.raises(Py4JJavaError, match="FileAlreadyExistsException"):
        client.fs.createFile(client.path("a/b")).overwrite(False).build()
    with pytest.raises(Py4JJavaError, match="FileAlreadyExistsException"):
        client.fs.create(client.path("a"))
    with pytest.raises(Py4JJavaError, match="ParentNotDirectoryException"):
        client.fs.create(client.path("a/b/c"))
    with pytest.raises(Py4JJavaError, match="FileNotFoundException"):
        client.fs.createFile(client.path("a/new/c")).build()
    assert client.incoming() == [] and client.read("a/b") == b"x"


def test_every_way_of_hadoops_to_write_is_the_same(client: Client) -> None:
    folder = client.path("a/new")
    built = client.fs.createFile(client.path("a/new/built")).recursive().build()
    assert not client.fs.exists(folder)
    built.close()
    client.fs.createFile(client.path("a/new/built")).overwrite(True).build().close()
    copy = client.jvm.org.apache.hadoop.fs.FileUtil.copy
    assert copy(client.fs, client.path("a/new/built"), client.fs, client.path("a/copied"), False, True, client.conf)
    assert client.fs.mkdirs(client.path("a/_temporary"))
    client.put("a/_temporary/part", b"x")
    assert client.fs.rename(client.path("a/_temporary/part"), client.path("a/part"))
    client.fs.setPermission(client.path("a/part"), client.jvm.org.apache.hadoop.fs.permission.FsPermission(0))
    client.put("at the root", b"x")
    keys, found = client.listed()
    assert keys == ["a/copied", "a/new/built", "a/part", "at the root"]
    assert found == ["a/", "a/_temporary/", "a/copied", "a/new/", "a/new/built", "a/part", "at the root"]
    assert (client.root / "s3" / client.bucket / "a" / "part").stat().st_mode & 0o600 == 0o600
    status = client.fs.getFileStatus(client.path("a/part"))
    assert (status.getLen(), status.isFile(), str(status.getPermission())) == (1, True, "rw-rw-rw-")
    client.fs.deleteOnExit(client.path("at the root"))
    client.fs.close()
    client.fs = client.path("").getFileSystem(client.conf)
    on_disk = [name for _, _, names in os.walk(client.root / "s3" / client.bucket) for name in names]
    assert sorted(on_disk) == ["built", "copied", "part"]


def test_a_folder_that_the_s3_api_removes_as_empty_while_an_object_is_closed_is_made_again(client: Client) -> None:
    folder = client.root / "s3" / client.bucket / "a"
    stop = threading.Event()

    def churn() -> None:
        while not stop.wait(0.0001):
            with contextlib.suppress(OSError):
                folder.rmdir()  # as after every DeleteObject

    churning = threading.Thread(target=churn)
    churning.start()
    try:
        for number in range(100):
            client.put("a/b", b"x")
            assert client.fs.delete(client.path("a/b"), False), number
    finally:
        stop.set()
        churning.join()


def test_only_bodies_of_living_sparks_are_being_written() -> None:
    assert is_being_written(f"spark-{os.getpid()}-x")
    assert not is_being_written("spark-999999999-x")
    assert not is_being_written("0f9a")


def test_a_stopped_job_leaves_no_half_of_an_object(aws: LocalAwsProcess) -> None:
    s3, glue = aws.client("s3"), aws.client("glue")
    s3.create_bucket(Bucket="stopped-writer")
    script = """
        from pyspark.sql import SparkSession
        import time
        spark = SparkSession.builder.getOrCreate()
        path = spark._jvm.org.apache.hadoop.fs.Path("s3://stopped-writer/out/half")
        stream = path.getFileSystem(spark._jsc.hadoopConfiguration()).create(path)
        stream.write(bytearray(100000))
        stream.hflush()
        time.sleep(600)
    """
    location = put_script(s3, "stopped-writer", "code/job.py", script)
    command = {"Name": "glueetl", "ScriptLocation": location}
    glue.create_job(Name="half", Role="arn:aws:iam::123456789012:role/flywheel-jobs", Command=command)
    run = glue.start_job_run(JobName="half")["JobRunId"]
    wait_for(lambda: [name for name in os.listdir(aws.root / "s3-incoming") if name.startswith("spark-")], bool)
    glue.batch_stop_job_run(JobName="half", JobRunIds=[run])
    wait_for(lambda: glue.get_job_run(JobName="half", RunId=run)["JobRun"]["JobRunState"], lambda state: state == "STOPPED")
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="stopped-writer")["Contents"]] == ["code/job.py"]
    assert os.listdir(aws.root / "s3-incoming") == []


def test_a_server_that_starts_leaves_the_body_of_a_living_writer(start_local_aws: Any, tmp_path: Path) -> None:
    first = start_local_aws(tmp_path / "aws")
    writer = Client(first, "restarted", tmp_path)
    stream = writer.write("a/b", b"x")
    (tmp_path / "aws" / "s3-incoming" / "0f9a").write_bytes(b"of a request that ended with its server")
    (tmp_path / "aws" / "s3-incoming" / "spark-999999999-x").write_bytes(b"of a Spark that is dead")
    first.kill()
    writer.s3 = start_local_aws(tmp_path / "aws").client("s3")
    assert len(writer.incoming()) == 1
    stream.close()
    assert writer.listed() == (["a/b"], ["a/", "a/b"])
    os.kill(writer.worker.pid or 0, signal.SIGKILL)
