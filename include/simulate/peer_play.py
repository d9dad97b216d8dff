"""Evidently and NannyML look at the same days as the watch: windows are written for them, each answers in its own environment.

Once a week, in one world of each order, for Evidently takes seven seconds and more for a look at twenty columns. Where a shift is
looked for, it looks at the changed column only, as its verdicts on columns do not depend on each other; once the shifts are over,
at one window after the other.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from laptop.environment import PROJECT
from simulate import season
from simulate.detection import FIRST_SHIFTED, PLAYED_DAYS, SERVED, Found, disturb
from simulate.models import NOT_FEATURES, SPEC
from simulate.policies import FIRST_TRAINED
from simulate.shifts import LABEL, SHIFTS, Shift
from simulate.worlds import WEEK, World, shuffle
from simulate.year import FOLDER, load_year

PEERS = ("evidently", "nannyml")
QUIET, SERVED_FILE, REFERENCE = "quiet.parquet", "served.parquet", "reference.parquet"
SUMMER = "season"
CATEGORY = tuple(name for name, column in SPEC.features.columns.items() if column.type == "category")
WINDOW = SPEC.monitoring.window_days


@dataclass(frozen=True)
class Answers:
    """What the peers said in one world.

    :param evidently: by file and last day of the window: the columns called drifted
    :param nannyml: by file and last day of the week: ``columns``, and whether ``estimated`` and ``realised`` AUC were in alarm
    :param seconds: by peer
    """

    evidently: Mapping[str, Mapping[str, list[str]]]
    nannyml: Mapping[str, Mapping[str, Mapping[str, Any]]]
    seconds: Mapping[str, float]


def weekly(first: date, days: int) -> list[str]:
    """The last days of the weeks that begin with ``first``."""
    return [str(first + timedelta(days=WEEK * (i + 1) - 1)) for i in range(days // WEEK)]


def file_of(shift: Shift) -> str:
    """The file of a shift's days."""
    return f"shift-{SHIFTS.index(shift)}.parquet"


def ask(worlds: Mapping[str, World], shifts: Sequence[Shift], seed: int, tell: Callable[[str], Any]) -> dict[str, Answers]:
    """What the peers say about each world; the world ``season`` is the real year, of which July is looked at.

    :raises RuntimeError: a peer failed
    """
    folders = {}
    for name, world in worlds.items():
        folder = folders[name] = FOLDER / "peers" / name
        folder.mkdir(parents=True, exist_ok=True)
        write_looks(folder, world, [] if name == SUMMER else shifts, seed, summer=name == SUMMER)
        tell(f"windows of {name} written")
    # Evidently takes longest and goes first; one thread waits for each process.
    jobs = [(peer, folder) for peer in PEERS for folder in folders.values()]
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(run_peer, peer, folder, tell) for peer, folder in jobs]:
            done.result()
    return {name: read_answers(folder) for name, folder in folders.items()}


