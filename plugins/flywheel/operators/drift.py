"""Measuring drift where the data is: one pass of SQL counts, PSI and verdicts from the counts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

from flywheel.core.counting import DayCounts, add_counts, days_from_json, sql_counts
from flywheel.core.drawing import draw_drift
from flywheel.core.drift import FeatureDrift, compare
from flywheel.core.profiles import SCORE, read_profile
from flywheel.core.runs import Window, parse_day
from flywheel.core.watch import Decision, Finding, decide
from flywheel.hooks.jobs import Identity
from flywheel.operators.measuring import MeasureOperator
from flywheel.operators.redshift import read_rows

if TYPE_CHECKING:
    from airflow.sdk import Context

#: The page with the pictures of the period judged.
PAGE = "drift.html"


class MeasureDriftOperator(MeasureOperator):
    """Counts each day's features, and the scores that were served, into the bins of the champion's profile; judges the sums.

    One statement, one scan of the days needed and of the same days a year before, where there are any (API:
    ``ExecuteStatement``); what comes back is one row of counts per day. Writes ``feature_drift.csv``, ``drift_decisions.csv``
    and ``drift.html``.

    :param table: the table of the features that the champion was trained on (templated)
    :param context: the features of that table that are only watched (templated, a JSON list)
    :param profile: S3 URI of the champion's ``profile.json`` (templated)
    :param feature_counts: S3 URI of the features' counts where another engine has made them (templated; see
        :func:`flywheel.core.counting.days_to_json`); Redshift counts the scores alone then
    """

    template_fields: Sequence[str] = (*MeasureOperator.template_fields, "table", "context", "profile", "feature_counts")

    def __init__(self, *, table: str, context: str, profile: str, feature_counts: str = "", **kwargs: Any):
        super().__init__(**kwargs)
        self.table, self.context, self.profile, self.feature_counts = table, context, profile, feature_counts

    def execute(self, context: Context) -> Any:
        """Reads the profile (some 20 kB), writes the statement, runs it."""
        profile, windows = self.champions_profile, self.windows()
        scans = []
        if not self.feature_counts:
            scans.append(_scan(self.table, sql_counts(profile, moments=True), "features_on", "rows_counted"))
        if SCORE in profile:
            table, scores = f"predictions.{self.model.name}", sql_counts(_of_scores(profile))
            scans.append(_scan(table, scores, "served_on", "rows_served", "AND model_version = :model_version"))
            self.parameters = {"model_version": self.model_version}
        counted = " LEFT JOIN ".join(f"(\n{scan}\n) AS t{number}" for number, scan in enumerate(scans))
        self.sql = f"SELECT * FROM {counted}" + (" ON t0.features_on = t1.served_on" if len(scans) > 1 else "")
        now = Window(min(w.start for w in windows), max(w.end for w in windows))
        then = now.year_before()
        days = {"first_day": now.start, "last_day": now.end, "first_then": then.start, "last_then": then.end}
        self.parameters = {**(self.parameters or {}), **{name: day.isoformat() for name, day in days.items()}}
        return super().execute(context)

    def result(self, client: Any, identity: Identity, description: Mapping[str, Any]) -> Any:
        """A decision for each period; all of it on S3."""
        profile, windows = self.champions_profile, self.windows()
        days = self._days(profile, read_rows(client, identity["Id"]))
        features: list[list[Any]] = []
        decisions: list[dict[str, Any]] = []
        for window in windows:
            verdicts, decision = self._judge(profile, window, days)
            found = {finding.feature: finding for finding in decision.findings}
            features += [
                [window.start, window.end, *_as_row(profile, verdict, found.get(verdict.feature))] for verdict in verdicts
            ]
            told = {"causes": ", ".join(decision.causes), "held_by": ", ".join(decision.held_by), "reason": decision.reason}
            decisions.append({**window.as_dict(), "level": decision.level, **told})
        self.write_rows("feature_drift", features)
        self.write_rows("drift_decisions", [list(decision.values()) for decision in decisions])
        # The last period is the one judged: it is drawn, and CloudWatch hears of it.
        self._draw(profile, windows[-1], verdicts, decision, days)
        metrics = [self.metric("PSI", verdict.psi, Feature=verdict.feature) for verdict in verdicts]
        return {"decisions": decisions, "metrics": [*metrics, self.metric("DriftedFeatures", float(len(decision.findings)))]}

    def _days(self, profile: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[date, DayCounts]:
        """The counts of each day, of features and scores together."""
        days = days_from_json(self.read(self.feature_counts)) if self.feature_counts else {}
        for row in rows:
            if row.get("features_on"):
                days[parse_day(row["features_on"], "features_on")] = DayCounts.from_sql(profile, row)
        for row in rows:
            # Scores of a day without features are of rows that were taken away since: there is nothing to judge.
            if row.get("served_on") and (day := parse_day(row["served_on"], "served_on")) in days:
                scores = DayCounts.from_sql(_of_scores(profile), {**row, "rows_counted": row["rows_served"]})
                days[day] = DayCounts(days[day].rows, {**days[day].counts, **scores.counts}, days[day].moments)
        return days

    def _judge(
        self, profile: Mapping[str, Any], window: Window, days: Mapping[date, DayCounts]
    ) -> tuple[list[FeatureDrift], Decision]:
        rules = self.model.monitoring
        daily, then = _counts(days, window), _counts(days, window.year_before())
        nothing = {name: [0] * len(feature["counts"]) for name, feature in profile["features"].items()}
        verdicts = compare(
            profile,
            add_counts([nothing, *daily.values()]),
            threshold=rules.psi_threshold,
            alpha=rules.psi_alpha,
            days=len(daily),
            seasonal=add_counts(then.values()) if then else None,
            seasonal_days=len(then),
        )
        watched = rules.drift_rules(json.loads(self.context))
        moments = {day: found.moments for day, found in days.items()}
        return verdicts, decide(profile, verdicts, daily, watched, moments=moments)

    def _draw(
        self,
        profile: Mapping[str, Any],
        window: Window,
        verdicts: Sequence[FeatureDrift],
        decision: Decision,
        days: Mapping[date, DayCounts],
    ) -> None:
        """The page of the period judged; days before it that were counted, too, are history in it."""
        history = _counts(days, Window(min([window.start, *(day for day in days if day > window.year_before().end)]), window.end))
        then = _counts(days, window.year_before())
        page = draw_drift(
            self.model.name,
            self.model_version,
            window.start,
            window.end,
            profile,
            verdicts,
            decision,
            history,
            seasonal=add_counts(then.values()) if then else None,
        )
        self.write(PAGE, page)

    @cached_property
    def champions_profile(self) -> dict[str, Any]:
        """The profile, read once a process."""
        return read_profile(json.loads(self.read(self.profile)))


def _scan(table: str, expressions: Mapping[str, str], day: str, rows: str, condition: str = "") -> str:
    """A scan of the days of a table, one row a day.

    :param day: what the column of the day is called, and ``rows`` that of the number of rows
    :param condition: what rows have to fulfil besides
    """
    named = {rows if alias == "rows_counted" else alias: expression for alias, expression in expressions.items()}
    return "\n".join(
        [
            "SELECT",
            f"    ds AS {day}",
            *(f"    , {expression} AS {alias}" for alias, expression in named.items()),
            f"FROM {table}",
            f"WHERE (ds BETWEEN :first_day AND :last_day OR ds BETWEEN :first_then AND :last_then) {condition}",
            "GROUP BY ds",
        ]
    )


def _counts(days: Mapping[date, DayCounts], window: Window) -> dict[date, Mapping[str, Sequence[int]]]:
    """The bin counts of a window's days."""
    return {day: found.counts for day, found in days.items() if window.start <= day <= window.end}


def _of_scores(profile: Mapping[str, Any]) -> dict[str, Any]:
    """A profile whose only feature are the scores."""
    return {"features": {SCORE: profile[SCORE]}}


def _as_row(profile: Mapping[str, Any], verdict: FeatureDrift, finding: Finding | None) -> list[Any]:
    """One feature as ``monitoring.feature_drift`` has it, between the period and the run key."""
    importance = profile["features"].get(verdict.feature, {}).get("importance")
    measured = [verdict.feature, verdict.psi, verdict.threshold, verdict.rows, verdict.state, verdict.season_psi, importance]
    meant = [finding.cause, finding.level, finding.since, finding.sentence] if finding else [None] * 4
    return measured + meant
