"""States and reasons of alarms, as CloudWatch's guide has them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from localaws.alarm_states import Condition, Datapoint, Verdict, check_alarm, judge, reason_data_of, reason_of
from localaws.replies import AwsError

END = datetime(2026, 8, 26, 16, 20)
# The guide's two tables: datapoints, newest last (0 within the threshold, X breaching, - missing), and the state by treatment.
THREE_OF_THREE = [
    ("0-X-X", "OK", "OK", "OK", "OK"),
    ("0----", "OK", "OK", "OK", "OK"),
    ("-----", "INSUFFICIENT_DATA", None, "ALARM", "OK"),
    ("0XX-X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("--X--", "ALARM", None, "ALARM", "OK"),
]
TWO_OF_THREE = [
    ("0-X-X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("00X0X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("0-X--", "OK", "OK", "ALARM", "OK"),
    ("----0", "OK", "OK", "ALARM", "OK"),
    ("---X-", "ALARM", None, "ALARM", "OK"),
]
TABLES = [(3, *row) for row in THREE_OF_THREE] + [(2, *row) for row in TWO_OF_THREE]


def points(drawn):
    """Datapoints of a minute each, newest first."""
    values = {"0": 1.0, "X": 0.0, "-": None}
    newest_first = list(reversed(drawn))
    return [Datapoint(END - timedelta(minutes=i + 1), values[mark], 1.0) for i, mark in enumerate(newest_first)]


def below_one(needed=None, periods=3, treatment="missing"):
    return Condition("LessThanThreshold", 1.0, periods, needed, treatment)


@pytest.mark.parametrize(("needed", "drawn", "missing", "ignore", "breaching", "not_breaching"), TABLES)
def test_the_guides_tables_hold(needed, drawn, missing, ignore, breaching, not_breaching):
    expected = {"missing": missing, "ignore": ignore, "breaching": breaching, "notBreaching": not_breaching}
    found = {treatment: judge(points(drawn), below_one(needed, treatment=treatment)).state for treatment in expected}
    assert found == expected


@pytest.mark.parametrize("drawn", ["----X", "---X-"])
def test_a_young_breaching_datapoint_alone_is_no_alarm_yet(drawn):
    assert judge(points(drawn), below_one(3)).state is None


REASONS = [
    (
        "-----",
        "breaching",
        None,
        "no datapoints were received for 3 periods and 3 missing datapoints were treated as [Breaching].",
    ),
    (
        "-----",
        "notBreaching",
        3,
        "no datapoints were received for 3 periods and 3 missing datapoints were treated as [NonBreaching].",
    ),
    (
        "----0",
        "breaching",
        None,
        "1 datapoint [1.0 (26/08/26 16:19:00)] was not less than the threshold (1.0) and 2 missing datapoints were treated as "
        "[Breaching].",
    ),
    ("----0", "breaching", 2, "1 datapoint was received for 3 periods and 2 missing datapoints were treated as [Breaching]."),
    (
        "00XXX",
        "missing",
        3,
        "3 out of the last 3 datapoints [0.0 (26/08/26 16:19:00), 0.0 (26/08/26 16:18:00), 0.0 (26/08/26 16:17:00)] were less "
        "than the threshold (1.0) (minimum 3 datapoints for OK -> ALARM transition).",
    ),
    (
        "XXXX0",
        "missing",
        3,
        "1 out of the last 3 datapoints [1.0 (26/08/26 16:19:00)] was not less than the threshold (1.0) (minimum 1 datapoint for "
        "ALARM -> OK transition).",
    ),
    ("--X--", "missing", None, "1 datapoint [0.0 (26/08/26 16:17:00)] was less than the threshold (1.0)."),
]


@pytest.mark.parametrize(("drawn", "treatment", "needed", "reason"), REASONS)
def test_reasons_are_worded_as_cloudwatch_does(drawn, treatment, needed, reason):
    condition = below_one(needed, treatment=treatment)
    assert reason_of(judge(points(drawn), condition), condition) == f"Threshold Crossed: {reason}"


def test_one_period_is_worded_in_the_singular():
    breaching, missing = below_one(1, 1, "breaching"), below_one(None, 1)
    assert reason_of(judge(points("---"), breaching), breaching) == (
        "Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint was treated as [Breaching]."
    )
    assert reason_of(judge(points("---"), missing), missing) == "Insufficient Data: 1 datapoint was unknown."
    assert reason_of(Verdict("INSUFFICIENT_DATA"), below_one()) == "Insufficient Data: 3 datapoints were unknown."


def test_reason_data_names_the_datapoints():
    condition = below_one(2)
    drawn = points("--0X-")
    told = json.loads(reason_data_of(judge(drawn, condition), condition, drawn, "Sum", 60, "Count", END))
    assert told == {
        "version": "1.0",
        "queryDate": "2026-08-26T16:20:00.000+0000",
        "startDate": "2026-08-26T16:17:00.000+0000",
        "unit": "Count",
        "statistic": "Sum",
        "period": 60,
        "recentDatapoints": [1.0, 0.0],
        "threshold": 1.0,
        "evaluatedDatapoints": [
            {"timestamp": "2026-08-26T16:19:00.000+0000"},
            {"timestamp": "2026-08-26T16:18:00.000+0000", "sampleCount": 1.0, "value": 0.0},
            {"timestamp": "2026-08-26T16:17:00.000+0000", "sampleCount": 1.0, "value": 1.0},
        ],
    }


@pytest.mark.parametrize(
    ("operator", "breaching"),
    [
        ("GreaterThanThreshold", [2.0]),
        ("GreaterThanOrEqualToThreshold", [1.0, 2.0]),
        ("LessThanThreshold", [0.0]),
        ("LessThanOrEqualToThreshold", [0.0, 1.0]),
    ],
)
def test_each_comparison_breaches_where_it_says(operator, breaching):
    condition = Condition(operator, 1.0, 1)
    assert [value for value in (0.0, 1.0, 2.0) if condition.breaches(value)] == breaching


ASKED = {
    "AlarmName": "a", "Namespace": "N", "MetricName": "m", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 3,
    "Threshold": 0.0, "ComparisonOperator": "LessThanThreshold", "AlarmActions": ["arn:aws:sns:us-east-1:123456789012:t"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        ({"Metrics": [{"Id": "m"}]}, "UnsupportedOperation", "metric math"),
        ({"ExtendedStatistic": "p99"}, "UnsupportedOperation", "percentiles"),
        ({"ComparisonOperator": "GreaterThanUpperThreshold"}, "UnsupportedOperation", "anomaly detection"),
        ({"OKActions": ["arn:aws:automate:us-east-1:ec2:stop"]}, "UnsupportedOperation", "actions other than SNS topics"),
        ({"Statistic": "Median"}, "ValidationError", "Value 'Median' at 'statistic'"),
        ({"ComparisonOperator": "LessThan"}, "ValidationError", "Value 'LessThan' at 'comparisonOperator'"),
        ({"TreatMissingData": "bad"}, "ValidationError", "Option bad is not supported"),
        ({"Period": 45}, "ValidationError", "Period must be 10, 20, 30 or a multiple of 60"),
        ({"Period": 600, "EvaluationPeriods": 145}, "ValidationError", "more than a day"),
        ({"Period": 3600, "EvaluationPeriods": 169}, "ValidationError", r"a week .* <= 604800\) .* period >= 3600"),
        ({"DatapointsToAlarm": 4}, "ValidationError", "DatapointsToAlarm must be less than or equal to EvaluationPeriods"),
        ({"Threshold": None}, "ValidationError", "Threshold is required"),
    ],
)  # fmt: skip
def test_what_is_wrong_or_not_evaluated_is_refused(change, code, told):
    with pytest.raises(AwsError, match=told) as caught:
        check_alarm(ASKED | change)
    assert caught.value.code == code


@pytest.mark.parametrize("change", [{}, {"Period": 3600, "EvaluationPeriods": 168}, {"Period": 10, "DatapointsToAlarm": 3}])
def test_what_aws_takes_is_taken(change):
    check_alarm(ASKED | change)
