"""When to retrain: policies play the year 2013, each with the project's own training, holdout and promotion.

Every evening a policy sees what a monitoring run would see: the features of the day, and the labels of the day before. What it
asks for is trained overnight and, if it wins against the champion, serves from the next morning on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

from flywheel.core.accuracy import Judgement, judge_accuracy
from flywheel.core.counting import Moments, add_counts
from flywheel.core.drift import FeatureDrift, compare
from flywheel.core.metrics import auc, gini
from flywheel.core.outcomes import WHOLE, Outcome, count_outcomes
from flywheel.core.profiles import bin_counts, read_profile
from flywheel.core.runs import Window
from flywheel.core.sequential import ALARM
from flywheel.core.specs import ModelSpec
from flywheel.core.watch import ALERT, RETRAIN, UNKNOWN, Decision, Rules, decide
from simulate.models import SPEC, Days, Trained, Workshop

FIRST_TRAINED = date(2013, 3, 31)
BOTH, LOSS, EVIDENCE, NEITHER = "both", "loss", "evidence", "none"


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
    """A model that serves, and all that a monitor would have counted about it by day.

    :param like: the same model on data that differ from the day ``until`` on only: its counts of earlier days are these
    """

    def __init__(self, data: Days, trained: Trained, *, like: Champion | None = None, until: date = date.min):
        self.data, self.trained, self._like, self._until = data, trained, like, until
        self.profile = read_profile(trained.profile)
        self._counts: dict[date, dict[str, list[int]]] = {}
        self._moments: dict[date, dict[str, Moments]] = {}
        self._outcomes: dict[date, Outcome] = {}

    def counts(self, day: date) -> dict[str, list[int]]:
        """Bin counts of a day's features, and of its scores."""
        if self._like and day < self._until:
            return self._like.counts(day)
        if day not in self._counts:
            chosen = self.data.between(day, day)
            rows = self.data.rows[chosen]
            found = {name: bin_counts(feature, rows[name]) for name, feature in self.profile["features"].items()}
            self._counts[day] = found | {"score": bin_counts(self.profile["score"], self.trained.scores[chosen])}
        return self._counts[day]

    def moments(self, day: date) -> dict[str, Moments]:
        """Moments of a day's numeric features."""
        if self._like and day < self._until:
            return self._like.moments(day)
        if day not in self._moments:
            rows = self.data.rows[self.data.between(day, day)]
            means = {name: feature.get("mean") for name, feature in self.profile["features"].items()}
            self._moments[day] = {name: _moments(rows[name], mean) for name, mean in means.items() if mean is not None}
        return self._moments[day]

    def auc_between(self, first: date, last: date) -> float:
        """Of its scores over these days, both inclusive."""
        chosen = self.data.between(first, last)
        return auc(self.data.labels[chosen], self.trained.scores[chosen])

    def outcome(self, day: date) -> Outcome:
        """What has come of a day's scores."""
        if self._like and day < self._until:
            return self._like.outcome(day)
        if day not in self._outcomes:
            chosen = self.data.between(day, day)
            found = count_outcomes(self.data.labels[chosen], self.trained.scores[chosen], self.data.days[chosen])
            self._outcomes[day] = found[0] if found else Outcome(day, 0, 0, 0, 0.0, 0.0, 0.0)
        return self._outcomes[day]

    def outcomes(self, first: date, last: date) -> list[Outcome]:
        """What has come of the scores of these days, both inclusive."""
        return [self.outcome(first + timedelta(days=i)) for i in range((last - first).days + 1)]


