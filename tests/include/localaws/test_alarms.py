"""Alarms change as metrics come and go, and say so to their topics; without anybody asking, and after a restart."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta

import pytest
from moto.cloudwatch.models import CloudWatchBackend, cloudwatch_backends
from moto.sns.models import sns_backends

from localaws import ACCOUNT_ID, alarms

NOON = datetime(2026, 8, 26, 12, 0)
HEARTBEAT = {
    "Namespace": "Test", "MetricName": "Beats", "Statistic": "SampleCount", "Period": 3600, "EvaluationPeriods": 36,
    "Threshold": 1.0, "ComparisonOperator": "LessThanThreshold", "TreatMissingData": "breaching",
}  # fmt: skip


class Timeline:
    """moto's CloudWatch with a clock that the test sets."""

    def __init__(self):
        self.backend = cloudwatch_backends[ACCOUNT_ID]["eu-west-1"]
        self.sns = sns_backends[ACCOUNT_ID]["eu-west-1"]
        self.topic = self.sns.create_topic("timeline")
        self.topic.sent_notifications.clear()
        self.now = NOON

    def put(self, **change):
        defaults = {
            "name": "silent", "namespace": "Test", "metric_name": "Beats", "comparison_operator": "LessThanThreshold",
            "evaluation_periods": 3, "period": 60, "threshold": 1.0, "statistic": "Sum", "description": "Look at it",
            "dimensions": [{"Name": "Model", "Value": "m"}], "alarm_actions": [self.topic.arn],
        }  # fmt: skip
        return self.backend.put_metric_alarm(**defaults | change)

    def beat(self, at=None, value=1.0, **more):
        datum = {"MetricName": "Beats", "Value": value, "Dimensions": [{"Name": "Model", "Value": "m"}]}
        self.backend.put_metric_data("Test", [datum | {"Timestamp": at or self.now} | more])

    def look(self, **passed):
        self.now += timedelta(**passed)
        alarms.evaluate(lambda: self.now)
        return self.backend.alarms["silent"].state_value

    @property
    def messages(self):
        return [json.loads(sent[1]) for sent in self.topic.sent_notifications]


@pytest.fixture
def timeline(monkeypatch, tmp_path):
    for name in ("put_metric_alarm", "set_alarm_state"):
        monkeypatch.setattr(CloudWatchBackend, name, getattr(CloudWatchBackend, name))
    alarms.install(tmp_path)
    made = Timeline()
    yield made
    made.backend.alarms.clear()
    made.backend.metric_data.clear()


def test_a_new_alarm_knows_nothing_and_stays_so_while_nothing_is_measured(timeline):
    alarm = timeline.put()
    assert (alarm.state_value, alarm.state_reason) == ("INSUFFICIENT_DATA", "Unchecked: Initial alarm creation")
    assert timeline.look(minutes=1) == "INSUFFICIENT_DATA" and timeline.messages == []


def test_silence_rings_after_its_hours_and_not_before_and_a_datapoint_ends_it(timeline):
    timeline.put(period=3600, evaluation_periods=36, statistic="SampleCount", treat_missing_data="breaching",
                 ok_actions=[timeline.topic.arn])  # fmt: skip
    timeline.beat()
    assert timeline.look(minutes=1) == "OK"
    states = [timeline.look(hours=1) for _ in range(40)]
    # The datapoint is 1 minute and n hours old; CloudWatch looks at two periods more than asked for.
    assert states == ["OK"] * 37 + ["ALARM"] * 3
    timeline.beat(value=0.0)
    assert timeline.look(minutes=1) == "OK"
    assert [m["NewStateValue"] for m in timeline.messages] == ["OK", "ALARM", "OK"]


