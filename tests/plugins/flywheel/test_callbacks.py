"""A task that failed for good sends one message that a person can act on."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from airflow.sdk import DAG

from flywheel.callbacks import alert_on_failure


def test_the_message_names_task_run_reason_and_log(aws: Any) -> None:
    sqs, sns = aws.client("sqs"), aws.client("sns")
    queue = sqs.create_queue(QueueName="alerts")["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    (topic,) = [t["TopicArn"] for t in sns.list_topics()["Topics"] if t["TopicArn"].endswith(":flywheel-alerts")]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
    (notify,) = alert_on_failure()
    notify(
        {
            "dag": DAG("train_flight_delay", schedule=None),
            "ti": SimpleNamespace(task_id="evaluate", try_number=3, log_url="http://airflow/log"),
            "run_id": "drift__2013-04-29",
            "exception": RuntimeError("Failed: no rows in the holdout"),
        }
    )
    (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    body = json.loads(message["Body"])
    assert body["Subject"] == "Airflow: train_flight_delay.evaluate failed"
    assert body["Message"] == (
        "Task evaluate of DAG train_flight_delay, run drift__2013-04-29, try 3 failed.\n"
        "Failed: no rows in the holdout\nLog: http://airflow/log"
    )
