"""Champion or challenger."""

from __future__ import annotations

import json
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


@pytest.mark.parametrize(
    ("challenger", "champion", "low", "high", "min_improvement", "promote", "reason"),
    [
        (0.12, None, 0, 0, 0.0, True, "first champion: wape 0.1200 is within the ceiling 0.3000"),
        (0.31, None, 0, 0, 0.0, False, "is not within the ceiling 0.3000"),
        (0.10, 0.14, -0.05, -0.03, 0.0, True, "challenger won: wape 0.1000 against the champion's 0.1400, difference -0.0400"),
        (0.14, 0.10, 0.03, 0.05, 0.0, False, "challenger lost"),
        (0.138, 0.14, -0.01, 0.01, 0.01, False, "it has to gain 0.0100"),
        (0.138, 0.14, -0.01, 0.01, 0.0, True, "challenger won"),
        (0.14, 0.14, 0.0, 0.01, 0.0, False, "the interval excludes a gain"),
        (None, None, 0, 0, 0.0, False, "the challenger's wape is not a number: the holdout has no label but 0"),
    ],
)
def test_of_errors_less_is_better(
    challenger: float | None,
    champion: float | None,
    low: float,
    high: float,
    min_improvement: float,
    promote: bool,
    reason: str,
) -> None:
    report = evaluation(challenger, champion, low, high)
    as_wape = json.loads(json.dumps(report).replace('"auc"', '"wape"'))
    decision = decide(as_wape, metric="wape", min_improvement=min_improvement, floor=0.3)
    assert decision.promote is promote and reason in decision.reason


def test_a_report_without_the_metric_is_an_error() -> None:
    with pytest.raises(KeyError, match="gini"):
        decide(evaluation(0.7, 0.6), metric="gini", min_improvement=0, floor=0.5)
