"""CloudWatch's metric alarms, evaluated as time goes by: moto keeps metrics and alarms, and never looks at either.

A thread evaluates each alarm once a minute (those of periods below a minute each ten seconds) over the periods that end with
the last whole minute, as CloudWatch does, changes its state, and sends to the SNS topics of the new state what CloudWatch
sends. It sleeps while there are no alarms. Alarms are part of moto's state, so a restart finds them as they were; what was
missed while nothing ran is seen at the first evaluation.

Only metrics that were put are looked at, at one-second resolution whatever they were put with. No event goes to EventBridge.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from botocore.loaders import create_loader
from moto.cloudwatch.models import Alarm, CloudWatchBackend, Statistics, cloudwatch_backends

from localaws import persistence
from localaws.alarm_states import (
    ALARM,
    INSUFFICIENT_DATA,
    MORE_PERIODS,
    OK,
    Condition,
    Datapoint,
    Verdict,
    iso,
    judge,
    reason_data_of,
    reason_of,
)

LOOK_EVERY_S = 10.0
MINUTE_S = 60
ACTIONS = {OK: "ok_actions", ALARM: "alarm_actions", INSUFFICIENT_DATA: "insufficient_data_actions"}

_lock = threading.RLock()
"""Held while an alarm is put, set or evaluated."""
_wake = threading.Event()
_ending = threading.Event()
_thread: threading.Thread | None = None
_seen: dict[str, datetime] = {}
"""By the alarm's ARN, the end of the periods that it was last evaluated over."""

_put_metric_alarm = CloudWatchBackend.put_metric_alarm


def now_utc() -> datetime:
    """The time, UTC without a time zone, as moto notes it."""
    return datetime.now(UTC).replace(tzinfo=None)


def install(root: Path) -> None:
    """Make moto's alarms change. ``root`` is not used: alarms are part of moto's state."""
    CloudWatchBackend.put_metric_alarm = _put  # type: ignore[method-assign]
    CloudWatchBackend.set_alarm_state = _checked_set(CloudWatchBackend.set_alarm_state)  # type: ignore[method-assign]


def start() -> None:
    """Evaluate in the background from now on, until :func:`finish`."""
    global _thread
    _ending.clear()
    _wake.set()
    _thread = threading.Thread(target=_look_until_ended, name="alarms", daemon=True)
    _thread.start()


def finish() -> None:
    """End the background thread."""
    _ending.set()
    _wake.set()
    if _thread is not None:
        _thread.join(30.0)


