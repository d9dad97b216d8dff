"""Whether a retraining may start."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from flywheel.operators.retraining import RespectLimitsOperator


def respect(
    levels: str = '["retrain", null]',
    held_by: str = "",
    judged_until: str = "2013-05-29",
    under_way: int = 0,
    started: tuple[str, ...] = (),
    per_month: int = 1,
) -> Any:
    """After a training until the first of May, with a cool-down of four weeks. Returns what is told of it.

    :param under_way: runs of the training DAG that are queued or running
    :param started: ids of all its runs
    """

    def get_dr_count(dag_id: str, states: list[str] | None = None, run_ids: list[str] | None = None) -> int:
        assert dag_id == "train_x" and (states is None or states == ["queued", "running"])
        return under_way if states else len(set(run_ids or ()) & set(started))

    told: dict[str, Any] = {}
    ti = SimpleNamespace(get_dr_count=get_dr_count, xcom_push=told.__setitem__)
    operator = RespectLimitsOperator(
        task_id="respect_limits", train_dag_id="train_x", levels=levels, held_by=held_by, last_trained_until="2013-05-01",
        judged_until=judged_until, cooldown_days=28, per_month=per_month,
    )  # fmt: skip
    try:
        operator.execute({"ti": ti})  # type: ignore[typeddict-item]
    finally:
        assert told["retraining"]
    return told["retraining"]


def test_a_breach_after_the_cool_down_retrains() -> None:
    assert respect() == "a retraining is started: train_x, run drift__2013-05-29"
    respect(levels='["alert", "retrain"]')


@pytest.mark.parametrize(
    ("why", "case"),
    [
        ("27 days of new data", {"judged_until": "2013-05-28"}),
        ("wants a person", {"levels": '["alert", null]'}),
        ("no breach", {"levels": '["note", null, null]'}),
        ("until seats, dest is repaired", {"held_by": "seats, dest"}),
        ("1 run of train_x is under way", {"under_way": 1}),
        ("1 in 30 days, the budget is 1", {"started": ("drift__2013-04-30",)}),
        ("the budget is 0", {"per_month": 0}),
    ],
)
def test_otherwise_it_is_skipped_with_the_reason(why: str, case: dict[str, Any]) -> None:
    with pytest.raises(AirflowSkipException, match=why):
        respect(**case)


def test_the_budget_counts_what_monitoring_started_in_the_month() -> None:
    started = ("drift__2013-04-29", "scheduled__2013-05-20", "drift__2013-05-02", "drift__2013-05-29")
    assert "is started" in respect(started=started, per_month=2)
    with pytest.raises(AirflowSkipException, match="the budget is 1"):
        respect(started=started)
