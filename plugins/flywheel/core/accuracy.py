"""Has a champion got worse than it was on its holdout? One judgement from the outcomes of both (:mod:`flywheel.core.outcomes`).

* Days count by the date of their *predictions*, and only where enough of them have their label: unlabelled is not correct.
* The scale is Gini = 2 AUC - 1, where 0 is chance: 15 per cent less of an AUC of .75 would be nearly half of the skill.
* A breach is a loss over the window that is greater than the one allowed, *and* evidence that may be looked at every day that,
  at some time since the champion serves, days have become worse than the holdout by more than a margin
  (:mod:`flywheel.core.sequential`).
* Calibration, predicted over observed positives, moves with seasons on its own: it has a level of its own, a note by default.
* Segments are judged by their windows, as many at once as there are: a segment is harmed where its loss is greater than the one
  allowed and than chance gives among all segments (Bonferroni). Segments with few labels are judged together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

from flywheel.core.metrics import Estimate, gini, ratio_interval
from flywheel.core.outcomes import WHOLE, Outcome, Outcomes, by_day, total
from flywheel.core.runs import Window
from flywheel.core.sequential import ALARM, Day, allowed_mean, baseline_of, dependent_sd, e_detector, join_days
from flywheel.core.watch import LEVELS, NONE, NOTE, RETRAIN, UNKNOWN

#: A block of days needs so many rows of either kind for its AUC to be worth a look.
LEAST_OF_A_KIND = 10
#: Chance that any segment of a model that has not got worse is called harmed, and the same for the calibration.
ALPHA = 0.01


@dataclass(frozen=True)
class AccuracyRules:
    """When a loss counts.

    :param max_drop: relative loss of Gini over the window that is allowed
    :param margin: relative loss of which the evidence must be that there is more
    :param min_labels: labels in the window below which nothing is said; also what a segment needs to be judged by itself
    :param min_coverage: share of a day's predictions that must have their label for the day to count
    :param calibration_tolerance: predicted over observed may be wrong by this factor less one
    :param calibration_level: ``note``, ``alert`` or ``retrain`` when it is wrong by more
    :param segment_level: the same when a segment is harmed and the whole is not
    """

    max_drop: float = 0.15
    margin: float = 0.05
    min_labels: int = 1000
    min_coverage: float = 0.9
    calibration_tolerance: float = 0.25
    calibration_level: str = NOTE
    segment_level: str = NOTE


@dataclass(frozen=True)
class SegmentAccuracy:
    """How a segment of the rows did in a period, with 95% intervals by whole days, beside the holdout.

    :param segment: ``all`` rows; ``<feature>=<level>``, or ``<feature>=other`` for the levels with few labels
    :param sentence: what is wrong with it; empty where nothing is
    """

    segment: str
    scored: int
    labelled: int
    positives: int
    auc: Estimate
    baseline_auc: float
    calibration: Estimate
    baseline_calibration: float
    level: str = NONE
    sentence: str = ""


@dataclass(frozen=True)
class Judgement:
    """What to do about a champion's accuracy.

    :param level: ``none``, ``note``, ``alert``, ``retrain``, or ``unknown`` where it cannot be told
    :param evidence: that it has become worse than the margin allows (1000 is wanted); 0 without any
    :param causes: short names of what is wrong, the same from day to day
    :param segments: all rows first
    :param reason: a sentence for people
    """

    level: str
    evidence: float
    causes: tuple[str, ...]
    segments: tuple[SegmentAccuracy, ...]
    reason: str


def judge_accuracy(baseline: Outcomes, served: Outcomes, window: Window, rules: AccuracyRules | None = None) -> Judgement:
    """One judgement on the days of ``window``.

    :param baseline: outcomes of the holdout
    :param served: outcomes of what the champion has served, all its days up to the window's last; of segments those of the window
    """
    rules = rules or AccuracyRules()
    labelled = {one.day for one in served.get(WHOLE, ()) if one.labelled and one.labelled >= rules.min_coverage * one.scored}
    covered = {segment: [one for one in days if one.day in labelled] for segment, days in served.items()}
    inside = {segment: [one for one in days if window.start <= one.day <= window.end] for segment, days in covered.items()}
    asked = [one for one in served.get(WHOLE, ()) if window.start <= one.day <= window.end]
    if problem := _cannot_tell(asked, inside.get(WHOLE, []), baseline, rules):
        return Judgement(UNKNOWN, 0.0, (), (), f"cannot tell: {problem}")
    whole = measure_segment(WHOLE, inside[WHOLE], baseline[WHOLE])
    try:
        evidence = _evidence(baseline[WHOLE], covered[WHOLE], rules)
    except ValueError as problem:
        return Judgement(UNKNOWN, 0.0, (), (whole,), f"cannot tell: of the holdout: {problem}")

    now, then = gini(whole.auc.value), gini(whole.baseline_auc)
    drop = 1 - now / then if then > 0 else math.nan
    interval = f"{gini(whole.auc.low):.3f} to {gini(whole.auc.high):.3f}"
    figures = (
        f"Gini {now:.3f} ({interval}) against {then:.3f} on the holdout, {-drop:+.1%}, allowed {-rules.max_drop:.0%}; "
        f"evidence of more than {-rules.margin:.0%}: {evidence:.3g}, {ALARM:.0f} wanted"
    )
    found: list[tuple[str, str, str]] = []
    if drop > rules.max_drop and evidence >= ALARM:
        found.append((RETRAIN, "accuracy", figures))
    if sentence := _calibration(whole, rules):
        found.append((rules.calibration_level, "calibration", sentence))
    segments = _judge_segments(baseline, inside, rules)
    found += [
        (segment.level, f"accuracy of {segment.segment}", segment.sentence) for segment in segments if segment.level != NONE
    ]
    if not found:
        return Judgement(NONE, evidence, (), (whole, *segments), figures)
    found.sort(key=lambda one: -LEVELS.index(one[0]))
    level = found[0][0]
    urgent = [one for one in found if one[0] == level]
    whole = replace(whole, level=level, sentence="; ".join(text for _, _, text in found))
    reason = "; ".join(text for _, _, text in urgent) + ("" if level == RETRAIN else f"; {figures}")
    return Judgement(level, evidence, tuple(sorted(cause for _, cause, _ in urgent)), (whole, *segments), reason)


def measure_segment(segment: str, days: Sequence[Outcome], baseline: Sequence[Outcome]) -> SegmentAccuracy:
    """A segment's figures over some days, with intervals by bootstrap of whole days.

    :param days: at least one
    :param baseline: the same segment of the holdout; empty where it had none, whose figures are NaN then
    """
    sums, numbers = total(days), range(len(days))
    then = total(baseline) if baseline else None
    return SegmentAccuracy(
        segment,
        sums.scored,
        sums.labelled,
        sums.positives,
        ratio_interval([one.won for one in days], [one.pairs for one in days], numbers),
        then.auc if then else math.nan,
        ratio_interval([one.score_sum for one in days], [one.positives for one in days], numbers),
        then.calibration if then else math.nan,
    )


def _cannot_tell(asked: Sequence[Outcome], covered: Sequence[Outcome], baseline: Outcomes, rules: AccuracyRules) -> str:
    """Why nothing can be said; empty where something can."""
    if not asked:
        return "nothing was served in the period"
    labelled, positives = sum(one.labelled for one in covered), sum(one.positives for one in covered)
    if len(covered) * 2 < len(asked):
        return (
            f"of {len(asked)} days only {len(covered)} have the label of {rules.min_coverage:.0%} of their predictions; the rest "
            "may still be under way"
        )
    if labelled < rules.min_labels or not sum(one.pairs for one in covered):
        scored = sum(one.scored for one in asked)
        return f"{labelled} labels ({positives} positive), {rules.min_labels} wanted, of {scored} predictions"
    if not sum(one.pairs for one in baseline.get(WHOLE, ())):
        return "its evaluation has no outcomes of the holdout by day; it was registered by an older Flywheel: train again"
    return ""


def _evidence(baseline: Sequence[Outcome], served: Sequence[Outcome], rules: AccuracyRules) -> float:
    """What the e-detector stands at.

    :raises ValueError: the holdout has too few days to tell how much they vary
    """
    before, since = _blocks(baseline), _blocks(served)
    base = baseline_of([block.value for block in before])
    sd = dependent_sd(base.sd, [before, since])
    margin = gini(base.mean) * rules.margin / 2  # of Gini, on the scale of the AUC
    return e_detector([block.value for block in since], allowed_mean(base, margin, sd), sd)


def _blocks(outcomes: Sequence[Outcome]) -> list[Day]:
    """Days, joined where they have few rows of a kind."""
    days = [
        Day(one.day, one.auc if one.pairs else 0.0, one.positives, one.labelled - one.positives, one.pairs) for one in outcomes
    ]
    return join_days(days, min_positives=LEAST_OF_A_KIND, min_negatives=LEAST_OF_A_KIND)


def _calibration(whole: SegmentAccuracy, rules: AccuracyRules) -> str:
    """What is wrong with it: an interval that lies outside what is tolerated as a whole; empty: nothing."""
    allowed = 1 + rules.calibration_tolerance
    now = whole.calibration
    if not (now.low > allowed or now.high < 1 / allowed):
        return ""
    return (
        f"predicts {now.value:.2f} times the positives that come ({now.low:.2f} to {now.high:.2f}); "
        f"{whole.baseline_calibration:.2f} on the holdout"
    )


def _judge_segments(baseline: Outcomes, inside: Outcomes, rules: AccuracyRules) -> list[SegmentAccuracy]:
    """All segments but the whole, those with few labels together, each with what is wrong with it."""
    groups: dict[str, list[str]] = {}
    for segment, days in inside.items():
        if segment != WHOLE:
            enough = sum(one.labelled for one in days) >= rules.min_labels
            groups.setdefault(segment if enough else f"{segment.partition('=')[0]}=other", []).append(segment)
    judged = []
    limit = NormalDist().inv_cdf(1 - ALPHA / max(len(groups), 1))
    for name, members in groups.items():
        days = by_day(inside[member] for member in members)
        then = by_day(baseline.get(member, ()) for member in members)
        if sum(one.labelled for one in days) < rules.min_labels:
            continue
        measured = measure_segment(name, days, then)
        now, before = measured.auc.value, measured.baseline_auc
        error = math.hypot(ratio_error(days), ratio_error(then)) if then else math.nan
        if gini(now) < (1 - rules.max_drop) * gini(before) and before - now > limit * error:
            text = f"{name}: Gini {gini(now):.3f} against {gini(before):.3f} on the holdout, {gini(now) / gini(before) - 1:+.1%}"
            measured = replace(measured, level=rules.segment_level, sentence=text)
        judged.append(measured)
    return sorted(judged, key=lambda segment: -segment.labelled)


def ratio_error(days: Sequence[Outcome]) -> float:
    """Standard error of the AUC of several days, of which each is one draw (Cochran, 1977, Sampling Techniques, 6.4).

    NaN for fewer than two days with pairs, so that nothing can be concluded from it.
    """
    useful = [one for one in days if one.pairs]
    if len(useful) < 2:
        return math.nan
    sums = total(useful)
    squares = math.fsum((one.won - sums.auc * one.pairs) ** 2 for one in useful)
    return math.sqrt(len(useful) / (len(useful) - 1) * squares) / sums.pairs
