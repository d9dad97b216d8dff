"""Is the model too old? On real data the world moves on in ways that neither PSI nor a loss of accuracy shows in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from flywheel.core.runs import parse_day

if TYPE_CHECKING:
    from airflow.sdk import Context


class ModelAgeSensor(BaseOperator):
    """Succeeds when the newest data of the last training are too old, else skips (API: none). XCom ``reason`` says how old.

    The last training counts, whether its challenger won or not: one that did not help is not asked for again the next day.

    :param last_trained_until: last training day of the newest registered version, promoted or not (templated)
    :param judged_until: last day whose labels are known (templated)
    :param max_age_days: days between the two that are too many
    :raises WindowError: one of them is no day
    """

    template_fields: Sequence[str] = ("last_trained_until", "judged_until")
    ui_color = "#e3f2fd"

    def __init__(self, *, last_trained_until: str, judged_until: str, max_age_days: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.last_trained_until, self.judged_until, self.max_age_days = last_trained_until, judged_until, max_age_days

    def execute(self, context: Context) -> str:
        """Compares two days."""
        age = parse_day(self.judged_until, "judged_until") - parse_day(self.last_trained_until, "last_trained_until")
        sentence = f"the newest data of the last training are {age.days} days old, {self.max_age_days} are too many"
        if age.days < self.max_age_days:
            raise AirflowSkipException(sentence)
        context["ti"].xcom_push("reason", sentence)
        return sentence
