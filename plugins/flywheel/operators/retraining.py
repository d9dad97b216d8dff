"""Whether a retraining may start now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from flywheel.core.runs import parse_day

if TYPE_CHECKING:
    from airflow.sdk import Context


class RespectCooldownOperator(BaseOperator):
    """Skips what follows while the last training is too recent: new data first, then another try (API: none).

    :param last_trained_until: last training day of the newest registered version, promoted or not (templated)
    :param judged_until: last day that monitoring has judged (templated)
    :param cooldown_days: days of new data that have to lie between
    :raises WindowError: one of them is no day
    """

    template_fields: Sequence[str] = ("last_trained_until", "judged_until")

    def __init__(self, *, last_trained_until: str, judged_until: str, cooldown_days: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.last_trained_until, self.judged_until, self.cooldown_days = last_trained_until, judged_until, cooldown_days

    def execute(self, context: Context) -> None:
        """Compares two days; skips with the sentence that says why."""
        fresh = parse_day(self.judged_until, "judged_until") - parse_day(self.last_trained_until, "last_trained_until")
        sentence = f"{fresh.days} days of new data since the last training, {self.cooldown_days} wanted"
        if fresh.days < self.cooldown_days:
            raise AirflowSkipException(f"cool-down: {sentence}")
        self.log.info("No cool-down: %s", sentence)
