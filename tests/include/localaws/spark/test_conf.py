"""Reading of spark-submit's parameters and Glue's --conf."""

from __future__ import annotations

from pathlib import Path

import pytest

from localaws.spark import conf


def test_submit_parameters_become_settings_and_files() -> None:
    read = conf.parse_submit_parameters(
        "--conf spark.sql.shuffle.partitions=8 --conf=spark.app.note='a b' --executor-memory 4g "
        "--py-files s3://b/a.zip,s3://b/c.py --files s3://b/x.json --name nightly"
    )
    assert read.conf == {
        "spark.sql.shuffle.partitions": "8",
        "spark.app.note": "a b",
        "spark.executor.memory": "4g",
        "spark.app.name": "nightly",
    }
    assert (read.py_files, read.files, read.name) == (("s3://b/a.zip", "s3://b/c.py"), ("s3://b/x.json",), "nightly")
    assert conf.parse_submit_parameters(None) == conf.SubmitParameters()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("--jars s3://b/x.jar", "spark.jars"),
        ("--packages a:b:1", "spark.jars.packages"),
        ("--conf spark.archives=x", "spark.archives"),
        ("--color red", "--color"),
        ("--conf", "--conf"),
    ],
)
def test_what_spark_cannot_do_here_is_refused(text: str, named: str) -> None:
    with pytest.raises(conf.UnsupportedSparkParameter, match=named):
        conf.parse_submit_parameters(text)


def test_glue_chains_settings_in_one_argument() -> None:
    assert conf.parse_conf_argument("spark.a=1 --conf spark.b=x=y") == {"spark.a": "1", "spark.b": "x=y"}
    assert conf.parse_conf_argument("") == {}
    with pytest.raises(ValueError, match="expected key=value"):
        conf.parse_conf_argument("spark.a")


def test_capacity_is_told_apart() -> None:
    obeyed, capacity = conf.split_capacity(
        {"spark.executor.memory": "4g", "spark.executor.memoryOverhead": "1g", "spark.sql.adaptive.enabled": "false"}
    )
    assert obeyed == {"spark.sql.adaptive.enabled": "false"}
    assert set(capacity) == {"spark.executor.memory", "spark.executor.memoryOverhead"}


def test_every_bucket_is_a_folder_under_every_scheme() -> None:
    settings = conf.s3_settings(["a", "b.c"], Path("/srv/s3"))
    assert settings["spark.hadoop.fs.viewfs.mounttable.b.c.linkFallback"] == "localaws:///srv/s3/b.c"
    assert settings["spark.hadoop.fs.localaws.incoming"] == "/srv/s3-incoming"
    assert {f"spark.hadoop.fs.{scheme}.impl" for scheme in ("s3", "s3a", "s3n")} <= set(settings)
