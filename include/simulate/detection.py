"""Is a shift of known size and first day found, how soon, and what is it called?

A world (:mod:`simulate.worlds`) is played twice, with the shift and without it. What the watch says in the first and not in the
second on the same evening it says because of the shift.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from flywheel.core.watch import ALERT, RETRAIN, Decision
from simulate.models import SPEC
from simulate.policies import FIRST_TRAINED, Champion, Evening, Watch, rules_of
from simulate.shifts import Shift, from_day
from simulate.worlds import World

SERVED = FIRST_TRAINED + timedelta(days=1)
FIRST_SHIFTED = SERVED + timedelta(days=SPEC.monitoring.window_days)
PLAYED_DAYS = 42
WATCH = Watch(rules_of(SPEC))


@dataclass(frozen=True)
class Look:
    """What the watch says on an evening.

    :param lost: accuracy is in breach
    """

    day: date
    decision: Decision
    lost: bool

    @property
    def alarms(self) -> dict[str, str]:
        """Features that want a person or a retraining, with their causes."""
        return {finding.feature: finding.cause for finding in self.decision.findings if finding.level in (ALERT, RETRAIN)}


@dataclass(frozen=True)
class Found:
    """What became of a shift in one world. Delays are days of changed data, 1 being the evening of the first; None: not found.

    :param drift: until drift had an alarm (a person or a retraining is wanted) that it would not have had without the shift
    :param level: ``alert`` or ``retrain``, and ``says`` which features for which causes, on that evening
    :param named: until the changed column itself was found drifted for one of its causes, be it as a note
    :param since: that finding's first day less the true one
    :param lost: until accuracy was in breach
    """

    drift: int | None
    level: str
    says: str
    named: int | None
    since: int | None
    lost: int | None

    @property
    def soonest(self) -> int | None:
        """Days until anything of the watch spoke."""
        return min((days for days in (self.drift, self.lost) if days is not None), default=None)


def look(champion: Champion, day: date) -> Look:
    """The evening of a day, the champion having served since it was trained."""
    evening = Evening(champion, SERVED, FIRST_TRAINED, day)
    _, decision = WATCH.judge(evening)
    return Look(day, decision, bool(WATCH.lost(evening)))


def evenings(days: int = PLAYED_DAYS) -> list[date]:
    """The evenings on which a shift may be found."""
    return [FIRST_SHIFTED + timedelta(days=i) for i in range(days)]


def disturb(world: World, shift: Shift, seed: int, days: int = PLAYED_DAYS) -> Any:
    """The world's rows from its holdout to the last evening, with the shift."""
    rows = world.between(world.trained.holdout[0], evenings(days)[-1])
    return from_day(shift, rows, FIRST_SHIFTED, world.reference, seed)


def detect(
    world: World, shifts: Sequence[Shift], seed: int, *, days: int = PLAYED_DAYS, tell: Callable[[str], Any] = lambda text: None
) -> dict[str, Found]:
    """What becomes of each shift in a world, by the shift's name."""
    quiet = [look(world.champion, day) for day in evenings(days)]
    found = {}
    for shift in shifts:
        champion = world.disturbed(disturb(world, shift, seed, days), FIRST_SHIFTED)
        found[shift.name] = judge(shift, [look(champion, day) for day in evenings(days)], quiet)
        tell(f"{shift.name}: {found[shift.name]}")
    return found


def judge(shift: Shift, looks: Sequence[Look], quiet: Sequence[Look]) -> Found:
    """What the looks at a shift say that those at the same world without it do not."""
    drift = named = since = lost = None
    level = says = ""
    for now, twin in zip(looks, quiet, strict=True):
        days = (now.day - FIRST_SHIFTED).days + 1
        new = {name: cause for name, cause in now.alarms.items() if name not in twin.alarms}
        if drift is None and new:
            drift, level = days, now.decision.level
            says = ", ".join(f"{name} {cause}" for name, cause in new.items())
        known = {finding.feature for finding in twin.decision.findings}
        for finding in now.decision.findings if named is None else ():
            if finding.feature in shift.columns and finding.feature not in known and finding.cause in shift.causes:
                named = days
                since = (finding.since - FIRST_SHIFTED).days if finding.since else None
        lost = days if lost is None and now.lost and not twin.lost else lost
    return Found(drift, level, says, named, since, lost)