def _moments(values: Any, origin: float) -> Moments:
    import numpy as np

    numbers = values.to_numpy(dtype=float)
    away = numbers[np.isfinite(numbers)] - origin
    return Moments(len(away), origin, float(away.sum()), float((away * away).sum()))


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
    """Flywheel's policies: drift by verdicts, accuracy by a loss, by evidence or by both, and an age that no model outlives.

    :param accuracy: what is a breach of accuracy: ``both`` as the DAG has it, a ``loss`` over the window however little evidence
        there is of it, ``evidence`` of a loss however small, or ``none``
    :param max_age_days: days since the last training's newest data; None: a model may be as old as it likes
    :param drift: whether drift counts
    """

    rules: Rules
    accuracy: str = BOTH
    max_age_days: int | None = None
    drift: bool = True

    def __call__(self, evening: Evening) -> Verdict:
        """As the DAG's sensors would."""
        reasons, alarm = [], ""
        if self.drift:
            _, decision = self.judge(evening)
            reasons = [decision.reason] if decision.level == RETRAIN else []
            alarm = decision.reason if decision.level == ALERT else ""
        lost = self.lost(evening)
        if lost:
            reasons.append(lost)
        age = (evening.today - evening.trained_until).days
        if self.max_age_days is not None and age >= self.max_age_days:
            reasons.append(f"the newest data of the last training are {age} days old")
        return "; ".join(reasons), alarm

    def judge(
        self, evening: Evening, seasonal: Sequence[Mapping[str, Sequence[int]]] = ()
    ) -> tuple[list[FeatureDrift], Decision]:
        """What has drifted in the window, and what it comes to.

        :param seasonal: bin counts of the days of the same weeks a year before, where there are any
        """
        champion, days = evening.champion, evening.trailing(SPEC.monitoring.window_days)
        daily = {day: champion.counts(day) for day in days}
        then = add_counts(seasonal) if seasonal else None
        verdicts = compare(
            champion.profile, add_counts(daily.values()), days=len(daily), seasonal=then, seasonal_days=len(seasonal)
        )
        moments = {day: champion.moments(day) for day in days}
        return verdicts, decide(champion.profile, verdicts, daily, self.rules, moments=moments)

    def lost(self, evening: Evening) -> str:
        """Why accuracy is in breach; empty: it is not."""
        if self.accuracy == NEITHER or evening.serving_since >= evening.today:
            return ""
        found = accuracy_of(evening)
        whole = found.segments[0] if found.segments else None
        if whole is None or found.level == UNKNOWN:
            return ""
        loss = gini(whole.auc.value) < (1 - SPEC.monitoring.accuracy_drop) * gini(whole.baseline_auc)
        evident = found.evidence >= ALARM
        breach = {BOTH: loss and evident, LOSS: loss, EVIDENCE: evident}[self.accuracy]
        figures = f"Gini {gini(whole.auc.value):.3f} against {gini(whole.baseline_auc):.3f}, evidence {found.evidence:.3g}"
        return figures if breach else ""


@lru_cache(maxsize=1)  # policies that differ in what they make of it ask one after the other
def accuracy_of(evening: Evening) -> Judgement:
    """What the DAG would say of the champion's accuracy, the labels of the day before being the last."""
    champion, rules = evening.champion, SPEC.monitoring
    last = evening.today - timedelta(days=1)
    window = Window(max(evening.serving_since, last - timedelta(days=rules.window_days - 1)), last)
    served = champion.outcomes(evening.serving_since, last)
    return judge_accuracy({WHOLE: champion.outcomes(*champion.trained.holdout)}, {WHOLE: served}, window, rules.accuracy_rules())


def rules_of(spec: ModelSpec) -> Rules:
    """The rules that a spec gives its watch."""
    return spec.monitoring.drift_rules(spec.features.context())


def play(
    name: str,
    policy: Policy,
    workshop: Workshop,
    *,
    cooldown_days: int,
    end: date,
    first: date = FIRST_TRAINED,
    tell: Callable[[str], Any] = lambda text: None,
) -> Played:
    """The year from the first model on.

    :param first: the last labelled day of the first training
    """
    import numpy as np

    played = Played(name, served=np.full(len(workshop.rows), np.nan))
    champion, since = Champion(workshop, workshop.train(first)), first + timedelta(days=1)
    trained_until, today, told = first, since, ""
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
