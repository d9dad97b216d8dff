"""The dead man's alarm: it rings when monitoring has been silent for too long, and only for models that are watched."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_process import LocalAwsProcess
from infra.alarms import ensure_alarms, is_watched, silence_alarm

from flywheel.core.specs import ModelSpec, load_model_spec

INCLUDE = Path(__file__).parents[3] / "include"
SPEC = load_model_spec(INCLUDE / "models" / "flight_delay.yaml")
HOUR = 3600


def model(
    name: str = "living",
    *,
    end_date: Any = None,
    schedule: str | None = "after_scoring",
    scoring: str | None = "0 6 * * *",
    hours: int | None = 36,
) -> ModelSpec:
    features = {SPEC.feature_version: SPEC.features.model_copy(update={"end_date": end_date})}
    return SPEC.model_copy(
        update={
            "name": name,
            "feature_versions": features,
            "scoring": SPEC.scoring.model_copy(update={"schedule": scoring}),
            "monitoring": SPEC.monitoring.model_copy(update={"schedule": schedule, "silence_hours": hours}),
        }
    )


class Place:
    """A local AWS with an alerts topic and a queue that hears it."""

    def __init__(self, process: LocalAwsProcess):
        self.cloudwatch, sns, self.sqs = (process.client(name) for name in ("cloudwatch", "sns", "sqs"))
        self.topic = sns.create_topic(Name="alerts")["TopicArn"]
        self.queue = self.sqs.create_queue(QueueName="pager")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=arn)

    def alarms(self) -> dict[str, dict[str, Any]]:
        return {alarm["AlarmName"]: alarm for alarm in self.cloudwatch.describe_alarms()["MetricAlarms"]}

    def state(self, name: str, expected: str) -> str:
        deadline = time.monotonic() + 15
        while (found := self.alarms()[name]["StateValue"]) != expected and time.monotonic() < deadline:
            time.sleep(0.1)
        return str(found)

    def ran(self, of: str, hours_ago: float) -> None:
        datum = {"MetricName": "MonitoringRuns", "Value": 1.0, "Dimensions": [{"Name": "Model", "Value": of}]}
        self.cloudwatch.put_metric_data(Namespace="Flywheel", MetricData=[datum | {"Timestamp": time.time() - hours_ago * HOUR}])

    def heard(self, name: str) -> list[str]:
        """The states that people were told of since it was asked last; a message comes a moment after its state."""
        states: list[str] = []
        deadline = time.monotonic() + 10
        while not states and time.monotonic() < deadline:
            asked = {"QueueUrl": self.queue, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1}
            for message in self.sqs.receive_message(**asked).get("Messages", []):
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
                told = json.loads(json.loads(message["Body"])["Message"])
                states += [told["NewStateValue"]] if told["AlarmName"] == name else []
        return states


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Any:
    process = LocalAwsProcess(tmp_path_factory.mktemp("alarms"))
    yield process
    assert process.stop() == 0 and process.errors == []


@pytest.fixture
def place(running: LocalAwsProcess, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ENDPOINT_URL", running.endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    made = Place(running)
    yield made
    made.cloudwatch.delete_alarms(AlarmNames=list(made.alarms()))


@pytest.mark.parametrize(
    ("watched", "spec"),
    [
        (True, model()),
        (True, model(schedule="0 7 * * *", scoring=None)),
        (False, model(end_date=SPEC.end_date)),
        (False, model(schedule=None)),
        (False, model(scoring=None)),
        (False, model(hours=None)),
    ],
)
def test_models_are_watched_while_their_data_keep_coming_and_something_starts_their_monitoring(
    watched: bool, spec: ModelSpec
) -> None:
    assert is_watched(spec) is watched


def test_the_description_says_what_to_do_and_fits(place: Place) -> None:
    alarm = silence_alarm(model("a_model_whose_name_is_as_long_as_such_names_get", hours=168), place.topic)
    assert len(alarm["AlarmDescription"]) < 1024 and "docs/runbook.md" in alarm["AlarmDescription"]
    assert "has not finished for 168 hours" in alarm["AlarmDescription"]
    place.cloudwatch.put_metric_alarm(**alarm)  # a week is what AWS takes at most


def test_a_new_alarm_gives_monitoring_its_hours_before_it_rings(place: Place) -> None:
    told: list[str] = []
    name = "flywheel-fresh-monitoring-silent"
    assert ensure_alarms([model("fresh")], place.topic, told.append) == [name]
    assert told == [f"alarm {name}: created"]
    assert place.state(name, "OK") == "OK" and place.heard(name) == ["OK"]
    runs = place.cloudwatch.get_metric_statistics(
        Namespace="Flywheel", MetricName="MonitoringRuns", Dimensions=[{"Name": "Model", "Value": "fresh"}],
        StartTime=time.time() - HOUR, EndTime=time.time(), Period=HOUR, Statistics=["Sum"],
    )  # fmt: skip
    assert [point["Sum"] for point in runs["Datapoints"]] == [0.0], "no run is made up"


def test_it_rings_after_the_hours_of_the_spec_and_is_quiet_after_the_next_run(place: Place) -> None:
    spec, name = model("silent", hours=36), "flywheel-silent-monitoring-silent"
    place.ran("silent", hours_ago=39)
    place.cloudwatch.put_metric_alarm(**silence_alarm(spec, place.topic))
    assert place.state(name, "ALARM") == "ALARM"
    assert place.heard(name) == ["ALARM"]
    place.ran("silent", hours_ago=35.5)
    ensure_alarms([spec], place.topic)
    assert place.state(name, "OK") == "OK"
    assert place.heard(name) == ["OK"]


def test_provisioning_again_changes_what_the_spec_has_changed_and_nothing_else(place: Place) -> None:
    ensure_alarms([model("again")], place.topic)
    told: list[str] = []
    ensure_alarms([model("again", hours=48)], place.topic, told.append)
    assert told == []
    (alarm,) = place.alarms().values()
    assert (alarm["EvaluationPeriods"], alarm["Period"], alarm["AlarmActions"]) == (48, HOUR, [place.topic])


def test_alarms_of_models_that_are_gone_or_ended_are_deleted_and_no_others(place: Place) -> None:
    both = [model("stays"), model("goes"), model("ends")]
    ensure_alarms(both, place.topic)
    for other in ("somebody-elses-monitoring-silent", "flywheel-something-else"):
        place.cloudwatch.put_metric_alarm(**silence_alarm(model(), place.topic) | {"AlarmName": other})
    told: list[str] = []
    assert ensure_alarms([model("stays"), model("ends", end_date=SPEC.end_date)], place.topic, told.append) == [
        "flywheel-stays-monitoring-silent"
    ]
    assert set(place.alarms()) == {
        "flywheel-stays-monitoring-silent", "somebody-elses-monitoring-silent", "flywheel-something-else",
    }  # fmt: skip
    assert [line.split(":")[0] for line in told] == [
        "alarm flywheel-ends-monitoring-silent", "alarm flywheel-goes-monitoring-silent",
    ]  # fmt: skip


def test_provisioning_finds_the_alarms_when_it_is_run_as_a_file() -> None:
    done = subprocess.run(
        [sys.executable, str(INCLUDE / "infra" / "provision.py"), "--help"],
        env={"PYTHONPATH": str(INCLUDE.parent / "plugins")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
