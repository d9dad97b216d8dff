"""CloudWatch hears of each monitoring run: what was measured, and that it ran at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.sdk import BaseOperator

from flywheel.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

NAMESPACE = "Flywheel"
#: How many a call may carry.
AT_ONCE = 1000


class PublishMetricsOperator(BaseOperator):
    """Puts metrics into CloudWatch, dated now (API: ``PutMetricData``), and last of all ``MonitoringRuns`` = 1.

    Dated now, and not by the days judged: CloudWatch takes nothing older than two weeks. ``MonitoringRuns`` feeds the dead
    man's alarm (``include/infra/alarms.py``), so it is said only when the rest was.

    :param model: name of the model
    :param metrics: a JSON list of lists ``[[name, value, {dimension: value}]]`` (templated)
    :param aws_conn_id: Airflow connection for AWS
    """

    template_fields: Sequence[str] = ("metrics",)

    def __init__(self, *, model: str, metrics: str, aws_conn_id: str | None = "aws_default", **kwargs: Any):
        super().__init__(**kwargs)
        self.model, self.metrics, self.aws_conn_id = model, metrics, aws_conn_id

    def execute(self, context: Context) -> int:
        """Returns how many were put."""
        client = AwsBaseHook(client_type="cloudwatch", aws_conn_id=self.aws_conn_id, region_name=settings().region or None).conn
        measured = [metric for metrics in json.loads(self.metrics) for metric in metrics]
        data = [
            {
                "MetricName": name,
                "Value": value,
                "Dimensions": [{"Name": key, "Value": str(of)} for key, of in dimensions.items()],
            }
            for name, value, dimensions in [*measured, ["MonitoringRuns", 1.0, {"Model": self.model}]]
        ]
        for first in range(0, len(data), AT_ONCE):
            client.put_metric_data(Namespace=NAMESPACE, MetricData=data[first : first + AT_ONCE])
        return len(data)
