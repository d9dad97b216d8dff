"""Plays the year 2013 under policies of retraining and says what each has kept, paid and asked of people.

    make simulate [ARGS="--until 2013-06-30"]

The models are the project's own (features, training script, holdout, promotion); they are trained once and kept in
``.flywheel/simulate``. The first run takes some ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import date

from simulate.lake import LAST_WITH_WEATHER
from simulate.models import SPEC, Workshop
from simulate.policies import FIRST_TRAINED, Played, Policy, Watch, any_psi, auc_drop, monthly, monthly_auc, never, play, rules_of
from simulate.year import load_year

COOLDOWN, AGE = SPEC.monitoring.cooldown_days, SPEC.monitoring.max_age_days
NO_LOSS = 2.0
"""A margin that no loss of Gini can pass."""
POLICIES: dict[str, tuple[Policy, int]] = {
    "never retrain": (never, 0),
    "monthly": (monthly, 0),
    "any PSI > 0.2": (any_psi, COOLDOWN),
    "15% of AUC": (auc_drop, COOLDOWN),
    "breaches alone": (Watch(rules_of(SPEC)), COOLDOWN),
    "age alone": (Watch(rules_of(SPEC), margin=NO_LOSS, max_age_days=AGE, drift=False), 0),
    "Flywheel": (Watch(rules_of(SPEC), max_age_days=AGE), COOLDOWN),
    "with evidence": (Watch(rules_of(SPEC), margin=0.05, max_age_days=AGE), COOLDOWN),
}
"""By name: when it asks for a retraining, and the days of new data that it waits for after one. ``Flywheel`` is what the DAGs do
with this spec (its schedule of training left aside); ``with evidence`` has the e-process in place of the fixed loss."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see the module's head."""
    parser = argparse.ArgumentParser(prog="make simulate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--until", type=date.fromisoformat, default=LAST_WITH_WEATHER, help="last day, YYYY-MM-DD")
    parser.add_argument("--policies", nargs="*", choices=list(POLICIES), default=list(POLICIES), help="default: all")
    options = parser.parse_args(arguments)
    if not FIRST_TRAINED < options.until <= LAST_WITH_WEATHER:
        parser.error(f"--until: expected a day after {FIRST_TRAINED} and up to {LAST_WITH_WEATHER}, found {options.until}")

    workshop = Workshop(load_year())
    months = range(FIRST_TRAINED.month + 1, options.until.month + 1)
    played: list[tuple[Played, dict[int, float]]] = []
    for name in options.policies:
        print(f"{name} ...", flush=True)
        policy, cooldown = POLICIES[name]
        began = time.monotonic()
        done = play(name, policy, workshop, cooldown_days=cooldown, end=options.until, tell=tell)
        played.append((done, dict(monthly_auc(workshop, done.served, months))))
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
    print_table(played, list(months))
    return 0


def tell(text: str) -> None:
    """A line of what is being played."""
    print(f"  {text}", flush=True)


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


if __name__ == "__main__":
    sys.exit(main())
