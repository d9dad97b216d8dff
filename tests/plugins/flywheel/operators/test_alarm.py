"""One message for a breach, and none for what people know."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jinja2
import pytest
from airflow.sdk.exceptions import AirflowSkipException

from flywheel.operators.alarm import RaiseAlarmOperator
from flywheel.operators.redshift import RedshiftQueryOperator, RedshiftStatementsOperator
from flywheel.settings import settings

SQL = Path(__file__).parents[4] / "include" / "sql" / "monitoring"


class Desk:
    """A person's mailbox: a queue that is subscribed to the alerts topic; and what the DAG's tasks do with an alarm."""

    def __init__(self, aws: Any, runner: Any, name: str):
        self.aws, self.runner, self.name = aws, runner, name
        sqs = aws.client("sqs")
        self.queue = sqs.create_queue(QueueName=name.replace("_", "-"))["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        aws.client("sns").subscribe(TopicArn=settings().alerts_topic_arn, Protocol="sqs", Endpoint=arn)

    def mail(self) -> list[tuple[str, str]]:
        """Subjects and messages that have come since the last look."""
        found = self.aws.client("sqs").receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", [])
        for message in found:
            self.aws.client("sqs").delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        bodies = [json.loads(message["Body"]) for message in found]
        return [(body["Subject"], body["Message"]) for body in bodies]

    def alarm(self, judged_until: str, *causes: str, version: str = "3", under_way: int = 0, accuracy: str = "") -> None:
        """Raises and records it.

        :param under_way: trainings of the model that run
        """
        breaches = {
            "psi_drift": {"reason": f"{', '.join(causes)} moved" if causes else None, "causes": causes},
            "accuracy_drift": {"reason": accuracy or None, "causes": ["accuracy"] if accuracy else []},
        }
        operator = RaiseAlarmOperator(
            task_id=f"raise_{time.monotonic_ns()}", model=self.name, model_version=version,
            judged=json.dumps({"start": "2013-04-01", "end": judged_until}), breaches=json.dumps(breaches),
            retraining="a retraining is started: train_x, run drift__2013-04-28", pictures="s3://flywheel-tests/m/drift.html",
            train_dag_id=f"train_{self.name}", quiet_days=7,
        )  # fmt: skip
        operator.sql = (SQL / "select_alarms.sql").read_text()
        raised = self.runner.run_with(operator, under_way)
        template = jinja2.Template((SQL / "insert_alarms.sql").read_text())
        self.runner.run(
            RedshiftStatementsOperator(
                task_id=f"record_{time.monotonic_ns()}", sql=[template.render(run_key=lambda: f"run-{judged_until}")],
                parameters={"model": self.name, "model_version": version, "judged_until": judged_until,
                            "causes": json.dumps(raised["causes"]), "message": raised["message"]},
            )
        )  # fmt: skip


class AskedRunner:
    """Runs operators that ask Airflow how many runs are under way."""

    def __init__(self, runner: Any, monkeypatch: pytest.MonkeyPatch):
        self.runner, self.monkeypatch = runner, monkeypatch

    def run(self, operator: Any) -> Any:
        return self.runner.run(operator)

    def run_with(self, operator: Any, under_way: int) -> Any:
        def count(dag_id: str, states: list[str]) -> int:
            assert dag_id == operator.train_dag_id and states == ["queued", "running"]
            return under_way

        begin = self.runner.begin

        def with_runs(*arguments: Any) -> Any:
            context = begin(*arguments)
            context["ti"].get_dr_count, context["ti"].log_url = count, "http://airflow/log"
            return context

        with self.monkeypatch.context() as patched:
            patched.setattr(self.runner, "begin", with_runs)
            return self.runner.run(operator)


@pytest.fixture
def desk(aws: Any, runner: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Desk:
    """Nobody was told anything yet."""
    return Desk(aws, AskedRunner(runner, monkeypatch), f"alarm_{request.node.name.removeprefix('test_')[:30].rstrip('_')}")


def test_all_that_was_found_is_one_message_with_its_links(desk: Desk) -> None:
    desk.alarm("2013-04-28", "carrier shift", "dest unseen", accuracy="Gini 0.40 against 0.50")
    ((subject, message),) = desk.mail()
    assert subject == f"{desk.name}: accuracy, carrier shift, dest unseen"
    for words in (
        "version 3, judged on 2013-04-01 to 2013-04-28", "psi_drift: carrier shift, dest unseen moved",
        "accuracy_drift: Gini 0.40 against 0.50", "a retraining is started: train_x", "s3://flywheel-tests/m/drift.html",
        "console.aws.amazon.com/s3/object/flywheel-tests?prefix=m/drift.html", "http://airflow/log", f"dags/train_{desk.name}",
        "docs/runbook.md",
    ):  # fmt: skip
        assert words in message, message
    rows = desk.runner.run(
        RedshiftQueryOperator(task_id="read", sql=f"SELECT causes, message FROM monitoring.alarms WHERE model = '{desk.name}'")
    )
    assert rows == [{"causes": '["accuracy", "carrier shift", "dest unseen"]', "message": message}]


def test_the_same_cause_is_told_again_only_after_a_week(desk: Desk) -> None:
    desk.alarm("2013-04-28", "carrier shift")
    assert len(desk.mail()) == 1
    with pytest.raises(AirflowSkipException, match="carrier shift was told on 2013-04-28"):
        desk.alarm("2013-05-04", "carrier shift")
    assert desk.mail() == []
    desk.alarm("2013-05-05", "carrier shift")
    assert len(desk.mail()) == 1


def test_a_new_cause_is_news_and_so_is_an_old_one_of_a_new_champion(desk: Desk) -> None:
    desk.alarm("2013-04-28", "carrier shift")
    desk.alarm("2013-04-29", "carrier shift", "dest unseen")
    desk.alarm("2013-04-29", "carrier shift", version="4")
    assert [subject for subject, _ in desk.mail()] == [
        f"{desk.name}: carrier shift", f"{desk.name}: dest unseen", f"{desk.name}: carrier shift",
    ]  # fmt: skip


def test_while_a_retraining_runs_the_same_cause_stays_quiet_for_a_month(desk: Desk) -> None:
    desk.alarm("2013-04-28", "carrier shift")
    desk.mail()
    with pytest.raises(AirflowSkipException, match="no news"):
        desk.alarm("2013-05-20", "carrier shift", under_way=1)
    desk.alarm("2013-05-20", "dest unseen", under_way=1)
    assert len(desk.mail()) == 1
    desk.alarm("2013-05-28", "carrier shift", under_way=1)
    assert len(desk.mail()) == 1, "a training that hangs must not silence the watch"


def test_no_breach_is_no_message(desk: Desk) -> None:
    with pytest.raises(AirflowSkipException, match="no breach"):
        desk.alarm("2013-04-28")
    assert desk.mail() == []


def test_a_subject_that_sns_would_refuse_is_cut(desk: Desk) -> None:
    desk.alarm("2013-04-28", *(f"feature_with_a_long_name_{i} shift" for i in range(9)), "größe unit")
    ((subject, message),) = desk.mail()
    assert len(subject) == 100 and subject.endswith(" ...") and "größe" in message