def test_the_message_is_cloudwatchs(timeline):
    timeline.put(treat_missing_data="breaching", datapoints_to_alarm=3)
    timeline.look(minutes=1)
    ((_, message, subject, *_),) = timeline.topic.sent_notifications
    told = json.loads(message)
    assert subject == 'ALARM: "silent" in Europe (Ireland)'
    assert told.pop("AlarmConfigurationUpdatedTimestamp").endswith("+0000")
    assert told == {
        "AlarmName": "silent",
        "AlarmDescription": "Look at it",
        "AWSAccountId": ACCOUNT_ID,
        "NewStateValue": "ALARM",
        "NewStateReason": "Threshold Crossed: no datapoints were received for 3 periods and 3 missing datapoints were treated as "
        "[Breaching].",
        "StateChangeTime": "2026-08-26T12:01:00.000+0000",
        "Region": "Europe (Ireland)",
        "AlarmArn": f"arn:aws:cloudwatch:eu-west-1:{ACCOUNT_ID}:alarm:silent",
        "OldStateValue": "INSUFFICIENT_DATA",
        "OKActions": [],
        "AlarmActions": [timeline.topic.arn],
        "InsufficientDataActions": [],
        "Trigger": {
            "MetricName": "Beats",
            "Namespace": "Test",
            "StatisticType": "Statistic",
            "Statistic": "SUM",
            "Unit": None,
            "Dimensions": [{"value": "m", "name": "Model"}],
            "Period": 60,
            "EvaluationPeriods": 3,
            "DatapointsToAlarm": 3,
            "ComparisonOperator": "LessThanThreshold",
            "Threshold": 1.0,
            "TreatMissingData": "breaching",
            "EvaluateLowSampleCountPercentile": "",
        },
    }


@pytest.mark.parametrize(
    ("statistic", "value"), [("SampleCount", 3.0), ("Sum", 12.0), ("Average", 4.0), ("Minimum", 1.0), ("Maximum", 9.0)]
)
def test_each_statistic_is_that_of_the_periods_datapoints(timeline, statistic, value):
    timeline.put(statistic=statistic, comparison_operator="GreaterThanThreshold", threshold=100.0, evaluation_periods=1)
    for beat in (1.0, 2.0, 9.0):
        timeline.beat(value=beat)
    timeline.look(minutes=1)
    assert json.loads(timeline.backend.alarms["silent"].state_reason_data)["recentDatapoints"] == [value]


def test_only_the_alarms_own_metric_counts(timeline):
    timeline.put(evaluation_periods=1, unit="Count")
    timeline.beat(MetricName="Other", Unit="Count")
    timeline.beat(Dimensions=[], Unit="Count")
    timeline.beat(Dimensions=[{"Name": "Model", "Value": "other"}], Unit="Count")
    timeline.beat(Unit="Seconds")
    assert timeline.look(minutes=1) == "INSUFFICIENT_DATA"
    timeline.beat(Unit="Count")
    assert timeline.look(minutes=1) == "OK"


def test_a_datapoint_on_the_minute_is_of_the_period_that_begins_with_it(timeline):
    timeline.put(evaluation_periods=1)
    timeline.beat(at=NOON, value=5.0)
    timeline.look(minutes=1)
    assert "[5.0 (26/08/26 12:00:00)]" in timeline.backend.alarms["silent"].state_reason


def test_an_unfinished_minute_does_not_count_yet(timeline):
    timeline.put(evaluation_periods=1)
    timeline.beat(at=NOON + timedelta(seconds=5))
    assert timeline.look(seconds=59) == "INSUFFICIENT_DATA"
    assert timeline.look(seconds=1) == "OK"


def test_disabled_actions_are_not_taken_but_the_state_changes(timeline):
    timeline.put(actions_enabled=False, treat_missing_data="breaching")
    assert timeline.look(minutes=1) == "ALARM" and timeline.messages == []


