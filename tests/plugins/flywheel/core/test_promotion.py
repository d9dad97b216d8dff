"""Champion or challenger."""

from __future__ import annotations

from typing import Any

import pytest

from flywheel.core.promotion import decide


def evaluation(challenger: float | None, champion: float | None, low: float = 0.0, high: float = 0.0) -> dict[str, Any]:
    difference = (
        None if champion is None or challenger is None else {"auc": challenger - champion, "ci_low": low, "ci_high": high}
    )
    return {
        "rows": 100,
        "challenger": {"auc": challenger},
        "champion": None if champion is None else {"auc": champion},
        "difference": difference,
    }


@pytest.mark.parametrize(
    ("challenger", "champion", "low", "high", "min_improvement", "promote", "reason"),
    [
        (0.72, None, 0, 0, 0.0, True, "reaches the floor 0.6000"),
        (0.58, None, 0, 0, 0.0, False, "does not reach the floor 0.6000"),
        (
            0.74,
            0.70,
            0.02,
            0.06,
            0.0,
            True,
            "challenger won: auc 0.7400 against the champion's 0.7000, difference +0.0400",
        ),
        (0.70, 0.74, -0.06, -0.02, 0.0, False, "challenger lost"),
        (0.705, 0.70, -0.01, 0.02, 0.01, False, "it has to gain 0.0100"),
        (0.705, 0.70, -0.01, 0.02, 0.0, True, "challenger won"),
        (float("nan"), 0.70, 0, 0, 0.0, False, "not a number"),
        (None, None, 0, 0, 0.0, False, "only one class"),
    ],
)
def test_decisions(
    challenger: float,
    champion: float | None,
    low: float,
    high: float,
    min_improvement: float,
    promote: bool,
    reason: str,
) -> None:
    decision = decide(evaluation(challenger, champion, low, high), metric="auc", min_improvement=min_improvement, floor=0.6)
    assert decision.promote is promote
    assert reason in decision.reason


def test_a_report_without_the_metric_is_an_error() -> None:
    with pytest.raises(KeyError, match="gini"):
        decide(evaluation(0.7, 0.6), metric="gini", min_improvement=0, floor=0.5)
