"""Whether a retraining may start now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from flywheel.core.runs import parse_day
from flywheel.core.watch import RETRAIN

if TYPE_CHECKING:
    from airflow.sdk import Context


class RespectCooldownOperator(BaseOperator):
    """Skips what follows where a retraining would not help: nobody asks for one, a broken column would be learned, or the last
    training is too recent: new data first, then another try (API: none).

    :param levels: what the breaches want, a JSON list of ``alert``, ``retrain`` or null (templated)
    :param held_by: columns that are broken upstream, empty for none (templated)
    :param last_trained_until: last training day of the newest registered version, promoted or not (templated)
    :param judged_until: last day that monitoring has judged (templated)
    :param cooldown_days: days of new data that have to lie between
    :raises WindowError: one of them is no day
    """

    template_fields: Sequence[str] = ("levels", "held_by", "last_trained_until", "judged_until")

    def __init__(
        self, *, levels: str, held_by: str, last_trained_until: str, judged_until: str, cooldown_days: int, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.levels, self.held_by = levels, held_by
        self.last_trained_until, self.judged_until, self.cooldown_days = last_trained_until, judged_until, cooldown_days

    def execute(self, context: Context) -> None:
        """Compares; skips with the sentence that says why."""
        if RETRAIN not in json.loads(self.levels):
            raise AirflowSkipException("the breach wants a person, no retraining")
        if self.held_by:
            raise AirflowSkipException(f"a retraining has to wait until {self.held_by} is repaired upstream")
        fresh = parse_day(self.judged_until, "judged_until") - parse_day(self.last_trained_until, "last_trained_until")
        sentence = f"{fresh.days} days of new data since the last training, {self.cooldown_days} wanted"
        if fresh.days < self.cooldown_days:
            raise AirflowSkipException(f"cool-down: {sentence}")
        self.log.info("No cool-down: %s", sentence)
