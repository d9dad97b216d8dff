"""Whether a retraining may start."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from flywheel.operators.retraining import RespectCooldownOperator


def respect(levels: str = '["retrain", null]', held_by: str = "", judged_until: str = "2013-05-29") -> None:
    """After a training until the first of May, with a cool-down of four weeks."""
    RespectCooldownOperator(
        task_id="respect_cooldown", levels=levels, held_by=held_by, last_trained_until="2013-05-01", judged_until=judged_until,
        cooldown_days=28,
    ).execute({})  # fmt: skip


def test_a_breach_after_the_cool_down_retrains() -> None:
    respect()
    respect(levels='["alert", "retrain"]')


@pytest.mark.parametrize(
    ("why", "case"),
    [
        ("27 days of new data", {"judged_until": "2013-05-28"}),
        ("wants a person", {"levels": '["alert", null]'}),
        ("until seats, dest is repaired", {"held_by": "seats, dest"}),
    ],
)
def test_otherwise_it_is_skipped_with_the_reason(why: str, case: dict[str, str]) -> None:
    with pytest.raises(AirflowSkipException, match=why):
        respect(**case)
