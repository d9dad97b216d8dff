"""Measuring drift where the data is: one pass of SQL counts, PSI and verdicts from the counts."""

from __future__ import annotations

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
from flywheel.core.watch import Rules, decide
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
    Returns for each period ``{"start", "end", "level", "held_by", "reason", "features": [{"feature", "psi", "threshold", "rows",
    "state", "season_psi", "importance", "cause", "level", "since", "sentence"}]}``, see :mod:`flywheel.core.watch`.
    """

    template_fields: Sequence[str] = (
        *RedshiftQueryOperator.template_fields, "table", "context", "model_version", "profile", "periods",
    )  # fmt: skip

    def __init__(
        self, *, model: ModelSpec, table: str, context: str, model_version: str, profile: str, periods: str, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.model, self.table, self.context, self.model_version = model, table, context, model_version
        self.profile, self.periods = profile, periods

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
        """A decision for each period."""
        profile = self._profile()
        counts: dict[date, dict[str, list[int]]] = {}
        moments: dict[date, dict[str, Moments]] = {}
        for row in read_rows(client, identity["Id"]):
            day = parse_day(row["ds"], "ds")
            counts[day], moments[day] = counts_from_sql(profile, row)[1], moments_from_sql(profile, row)
            if row.get("served_on"):
                counts[day] |= counts_from_sql(_of_scores(profile), row)[1]
        return [self._judge(profile, window, counts, moments) for window in self._windows()]

    def _judge(
        self,
        profile: Mapping[str, Any],
        window: Window,
        counts: Mapping[date, Mapping[str, list[int]]],
        moments: Mapping[date, Mapping[str, Moments]],
    ) -> dict[str, Any]:
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
        decision = decide(profile, verdicts, daily, watched, moments=moments)
        found = {finding.feature: finding for finding in decision.findings}
        return {
            **window.as_dict(),
            "level": decision.level,
            "held_by": list(decision.held_by),
            "reason": decision.reason,
            "features": [_as_row(profile, verdict, found.get(verdict.feature)) for verdict in verdicts],
        }

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


def _as_row(profile: Mapping[str, Any], verdict: FeatureDrift, finding: Any) -> dict[str, Any]:
    """One feature as ``monitoring.feature_drift`` has it."""
    known = profile["features"].get(verdict.feature, {})
    row = {
        "feature": verdict.feature,
        "psi": verdict.psi,
        "threshold": verdict.threshold,
        "rows": verdict.rows,
        "state": verdict.state,
        "season_psi": verdict.season_psi,
        "importance": known.get("importance"),
    }
    names = ("cause", "level", "since", "sentence")
    values = [getattr(finding, name) for name in names] if finding else [None] * len(names)
    return row | {name: str(value) if value is not None else None for name, value in zip(names, values, strict=True)}
