"""Has the model drifted? Two sensors with three answers each.

Yes, a breach: the task succeeds, and what depends on it runs. No: the task is skipped. Cannot tell (nothing was measured, or
too little): the task fails, because silence must not pass for health. Each says why in the log and in XCom ``reason``.

Both read what a monitoring run has written into the ``monitoring`` schema; they can be used in any DAG::

    psi_drift = PsiDriftSensor(
        task_id="psi_drift", model="flight_delay", model_version="3", start="2013-05-01", end="2013-05-28",
    )
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from flywheel.core.metrics import gini
from flywheel.core.watch import ALERT, RETRAIN, UNKNOWN
from flywheel.operators.redshift import RedshiftQueryOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class CannotTell(AirflowFailException):
    """What was measured does not allow a yes or a no; the message says what is missing."""


class DriftSensor(RedshiftQueryOperator):
    """Base: reads one period's measurements of a model version and judges them.

    :param model: name of the model
    :param model_version: version in the registry whose predictions are judged (templated)
    :param start: first day of the period (templated)
    :param end: last day, inclusive (templated)
    :raises CannotTell: nothing or too little was measured
    """

    template_fields: Sequence[str] = RedshiftQueryOperator.template_fields
    ui_color = "#e3f2fd"

    def __init__(self, *, model: str, model_version: str, start: str, end: str, **kwargs: Any):
        parameters = {"model": model, "model_version": model_version, "period_start": start, "period_end": end}
        super().__init__(parameters=parameters, **kwargs)

    @abstractmethod
    def judge(self, rows: list[dict[str, Any]], context: Context) -> tuple[bool, str]:
        """Whether the rows show a breach, and the sentence that says why."""

    def finish(self, context: Context, description: dict[str, Any], timed_out: bool = False) -> str:
        """Judges what was measured, once the statement has ended."""
        rows = super().finish(context, description, timed_out)
        period = "{period_start} to {period_end}, version {model_version} of {model}".format(**self.parameters)
        if not rows:
            raise CannotTell(f"cannot tell: nothing was measured for {period}")
        breach, reason = self.judge(rows, context)
        reason = f"{reason}; {period}"
        context["ti"].xcom_push("reason" if breach else "no_breach", reason)
        if not breach:
            raise AirflowSkipException(reason)
        self.log.info("Breach: %s", reason)
        return reason


class PsiDriftSensor(DriftSensor):
    """Breach when the drift of the features, or of the scores, wants a retraining or a person (:mod:`flywheel.core.watch`).

    XCom ``level`` says which: ``retrain`` or ``alert``; ``held_by`` names columns that are broken upstream, which a retraining
    would learn. Notes are no breach: they are the reason of the skip.

    :param levels: the levels that count as a breach
    """

    def __init__(self, *, levels: Sequence[str] = (ALERT, RETRAIN), **kwargs: Any):
        super().__init__(sql="monitoring/select_drift_decision.sql", **kwargs)
        self.levels = tuple(levels)

    def judge(self, rows: list[dict[str, Any]], context: Context) -> tuple[bool, str]:
        """One row: the period's decision."""
        (row,) = rows
        if row["level"] == UNKNOWN:
            raise CannotTell(row["reason"])
        context["ti"].xcom_push("level", row["level"])
        context["ti"].xcom_push("held_by", row["held_by"] or "")
        return row["level"] in self.levels, row["reason"]


class AccuracyDriftSensor(DriftSensor):
    """Breach when the Gini of what was served has lost more than ``max_drop`` of the baseline's.

    Gini = 2 AUC - 1, so that chance is 0 and a relative loss means something.

    :param baseline_auc: AUC of the champion on its holdout (templated)
    :param max_drop: relative loss that counts as a breach, e.g. 0.15
    :param min_labels: labels below which nothing is said
    :param min_coverage: share of the served predictions that must have a label: unlabelled is not correct
    """

    template_fields: Sequence[str] = (*DriftSensor.template_fields, "baseline_auc")

    def __init__(self, *, baseline_auc: str, max_drop: float, min_labels: int, min_coverage: float, **kwargs: Any):
        super().__init__(sql="monitoring/select_accuracy.sql", **kwargs)
        self.baseline_auc, self.max_drop = baseline_auc, max_drop
        self.min_labels, self.min_coverage = min_labels, min_coverage

    def judge(self, rows: list[dict[str, Any]], context: Context) -> tuple[bool, str]:
        """One row: the period's."""
        row: Mapping[str, Any] = rows[0]
        if row["labelled"] < self.min_labels or row["auc"] is None:
            raise CannotTell(f"cannot tell: {row['labelled']} labels ({row['positives']} positive), {self.min_labels} wanted")
        if row["labelled"] < self.min_coverage * row["scored"]:
            raise CannotTell(
                f"cannot tell: {row['labelled']} of {row['scored']} predictions have a label, "
                f"{self.min_coverage:.0%} wanted; the rest may still be under way"
            )
        baseline, now = gini(float(self.baseline_auc)), gini(row["auc"])
        drop = 1 - now / baseline
        figures = (
            f"Gini {now:.3f} against {baseline:.3f} at training (AUC {row['auc']:.3f} against {float(self.baseline_auc):.3f})"
        )
        return drop > self.max_drop, f"{figures}, {-drop:+.1%}, allowed {-self.max_drop:.0%}"
