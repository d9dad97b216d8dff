"""What a CloudWatch alarm says of its datapoints: its state, and the reason in AWS' words. Nothing here keeps or does anything.

CloudWatch looks at two periods more than an alarm's evaluation periods, so that datapoints of before can stand for missing
ones; its guide's tables show the states that come of it ("Configuring how CloudWatch alarms treat missing data"), and the tests
hold them all. Where the guide's text and its tables differ (a premature alarm although a datapoint within the threshold is
known), the tables count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from localaws.replies import AwsError

OK, ALARM, INSUFFICIENT_DATA = "OK", "ALARM", "INSUFFICIENT_DATA"
STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
COMPARISONS = {
    "GreaterThanThreshold": "greater than",
    "GreaterThanOrEqualToThreshold": "greater than or equal to",
    "LessThanThreshold": "less than",
    "LessThanOrEqualToThreshold": "less than or equal to",
}
BANDS = ("LessThanLowerOrGreaterThanUpperThreshold", "LessThanLowerThreshold", "GreaterThanUpperThreshold")
TREATMENTS = ("breaching", "notBreaching", "ignore", "missing")
MORE_PERIODS = 2
"""So many periods older than the evaluation periods are looked at, too."""

DAY_S, WEEK_S, HOUR_S = 86400, 604800, 3600
NOT_EVALUATED = {
    "Metrics": "metric math",
    "ThresholdMetricId": "anomaly detection",
    "ExtendedStatistic": "percentiles and other extended statistics",
    "EvaluateLowSampleCountPercentile": "percentiles and other extended statistics",
    "EvaluationCriteria": "queries",
    "EvaluationInterval": "queries",
    "EvaluationWindow": "evaluation windows",
    "WarmUpConfiguration": "warm-up periods",
    "ActionConfiguration": "action configurations",
}
"""Parameters of PutMetricAlarm that would have to be acted on, and what they ask for."""


@dataclass(frozen=True)
class Datapoint:
    """A period's statistic.

    :param start: the period's begin, UTC without a time zone
    :param value: None where nothing was measured
    """

    start: datetime
    value: float | None = None
    sample_count: float = 0.0


@dataclass(frozen=True)
class Condition:
    """When an alarm is in alarm; the names are those of PutMetricAlarm.

    :param datapoints_to_alarm: None where it is not given: all evaluation periods
    """

    comparison_operator: str
    threshold: float
    evaluation_periods: int
    datapoints_to_alarm: int | None = None
    treat_missing_data: str = "missing"

    @property
    def needed(self) -> int:
        """How many breaching datapoints make an alarm."""
        return self.datapoints_to_alarm or self.evaluation_periods

    def breaches(self, value: float) -> bool:
        """Whether a value is beyond the threshold."""
        if self.comparison_operator.startswith("GreaterThan"):
            beyond = value > self.threshold
        else:
            beyond = value < self.threshold
        return beyond or ("OrEqual" in self.comparison_operator and value == self.threshold)


@dataclass(frozen=True)
class Verdict:
    """The state of an alarm; ``state`` is None where it stays as it is.

    :param known: the datapoints that counted, newest first
    :param filled: how many missing ones were treated as breaching, or not breaching
    """

    state: str | None
    known: tuple[Datapoint, ...] = ()
    filled: int = 0


def judge(points: Sequence[Datapoint], condition: Condition) -> Verdict:
    """The state that datapoints put an alarm into.

    :param points: those of the evaluation range, newest first, missing ones among them
    """
    known = tuple(point for point in points if point.value is not None)[: condition.evaluation_periods]
    breaching = [condition.breaches(point.value) for point in known if point.value is not None]
    lacking, treatment = condition.evaluation_periods - len(known), condition.treat_missing_data
    if sum(breaching) >= condition.needed:
        return Verdict(ALARM, known)
    if not lacking:
        return Verdict(OK, known)
    if treatment == "breaching":
        return Verdict(ALARM if sum(breaching) + lacking >= condition.needed else OK, known, lacking)
    if treatment == "notBreaching":
        return Verdict(OK, known, lacking)
    if not all(breaching):
        return Verdict(OK, known)
    if treatment == "missing" and not known:
        return Verdict(INSUFFICIENT_DATA)
    # All that is known breaches: too little for an alarm while it is young, as the next datapoint may be within the threshold.
    if treatment == "missing" and points.index(known[-1]) + 1 >= condition.needed:
        return Verdict(ALARM, known)
    return Verdict(None, known)


def reason_of(verdict: Verdict, condition: Condition) -> str:
    """Why an alarm is in the verdict's state, as CloudWatch words it in ``StateReason``."""
    periods = condition.evaluation_periods
    if verdict.state == INSUFFICIENT_DATA:
        return f"Insufficient Data: {_datapoints(periods)} {_were(periods)} unknown."
    alarmed = verdict.state == ALARM
    speaking = [p for p in verdict.known if p.value is not None and condition.breaches(p.value) == alarmed]
    count = len(speaking)
    treated = f" and {_datapoints(verdict.filled, 'missing ')} {_were(verdict.filled)} treated as "
    treated += "[Breaching]" if condition.treat_missing_data == "breaching" else "[NonBreaching]"
    if not speaking:
        received = _datapoints(len(verdict.known)) if verdict.known else "no datapoints"
        be = _were(len(verdict.known)) if verdict.known else "were"
        return f"Threshold Crossed: {received} {be} received for {periods} period{'s' * (periods != 1)}{treated}."
    values = ", ".join(f"{point.value!r} ({point.start:%d/%m/%y %H:%M:%S})" for point in speaking)
    crossed = f"{_were(count)} {'' if alarmed else 'not '}{COMPARISONS[condition.comparison_operator]} the threshold"
    crossed += f" ({float(condition.threshold)!r})"
    if verdict.filled:
        return f"Threshold Crossed: {_datapoints(count)} [{values}] {crossed}{treated}."
    if condition.datapoints_to_alarm is None or len(verdict.known) < periods:
        return f"Threshold Crossed: {_datapoints(count)} [{values}] {crossed}."
    least = condition.needed if alarmed else periods - condition.needed + 1
    turn = f"{_datapoints(least)} for {'OK -> ALARM' if alarmed else 'ALARM -> OK'} transition"
    return f"Threshold Crossed: {count} out of the last {periods} datapoints [{values}] {crossed} (minimum {turn})."


