"""Measuring drift where the data is: one pass of SQL counts, PSI and verdicts from the counts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from flywheel.core.counting import Moments, add_counts, counts_from_sql, moments_from_sql, sql_counts
from flywheel.core.drift import FeatureDrift, compare
from flywheel.core.profiles import SCORE, read_profile
from flywheel.core.runs import Window, parse_day
from flywheel.core.specs import ModelSpec
from flywheel.core.watch import Decision, Finding, Rules, decide
from flywheel.hooks.jobs import Identity
from flywheel.operators.redshift import RedshiftQueryOperator, read_rows

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Back to the same weekday of the same week a year before.
YEAR = timedelta(weeks=52)


class MeasureDriftOperator(RedshiftQueryOperator):
    """Counts each day's features, and the scores that were served, into the bins of the champion's profile; judges the sums.

    One statement, one scan of the days needed and of the same days a year before, where there are any (API:
    ``ExecuteStatement``); what comes back is one row of counts per day.

    :param model: the model's spec
    :param table: the table of the features that the champion was trained on (templated)
    :param context: the features of that table that are only watched (templated, a JSON list)
    :param model_version: the champion's version in the registry (templated)
    :param profile: S3 URI of the champion's ``profile.json`` (templated)
    :param periods: ``[{"start", "end"}]``, days inclusive; they may overlap (templated)
    :param output_uri: S3 folder for ``feature_drift.csv`` and ``drift_decisions.csv``, the rows of the tables of these names in
        the schema ``monitoring``: there may be more of them than a statement can hold (templated)
    :param run_key: the pipeline run (templated)
    Returns for each period ``{"start", "end", "level", "held_by", "reason"}``, see :mod:`flywheel.core.watch`.
    """

    template_fields: Sequence[str] = (
        *RedshiftQueryOperator.template_fields, "table", "context", "model_version", "profile", "periods", "output_uri",
        "run_key",
    )  # fmt: skip

    def __init__(
        self,
        *,
        model: ModelSpec,
        table: str,
        context: str,
        model_version: str,
        profile: str,
        periods: str,
        output_uri: str,
        run_key: str,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.model, self.table, self.context, self.model_version = model, table, context, model_version
        self.profile, self.periods, self.output_uri, self.run_key = profile, periods, output_uri, run_key

    def execute(self, context: Context) -> Any:
        """Reads the profile (some 20 kB), writes the statement, runs it."""
        profile, windows = self._profile(), self._windows()
        parts = [_counts(self.table, sql_counts(profile, moments=True), "")]
        if SCORE in profile:
            served = f"predictions.{self.model.name}"
            parts.append(_counts(served, sql_counts(_of_scores(profile)), "AND model_version = :model_version"))
            self.parameters = {"model_version": self.model_version}
        counted = " LEFT JOIN ".join(f"(\n{part}\n) AS t{number}" for number, part in enumerate(parts))
        self.sql = f"SELECT * FROM {counted}" + (" ON t0.ds = t1.served_on" if len(parts) > 1 else "")
        first, last = min(w.start for w in windows), max(w.end for w in windows)
        days = {"first_day": first, "last_day": last, "first_then": first - YEAR, "last_then": last - YEAR}
        self.parameters = {**(self.parameters or {}), **{name: day.isoformat() for name, day in days.items()}}
        return super().execute(context)

    def result(self, client: Any, identity: Identity, description: Mapping[str, Any]) -> Any:
        """A decision for each period; all of it on S3."""
        profile = self._profile()
        counts: dict[date, dict[str, list[int]]] = {}
        moments: dict[date, dict[str, Moments]] = {}
        for row in read_rows(client, identity["Id"]):
            day = parse_day(row["ds"], "ds")
            counts[day], moments[day] = counts_from_sql(profile, row)[1], moments_from_sql(profile, row)
            if row.get("served_on"):
                counts[day] |= counts_from_sql(_of_scores(profile), row)[1]
        features: list[list[Any]] = []
        decisions: list[dict[str, Any]] = []
        for window in self._windows():
            verdicts, decision = self._judge(profile, window, counts, moments)
            found = {finding.feature: finding for finding in decision.findings}
            period = [self.model.name, self.model_version, window.start, window.end]
            for verdict in verdicts:
                features.append([*period, *_as_row(profile, verdict, found.get(verdict.feature)), self.run_key])
            held_by = ", ".join(decision.held_by)
            decisions.append({**window.as_dict(), "level": decision.level, "held_by": held_by, "reason": decision.reason})
        of_run = [self.model.name, self.model_version]
        self._write("feature_drift", features)
        self._write("drift_decisions", [[*of_run, *decision.values(), self.run_key] for decision in decisions])
        return decisions

    def _write(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Rows in the order of the table's columns."""
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        bucket, _, folder = self.output_uri.removeprefix("s3://").partition("/")
        S3Hook(aws_conn_id=self.aws_conn_id).load_string(text.getvalue(), f"{folder}/{table}.csv", bucket, replace=True)

    def _judge(
        self,
        profile: Mapping[str, Any],
        window: Window,
        counts: Mapping[date, Mapping[str, list[int]]],
        moments: Mapping[date, Mapping[str, Moments]],
    ) -> tuple[list[FeatureDrift], Decision]:
        rules = self.model.monitoring
        daily = {day: found for day, found in counts.items() if window.start <= day <= window.end}
        then = [found for day, found in counts.items() if window.start - YEAR <= day <= window.end - YEAR]
        nothing = {name: [0] * len(feature["counts"]) for name, feature in profile["features"].items()}
        verdicts = compare(
            profile,
            add_counts([nothing, *daily.values()]),
            threshold=rules.psi_threshold,
            alpha=rules.psi_alpha,
            days=len(daily),
            seasonal=add_counts(then) if then else None,
            seasonal_days=len(then),
        )
        watched = Rules(rules.psi_rule, frozenset(json.loads(self.context)), rules.driver_share)
        return verdicts, decide(profile, verdicts, daily, watched, moments=moments)

    def _profile(self) -> dict[str, Any]:
        bucket, _, key = self.profile.removeprefix("s3://").partition("/")
        stored = json.loads(S3Hook(aws_conn_id=self.aws_conn_id).read_key(key=key, bucket_name=bucket))
        return read_profile(stored)

    def _windows(self) -> list[Window]:
        return [
            Window(parse_day(p["start"], "period start"), parse_day(p["end"], "period end")) for p in json.loads(self.periods)
        ]


