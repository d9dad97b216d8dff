"""From many verdicts to one decision: is there nothing to do, something to note, a person to call, or a model to retrain?

The rule ``flywheel``:

* a season is a note;
* a column that is broken upstream is an alert, and holds back a retraining: the model would learn the damage. Broken are
  columns that went missing or constant or changed their unit, and categories most of whose rows have levels never seen before
  (numbers beyond the training data's range are no damage: a summer is, to a model trained in winter);
* a context feature (weather, say) that drifts is a note: the watch-list is there to be looked at;
* nulls are judged by themselves, too: a column may go missing whose values follow the weeks so that nothing else can be told;
* any other drift is a retraining where the feature is a driver (it has a share of at least ``driver_share`` in the model's gain,
  or nobody knows its share), and a note where it is not;
* drift of the predictions is an alert: they move with the features that the model uses, or because the model is served wrongly.

The rule ``textbook`` is the one that everybody writes down: any PSI above 0.2 is a retraining, whatever the feature, the number
of rows and the season.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from flywheel.core.causes import BROKEN, CONSTANT, MISSING, SEASON, SHIFT, UNIT, UNSEEN, find_cause, scale_factor
from flywheel.core.counting import Moments, add_counts
from flywheel.core.drift import FeatureDrift, nulls_risen, since
from flywheel.core.profiles import SCORE, profile_of, read_profile

NONE, NOTE, ALERT, RETRAIN, UNKNOWN = "none", "note", "alert", "retrain", "unknown"
LEVELS = (NOTE, ALERT, RETRAIN)
FLYWHEEL, TEXTBOOK = "flywheel", "textbook"
TEXTBOOK_PSI = 0.2
MOSTLY = 0.5
#: With so many independent rows chance alone gives ten bins no PSI of 0.2. Where more of them hang together so much that nothing
#: can be told, they will do so tomorrow: that is no gap in the data, and accuracy has to find what drift cannot.
LEAST_ROWS = 200


@dataclass(frozen=True)
class Rules:
    """How findings become a decision.

    :param rule: ``flywheel`` or ``textbook`` (see the module's head)
    :param context: features on the watch-list
    :param driver_share: the least share of the model's gain that makes a feature a driver
    :param unknown_share: how much of the drivers' gain may belong to features with too few rows before nothing can be said
    :param threshold: the least index that matters, and ``alpha`` the chance of any false rise of nulls
    :raises ValueError: another rule
    """

    rule: str = FLYWHEEL
    context: frozenset[str] = frozenset()
    driver_share: float = 0.02
    unknown_share: float = 0.5
    threshold: float = TEXTBOOK_PSI
    alpha: float = 0.01

    def __post_init__(self) -> None:
        if self.rule not in (FLYWHEEL, TEXTBOOK):
            raise ValueError(f"watch: expected rule {FLYWHEEL} or {TEXTBOOK}, found {self.rule}")


@dataclass(frozen=True)
class Finding:
    """One feature that has moved, and what it means.

    :param importance: share of the model's gain, None where it is not known
    :param level: ``note``, ``alert`` or ``retrain``
    :param since: first day since which it has been away, None where it cannot be told
    :param sentence: all of this for people
    """

    feature: str
    psi: float
    threshold: float
    state: str
    cause: str
    importance: float | None
    level: str
    since: date | None
    sentence: str


@dataclass(frozen=True)
class Decision:
    """What to do about a model.

    :param level: the highest level of the findings; ``none`` without any; ``unknown`` where nothing wants a person and too many
        drivers have too few rows to be judged; ``alert`` at most where ``held_by`` names something
    :param findings: most urgent first
    :param unknown: features other than context that had too few rows
    :param held_by: broken columns that a retraining has to wait for
    :param reason: a sentence for people
    """

    level: str
    findings: tuple[Finding, ...]
    unknown: tuple[str, ...]
    held_by: tuple[str, ...]
    reason: str

    @property
    def causes(self) -> tuple[str, ...]:
        """Short names of what the reason tells, the same from day to day."""
        return tuple(sorted(f"{finding.feature} {finding.cause}" for finding in _told(self.findings)))


def decide(
    profile: Mapping[str, Any],
    verdicts: Sequence[FeatureDrift],
    daily: Mapping[date, Mapping[str, Sequence[int]]],
    rules: Rules | None = None,
    *,
    moments: Mapping[date, Mapping[str, Moments]] | None = None,
) -> Decision:
    """One decision from the verdicts of :func:`flywheel.core.drift.compare`.

    A cause is looked for in the days since the feature has been away: a column that broke last week is broken, however many good
    days the window still holds.

    :param daily: bin counts by day, those of the window that was judged (earlier days may be among them)
    :param moments: the same for the numeric features' moments
    :raises KeyError: a feature that the profile does not have
    """
    profile, rules = read_profile(profile), rules or Rules()
    found: list[tuple[Finding, bool]] = []
    for verdict in verdicts:
        drifted = verdict.psi > TEXTBOOK_PSI if rules.rule == TEXTBOOK else verdict.state == "drift"
        missing = rules.rule == FLYWHEEL and not drifted and _is_missing(profile, verdict, daily, rules, len(verdicts))
        if drifted or missing:
            found.append(_find(profile, verdict, daily, moments or {}, rules, missing))
    findings = sorted((finding for finding, _ in found), key=lambda f: (-LEVELS.index(f.level), -(f.importance or 0), -f.psi))
    held_by = tuple(finding.feature for finding, broken in found if broken) if rules.rule == FLYWHEEL else ()
    level = findings[0].level if findings else NONE
    if level == RETRAIN and held_by:
        level = ALERT
    unknown = tuple(v.feature for v in verdicts if v.state == "insufficient" and v.feature not in rules.context)
    if level in (NONE, NOTE) and rules.rule == FLYWHEEL and _too_much_unknown(profile, verdicts, unknown, rules):
        level = UNKNOWN
    return Decision(level, tuple(findings), unknown, held_by, _reason(level, findings, unknown, held_by, len(verdicts)))


def _find(
    profile: Mapping[str, Any],
    verdict: FeatureDrift,
    daily: Mapping[date, Mapping[str, Sequence[int]]],
    moments: Mapping[date, Mapping[str, Moments]],
    rules: Rules,
    missing: bool,
) -> tuple[Finding, bool]:
    """The finding, and whether its column is broken.

    :param missing: it is there for its nulls alone
    """
    name = verdict.feature
    feature = profile_of(profile, name)
    counts_by_day = {day: counts[name] for day, counts in daily.items() if name in counts}
    start = since(feature, counts_by_day)
    away = [day for day in counts_by_day if start is None or day >= start]
    cause, factor, unseen, evidence = SEASON if verdict.in_season else SHIFT, None, 0.0, _evidence(verdict)
    if any(sum(counts_by_day[day]) for day in away):
        current = add_counts({name: counts_by_day[day]} for day in away)[name]
        known = [moments[day][name] for day in away if name in moments.get(day, {})]
        sums = known[0] if known else None
        for more in known[1:]:
            sums = sums.plus(more) if sums else more
        cause = MISSING if missing else find_cause(feature, current, verdict, sums)
        factor = scale_factor(feature, sums) if cause == UNIT and sums else None
        unseen = current[-2] / sum(current) if feature["kind"] == "category" else 0.0
        if cause == MISSING:
            before = feature["counts"][-1] / max(sum(feature["counts"]), 1)
            evidence = f"{current[-1] / sum(current):.1%} of the rows, {before:.1%} there"
    broken = cause in BROKEN or (cause == UNSEEN and unseen > MOSTLY)
    importance = feature["importance"] if name in profile["features"] else None
    level = _level(name, cause, broken, importance, name not in profile["features"], rules)
    when = "" if start is None else f" since {start}{' or before' if start == min(counts_by_day) else ''}"
    sentence = _sentence(verdict, cause, importance, when, factor, evidence, name in rules.context)
    return Finding(name, verdict.psi, verdict.threshold, verdict.state, cause, importance, level, start, sentence), broken


def _level(name: str, cause: str, broken: bool, importance: float | None, is_score: bool, rules: Rules) -> str:
    if rules.rule == TEXTBOOK:
        return RETRAIN
    if cause == SEASON:
        return NOTE
    if broken or is_score:
        return ALERT
    if name in rules.context:
        return NOTE
    return RETRAIN if importance is None or importance >= rules.driver_share else NOTE


def _too_much_unknown(profile: Mapping[str, Any], verdicts: Sequence[FeatureDrift], unknown: Sequence[str], rules: Rules) -> bool:
    """Whether the features that had too few rows have too great a part in the model; each counts alike without shares."""
    features = [v.feature for v in verdicts if v.feature in profile["features"] and v.feature not in rules.context]
    shares = {name: profile["features"][name]["importance"] for name in features}
    if any(share is None for share in shares.values()) or not sum(shares.values()):
        shares = dict.fromkeys(features, 1.0)
    few = {verdict.feature for verdict in verdicts if verdict.rows < LEAST_ROWS} & set(unknown)
    if not features:
        return bool(few)
    return sum(shares.get(name, 0.0) for name in few) > rules.unknown_share * sum(shares.values())


def _is_missing(
    profile: Mapping[str, Any],
    verdict: FeatureDrift,
    daily: Mapping[date, Mapping[str, Sequence[int]]],
    rules: Rules,
    judged: int,
) -> bool:
    counts = {day: found[verdict.feature] for day, found in daily.items() if verdict.feature in found}
    feature = profile_of(profile, verdict.feature)
    return nulls_risen(feature, counts, threshold=rules.threshold, alpha=rules.alpha / judged)


def _evidence(verdict: FeatureDrift) -> str:
    where = ", where chance alone may give" if verdict.state == "insufficient" else " over"
    return f"PSI {verdict.psi:.2f}{where} {verdict.threshold:.2f}"


def _sentence(
    verdict: FeatureDrift,
    cause: str,
    importance: float | None,
    when: str,
    factor: float | None,
    evidence: str,
    context: bool,
) -> str:
    what = {
        SEASON: "has moved as it did in the same weeks of last year",
        MISSING: "is missing more often than in the training data",
        CONSTANT: "has become constant",
        UNIT: f"looks multiplied by {factor:.3g} or so: another unit" if factor else "has changed its unit",
        UNSEEN: "has values that the training data did not have",
        SHIFT: "has shifted",
    }[cause]
    name = "the distribution of the scores" if verdict.feature == SCORE else verdict.feature
    part = "" if importance is None else f", {importance:.1%} of the model's gain"
    text = f"{name} {what}{when}: {evidence}{part}"
    return text + (" (context)" if context else "")


def _told(findings: Sequence[Finding]) -> list[Finding]:
    """Those that want a person or a retraining; the notes where none does."""
    return [finding for finding in findings if finding.level != NOTE] or list(findings)


def _reason(level: str, findings: Sequence[Finding], unknown: Sequence[str], held_by: Sequence[str], judged: int) -> str:
    if level == UNKNOWN:
        return f"cannot tell: too few rows to judge {', '.join(unknown)}"
    if not findings:
        doubt = f"; too few independent rows to judge {', '.join(unknown)}" if unknown else ""
        return f"none of {judged} features has moved{doubt}"
    text = "; ".join(finding.sentence for finding in _told(findings))
    if held_by and findings[0].level == RETRAIN:
        return f"{text}; a retraining has to wait until {', '.join(held_by)} is repaired"
    return text
