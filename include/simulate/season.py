"""A season is no drift: July 2013 as it was, against the model of January to March, with and without last year's July at hand.

There is one year of flights. Last year's weeks are made of this year's: each day is another one of the same four weeks and the
same day of the week, so that the season is the same and the days are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from flywheel.core.watch import ALERT, RETRAIN
from simulate.detection import SERVED, WATCH
from simulate.models import SPEC
from simulate.policies import FIRST_TRAINED, Champion, Evening

FIRST, LAST = date(2013, 7, 1), date(2013, 7, 28)
WEATHER = tuple(SPEC.features.context())


@dataclass(frozen=True)
class Season:
    """What four weeks of summer came to.

    :param evenings: looked at
    :param alarmed: evenings on which weather wanted a person or a retraining
    :param textbook: evenings on which some feature of the weather had a PSI over 0.2
    :param called: weather features that were found drifted, with the evenings on which each was called by its cause
    """

    evenings: int
    alarmed: int
    textbook: int
    called: Mapping[str, Mapping[str, int]]


def last_year(champion: Champion, window: Sequence[date], seed: int) -> list[dict[str, list[int]]]:
    """Bin counts of the weather in the same weeks of a year before, day by day."""
    import numpy as np

    dice, drawn = np.random.default_rng(seed), []
    for day in window:
        others = [other for other in window if other.weekday() == day.weekday() and other != day]
        counts = champion.counts(others[int(dice.integers(len(others)))])
        drawn.append({name: counts[name] for name in WEATHER})
    return drawn


def play_season(champion: Champion, *, known: bool, seed: int = 0) -> Season:
    """July's evenings.

    :param champion: on the real year
    :param known: whether last year's weeks are at hand
    """
    alarmed = textbook = 0
    called: dict[str, dict[str, int]] = {}
    evenings = [FIRST + timedelta(days=i) for i in range((LAST - FIRST).days + 1)]
    for today in evenings:
        evening = Evening(champion, SERVED, FIRST_TRAINED, today)
        window = evening.trailing(SPEC.monitoring.window_days)
        verdicts, decision = WATCH.judge(evening, last_year(champion, window, seed) if known else ())
        found = [finding for finding in decision.findings if finding.feature in WEATHER]
        alarmed += any(finding.level in (ALERT, RETRAIN) for finding in found)
        textbook += any(verdict.feature in WEATHER and verdict.psi > 0.2 for verdict in verdicts)
        for finding in found:
            causes = called.setdefault(finding.feature, {})
            causes[finding.cause] = causes.get(finding.cause, 0) + 1
    return Season(len(evenings), alarmed, textbook, called)