def write_looks(folder: Path, world: World, shifts: Sequence[Shift], seed: int, *, summer: bool = False) -> None:
    """The reference, the days and the plan that the peers read."""
    columns = [name for name in world.workshop.rows.columns if name not in NOT_FEATURES]
    _write(world.reference, folder / REFERENCE)
    early = FIRST_SHIFTED - timedelta(days=1)
    _write(_scored(world, world.between(world.trained.holdout[0], early)), folder / SERVED_FILE)
    last = world.workshop.days.max().astype(date)
    first, days = (season.FIRST, WINDOW) if summer else (FIRST_SHIFTED, (last - FIRST_SHIFTED).days + 1)
    _write(_scored(world, world.between(SERVED, last)), folder / QUIET)
    looks, played = weekly(first, days), PLAYED_DAYS // WEEK
    files = [{"file": QUIET, "columns": columns, "looks": looks[:played] + looks[played + WINDOW // WEEK - 1 :: WINDOW // WEEK]}]
    for shift in shifts:
        _write(_scored(world, disturb(world, shift, seed)), folder / file_of(shift))
        changed = [name for name in shift.columns if name in columns] or [LABEL]
        files.append({"file": file_of(shift), "columns": changed, "looks": weekly(FIRST_SHIFTED, PLAYED_DAYS)})
    plan = {"columns": columns, "category": [*CATEGORY, LABEL], "window_days": WINDOW, "files": files}
    (folder / "looks.json").write_text(json.dumps(plan), encoding="utf-8")


def run_peer(peer: str, folder: Path, tell: Callable[[str], Any]) -> None:
    """One peer's looks at one world, in its own environment.

    :raises RuntimeError: its environment is not there, or it failed; then with the end of what it wrote
    """
    python = PROJECT / f".venv-{peer}" / "bin" / "python"
    script = Path(__file__).parent / "peers" / f"{peer}_looks.py"
    if not python.exists():
        raise RuntimeError(f"{peer}: expected {python}, which `make simulate ARGS=--peers` makes; found none")
    done = subprocess.run([str(python), str(script), str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{peer} failed on {folder}, exit code {done.returncode}:\n{done.stderr[-2000:]}")
    tell(f"{peer} has looked at {folder.name}")


def read_answers(folder: Path) -> Answers:
    """What both have said."""
    said = {peer: json.loads((folder / f"{peer}.json").read_text(encoding="utf-8")) for peer in PEERS}
    seconds = {peer: answer["seconds"] for peer, answer in said.items()}
    return Answers(said["evidently"]["answers"], said["nannyml"]["answers"], seconds)


def days_to(says: Mapping[str, Any], quiet: Mapping[str, Any], part: Callable[[Any], Collection[str]]) -> str:
    """Days of changed data until a weekly look says something that it does not say without the shift.

    :param part: the columns in alarm, of what a look says
    :return: ``-`` never; ``always`` where it says so at each look without the shift, too
    """
    always = True
    for end in sorted(says):
        new, old = set(part(says[end])), set(part(quiet[end]))
        if new - old:
            return str((date.fromisoformat(end) - FIRST_SHIFTED).days + 1)
        always = always and bool(new & old)
    return "always" if always else "-"


def play_peers(orders: Mapping[str, str], found: Mapping[str, Mapping[str, Found]], tell: Callable[[str], Any]) -> None:
    """Asks the peers about the first world of each order and about July, and prints what they say beside the watch.

    :param orders: words for each order
    :param found: by order, what the watch has found in that world
    """
    rows = load_year()
    worlds = {block: World(shuffle(rows, block, 0)) for block in orders} | {SUMMER: World(rows)}
    print_peers(ask(worlds, SHIFTS, 0, tell), found, orders)


def print_peers(answers: Mapping[str, Answers], found: Mapping[str, Mapping[str, Found]], orders: Mapping[str, str]) -> None:
    """Shift by shift, and what was said when nothing had changed; see :func:`play_peers`."""
    for name, said in answers.items():
        if name == SUMMER:
            continue
        quiet_e, quiet_n = said.evidently[QUIET], said.nannyml[QUIET]
        print(f"\nWeekly looks at one world ({orders[name]}): days until found")
        print(f"  {'':32} {'Flywheel':>9} {'Evidently':>9} {'NannyML':>8} {'CBPE':>7} {'realised':>9}")
        for shift in SHIFTS:
            ours = found[name][shift.name].soonest
            cells = [str(-(-ours // WEEK) * WEEK) if ours is not None else "-", *peer_cells(shift, said)]
            widths = (9, 9, 8, 7, 9)
            print(f"  {shift.name:32} " + " ".join(text.rjust(width) for text, width in zip(cells, widths, strict=True)))
        print_said(quiet_e, quiet_n)
    if SUMMER in answers:
        print("\nA season (July against a model of January to March), weekly looks")
        print_said(answers[SUMMER].evidently[QUIET], answers[SUMMER].nannyml[QUIET])
    print(
        "\n  Flywheel: the soonest of its alarms (drift, accuracy), as a weekly look would have had it. Evidently: the\n"
        "  changed column, 28 days. NannyML: the changed column, by week; CBPE, realised: its estimated and its realised\n"
        "  AUC. always: in alarm without the shift, too."
    )
    total = {peer: sum(said.seconds[peer] for said in answers.values()) for peer in PEERS}
    print(f"  seconds of looking: Evidently {total['evidently']:.0f}, NannyML {total['nannyml']:.0f}")


def print_said(evidently: Mapping[str, Sequence[str]], nannyml: Mapping[str, Mapping[str, Any]]) -> None:
    """How often the peers spoke when nothing had changed."""
    columns = len(SPEC.features.columns)
    half = sum(len(look) >= columns / 2 for look in evidently.values())
    for peer, looks in (("Evidently", list(evidently.values())), ("NannyML", [look["columns"] for look in nannyml.values()])):
        some, mean = sum(bool(look) for look in looks), sum(len(look) for look in looks) / len(looks)
        extra = f", half of the columns (its dataset drift) at {half}" if peer == "Evidently" else ""
        print(f"  nothing injected: {peer}: some column drifted at {some} of {len(looks)} looks, {mean:.1f} on the mean{extra}")
    estimated, realised = (sum(look[part] for look in nannyml.values()) for part in ("estimated", "realised"))
    print(
        f"  nothing injected: NannyML: AUC in alarm at {estimated} (estimated) and {realised} (realised) of {len(nannyml)} looks"
    )


def peer_cells(shift: Shift, said: Answers) -> list[str]:
    """Days until Evidently and NannyML called the changed column drifted, and NannyML's estimated and realised AUC."""
    file, changed = file_of(shift), set(shift.columns)
    evidently, nannyml, quiet = said.evidently[file], said.nannyml[file], said.nannyml[QUIET]
    return [
        days_to(evidently, said.evidently[QUIET], lambda look: changed & set(look)),
        days_to(nannyml, quiet, lambda look: changed & set(look["columns"])),
        days_to(nannyml, quiet, lambda look: ["auc"] if look["estimated"] else []),
        days_to(nannyml, quiet, lambda look: ["auc"] if look["realised"] else []),
    ]


def _scored(world: World, rows: Any) -> Any:
    return rows.assign(score=world.workshop.score(FIRST_TRAINED, rows))


def _write(rows: Any, path: Path) -> None:
    rows.drop(columns=["entity_id", "event_time"]).to_parquet(path, index=False)
