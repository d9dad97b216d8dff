"""Has a champion got worse than it was on its holdout? One judgement from the outcomes of both (:mod:`flywheel.core.outcomes`).

* Days count by the date of their *predictions*, and only where enough of them have their label: unlabelled is not correct.
* The scale is Gini = 2 AUC - 1, where 0 is chance: 15 per cent less of an AUC of .75 would be nearly half of the skill. A number
  is judged by its absolute errors over those of the seasonal naive forecast, for weeks that are hard for everybody are no decay;
  where it has no season, over what came (WAPE). MAPE is told and not judged by: it rewards forecasting too little.
* A breach is a loss over the window that is greater than the one allowed, *and* evidence that may be looked at every day that,
  at some time since the champion serves, days have become worse than the holdout by more than a margin
  (:mod:`flywheel.core.sequential`).
* Calibration, predicted over observed, moves with seasons on its own: it has a level of its own, a note by default.
* Segments are judged by their windows, as many at once as there are: a segment is harmed where its loss is greater than the one
  allowed and than chance gives among all segments (Bonferroni). Segments with few labels are judged together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

from flywheel.core.metrics import Estimate, gini, ratio_interval
from flywheel.core.outcomes import RATIOS, WHOLE, Outcome, Outcomes, by_day, total
from flywheel.core.runs import Window
from flywheel.core.sequential import ALARM, Day, allowed_mean, baseline_of, dependent_sd, e_detector, join_days
from flywheel.core.watch import LEVELS, NONE, NOTE, RETRAIN, UNKNOWN

#: A block of days needs so many rows for a look at it to be worth it; for an AUC, of either kind.
LEAST_OF_A_KIND = 10
#: Chance that any segment of a model that has not got worse is called harmed, and the same for the calibration.
ALPHA = 0.01


@dataclass(frozen=True)
class Metric:
    """What a champion must not lose: a ratio of two sums of outcomes, or for an AUC the Gini that it makes.

    :param name: how CloudWatch knows it
    :param title: how sentences call it
    :param ratio: its name among :data:`flywheel.core.outcomes.RATIOS`
    :param higher_is_better: False for errors
    :param expects: what the figures below the ratio's line are of, where there are none
    :param predicts: what calibration is about
    """

    name: str
    title: str
    ratio: str
    higher_is_better: bool
    expects: str
    predicts: str = "what comes"

    @property
    def sign(self) -> int:
        """Of the change that is a loss."""
        return -1 if self.higher_is_better else 1

    def scaled(self, ratio: float) -> float:
        """The ratio on the scale where a relative loss means something."""
        return gini(ratio) if self.ratio == "auc" else ratio

    def loss(self, now: float, then: float) -> float:
        """Relative loss between two ratios; NaN where there was nothing to lose."""
        before = self.scaled(then)
        return self.sign * (self.scaled(now) / before - 1) if before > 0 else math.nan

    def amount(self, then: float, share: float) -> float:
        """A relative loss in units of the ratio."""
        return self.scaled(then) * share / (2 if self.ratio == "auc" else 1)


#: By the name that a label's definition has for it (:attr:`flywheel.core.features.Label.judged_by`).
METRICS = {
    "gini": Metric("Gini", "Gini", "auc", True, "positives and negatives of the same day", "the positives that come"),
    "wape": Metric("Wape", "WAPE", "wape", False, "labels but 0"),
    "naive_ratio": Metric(
        "NaiveRatio", "ratio to the seasonal naive forecast", "naive_ratio", False, "labels with a naive forecast that errs"
    ),
}
GINI = METRICS["gini"]


@dataclass(frozen=True)
class AccuracyRules:
    """When a loss counts.

    :param max_drop: relative loss over the window that is allowed
    :param margin: relative loss of which the evidence must be that there is more
    :param min_labels: labels in the window below which nothing is said; also what a segment needs to be judged by itself
    :param min_coverage: share of a day's predictions that must have their label for the day to count
    :param calibration_tolerance: predicted over observed may be wrong by this factor less one
    :param calibration_level: ``note``, ``alert`` or ``retrain`` when it is wrong by more
    :param segment_level: the same when a segment is harmed and the whole is not
    :param metric: what must not be lost, one of :data:`METRICS`
    """

    max_drop: float = 0.15
    margin: float = 0.05
    min_labels: int = 1000
    min_coverage: float = 0.9
    calibration_tolerance: float = 0.25
    calibration_level: str = NOTE
    segment_level: str = NOTE
    metric: str = "gini"


@dataclass(frozen=True)
class SegmentAccuracy:
    """How a segment of the rows did in a period, with 95% intervals by whole days, beside the holdout.

    :param segment: ``all`` rows; ``<feature>=<level>``, or ``<feature>=other`` for the levels with few labels
    :param now: each of :data:`flywheel.core.outcomes.RATIOS`; NaN of the other kind of label
    :param then: the same of the holdout
    :param sentence: what is wrong with it; empty where nothing is
    """

    segment: str
    sums: Outcome
    now: Mapping[str, Estimate]
    then: Mapping[str, float]
    level: str = NONE
    sentence: str = ""

    @property
    def labelled(self) -> int:
        """Predictions whose label is known."""
        return self.sums.labelled

    @property
    def auc(self) -> Estimate:
        """Of pairs of the same day."""
        return self.now["auc"]

    @property
    def baseline_auc(self) -> float:
        """That of the holdout."""
        return self.then["auc"]

    @property
    def calibration(self) -> Estimate:
        """What was predicted over what came."""
        return self.now["calibration"]


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
    metric = METRICS[rules.metric]
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

    judged = whole.now[metric.ratio]
    loss = metric.loss(judged.value, whole.then[metric.ratio])
    interval = f"{metric.scaled(judged.low):.3f} to {metric.scaled(judged.high):.3f}"
    figures = (
        f"{_against(metric, whole, f' ({interval})')}, allowed {metric.sign * rules.max_drop:+.0%}; "
        f"evidence of more than {metric.sign * rules.margin:+.0%}: {evidence:.3g}, {ALARM:.0f} wanted"
        f"{_beside(metric, whole)}"
    )
    found: list[tuple[str, str, str]] = []
    if loss > rules.max_drop and evidence >= ALARM:
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
    now = {
        name: ratio_interval([getattr(one, above) for one in days], [getattr(one, below) for one in days], numbers)
        for name, (above, below) in RATIOS.items()
    }
    return SegmentAccuracy(segment, sums, now, {name: then.ratio(name) if then else math.nan for name in RATIOS})


def _against(metric: Metric, measured: SegmentAccuracy, interval: str = "") -> str:
    """Figure, baseline and change, in words."""
    now, then = measured.now[metric.ratio].value, measured.then[metric.ratio]
    change = f"{metric.sign * metric.loss(now, then):+.1%}"
    return f"{metric.title} {metric.scaled(now):.3f}{interval} against {metric.scaled(then):.3f} on the holdout, {change}"


def _beside(metric: Metric, whole: SegmentAccuracy) -> str:
    """What else people ask for of forecasts."""
    if metric is GINI:
        return ""
    wape = "" if metric.ratio == "wape" else f"; {_against(METRICS['wape'], whole)}"
    zeros = whole.labelled - whole.sums.not_zero
    return f"{wape}; MAPE {whole.now['mape'].value:.3f}{f' without {zeros} labels that are 0' if zeros else ''}"


def _cannot_tell(asked: Sequence[Outcome], covered: Sequence[Outcome], baseline: Outcomes, rules: AccuracyRules) -> str:
    """Why nothing can be said; empty where something can."""
    metric = METRICS[rules.metric]
    above, below = RATIOS[metric.ratio]
    if not asked:
        return "nothing was served in the period"
    labelled, positives = sum(one.labelled for one in covered), sum(one.positives for one in covered)
    if len(covered) * 2 < len(asked):
        return (
            f"of {len(asked)} days only {len(covered)} have the label of {rules.min_coverage:.0%} of their predictions; the rest "
            "may still be under way"
        )
    scored = sum(one.scored for one in asked)
    if metric is GINI and (labelled < rules.min_labels or not sum(one.pairs for one in covered)):
        return f"{labelled} labels ({positives} positive), {rules.min_labels} wanted, of {scored} predictions"
    if labelled < rules.min_labels:
        return f"{labelled} labels, {rules.min_labels} wanted, of {scored} predictions"
    if not baseline.get(WHOLE):
        return "its evaluation has no outcomes of the holdout by day; it was registered by an older Flywheel: train again"
    for place, days in (("what was served", covered), ("the holdout", baseline[WHOLE])):
        if not sum(getattr(one, below) for one in days) > 0:
            return f"{place} has no {metric.expects}"
        if not math.isfinite(sum(getattr(one, above) for one in days)):
            return f"{place} has labels or predictions that are no numbers"
    return ""


def _evidence(baseline: Sequence[Outcome], served: Sequence[Outcome], rules: AccuracyRules) -> float:
    """What the e-detector stands at.

    :raises ValueError: the holdout has too few days to tell how much they vary
    """
    metric = METRICS[rules.metric]
    before, since = _blocks(baseline, metric), _blocks(served, metric)
    base = baseline_of([block.value for block in before])
    sd = dependent_sd(base.sd, [before, since])
    better = metric.higher_is_better
    allowed = allowed_mean(base, metric.amount(base.mean, rules.margin), sd, higher_is_better=better)
    return e_detector([block.value for block in since], allowed, sd, higher_is_better=better)


def _blocks(outcomes: Sequence[Outcome], metric: Metric) -> list[Day]:
    """Days, joined where they have few rows (of a kind)."""
    days = []
    for one in outcomes:
        weight = float(getattr(one, RATIOS[metric.ratio][1]))
        kinds = (one.positives, one.labelled - one.positives) if metric is GINI else (one.labelled, one.labelled)
        days.append(Day(one.day, one.ratio(metric.ratio) if weight else 0.0, *kinds, weight))
    return join_days(days, min_positives=LEAST_OF_A_KIND, min_negatives=LEAST_OF_A_KIND)


def _calibration(whole: SegmentAccuracy, rules: AccuracyRules) -> str:
    """What is wrong with it: an interval that lies outside what is tolerated as a whole; empty: nothing."""
    allowed = 1 + rules.calibration_tolerance
    now = whole.calibration
    if not (now.low > allowed or now.high < 1 / allowed):
        return ""
    return (
        f"predicts {now.value:.2f} times {METRICS[rules.metric].predicts} ({now.low:.2f} to {now.high:.2f}); "
        f"{whole.then['calibration']:.2f} on the holdout"
    )


def _judge_segments(baseline: Outcomes, inside: Outcomes, rules: AccuracyRules) -> list[SegmentAccuracy]:
    """All segments but the whole, those with few labels together, each with what is wrong with it."""
    metric = METRICS[rules.metric]
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
        now, before = measured.now[metric.ratio].value, measured.then[metric.ratio]
        error = math.hypot(ratio_error(days, metric.ratio), ratio_error(then, metric.ratio)) if then else math.nan
        if metric.loss(now, before) > rules.max_drop and metric.sign * (now - before) > limit * error:
            text = f"{name}: {_against(metric, measured)}"
            measured = replace(measured, level=rules.segment_level, sentence=text)
        judged.append(measured)
    return sorted(judged, key=lambda segment: -segment.labelled)


def ratio_error(days: Sequence[Outcome], ratio: str = "auc") -> float:
    """Standard error of a ratio over several days, of which each is one draw (Cochran, 1977, Sampling Techniques, 6.4).

    NaN for fewer than two days that have some of what is below the line, so that nothing can be concluded from it.
    """
    parts = [(getattr(one, RATIOS[ratio][0]), getattr(one, RATIOS[ratio][1])) for one in days]
    useful = [(above, below) for above, below in parts if below]
    if len(useful) < 2:
        return math.nan
    lower = math.fsum(below for _, below in useful)
    value = math.fsum(above for above, _ in useful) / lower
    squares = math.fsum((above - value * below) ** 2 for above, below in useful)
    return math.sqrt(len(useful) / (len(useful) - 1) * squares) / lower
