"""Has the model drifted? Two sensors with three answers each.

Yes, a breach: the task succeeds, and what depends on it runs. No: the task is skipped. Cannot tell (nothing was measured, or
too little): the task fails, because silence must not pass for health. Each says why in the log and in XCom: ``reason``, ``level``
and ``causes`` of a breach, ``no_breach`` otherwise.

Both read the decision that a monitoring run has written into the ``monitoring`` schema; they can be used in any DAG. A report
that is sent only while the champion is as good as it was::

    accuracy_drift = AccuracyDriftSensor(
        task_id="accuracy_drift", model="flight_delay", model_version="3", start="2013-05-01", end="2013-05-28",
    )
    explain = EmptyOperator(task_id="explain", trigger_rule="all_success")     # it has got worse
    publish = EmptyOperator(task_id="publish", trigger_rule="all_skipped")     # it has not
    accuracy_drift >> [explain, publish]

docs/sensors.md has more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from flywheel.core.watch import ALERT, RETRAIN, UNKNOWN
from flywheel.operators.redshift import RedshiftQueryOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class CannotTell(AirflowFailException):
    """What was measured does not allow a yes or a no; the message says what is missing."""


class DriftSensor(RedshiftQueryOperator):
    """Base: reads the decision on one period of a model version.

    :param model: name of the model
    :param model_version: version in the registry whose predictions are judged (templated)
    :param start: first day of the period (templated)
    :param end: last day, inclusive (templated)
    :param levels: the levels that count as a breach: ``note``, ``alert``, ``retrain``
    :raises CannotTell: nothing or too little was measured
    """

    ui_color = "#e3f2fd"

    def __init__(
        self,
        *,
        model: str,
        model_version: str,
        start: str,
        end: str,
        levels: Sequence[str] = (ALERT, RETRAIN),
        **kwargs: Any,
    ):
        parameters = {"model": model, "model_version": model_version, "period_start": start, "period_end": end}
        super().__init__(parameters=parameters, **kwargs)
        self.levels = tuple(levels)

    def finish(self, context: Context, description: dict[str, Any], timed_out: bool = False) -> str:
        """Judges what was measured, once the statement has ended."""
        rows, ti = super().finish(context, description, timed_out), context["ti"]
        period = "{period_start} to {period_end}, version {model_version} of {model}".format(**self.parameters)
        if not rows:
            raise CannotTell(f"cannot tell: nothing was measured for {period}")
        (decision,) = rows
        reason = f"{decision['reason']}; {period}"
        if decision["level"] == UNKNOWN:
            raise CannotTell(reason)
        ti.xcom_push("level", decision["level"])
        if decision["level"] not in self.levels:
            ti.xcom_push("no_breach", reason)
            raise AirflowSkipException(reason)
        ti.xcom_push("reason", reason)
        ti.xcom_push("causes", [cause for cause in (decision["causes"] or "").split(", ") if cause])
        ti.xcom_push("held_by", decision.get("held_by") or "")
        self.log.info("Breach: %s", reason)
        return reason


class PsiDriftSensor(DriftSensor):
    """Breach when the drift of the features, or of the scores, wants a retraining or a person (:mod:`flywheel.core.watch`).

    XCom ``held_by`` names columns that are broken upstream, which a retraining would learn.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(sql="monitoring/select_drift_decision.sql", **kwargs)


class AccuracyDriftSensor(DriftSensor):
    """Breach when what was served is worse than the holdout promised, beyond doubt (:mod:`flywheel.core.accuracy`)."""

    def __init__(self, **kwargs: Any):
        super().__init__(sql="monitoring/select_accuracy_decision.sql", **kwargs)
