"""The Spark settings of one job, and the parameters of ``spark-submit`` that may ask for more."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from localaws.object_layout import INCOMING
from localaws.spark.java_classes import MAIN_CLASS

# The laptop stands for the whole cluster, so what a job asks for in capacity is noted in its log and not obeyed.
CAPACITY_PREFIXES = (
    "spark.master",
    "spark.submit.deployMode",
    "spark.driver.cores",
    "spark.driver.memory",
    "spark.executor.cores",
    "spark.executor.memory",
    "spark.executor.instances",
    "spark.dynamicAllocation.",
    "spark.emr-serverless.",
)

# Settings that bring in jars or another Python: a warm JVM has its class path since it started. Refused, never ignored.
UNSUPPORTED = {
    "spark.jars": "jars",
    "spark.jars.packages": "Maven packages",
    "spark.jars.repositories": "Maven repositories",
    "spark.driver.extraClassPath": "extra class path",
    "spark.executor.extraClassPath": "extra class path",
    "spark.archives": "archives (a packed Python environment)",
}

_DRIVER_ENV = "spark.emr-serverless.driverEnv."


class UnsupportedSparkParameter(ValueError):
    """A parameter that Spark knows and this local Spark cannot honour; the message says which and why."""


@dataclass(frozen=True)
class SubmitParameters:
    """What ``sparkSubmitParameters`` or Glue's ``--conf`` asked for: settings, and the URIs of modules and files."""

    conf: dict[str, str] = field(default_factory=dict)
    py_files: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    name: str | None = None


def local_cores() -> int:
    """Give the number of task slots of one worker: two at least, four at most (a laptop has other things to do)."""
    return max(2, min(4, os.cpu_count() or 2))


def s3_settings(buckets: Iterable[str], s3_root: Path) -> dict[str, str]:
    """Give the Hadoop settings with which ``s3://``, ``s3a://`` and ``s3n://`` paths are files below ``s3_root``.

    ``ViewFileSystemOverloadScheme`` is part of Hadoop itself; it needs every bucket by name, so a bucket that is
    created while a job runs is not seen by that job. Below it, ``ObjectFileSystem.java`` makes objects of files: bodies
    are written into :data:`~localaws.object_layout.INCOMING` beside ``s3_root`` first.
    """
    settings = {
        "spark.hadoop.fs.localaws.impl": MAIN_CLASS,
        "spark.hadoop.fs.localaws.incoming": str((s3_root.parent / INCOMING).resolve()),
    }
    for scheme in ("s3", "s3a", "s3n"):
        settings[f"spark.hadoop.fs.{scheme}.impl"] = "org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme"
        settings[f"spark.hadoop.mapreduce.outputcommitter.factory.scheme.{scheme}"] = (
            "org.apache.hadoop.mapreduce.lib.output.FileOutputCommitterFactory"
        )
    for bucket in buckets:
        folder = (s3_root / bucket).resolve().as_uri().removeprefix("file:")
        settings[f"spark.hadoop.fs.viewfs.mounttable.{bucket}.linkFallback"] = f"localaws:{folder}"
    return settings


def default_settings(scratch: Path) -> dict[str, str]:
    """Give what the local cluster's own ``spark-defaults.conf`` would hold; ``scratch`` takes shuffle files."""
    cores = local_cores()
    return {
        "spark.master": f"local[{cores}]",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": str(scratch),
        "spark.sql.warehouse.dir": (scratch / "warehouse").as_uri(),
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.session.timeZone": "UTC",
        # Spark's default of 200 is meant for a cluster: on two cores it is 200 almost empty tasks after every shuffle.
        "spark.sql.shuffle.partitions": str(2 * cores),
        "spark.default.parallelism": str(2 * cores),
    }


