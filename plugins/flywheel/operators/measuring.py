"""What the two measurements of monitoring have in common: few rows come from Redshift, files go to S3, metrics go on."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from flywheel.core.runs import Window, parse_day
from flywheel.core.specs import ModelSpec
from flywheel.operators.redshift import RedshiftQueryOperator


class MeasureOperator(RedshiftQueryOperator):
    """Base: what a champion is measured by, for which periods, and where the rows go.

    :param model: the model's spec
    :param model_version: the champion's version in the registry (templated)
    :param periods: ``[{"start", "end"}]``, days inclusive; they may overlap; the last is the one judged (templated)
    :param output_uri: S3 folder for the files, one for each table of the schema ``monitoring`` that they are copied into: there
        may be more rows than a statement can hold (templated)
    :param run_key: the pipeline run (templated)
    Returns ``{"decisions": [{"start", "end", "level", ...}], "metrics": [[name, value, {dimension: value}]]}``.
    """

    template_fields: Sequence[str] = (
        *RedshiftQueryOperator.template_fields, "model_version", "periods", "output_uri", "run_key",
    )  # fmt: skip

    def __init__(self, *, model: ModelSpec, model_version: str, periods: str, output_uri: str, run_key: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.model, self.model_version = model, model_version
        self.periods, self.output_uri, self.run_key = periods, output_uri, run_key

    @cached_property
    def s3(self) -> S3Hook:
        """S3 by the task's connection."""
        return S3Hook(aws_conn_id=self.aws_conn_id)

    def windows(self) -> list[Window]:
        """The periods."""
        return [
            Window(parse_day(p["start"], "period start"), parse_day(p["end"], "period end")) for p in json.loads(self.periods)
        ]

    def read(self, uri: str) -> str:
        """The text of an object."""
        bucket, key = S3Hook.parse_s3_url(uri)
        return str(self.s3.read_key(key=key, bucket_name=bucket))

    def write(self, name: str, text: str) -> None:
        """A file of the output folder."""
        bucket, folder = S3Hook.parse_s3_url(self.output_uri)
        self.s3.load_string(text, f"{folder}/{name}", bucket, replace=True)

    def write_rows(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """The rows of a table of the schema ``monitoring`` as a CSV file, each between the model's version and the run's key."""
        text = io.StringIO()
        csv.writer(text).writerows([self.model.name, self.model_version, *row, self.run_key] for row in rows)
        self.write(f"{table}.csv", text.getvalue())

    def metric(self, name: str, value: float, **dimensions: str) -> list[Any]:
        """One of ``metrics``, of this model."""
        return [name, value, {"Model": self.model.name, **dimensions}]
