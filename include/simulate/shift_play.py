"""Plays all shifts, and years without one, in several worlds at once, and prints what became of them."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from statistics import median
from typing import Any

from simulate.detection import PLAYED_DAYS, Found, detect
from simulate.models import Workshop
from simulate.policies import FIRST_TRAINED, Champion
from simulate.season import Season, play_season
from simulate.shifts import SHIFTS
from simulate.undisturbed import YEAR_DAYS, Quiet, Unseen, quiet_year
from simulate.worlds import World, shuffle
from simulate.year import load_year

#: What the worlds of a block have kept together.
ORDERS = {"week": "weeks in another order, each as it was", "day": "days in another order, each as it was"}


@dataclass(frozen=True)
class Outcome:
    """What was found in one world.

    :param found: by the shift's name
    :param quiet: years without a shift
    """

    block: str
    seed: int
    found: dict[str, Found]
    quiet: list[Quiet]


def play_world(block: str, seed: int, years: int) -> Outcome:
    """All shifts, and so many years without one."""
    world = World(shuffle(load_year(), block, seed))
    unseen = Unseen(world)
    return Outcome(block, seed, detect(world, SHIFTS, seed), [quiet_year(unseen, block, seed + i) for i in range(years)])


def play_worlds(blocks: Sequence[str], worlds: int, years: int, tell: Callable[[str], Any]) -> list[Outcome]:
    """So many worlds of each block, a process per core; in the order of their numbers."""
    done = []
    # A fresh interpreter each: XGBoost's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(os.cpu_count() or 1, worlds * len(blocks)), mp_context=context) as pool:
        waiting = [pool.submit(play_world, block, seed, years) for seed in range(worlds) for block in blocks]
        for future in as_completed(waiting):
            outcome = future.result()
            done.append(outcome)
            tell(f"world {len(done)} of {len(waiting)}: {ORDERS[outcome.block]} (no. {outcome.seed})")
    return sorted(done, key=lambda outcome: (blocks.index(outcome.block), outcome.seed))


def play_summers() -> dict[bool, Season]:
    """July against a model of January to March, without and with last year's July at hand."""
    workshop = Workshop(load_year())
    champion = Champion(workshop, workshop.train(FIRST_TRAINED))
    return {known: play_season(champion, known=known) for known in (False, True)}


def print_shifts(outcomes: Sequence[Outcome], block: str) -> None:
    """A line per shift: found or not, after how many days, as what."""
    chosen = [outcome for outcome in outcomes if outcome.block == block]
    print(f"\nShifts of known size ({ORDERS[block]}; {len(chosen)} worlds, {PLAYED_DAYS} days)")
    print(f"  {'':32} {'alarm':>9} {'column':>9} {'accuracy':>9}   what the alarm says")
    for shift in SHIFTS:
        found = [outcome.found[shift.name] for outcome in chosen]
        cells = [cell([getattr(one, part) for one in found]) for part in ("drift", "named", "lost")]
        words = said(found) + ("" if shift.matters else " (small)")
        print(f"  {shift.name:32} {' '.join(text.rjust(9) for text in cells)}   {words}")


def print_quiet(outcomes: Sequence[Outcome], blocks: Sequence[str]) -> None:
    """Alarms when nothing has changed."""
    print("\nNothing has changed: alarms a year, evenings with one, of one model that serves all year, looked at daily")
    head = f"{'drift':>13} {'any PSI > 0.2':>14} {'accuracy':>9} {'15% of Gini':>12} {'evidence':>9} {'cannot tell':>12}"
    print(f"  {'':42} {'years':>5} {head}")
    for block in blocks:
        years = [year for outcome in outcomes if outcome.block == block for year in outcome.quiet]
        evenings = sum(year.evenings for year in years)
        if not evenings:
            continue
        factor = YEAR_DAYS / evenings
        drift = f"{factor * sum(y.drift for y in years):.1f} ({sum(y.alarmed for y in years) / evenings:.0%})"
        textbook = f"{factor * sum(y.textbook for y in years):.1f} ({sum(y.textbook_alarmed for y in years) / evenings:.0%})"
        lost, loss, evident = (
            f"{factor * sum(getattr(y, part) for y in years):.1f}" for part in ("lost", "only_loss", "evident")
        )
        unknown = f"{sum(y.unknown for y in years) / evenings:.0%}"
        cells = f"{drift:>13} {textbook:>14} {lost:>9} {loss:>12} {evident:>9} {unknown:>12}"
        print(f"  {ORDERS[block]:42} {evenings / YEAR_DAYS:5.0f} {cells}")
        wrong: dict[str, int] = {}
        for year in years:
            for name, days in year.features.items():
                wrong[name] = wrong.get(name, 0) + days
        if wrong:
            print("    falsely drifted: " + ", ".join(f"{name} on {days} evenings" for name, days in sorted(wrong.items())))


def print_season(summers: dict[bool, Season]) -> None:
    """What a summer is called."""
    print("\nA season: July as it was, against a model of January to March")
    for known, season in summers.items():
        called = "; ".join(
            f"{name} {', '.join(f'{cause} {n}' for cause, n in causes.items())}" for name, causes in season.called.items()
        )
        print(
            f"  {'with' if known else 'without'} last year's weeks: weather wanted somebody on {season.alarmed} of "
            f"{season.evenings} evenings ({season.textbook} by any PSI > 0.2). Noted, by evenings: {called or 'nothing'}"
        )


def print_legend() -> None:
    """What the columns mean."""
    print(
        "\n  k/n in d: in k of n worlds, after d days of changed data (median; 1 is the first evening). alarm: drift wanted\n"
        "  a person or a retraining, as it did not without the shift. column: the changed column was found drifted for the\n"
        "  right cause, be it as a note. accuracy: Gini 15% under the holdout's, and evidence of more than 5% (each alone in\n"
        "  the columns after it). cannot tell: evenings on which drift could not: too much of the model's gain belonged to\n"
        "  features with too few independent rows."
    )


def cell(delays: Sequence[int | None]) -> str:
    """``3/4 in 9``; ``-`` for never."""
    known = [days for days in delays if days is not None]
    return f"{len(known)}/{len(delays)} in {median(known):.0f}" if known else "-"


def said(found: Sequence[Found]) -> str:
    """What the alarm said in most of the worlds that had one."""
    texts = [f"{one.level}: {one.says}" for one in found if one.drift is not None]
    return max(texts, key=texts.count) if texts else ""
