"""When to retrain: policies play the year 2013, each with the project's own training, holdout and promotion.

Every evening a policy sees what a monitoring run would see: the features of the day, and the labels of the day before. What it
asks for is trained overnight and, if it wins against the champion, serves from the next morning on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from flywheel.core.counting import add_counts
from flywheel.core.drift import compare
from flywheel.core.metrics import auc, gini
from flywheel.core.profiles import bin_counts, read_profile
from flywheel.core.sequential import ALARM, Day, baseline_of, e_values, join_days
from flywheel.core.specs import ModelSpec
from flywheel.core.watch import ALERT, RETRAIN, Rules, decide
from simulate.models import SPEC, Trained, Workshop

FIRST_TRAINED = date(2013, 3, 31)


@dataclass
class Played:
    """What a policy has come to.

    :param retrainings: the days on which one was asked for, and why
    :param promoted: those of them whose challenger won
    :param alarms: the days on which a person had to read something, and what
    :param served: one score per row of the year, by the model that served on its day
    """

    name: str
    retrainings: dict[date, str] = field(default_factory=dict)
    promoted: list[date] = field(default_factory=list)
    alarms: dict[date, str] = field(default_factory=dict)
    served: Any = None


class Champion:
    """A model that serves, and all that a monitor would have counted about it by day."""

    def __init__(self, workshop: Workshop, trained: Trained):
        self.workshop, self.trained = workshop, trained
        self.profile = read_profile(trained.profile)
        self._counts: dict[date, dict[str, list[int]]] = {}

    def counts(self, day: date) -> dict[str, list[int]]:
        """Bin counts of a day's features, and of its scores."""
        if day not in self._counts:
            chosen = self.workshop.between(day, day)
            rows = self.workshop.rows[chosen]
            found = {name: bin_counts(feature, rows[name]) for name, feature in self.profile["features"].items()}
            self._counts[day] = found | {"score": bin_counts(self.profile["score"], self.trained.scores[chosen])}
        return self._counts[day]

    def auc_between(self, first: date, last: date) -> float:
        """Of its scores over these days, both inclusive."""
        chosen = self.workshop.between(first, last)
        return auc(self.workshop.labels[chosen], self.trained.scores[chosen])

    def day(self, day: date) -> Day:
        """A day's AUC, weighted by its pairs."""
        labels = self.workshop.labels[self.workshop.between(day, day)]
        positives, negatives = int(labels.sum()), int((1 - labels).sum())
        value = self.auc_between(day, day) if positives and negatives else 0.0
        return Day(day, value, positives, negatives, float(positives * negatives))


@dataclass(frozen=True)
class Evening:
    """What is known when a policy is asked.

    :param serving_since: the first day that the champion has served
    :param trained_until: the last labelled day of the last training, whatever became of it
    :param today: the day whose features are known
    """

    champion: Champion
    serving_since: date
    trained_until: date
    today: date

    def trailing(self, days: int) -> list[date]:
        """So many days up to today."""
        return [self.today - timedelta(days=back) for back in range(days)]


#: What a policy says: (why to retrain, what a person has to read); empty for nothing.
Verdict = tuple[str, str]
Policy = Callable[[Evening], Verdict]


def never(evening: Evening) -> Verdict:
    """The first model serves for ever."""
    return "", ""


def monthly(evening: Evening) -> Verdict:
    """On the last day of each month."""
    return ("monthly", "") if (evening.today + timedelta(days=1)).day == 1 else ("", "")


def any_psi(evening: Evening) -> Verdict:
    """The textbook's: any feature's PSI over 0.2, of the last 28 days against the training data; each one an alarm."""
    champion = evening.champion
    drifts = compare(champion.profile, add_counts(champion.counts(day) for day in evening.trailing(28)))
    over = [f"{drift.feature} {drift.psi:.2f}" for drift in drifts if drift.psi > 0.2 and drift.feature != "score"]
    return (f"PSI {', '.join(over)}",) * 2 if over else ("", "")


def auc_drop(evening: Evening) -> Verdict:
    """The AUC of the last 28 labelled days is 15 per cent below the holdout's."""
    baseline = evening.champion.auc_between(*evening.champion.trained.holdout)
    now = evening.champion.auc_between(evening.today - timedelta(days=28), evening.today - timedelta(days=1))
    return (f"AUC {now:.3f} against {baseline:.3f}",) * 2 if now < 0.85 * baseline else ("", "")


