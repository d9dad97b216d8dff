"""Dead man's alarms: CloudWatch rings where a model's monitoring has not run for longer than its spec allows.

Monitoring that does not run raises no alarm of its own, and neither does Airflow when it is down. Each run of ``monitor_<model>``
ends with the metric ``MonitoringRuns``; where none has come for ``monitoring.silence_hours``, the alarm
``flywheel-<model>-monitoring-silent`` sends its message to the alerts topic, and another one when runs come again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import boto3

from flywheel.core.specs import ModelSpec

PREFIX, SUFFIX = "flywheel-", "-monitoring-silent"
NAMESPACE, METRIC = "Flywheel", "MonitoringRuns"
HOUR_S = 3600
#: So many alarms a call may delete.
AT_ONCE = 100
#: A first datapoint is dated so far back that it is in the minutes which CloudWatch looks at first.
SETTLED_S = 300


def is_watched(model: ModelSpec) -> bool:
    """Whether the spec wants it, and monitoring of the model is expected to go on by itself: its data keep coming, and it runs by
    the clock or after scorings that do so."""
    scheduled = model.scoring.schedule if model.monitoring.schedule == "after_scoring" else model.monitoring.schedule
    return model.monitoring.silence_hours is not None and model.end_date is None and scheduled is not None


def silence_alarm(model: ModelSpec, topic: str) -> dict[str, Any]:
    """The request (API: ``PutMetricAlarm``) for a model's alarm.

    Periods of an hour, because CloudWatch looks back two periods more than asked for: it rings one to two hours after
    ``silence_hours``. With one long period it would take three of them. Longer than a week cannot be asked for.

    :param topic: ARN of the SNS topic that is told
    """
    hours, dag = model.monitoring.silence_hours, f"monitor_{model.name}"
    return {
        "AlarmName": f"{PREFIX}{model.name}{SUFFIX}",
        "AlarmDescription": (
            f"{dag} has not finished for {hours} hours: nobody knows whether {model.name} ({model.tier}, owner {model.owner}) "
            f"still predicts well. Its predictions go on being served. What to do: 1. Is Airflow up, are its scheduler and "
            f"triggerer alive? 2. Open the DAG {dag}: is it paused, has its last run failed, does it wait? The task's log says "
            f"why, docs/runbook.md what to do. 3. Are score_{model.name} or the features behind it late? Then their DAGs come "
            f"first. 4. Clear what failed; this alarm ends by itself minutes after {dag} has finished a run."
        )[:1024],
        "ActionsEnabled": True,
        "AlarmActions": [topic],
        "OKActions": [topic],
        "InsufficientDataActions": [],
        "Namespace": NAMESPACE,
        "MetricName": METRIC,
        "Dimensions": [{"Name": "Model", "Value": model.name}],
        "Statistic": "SampleCount",
        "Period": HOUR_S,
        "EvaluationPeriods": hours,
        "Threshold": 1.0,
        "ComparisonOperator": "LessThanThreshold",
        "TreatMissingData": "breaching",
    }


def ensure_alarms(models: Iterable[ModelSpec], topic: str, say: Callable[[str], Any] = lambda text: None) -> list[str]:
    """One alarm for each model that is watched, and none for others; what is there is brought up to date. Returns their names.

    A new alarm would ring at once, before monitoring can have run. So the metric gets a first datapoint, of no runs: the
    hours count from now.

    :param topic: ARN of the SNS topic that is told
    :param say: is told of what is made and deleted
    """
    client = boto3.client("cloudwatch")
    there = {
        alarm["AlarmName"]
        for page in client.get_paginator("describe_alarms").paginate(AlarmNamePrefix=PREFIX)
        for alarm in page["MetricAlarms"]
        if alarm["AlarmName"].endswith(SUFFIX)
    }
    wanted = {alarm["AlarmName"]: alarm for alarm in (silence_alarm(model, topic) for model in models if is_watched(model))}
    for name, alarm in wanted.items():
        if name not in there:
            begun = {"MetricName": METRIC, "Dimensions": alarm["Dimensions"], "Value": 0.0, "Timestamp": time.time() - SETTLED_S}
            client.put_metric_data(Namespace=NAMESPACE, MetricData=[begun])
            say(f"alarm {name}: created")
        client.put_metric_alarm(**alarm)
    gone = sorted(there - wanted.keys())
    for first in range(0, len(gone), AT_ONCE):
        client.delete_alarms(AlarmNames=gone[first : first + AT_ONCE])
    for name in gone:
        say(f"alarm {name}: deleted, its model is gone or watched no longer")
    return sorted(wanted)
