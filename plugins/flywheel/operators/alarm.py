"""Telling people, once: a breach is one message, and the same causes again are no news."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.hooks.sns import SnsHook
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowSkipException

from flywheel.core.runs import parse_day
from flywheel.hooks.jobs import Identity
from flywheel.operators.redshift import RedshiftQueryOperator, read_rows
from flywheel.operators.retraining import MONTH_DAYS, UNDER_WAY
from flywheel.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

#: SNS takes no longer subject.
SUBJECT = 100
RULE = "-" * 60


class RaiseAlarmOperator(RedshiftQueryOperator):
    """One message to the alerts topic for all that a monitoring run has found, with links; skips where there is no news.

    News is a cause that was not told for the same champion within ``quiet_days`` of judged days, or within a month while a
    training of the model is under way; one that hangs for longer is news itself (API: ``ExecuteStatement``, SNS ``Publish``). A
    try that dies between the message and its end sends it again: rather twice than never.

    :param model: name of the model
    :param model_version: the champion's version in the registry (templated)
    :param judged: first and last day that were judged, ``{"start", "end"}`` (templated, JSON)
    :param breaches: what the sensors have found, ``{sensor: {"reason", "causes"}}``; a null reason is no breach (templated, JSON)
    :param retraining: what was decided about a retraining (templated)
    :param pictures: S3 URI of the page with the pictures (templated)
    :param train_dag_id: the DAG that trains the model
    :param quiet_days: judged days for which the same cause is not told again
    Returns ``{"causes", "message"}``, what was sent.
    """

    template_fields: Sequence[str] = (
        *RedshiftQueryOperator.template_fields, "model_version", "judged", "breaches", "retraining", "pictures",
    )  # fmt: skip

    def __init__(
        self,
        *,
        model: str,
        model_version: str,
        judged: str,
        breaches: str,
        retraining: str,
        pictures: str,
        train_dag_id: str,
        quiet_days: int,
        **kwargs: Any,
    ):
        parameters = {"model": model, "model_version": model_version}
        super().__init__(sql="monitoring/select_alarms.sql", parameters=parameters, **kwargs)
        self.model, self.model_version, self.judged, self.breaches = model, model_version, judged, breaches
        self.retraining, self.pictures = retraining, pictures
        self.train_dag_id, self.quiet_days = train_dag_id, quiet_days

    def execute(self, context: Context) -> Any:
        """Asks what was told before, if there is anything to tell."""
        if not self._found():
            raise AirflowSkipException("no breach")
        return super().execute(context)

    def result(self, client: Any, identity: Identity, description: Mapping[str, Any]) -> Any:
        """The causes that were told before, each with the last day judged then."""
        told: dict[str, date] = {}
        for row in read_rows(client, identity["Id"]):
            day = parse_day(row["judged_until"], "judged_until")
            for cause in json.loads(row["causes"]):
                told[cause] = max(day, told.get(cause, day))
        return told

    def finish(self, context: Context, description: dict[str, Any], timed_out: bool = False) -> Any:
        """Sends the message where there is news."""
        told, found = super().finish(context, description, timed_out), self._found()
        causes = sorted({cause for breach in found.values() for cause in breach["causes"]})
        under_way = context["ti"].get_dr_count(dag_id=self.train_dag_id, states=UNDER_WAY)
        quiet = timedelta(days=max(self.quiet_days, MONTH_DAYS) if under_way else self.quiet_days)
        since = parse_day(json.loads(self.judged)["end"], "judged end") - quiet
        news = [cause for cause in causes if cause not in told or told[cause] <= since]
        if not news:
            raise AirflowSkipException(f"no news: {', '.join(causes)} was told on {max(told[cause] for cause in causes)}")
        message = self._message(context, found)
        if topic := settings().alerts_topic_arn:
            hook = SnsHook(aws_conn_id=self.aws_conn_id, region_name=settings().region)
            hook.publish_to_target(topic, message, subject=self._subject(news))
        else:
            self.log.warning("Nobody is told, for there is no alerts topic:\n%s", message)
        return {"causes": causes, "message": message}

    def _found(self) -> dict[str, dict[str, Any]]:
        """The breaches by sensor."""
        return {sensor: breach for sensor, breach in json.loads(self.breaches).items() if breach["reason"]}

    def _subject(self, news: Sequence[str]) -> str:
        text = f"{self.model}: {', '.join(news)}".encode("ascii", "replace").decode()
        return text if len(text) <= SUBJECT else f"{text[: SUBJECT - 4]} ..."

    def _message(self, context: Context, found: Mapping[str, Mapping[str, Any]]) -> str:
        judged, ti = json.loads(self.judged), context["ti"]
        bucket, key = S3Hook.parse_s3_url(self.pictures)
        base = conf.get("api", "base_url", fallback="").rstrip("/")
        place = f"https://console.aws.amazon.com/s3/object/{bucket}?prefix={quote(key)}"
        return "\n".join(
            [
                f"{self.model}, version {self.model_version}, judged on {judged['start']} to {judged['end']}",
                RULE,
                *(f"{sensor}: {breach['reason']}\n" for sensor, breach in found.items()),
                f"{self.retraining or 'no retraining was decided on'}",
                RULE,
                f"Pictures: {self.pictures}\n          {place}",
                f"This run: {ti.log_url}",
                f"Training: {base}/dags/{self.train_dag_id}",
                "What to do: docs/runbook.md, section 'A model has drifted'",
            ]
        )
