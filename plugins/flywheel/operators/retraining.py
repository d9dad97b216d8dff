"""Whether a retraining may start now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from flywheel.core.runs import parse_day
from flywheel.core.watch import ALERT, RETRAIN

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Days over which the budget counts.
MONTH_DAYS = 30
#: Runs in these states are under way.
UNDER_WAY = ["queued", "running"]


def retraining_run_id(judged_until: object) -> str:
    """The id of the training run that monitoring asks for after the days up to this one: whoever asks, there is one."""
    return f"drift__{judged_until}"


class RespectLimitsOperator(BaseOperator):
    """Skips what follows where a retraining would not help, or may not be (API: none; Airflow is asked for runs).

    It would not help: nobody asks for one; a broken column would be learned; the last training is too recent, won or lost (new
    data first, then another try). It may not be: a training of the model is under way; the month's budget is spent. XCom
    ``retraining`` says what was decided.

    :param train_dag_id: the DAG that trains the model
    :param levels: what was found, a JSON list of levels (:mod:`flywheel.core.watch`) or null (templated)
    :param held_by: columns that are broken upstream, empty for none (templated)
    :param last_trained_until: last training day of the newest registered version, promoted or not (templated)
    :param judged_until: last day that monitoring has judged (templated)
    :param cooldown_days: days of new data that have to lie between
    :param per_month: retrainings that monitoring may start for any 30 days judged
    :raises WindowError: one of them is no day
    """

    template_fields: Sequence[str] = ("levels", "held_by", "last_trained_until", "judged_until")

    def __init__(
        self,
        *,
        train_dag_id: str,
        levels: str,
        held_by: str,
        last_trained_until: str,
        judged_until: str,
        cooldown_days: int,
        per_month: int,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.train_dag_id, self.levels, self.held_by = train_dag_id, levels, held_by
        self.last_trained_until, self.judged_until = last_trained_until, judged_until
        self.cooldown_days, self.per_month = cooldown_days, per_month

    def execute(self, context: Context) -> None:
        """Skips with the sentence that says why not."""
        ti = context["ti"]
        problem = self._problem(ti)
        run_id = retraining_run_id(self.judged_until)
        ti.xcom_push("retraining", problem or f"a retraining is started: {self.train_dag_id}, run {run_id}")
        if problem:
            raise AirflowSkipException(problem)

    def _problem(self, ti: Any) -> str:
        """Why there is no retraining; empty: there may be one."""
        levels = json.loads(self.levels)
        if RETRAIN not in levels:
            return "no retraining: the breach wants a person" if ALERT in levels else "no retraining: no breach"
        if self.held_by:
            return f"no retraining: it has to wait until {self.held_by} is repaired upstream"
        judged_until = parse_day(self.judged_until, "judged_until")
        fresh = judged_until - parse_day(self.last_trained_until, "last_trained_until")
        if fresh.days < self.cooldown_days:
            sentence = f"{fresh.days} days of new data since the last training, {self.cooldown_days} wanted"
            return f"no retraining, cool-down: {sentence}"
        if under_way := ti.get_dr_count(dag_id=self.train_dag_id, states=UNDER_WAY):
            return f"no retraining: {under_way} run of {self.train_dag_id} is under way"
        asked = [retraining_run_id(judged_until - timedelta(days=back)) for back in range(1, MONTH_DAYS)]
        started = ti.get_dr_count(dag_id=self.train_dag_id, run_ids=asked)
        if started >= self.per_month:
            return f"no retraining: {started} in {MONTH_DAYS} days, the budget is {self.per_month}"
        return ""
