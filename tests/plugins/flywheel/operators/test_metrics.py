"""What CloudWatch hears of a monitoring run."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from flywheel.operators.metrics import NAMESPACE, PublishMetricsOperator


def test_each_metric_has_its_dimensions_and_the_run_itself_is_one(aws: Any, run: Callable[[Any], Any]) -> None:
    psi = [["PSI", 0.31, {"Model": "told", "Feature": f"f{i}"}] for i in range(1200)]
    count = run(
        PublishMetricsOperator(task_id="publish", model="told", metrics=json.dumps([psi, [["Gini", 0.4, {"Model": "told"}]]]))
    )
    assert count == 1202

    def seen(name: str, **dimensions: str) -> float | None:
        now = datetime.now(UTC)
        found = aws.client("cloudwatch").get_metric_statistics(
            Namespace=NAMESPACE, MetricName=name, StartTime=now - timedelta(minutes=5), EndTime=now + timedelta(minutes=5),
            Period=600, Statistics=["Sum"], Dimensions=[{"Name": key, "Value": of} for key, of in dimensions.items()],
        )["Datapoints"]  # fmt: skip
        return found[0]["Sum"] if found else None

    assert seen("PSI", Model="told", Feature="f1199") == 0.31 and seen("Gini", Model="told") == 0.4
    assert seen("MonitoringRuns", Model="told") == 1.0