def test_a_changed_alarm_keeps_its_state_until_it_is_evaluated(timeline):
    timeline.put(treat_missing_data="breaching")
    timeline.look(minutes=1)
    timeline.put(treat_missing_data="notBreaching", description="changed")
    alarm = timeline.backend.alarms["silent"]
    assert (alarm.state_value, alarm.description) == ("ALARM", "changed") and "Breaching" in alarm.state_reason
    assert timeline.look(seconds=1) == "OK"


def test_a_state_that_is_set_acts_and_is_corrected_by_the_next_evaluation(timeline):
    timeline.put(treat_missing_data="notBreaching")
    timeline.look(minutes=1)
    timeline.backend.set_alarm_state("silent", "a rehearsal", "{}", "ALARM")
    assert [(m["NewStateValue"], m["NewStateReason"]) for m in timeline.messages] == [("ALARM", "a rehearsal")]
    assert timeline.look(minutes=1) == "OK"


def test_one_alarm_whose_topic_is_gone_does_not_silence_the_others(timeline, capsys):
    timeline.put(name="first", treat_missing_data="breaching", alarm_actions=[timeline.topic.arn + "-gone"])
    timeline.put(treat_missing_data="breaching")
    assert timeline.look(minutes=1) == "ALARM" and len(timeline.messages) == 1
    assert "Alarm first cannot notify" in capsys.readouterr().err


def wait_for(condition, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
    return found


def test_an_alarm_rings_by_itself_is_kept_over_a_kill_and_ends_with_a_datapoint(start_local_aws, tmp_path):
    first = start_local_aws(tmp_path)
    topic = first.client("sns").create_topic(Name="alerts")["TopicArn"]
    queue = first.client("sqs").create_queue(QueueName="pager")["QueueUrl"]
    arn = first.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    first.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    both = {"AlarmActions": [topic], "OKActions": [topic], "Dimensions": [{"Name": "Model", "Value": "m"}]}
    first.client("cloudwatch").put_metric_alarm(AlarmName="live", **HEARTBEAT, **both)

    def state(aws):
        return aws.client("cloudwatch").describe_alarms(AlarmNames=["live"])["MetricAlarms"][0]

    def pager(aws):
        url = aws.client("sqs").get_queue_url(QueueName="pager")["QueueUrl"]
        messages = aws.client("sqs").receive_message(QueueUrl=url).get("Messages", [])
        return [json.loads(json.loads(message["Body"])["Message"]) for message in messages]

    wait_for(lambda: state(first)["StateValue"] == "ALARM", 10)
    (rang,) = wait_for(lambda: pager(first))
    assert (rang["AlarmName"], rang["OldStateValue"], rang["NewStateValue"]) == ("live", "INSUFFICIENT_DATA", "ALARM")
    time.sleep(2.0)
    first.kill()

    second = start_local_aws(tmp_path)
    told = state(second)
    assert told["StateValue"] == "ALARM" and "36 missing datapoints were treated as [Breaching]" in told["StateReason"]
    assert told["Period"] == 3600 and told["TreatMissingData"] == "breaching" and json.loads(told["StateReasonData"])
    cloudwatch = second.client("cloudwatch")
    datum = {"MetricName": "Beats", "Value": 1, "Dimensions": both["Dimensions"], "Timestamp": time.time() - 120}
    cloudwatch.put_metric_data(Namespace="Test", MetricData=[datum])
    cloudwatch.put_metric_alarm(AlarmName="live", **HEARTBEAT, **both)  # the same again: looked at now, not in a minute
    wait_for(lambda: state(second)["StateValue"] == "OK", 10)
    assert [m["NewStateValue"] for m in wait_for(lambda: pager(second))] == ["OK"]
    cloudwatch.delete_alarms(AlarmNames=["live"])
    assert cloudwatch.describe_alarms()["MetricAlarms"] == []
    assert second.stop() == 0 and second.errors == []


def test_without_alarms_nothing_is_looked_at(timeline):
    assert timeline.backend.alarms == {} and alarms.evaluate(lambda: timeline.now) == 0