def evaluate(clock: Callable[[], datetime] = now_utc) -> int:
    """Evaluate all alarms that are due, and return how many alarms there are.

    :param clock: gives the time, UTC without a time zone
    """
    alarms = list(_alarms())
    for backend, alarm in alarms:
        try:
            with _lock:
                _evaluate(backend, alarm, clock())
        except Exception as error:  # one alarm's fault must not silence the others
            print(f"Alarm {alarm.name} cannot be evaluated: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    return len(alarms)


def _look_until_ended() -> None:
    alarms = 0
    while True:
        _wake.wait(LOOK_EVERY_S if alarms else None)
        _wake.clear()
        if _ending.is_set():
            return
        alarms = evaluate()


def _alarms() -> Iterator[tuple[CloudWatchBackend, Alarm]]:
    for regions in list(cloudwatch_backends.values()):
        for backend in list(regions.values()):
            for alarm in list(backend.alarms.values()):
                yield backend, alarm


def _put(backend: CloudWatchBackend, *args: Any, **kwargs: Any) -> Alarm:
    """moto's ``put_metric_alarm``; a new alarm has insufficient data, and one that was there keeps its state."""
    with _lock:
        before = backend.alarms.get(kwargs["name"])
        alarm = _put_metric_alarm(backend, *args, **kwargs)
        if before is None:
            alarm.state_value, alarm.state_reason_data = INSUFFICIENT_DATA, None  # type: ignore[assignment]
        else:
            kept = ("state_value", "state_reason", "state_reason_data", "state_updated_timestamp", "history")
            for name in kept:
                setattr(alarm, name, getattr(before, name))
        _seen.pop(alarm.alarm_arn, None)
    _wake.set()
    return alarm


def _checked_set(set_state: Callable[..., None]) -> Callable[..., None]:
    """moto's ``set_alarm_state``, whose change of the state is acted on like any other."""

    def set_alarm_state(backend: CloudWatchBackend, alarm_name: str, reason: str, reason_data: str, state_value: str) -> None:
        with _lock:
            before = backend.alarms[alarm_name].state_value if alarm_name in backend.alarms else None
            set_state(backend, alarm_name, reason, reason_data, state_value)
            alarm = backend.alarms[alarm_name]
            if before is not None and before != state_value:
                _act(backend, alarm, before, now_utc())

    return set_alarm_state


def _evaluate(backend: CloudWatchBackend, alarm: Alarm, now: datetime) -> None:
    period = int(alarm.period)
    step = MINUTE_S if period >= MINUTE_S else int(LOOK_EVERY_S)
    end = datetime.fromtimestamp(now.replace(tzinfo=UTC).timestamp() // step * step, UTC).replace(tzinfo=None)
    if _seen.get(alarm.alarm_arn) == end or backend.alarms.get(alarm.name) is not alarm:
        return
    _seen[alarm.alarm_arn] = end
    condition = Condition(
        alarm.comparison_operator,
        float(alarm.threshold),
        int(alarm.evaluation_periods),
        None if alarm.datapoints_to_alarm is None else int(alarm.datapoints_to_alarm),
        alarm.treat_missing_data or "missing",
    )
    points = _datapoints(backend, alarm, end, condition.evaluation_periods + MORE_PERIODS)
    verdict = judge(points, condition)
    if verdict.state not in (None, alarm.state_value):
        _change(backend, alarm, verdict, condition, points, now)


def _datapoints(backend: CloudWatchBackend, alarm: Alarm, end: datetime, periods: int) -> list[Datapoint]:
    """The alarm's statistic for so many periods before ``end``, newest first."""
    period = timedelta(seconds=int(alarm.period))
    dimensions = _as_set(alarm.dimensions)
    found: dict[int, Statistics] = {}
    for datum in list(backend.metric_data):
        if datum.name != alarm.metric_name or datum.namespace != alarm.namespace or _as_set(datum.dimensions) != dimensions:
            continue
        if alarm.unit and datum.unit != alarm.unit:
            continue
        ago = (end - _naive(datum.timestamp)) / period
        if 0 < ago <= periods:
            back = -int(-ago // 1) - 1
            found.setdefault(back, Statistics([alarm.statistic], end)).metric_data.append(datum)
    points = []
    for back in range(periods):
        begins, statistics = end - (back + 1) * period, found.get(back)
        value = statistics.get_statistics_for_type(alarm.statistic) if statistics else None
        if statistics is None or value is None:
            points.append(Datapoint(begins))
        else:
            points.append(Datapoint(begins, float(value), float(statistics.calc_sample_count())))
    return points


def _as_set(dimensions: Sequence[Any]) -> set[tuple[str, str]]:
    return {(dimension.name, dimension.value) for dimension in dimensions}


def _naive(when: datetime) -> datetime:
    return when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo else when


def _change(
    backend: CloudWatchBackend,
    alarm: Alarm,
    verdict: Verdict,
    condition: Condition,
    points: Sequence[Datapoint],
    now: datetime,
) -> None:
    assert verdict.state is not None, "the caller has looked"
    before = alarm.state_value
    data = reason_data_of(verdict, condition, points, alarm.statistic, int(alarm.period), alarm.unit, now)
    alarm.update_state(reason_of(verdict, condition), data, verdict.state)
    alarm.state_updated_timestamp = now
    _act(backend, alarm, before, now)
    persistence.touch("cloudwatch")


def _act(backend: CloudWatchBackend, alarm: Alarm, before: str, now: datetime) -> None:
    """Send the message of a change to the topics of the new state."""
    actions: Sequence[str] = getattr(alarm, ACTIONS[alarm.state_value])
    if not alarm.actions_enabled or not actions:
        return
    from moto.sns.models import sns_backends

    place = region_name(backend.region_name)
    subject = f'{alarm.state_value}: "{alarm.name}" in {place}'[:99]  # moto takes no more
    message = json.dumps(_message(backend, alarm, before, now, place), separators=(",", ":"))
    for arn in actions:
        try:
            topic = sns_backends[backend.account_id][arn.split(":")[3]].get_topic(arn)
            topic.publish(message, subject=subject)
        except Exception as error:  # AWS notes it in the alarm's history, and goes on
            print(f"Alarm {alarm.name} cannot notify {arn}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    persistence.touch("sns", "sqs")


def _message(backend: CloudWatchBackend, alarm: Alarm, before: str, now: datetime, place: str) -> Mapping[str, Any]:
    trigger = {
        "MetricName": alarm.metric_name,
        "Namespace": alarm.namespace,
        "StatisticType": "Statistic",
        "Statistic": "SAMPLE_COUNT" if alarm.statistic == "SampleCount" else alarm.statistic.upper(),
        "Unit": alarm.unit,
        "Dimensions": [{"value": dimension.value, "name": dimension.name} for dimension in alarm.dimensions],
        "Period": int(alarm.period),
        "EvaluationPeriods": int(alarm.evaluation_periods),
    }
    if alarm.datapoints_to_alarm is not None:
        trigger["DatapointsToAlarm"] = int(alarm.datapoints_to_alarm)
    trigger |= {
        "ComparisonOperator": alarm.comparison_operator,
        "Threshold": float(alarm.threshold),
        "TreatMissingData": alarm.treat_missing_data or "missing",
        "EvaluateLowSampleCountPercentile": "",
    }
    return {
        "AlarmName": alarm.name,
        "AlarmDescription": alarm.description,
        "AWSAccountId": backend.account_id,
        "AlarmConfigurationUpdatedTimestamp": iso(alarm.configuration_updated_timestamp),
        "NewStateValue": alarm.state_value,
        "NewStateReason": alarm.state_reason,
        "StateChangeTime": iso(now),
        "Region": place,
        "AlarmArn": alarm.alarm_arn,
        "OldStateValue": before,
        "OKActions": alarm.ok_actions,
        "AlarmActions": alarm.alarm_actions,
        "InsufficientDataActions": alarm.insufficient_data_actions,
        "Trigger": trigger,
    }


@cache
def region_name(region: str) -> str:
    """A region's name for people, such as ``US East (N. Virginia)``."""
    partitions = create_loader().load_data("endpoints")["partitions"]
    names = {name: told["description"] for partition in partitions for name, told in partition["regions"].items()}
    return names.get(region, region)
