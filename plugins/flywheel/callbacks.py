"""What happens when a task has failed for good."""

from __future__ import annotations

from airflow.providers.amazon.aws.notifications.sns import SnsNotifier

from flywheel.settings import settings


def alert_on_failure() -> list[SnsNotifier]:
    """Failure callbacks: one message to the alerts topic, with what a person needs at night; none without a topic."""
    if not settings().alerts_topic_arn:
        return []
    return [
        SnsNotifier(
            aws_conn_id=settings().aws_conn_id,
            region_name=settings().region,
            target_arn=settings().alerts_topic_arn,
            subject="Airflow: {{ dag.dag_id }}.{{ ti.task_id }} failed"[:100],
            message=(
                "Task {{ ti.task_id }} of DAG {{ dag.dag_id }}, run {{ run_id }}, try {{ ti.try_number }} failed.\n"
                "{{ exception }}\nLog: {{ ti.log_url }}"
            ),
        )
    ]
