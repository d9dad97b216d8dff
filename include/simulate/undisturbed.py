"""How often does the watch cry when nothing has changed? Years drawn from the weeks (or days) that a world's model has not seen.

Counts add up by day, so that a year is as cheap as its evenings: nothing is counted twice. Each drawn week is a draw from the
distribution that the training data are draws of (:mod:`simulate.worlds`); what an alarm says then is not so. One model serves the
whole year, never retrained, which is the hard case for evidence that adds up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta

from flywheel.core.counting import Moments
from flywheel.core.outcomes import Outcome
from flywheel.core.watch import ALERT, RETRAIN, TEXTBOOK_PSI
from simulate.detection import SERVED, WATCH
from simulate.models import SPEC
from simulate.policies import EVIDENCE, FIRST_TRAINED, LOSS, Champion, Evening, Watch, rules_of
from simulate.worlds import WEEK, World

YEAR_DAYS = 364
BY_LOSS, BY_EVIDENCE = Watch(rules_of(SPEC), LOSS), Watch(rules_of(SPEC), EVIDENCE)


class Redrawn(Champion):
    """A world's champion in a future that is drawn from the weeks after its training.

    :param source: for each day since :data:`simulate.detection.SERVED`, the day of the world that it is a copy of
    """

    def __init__(self, world: World, source: list[date]):
        super().__init__(world.workshop, world.trained)
        self._world, self._source = world.champion, source

    def _copied(self, day: date) -> date:
        return self._source[(day - SERVED).days] if day >= SERVED else day

    def counts(self, day: date) -> dict[str, list[int]]:
        """Those of the day that this one is a copy of."""
        return self._world.counts(self._copied(day))

    def moments(self, day: date) -> dict[str, Moments]:
        """Those of the day that this one is a copy of."""
        return self._world.moments(self._copied(day))

    def outcome(self, day: date) -> Outcome:
        """That of the day that this one is a copy of."""
        return replace(self._world.outcome(self._copied(day)), day=day)


class Unseen:
    """The days of a world after its model's training, in whole weeks."""

    def __init__(self, world: World):
        self.world = world
        last = world.workshop.days.max().astype(date)
        self.weeks = ((last - SERVED).days + 1) // WEEK
        self.days = [SERVED + timedelta(days=i) for i in range(self.weeks * WEEK)]

    def draw(self, block: str, days: int, seed: int) -> list[date]:
        """So many days to come: whole weeks, or single days of the right day of the week, drawn with replacement."""
        import numpy as np

        dice, weeks = np.random.default_rng(seed), -(-days // WEEK)
        size = (weeks, 1) if block == "week" else (weeks, WEEK)
        drawn = dice.integers(self.weeks, size=size) * WEEK + np.arange(WEEK)
        return [self.days[at] for at in drawn.ravel()[:days]]


@dataclass(frozen=True)
class Quiet:
    """What the watch said in a year in which nothing changed. An alarm is an evening with one after an evening without.

    :param evenings: looked at; the first window of days has none, so that a year holds this many and no more
    :param drift: alarms by drift (a person or a retraining is wanted), and ``alarmed`` evenings with one
    :param textbook: alarms by "any feature's PSI over 0.2", and ``textbook_alarmed`` evenings with one
    :param lost: alarms by accuracy, and ``only_loss`` those that there would be without asking for evidence
    :param evident: whether evidence of a loss was ever enough, were no loss of 15% asked for
    :param unknown: evenings on which drift could not be told
    :param features: evenings by the feature that was falsely called drifted
    """

    evenings: int
    drift: int
    alarmed: int
    textbook: int
    textbook_alarmed: int
    lost: int
    only_loss: int
    evident: bool
    unknown: int
    features: dict[str, int]


def quiet_year(unseen: Unseen, block: str, seed: int, *, days: int = YEAR_DAYS, every: int = 1) -> Quiet:
    """One drawn year.

    :param every: days between looks
    """
    window = SPEC.monitoring.window_days
    champion = Redrawn(unseen.world, unseen.draw(block, days + window, seed))
    drift, textbook, lost, only_loss, unknown, evident = [], [], [], [], 0, False
    features: dict[str, int] = {}
    for i in range(0, days, every):
        today = SERVED + timedelta(days=window + i - 1)
        evening = Evening(champion, SERVED, FIRST_TRAINED, today)
        verdicts, decision = WATCH.judge(evening)
        wrong = [finding.feature for finding in decision.findings if finding.level in (ALERT, RETRAIN)]
        for name in wrong:
            features[name] = features.get(name, 0) + 1
        drift.append(bool(wrong))
        textbook.append(any(verdict.psi > TEXTBOOK_PSI and verdict.feature != "score" for verdict in verdicts))
        lost.append(bool(WATCH.lost(evening)))
        only_loss.append(bool(BY_LOSS.lost(evening)))
        unknown += decision.level == "unknown"
        evident = evident or bool(BY_EVIDENCE.lost(evening))
    return Quiet(
        evenings=len(drift),
        drift=_begun(drift),
        alarmed=sum(drift),
        textbook=_begun(textbook),
        textbook_alarmed=sum(textbook),
        lost=_begun(lost),
        only_loss=_begun(only_loss),
        evident=evident,
        unknown=unknown,
        features=features,
    )


def _begun(alarms: list[bool]) -> int:
    """How often an alarm began."""
    return sum(now and not before for before, now in zip([False, *alarms], alarms, strict=False))
