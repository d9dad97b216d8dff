"""Measuring drift where the data is: one pass of SQL counts, PSI from the counts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from flywheel.core.counting import add_counts, counts_from_sql, sql_counts
from flywheel.core.drift import compare
from flywheel.core.runs import Window, parse_day
from flywheel.core.specs import ModelSpec
from flywheel.hooks.jobs import Identity
from flywheel.operators.redshift import RedshiftQueryOperator, read_rows

if TYPE_CHECKING:
    from airflow.sdk import Context


class MeasureDriftOperator(RedshiftQueryOperator):
    """Counts the features of each day into the bins of the champion's profile, and sums them to the PSI of each period.

    One statement, one scan of the days needed (API: ``ExecuteStatement``); what comes back is one row of counts per day.

    :param model: the model's spec
    :param table: the table of the features that the champion was trained on (templated)
    :param profile: S3 URI of the champion's ``profile.json`` (templated)
    :param periods: ``[{"start", "end"}]``, days inclusive; they may overlap (templated)
    Returns ``[{"start", "end", "feature", "psi", "threshold", "rows", "state"}]``, see :func:`flywheel.core.drift.compare`.
    """

    template_fields: Sequence[str] = (*RedshiftQueryOperator.template_fields, "table", "profile", "periods")

    def __init__(self, *, model: ModelSpec, table: str, profile: str, periods: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.model, self.table, self.profile, self.periods = model, table, profile, periods

    def execute(self, context: Context) -> Any:
        """Reads the profile (some 20 kB), writes the statement, runs it."""
        windows = self._windows()
        counts = sql_counts(self._profile())
        self.sql = "\n".join(
            [
                "SELECT",
                "    ds",
                *(f"    , {expression} AS {alias}" for alias, expression in counts.items()),
                f"FROM {self.table}",
                "WHERE ds BETWEEN :first_day AND :last_day",
                "GROUP BY ds",
            ]
        )
        self.parameters = {
            "first_day": min(w.start for w in windows).isoformat(),
            "last_day": max(w.end for w in windows).isoformat(),
        }
        return super().execute(context)

    def result(self, client: Any, identity: Identity, description: Mapping[str, Any]) -> Any:
        """PSI of each feature in each period."""
        profile, rules = self._profile(), self.model.monitoring
        by_day = {parse_day(row["ds"], "ds"): counts_from_sql(profile, row)[1] for row in read_rows(client, identity["Id"])}
        measured = []
        for window in self._windows():
            days = [counts for day, counts in by_day.items() if window.start <= day <= window.end]
            nothing = {name: [0] * len(feature["counts"]) for name, feature in profile["features"].items()}
            totals = add_counts([nothing, *days])
            judged = compare(profile, totals, threshold=rules.psi_threshold, alpha=rules.psi_alpha, days=len(days))
            for found in judged:
                measured.append(
                    {
                        **window.as_dict(),
                        "feature": found.feature,
                        "psi": found.psi,
                        "threshold": found.threshold,
                        "rows": sum(totals[found.feature]),
                        "state": found.state,
                    }
                )
        return measured

    def _profile(self) -> dict[str, Any]:
        bucket, _, key = self.profile.removeprefix("s3://").partition("/")
        return json.loads(S3Hook(aws_conn_id=self.aws_conn_id).read_key(key=key, bucket_name=bucket))

    def _windows(self) -> list[Window]:
        return [
            Window(parse_day(p["start"], "period start"), parse_day(p["end"], "period end")) for p in json.loads(self.periods)
        ]
