"""The policies that ``make simulate`` plays over the year 2013, and their table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from simulate.models import SPEC, Workshop
from simulate.policies import (
    EVIDENCE,
    FIRST_TRAINED,
    LOSS,
    NEITHER,
    Played,
    Policy,
    Watch,
    any_psi,
    auc_drop,
    monthly,
    monthly_auc,
    never,
    play,
    rules_of,
)
from simulate.year import load_year

COOLDOWN, AGE = SPEC.monitoring.cooldown_days, SPEC.monitoring.max_age_days
POLICIES: dict[str, tuple[Policy, int]] = {
    "never retrain": (never, 0),
    "monthly": (monthly, 0),
    "any PSI > 0.2": (any_psi, COOLDOWN),
    "15% of AUC": (auc_drop, COOLDOWN),
    "breaches alone": (Watch(rules_of(SPEC)), COOLDOWN),
    "age alone": (Watch(rules_of(SPEC), NEITHER, max_age_days=AGE, drift=False), 0),
    "Flywheel": (Watch(rules_of(SPEC), max_age_days=AGE), COOLDOWN),
    "15% of Gini": (Watch(rules_of(SPEC), LOSS, max_age_days=AGE), COOLDOWN),
    "evidence": (Watch(rules_of(SPEC), EVIDENCE, max_age_days=AGE), COOLDOWN),
}
"""By name: when it asks for a retraining, and the days of new data that it waits for after one. ``Flywheel`` is what the DAGs do
with this spec (its schedule of training left aside); ``15% of Gini`` and ``evidence`` have one half each of what it wants to see
before it calls accuracy lost."""


def play_policies(names: Sequence[str], until: date, tell: Callable[[str], Any], first: date = FIRST_TRAINED) -> None:
    """Plays these policies to the end and prints their table.

    :param first: the last labelled day of the first training
    """
    workshop = Workshop(load_year())
    months = range(first.month + 1, until.month + 1)
    played: list[tuple[Played, dict[int, float]]] = []
    for name in names:
        print(f"{name} ...", flush=True)
        policy, cooldown = POLICIES[name]
        began = time.monotonic()
        done = play(name, policy, workshop, cooldown_days=cooldown, end=until, first=first, tell=tell)
        played.append((done, dict(monthly_auc(workshop, done.served, months))))
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
    print_table(played, list(months))


def print_table(played: Sequence[tuple[Played, dict[int, float]]], months: Sequence[int]) -> None:
    """AUC by month and on the mean, the share of what monthly retraining gains, retrainings, challengers that won, alarms."""
    means = {done.name: sum(found.values()) / len(found) for done, found in played}
    gain = means.get("monthly", 0.0) - means.get("never retrain", 0.0)
    names = " ".join(f"{date(2013, month, 1):%b}".rjust(5) for month in months)
    print(f"\n  {'':16} {names}   mean   kept  retrained  won  alarms")
    for done, found in played:
        values = " ".join(f"{found[month]:.3f}" for month in months)
        kept = f"{(means[done.name] - means['never retrain']) / gain:5.0%}" if gain and "never retrain" in means else "    -"
        print(
            f"  {done.name:16} {values}  {means[done.name]:.4f} {kept} {len(done.retrainings):>9} {len(done.promoted):>5} "
            f"{len(done.alarms):>6}"
        )
    print("\n  kept: of what monthly retraining gains over never. alarms: how often a person had to read something new.")
