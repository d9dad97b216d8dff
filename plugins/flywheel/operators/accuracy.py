"""Measuring accuracy: what came of each day's predictions is read from Redshift, and judged beside the champion's holdout."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from flywheel.core.accuracy import METRICS, SegmentAccuracy, judge_accuracy, measure_segment
from flywheel.core.outcomes import WHOLE, Outcome, read_baseline
from flywheel.core.runs import parse_day
from flywheel.core.watch import UNKNOWN
from flywheel.hooks.jobs import Identity
from flywheel.operators.measuring import MeasureOperator
from flywheel.operators.redshift import read_rows


class MeasureAccuracyOperator(MeasureOperator):
    """Judges the outcomes of the days that the champion has served (API: ``ExecuteStatement``).

    Writes ``accuracy.csv``, a row for each period, and for each segment of the period judged; and ``accuracy_decisions.csv``.

    :param baseline: S3 URI of the champion's ``baseline.json``; empty where its evaluation wrote none (templated)
    :param judged_by: what the champion must not lose, as its label is defined: ``gini``, ``wape`` or ``naive_ratio`` (templated)
    """

    template_fields: Sequence[str] = (*MeasureOperator.template_fields, "baseline", "judged_by")

    def __init__(self, *, baseline: str, judged_by: str = "gini", **kwargs: Any):
        super().__init__(sql="monitoring/select_daily_accuracy.sql", **kwargs)
        self.baseline, self.judged_by = baseline, judged_by

    def result(self, client: Any, identity: Identity, description: Mapping[str, Any]) -> Any:
        """One decision, on the period judged; all of it on S3."""
        windows = self.windows()
        served: dict[str, list[Outcome]] = {}
        for row in read_rows(client, identity["Id"]):
            segment, day = row.pop("segment"), parse_day(row.pop("ds"), "ds")
            served.setdefault(segment, []).append(Outcome(day=day, **row))
        baseline = read_baseline(json.loads(self.read(self.baseline))) if self.baseline else {}
        judged = windows[-1]
        judgement = judge_accuracy(baseline, served, judged, self.model.monitoring.accuracy_rules(self.judged_by))
        rows = [[judged.start, judged.end, *_as_row(segment)] for segment in judgement.segments]
        for window in windows[:-1]:
            days = [one for one in served.get(WHOLE, ()) if window.start <= one.day <= window.end]
            if days:
                rows.append([window.start, window.end, *_as_row(measure_segment(WHOLE, days, baseline.get(WHOLE, ())))])
        causes = ", ".join(judgement.causes)
        told = {"evidence": judgement.evidence, "causes": causes, "reason": judgement.reason}
        decision = {**judged.as_dict(), "level": judgement.level, **told}
        self.write_rows("accuracy", rows)
        self.write_rows("accuracy_decisions", [list(decision.values())])
        return {"decisions": [decision], "metrics": self._metrics(judgement.segments, judgement.evidence, judgement.level)}

    def _metrics(self, segments: Sequence[SegmentAccuracy], evidence: float, level: str) -> list[Any]:
        """What CloudWatch is told; nothing that is not known."""
        if not segments or level == UNKNOWN:
            return []
        whole = segments[0]
        values = {
            "EvidenceOfLoss": evidence,
            "Calibration": whole.calibration.value,
            "LabelCoverage": whole.labelled / whole.sums.scored,
        }
        for metric in METRICS.values():
            values[metric.name] = metric.scaled(whole.now[metric.ratio].value)
            values[f"{metric.name}OnHoldout"] = metric.scaled(whole.then[metric.ratio])
        return [self.metric(name, value) for name, value in values.items() if value == value]


def _as_row(measured: SegmentAccuracy) -> list[Any]:
    """One segment as ``monitoring.accuracy`` has it, between the period and the run key; what is not known is empty."""
    figures = [
        figure
        for ratio in ("auc", "calibration", "wape", "naive_ratio", "mape")
        for now in [measured.now[ratio]]
        for figure in (now.value, now.low, now.high, measured.then[ratio])
    ]
    known = [None if value != value else value for value in figures]
    sums = measured.sums
    counts = [measured.segment, sums.scored, sums.labelled, sums.positives]
    return [*counts, *known, sums.not_zero, measured.level, measured.sentence]
