"""What the watch is worth: shifts of known size, and the year 2013 under policies of retraining.

    make simulate [ARGS="--shifts"] [ARGS="--policies never Flywheel --until 2013-06-30"] [ARGS="--shifts --peers"]

``--shifts`` plays changes of known kind, size and first day in worlds of real days where nothing else changes, and years in which
nothing changes at all; with ``--peers`` Evidently and NannyML look at the same days. ``--policies`` plays the year as it was, and
says what each policy has kept, paid and asked of people. Without either both are played. The models are the project's own
(features, training script, holdout, promotion); they are trained once and kept in ``.flywheel/simulate``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import date

from simulate.lake import LAST_WITH_WEATHER
from simulate.peer_play import play_peers
from simulate.policies import FIRST_TRAINED
from simulate.policy_play import POLICIES, play_policies
from simulate.shift_play import (
    ORDERS,
    play_summers,
    play_worlds,
    print_legend,
    print_quiet,
    print_season,
    print_shifts,
)
from simulate.year import load_year


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see the module's head."""
    parser = argparse.ArgumentParser(prog="make simulate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shifts", action="store_true", help="only shifts of known size")
    parser.add_argument("--policies", nargs="*", choices=list(POLICIES), help="only policies; default: all of them")
    parser.add_argument("--until", type=date.fromisoformat, default=LAST_WITH_WEATHER, help="the policies' last day, YYYY-MM-DD")
    parser.add_argument(
        "--first-trained",
        type=date.fromisoformat,
        default=FIRST_TRAINED,
        help="last day of the policies' first model, YYYY-MM-DD",
    )
    parser.add_argument("--worlds", type=int, default=3, help="worlds of each order in which shifts are played")
    parser.add_argument("--years", type=int, default=3, help="years without a shift in each world")
    parser.add_argument("--peers", action="store_true", help="Evidently and NannyML look at the shifts, too (some minutes more)")
    options = parser.parse_args(arguments)
    first = options.first_trained
    if not first < options.until <= LAST_WITH_WEATHER:
        parser.error(f"--until: expected a day after {first} and up to {LAST_WITH_WEATHER}, found {options.until}")
    if options.peers and options.policies is not None and not options.shifts:
        parser.error("--peers: expected with --shifts, found with --policies alone")
    if options.worlds < 1 or options.years < 0:
        parser.error(f"expected --worlds of at least 1 and --years of at least 0, found {options.worlds} and {options.years}")

    began = time.monotonic()
    load_year(tell)
    if options.shifts or options.policies is None:
        play_shifts(options.worlds, options.years, peers=options.peers)
    if not options.shifts or options.policies is not None:
        play_policies(options.policies or list(POLICIES), options.until, tell, first)
    print(f"\n{time.monotonic() - began:.0f} s in all")
    return 0


def play_shifts(worlds: int, years: int, *, peers: bool) -> None:
    """Plays the shifts and prints what became of them, beside what the peers say if they are asked."""
    blocks = list(ORDERS)
    outcomes = play_worlds(blocks, worlds, years, tell)
    for block in blocks:
        print_shifts(outcomes, block)
    print_quiet(outcomes, blocks)
    print_season(play_summers())
    print_legend()
    if peers:
        play_peers(ORDERS, {outcome.block: outcome.found for outcome in outcomes if outcome.seed == 0}, tell)


def tell(text: str) -> None:
    """A line of what is being played."""
    print(f"  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