def reason_data_of(
    verdict: Verdict,
    condition: Condition,
    points: Sequence[Datapoint],
    statistic: str,
    period: int,
    unit: str | None,
    now: datetime,
) -> str:
    """The same for programs: ``StateReasonData``, a JSON text."""
    told: dict[str, Any] = {"version": "1.0", "queryDate": iso(now)}
    if verdict.known:
        told["startDate"] = iso(verdict.known[-1].start)
    if unit:
        told["unit"] = unit
    told |= {
        "statistic": statistic,
        "period": period,
        "recentDatapoints": [point.value for point in reversed(verdict.known)],
        "threshold": float(condition.threshold),
        "evaluatedDatapoints": [
            {"timestamp": iso(point.start)}
            | ({} if point.value is None else {"sampleCount": point.sample_count, "value": point.value})
            for point in points[: condition.evaluation_periods]
        ],
    }
    return json.dumps(told, separators=(",", ":"))


def iso(when: datetime) -> str:
    """A time (UTC, without a time zone) as CloudWatch writes it in texts."""
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03}+0000"


def check_alarm(asked: Mapping[str, Any]) -> None:
    """Refuse an alarm that is wrong, or that could only be stored.

    :param asked: the parameters of PutMetricAlarm
    :raises AwsError: ``ValidationError`` in AWS' words, ``UnsupportedOperation`` for what is not evaluated here
    """
    for name, kind in NOT_EVALUATED.items():
        if asked.get(name):
            raise _unserved(f"{kind}: {name}")
    for name in ("OKActions", "AlarmActions", "InsufficientDataActions"):
        for action in asked.get(name) or ():
            if not str(action).startswith("arn:aws:sns:"):
                raise _unserved(f"actions other than SNS topics: {action}")
    if asked.get("ComparisonOperator") in BANDS:
        raise _unserved(f"anomaly detection: ComparisonOperator {asked['ComparisonOperator']}")
    needed = ("ComparisonOperator", "EvaluationPeriods", "Namespace", "MetricName", "Statistic", "Period", "Threshold")
    for name in needed:
        if asked.get(name) is None:
            raise AwsError("ValidationError", f"The parameter {name} is required for an alarm on one metric")
    _check_enum("statistic", asked["Statistic"], STATISTICS)
    _check_enum("comparisonOperator", asked["ComparisonOperator"], (*COMPARISONS, *BANDS))
    treatment = asked.get("TreatMissingData")
    if treatment is not None and treatment not in TREATMENTS:
        raise AwsError("ValidationError", f"Option {treatment} is not supported. Supported options are {', '.join(TREATMENTS)}")
    period, periods = int(asked["Period"]), int(asked["EvaluationPeriods"])
    if period not in (10, 20, 30) and (period < 60 or period % 60):
        raise AwsError("ValidationError", "Period must be 10, 20, 30 or a multiple of 60")
    limit, of = ("a week", WEEK_S) if period >= HOUR_S else ("a day", DAY_S)
    if period * periods > of:
        sign = ">=" if of == WEEK_S else "<"
        raise AwsError(
            "ValidationError",
            f"Metrics cannot be checked across more than {limit} (EvaluationPeriods * Period must be <= {of}) for alarms using "
            f"period {sign} {HOUR_S}",
        )
    if int(asked.get("DatapointsToAlarm") or 1) > periods:
        raise AwsError("ValidationError", "DatapointsToAlarm must be less than or equal to EvaluationPeriods")


def _check_enum(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise AwsError(
            "ValidationError",
            f"1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: Member must satisfy enum "
            f"value set: [{', '.join(known)}]",
        )


def _unserved(what: str) -> AwsError:
    return AwsError(
        "UnsupportedOperation",
        f"Flywheel's local AWS does not serve cloudwatch:PutMetricAlarm with {what} (it could only store the alarm, and nothing "
        "would evaluate it)",
    )


def _datapoints(count: int, kind: str = "") -> str:
    return f"{count} {kind}datapoint{'s' * (count != 1)}"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