def _counts(table: str, expressions: Mapping[str, str], condition: str) -> str:
    """A scan of the days of a table, one row a day."""
    day = "ds" if not condition else "ds AS served_on"
    return "\n".join(
        [
            "SELECT",
            f"    {day}",
            *(f"    , {expression} AS {alias if not condition else alias.replace('rows_counted', 'rows_served')}"
              for alias, expression in expressions.items()),
            f"FROM {table}",
            f"WHERE (ds BETWEEN :first_day AND :last_day OR ds BETWEEN :first_then AND :last_then) {condition}",
            "GROUP BY ds",
        ]
    )  # fmt: skip


def _of_scores(profile: Mapping[str, Any]) -> dict[str, Any]:
    """A profile whose only feature are the scores."""
    return {"features": {SCORE: profile[SCORE]}}


def _as_row(profile: Mapping[str, Any], verdict: FeatureDrift, finding: Finding | None) -> list[Any]:
    """One feature as ``monitoring.feature_drift`` has it, between the period and the run key."""
    importance = profile["features"].get(verdict.feature, {}).get("importance")
    measured = [verdict.feature, verdict.psi, verdict.threshold, verdict.rows, verdict.state, verdict.season_psi, importance]
    meant = [finding.cause, finding.level, finding.since, finding.sentence] if finding else [None] * 4
    return measured + meant