@dataclass(frozen=True)
class Watch:
    """Flywheel's policies: drift by verdicts, accuracy by a fixed loss or by evidence, and an age that no model outlives.

    :param margin: relative loss of Gini that is let pass, of which the evidence must be that there is more; None: the loss of
        the spec's ``accuracy_drop`` over its window counts, as the DAG's sensor has it
    :param max_age_days: days since the last training's newest data; None: a model may be as old as it likes
    :param drift: whether drift counts
    """

    rules: Rules
    margin: float | None = None
    max_age_days: int | None = None
    drift: bool = True

    def __call__(self, evening: Evening) -> Verdict:
        """As the DAG's sensors would."""
        champion, reasons, alarm = evening.champion, [], ""
        if self.drift:
            daily = {day: champion.counts(day) for day in evening.trailing(SPEC.monitoring.window_days)}
            verdicts = compare(champion.profile, add_counts(daily.values()), days=len(daily))
            decision = decide(champion.profile, verdicts, daily, self.rules)
            reasons = [decision.reason] if decision.level == RETRAIN else []
            alarm = decision.reason if decision.level == ALERT else ""
        lost = self._loss(evening) if self.margin is None else self._evidence(evening, self.margin)
        if lost:
            reasons.append(lost)
        age = (evening.today - evening.trained_until).days
        if self.max_age_days is not None and age >= self.max_age_days:
            reasons.append(f"the newest data of the last training are {age} days old")
        return "; ".join(reasons), alarm

    def _loss(self, evening: Evening) -> str:
        """Why accuracy is in breach by the spec's fixed loss; empty: it is not."""
        rules, champion = SPEC.monitoring, evening.champion
        baseline = gini(champion.auc_between(*champion.trained.holdout))
        first = max(evening.serving_since, evening.today - timedelta(days=rules.window_days))
        labelled = int(champion.workshop.between(first, evening.today - timedelta(days=1)).sum())
        if labelled < rules.min_labels:
            return ""
        now = gini(champion.auc_between(first, evening.today - timedelta(days=1)))
        return f"Gini {now:.3f} against {baseline:.3f}" if now < baseline * (1 - rules.accuracy_drop) else ""

    def _evidence(self, evening: Evening, margin: float) -> str:
        """Why accuracy is in breach by all days that the champion has served; empty: it is not."""
        first, last = evening.champion.trained.holdout
        holdout = [evening.champion.day(first + timedelta(days=i)) for i in range((last - first).days + 1)]
        base = baseline_of([day.value for day in join_days(holdout)])
        served = (evening.today - evening.serving_since).days
        days = join_days(evening.champion.day(evening.serving_since + timedelta(days=i)) for i in range(served))
        if not days:
            return ""
        allowed = (gini(base.mean) * (1 - margin) + 1) / 2
        evidence = e_values([day.value for day in days], allowed, base.sd)[-1]
        now = sum(day.value for day in days) / len(days)
        return f"Gini {gini(now):.3f} against {gini(base.mean):.3f}, evidence {evidence:.0f}" if evidence >= ALARM else ""


def rules_of(spec: ModelSpec) -> Rules:
    """The rules that a spec gives its watch."""
    return Rules(spec.monitoring.psi_rule, frozenset(spec.features.context()), spec.monitoring.driver_share)


def play(
    name: str,
    policy: Policy,
    workshop: Workshop,
    *,
    cooldown_days: int,
    end: date,
    tell: Callable[[str], Any] = lambda text: None,
) -> Played:
    """The year from the first model on."""
    import numpy as np

    played = Played(name, served=np.full(len(workshop.rows), np.nan))
    champion, since = Champion(workshop, workshop.train(FIRST_TRAINED)), FIRST_TRAINED + timedelta(days=1)
    trained_until, today, told = FIRST_TRAINED, since, ""
    while today <= end:
        chosen = workshop.between(today, today)
        played.served[chosen] = champion.trained.scores[chosen]
        why, alarm = policy(Evening(champion, since, trained_until, today))
        about = re.sub(r"[\d.-]+", "", alarm)  # the same thing with other figures is no news
        if alarm and about != told:
            played.alarms[today] = alarm
        told = about
        if why and (today - trained_until).days >= cooldown_days:
            played.retrainings[today] = why
            trained_until = today - timedelta(days=1)  # the labels of today are not known
            challenger = workshop.train(trained_until)
            decision = workshop.judge(challenger, champion.trained)
            tell(f"{name}: {today} {why[:150]} -> {decision.reason[:110]}")
            if decision.promote:
                played.promoted.append(today)
                champion, since = Champion(workshop, challenger), today + timedelta(days=1)
        today += timedelta(days=1)
    return played


def monthly_auc(workshop: Workshop, served: Any, months: Sequence[int]) -> Mapping[int, float]:
    """AUC of what was served, by month."""
    month = workshop.rows["ds"].dt.month.to_numpy()
    return {m: auc(workshop.labels[month == m], served[month == m]) for m in months}
