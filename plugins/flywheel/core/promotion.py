"""Does the challenger take the champion's place?

Both were judged on the same holdout, which neither has seen in training. The challenger is promoted when it is better by at
least ``min_improvement`` and the interval of the difference does not speak against it. Without a champion the challenger has
to beat a floor (a ceiling, where less is better): a model that ranks no better than chance is never promoted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Metrics of which less is better.
ERRORS = ("wape",)


@dataclass(frozen=True)
class Decision:
    """Whether to promote, and the sentence that says why (goes into the registry, the log and the UI)."""

    promote: bool
    reason: str


def decide(evaluation: Mapping[str, Any], *, metric: str, min_improvement: float, floor: float) -> Decision:
    """Champion or challenger, from an evaluation report.

    :param evaluation: ``{"rows", "challenger": {metric}, "champion": {metric} | None, "difference": {metric, ci_low, ci_high}}``,
        as ``evaluate.py`` writes it
    :param metric: name of the metric; greater is better unless it is one of :data:`ERRORS`
    :param min_improvement: least gain, on the metric's own scale
    :param floor: the worst value that a first champion may have
    :raises KeyError: the report lacks the metric
    """
    challenger, champion = evaluation["challenger"][metric], evaluation.get("champion")
    less_is_better = metric in ERRORS
    if challenger is None or challenger != challenger:
        why = "has no label but 0" if less_is_better else "holds only one class"
        return Decision(False, f"the challenger's {metric} is not a number: the holdout {why}")
    if champion is None:
        verdict = challenger <= floor if less_is_better else challenger >= floor
        words = ("is within", "is not within", "ceiling") if less_is_better else ("reaches", "does not reach", "floor")
        return Decision(
            verdict, f"first champion: {metric} {challenger:.4f} {words[0] if verdict else words[1]} the {words[2]} {floor:.4f}"
        )
    gain = float(evaluation["difference"][metric])
    low, high = float(evaluation["difference"]["ci_low"]), float(evaluation["difference"]["ci_high"])
    figures = (
        f"{metric} {challenger:.4f} against the champion's {float(champion[metric]):.4f}, "
        f"difference {gain:+.4f} (95% interval {low:+.4f} to {high:+.4f}, {evaluation['rows']} rows)"
    )
    if less_is_better:
        gain, high = -gain, -low
    if gain < min_improvement:
        return Decision(False, f"challenger lost: {figures}; it has to gain {min_improvement:.4f}")
    if high <= 0:
        return Decision(False, f"challenger lost: {figures}; the interval excludes a gain")
    return Decision(True, f"challenger won: {figures}")