def split_capacity(conf: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Part a job's settings into those that a session obeys and those that ask for capacity (ignored locally)."""
    capacity = {key: value for key, value in conf.items() if key.startswith(CAPACITY_PREFIXES)}
    return {key: value for key, value in conf.items() if key not in capacity}, capacity


def driver_environment(conf: Mapping[str, str]) -> dict[str, str]:
    """Give the environment variables that EMR Serverless' ``spark.emr-serverless.driverEnv.*`` settings ask for."""
    return {key.removeprefix(_DRIVER_ENV): value for key, value in conf.items() if key.startswith(_DRIVER_ENV)}


def check_supported(conf: Mapping[str, str]) -> None:
    """Raise :class:`UnsupportedSparkParameter` for a setting that would need another JVM or another Python."""
    for key, what in UNSUPPORTED.items():
        if conf.get(key):
            raise UnsupportedSparkParameter(
                f"{key}={conf[key]} asks for {what}, which the local Spark cannot load into its running JVM. "
                "Expected a job of Python files only (--py-files, --files, --conf); "
                f"drop {key} from the job's parameters."
            )


def parse_conf_argument(text: str) -> dict[str, str]:
    """Parse Glue's ``--conf`` argument, whose one value may chain further settings: ``a=1 --conf b=2 --conf c=3``.

    Raises ``ValueError`` when a piece is not ``key=value``.
    """
    settings: dict[str, str] = {}
    for word in shlex.split(text):
        if word == "--conf":
            continue
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ValueError(f"--conf: found {word!r}, expected key=value (chain more with ' --conf key=value')")
        settings[key] = value
    return settings


def parse_submit_parameters(text: str | None) -> SubmitParameters:
    """Parse the ``sparkSubmitParameters`` of an EMR Serverless job.

    Raises :class:`UnsupportedSparkParameter` for what the local Spark cannot do and ``ValueError`` for what Spark
    itself would refuse. Options of capacity (``--executor-memory`` ...) become their ``spark.*`` settings.
    """
    as_setting = {
        "--driver-memory": "spark.driver.memory",
        "--driver-cores": "spark.driver.cores",
        "--executor-memory": "spark.executor.memory",
        "--executor-cores": "spark.executor.cores",
        "--num-executors": "spark.executor.instances",
        "--master": "spark.master",
        "--deploy-mode": "spark.submit.deployMode",
        "--jars": "spark.jars",
        "--packages": "spark.jars.packages",
        "--repositories": "spark.jars.repositories",
        "--archives": "spark.archives",
        "--driver-class-path": "spark.driver.extraClassPath",
        "--py-files": "spark.submit.pyFiles",
        "--files": "spark.files",
        "--name": "spark.app.name",
    }
    conf: dict[str, str] = {}
    words = iter(_with_values_apart(shlex.split(text or "")))
    for word in words:
        if word in ("--verbose", "-v"):
            continue
        value = next(words, None)
        if value is None or (word not in as_setting and word not in ("--conf", "-c")):
            raise UnsupportedSparkParameter(
                f"sparkSubmitParameters: found {word!r}{'' if value is not None else ' without a value'}. "
                f"Expected --conf key=value or one of {', '.join(sorted(as_setting))}, each with its value."
            )
        if word in ("--conf", "-c"):
            key, equals, setting = value.partition("=")
            if not equals:
                raise ValueError(f"sparkSubmitParameters: found --conf {value!r}, expected --conf key=value")
            conf[key] = setting
        else:
            conf[as_setting[word]] = value
    return take_files(conf)


def take_files(conf: Mapping[str, str]) -> SubmitParameters:
    """Take the settings that name files and modules out of ``conf``; raises as :func:`check_supported` does."""
    check_supported(conf)
    rest = dict(conf)
    py_files = _uris(rest.pop("spark.submit.pyFiles", ""))
    files = _uris(rest.pop("spark.files", ""))
    return SubmitParameters(conf=rest, py_files=py_files, files=files, name=rest.get("spark.app.name"))


def _uris(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _with_values_apart(words: Iterable[str]) -> Iterable[str]:
    """Turn ``--conf=x=1`` into ``--conf x=1``: spark-submit takes both forms."""
    for word in words:
        option, equals, value = word.partition("=")
        if equals and option.startswith("--"):
            yield option
            yield value
        else:
            yield word
