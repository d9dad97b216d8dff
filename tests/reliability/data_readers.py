"""Readers of zones and tables who look while everything is being killed, and say when a day was not one whole version."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date
from typing import Any

from data_deliveries import FEATURES, LABELS, ZONES, Lake, Row, expected_rows
from data_warehouse import Tables

from flywheel.core.commits import Commit


class Reader:
    """A thread that looks again and again.

    :param pause: seconds between two looks
    :ivar wrong: what was neither absent nor one whole version
    """

    def __init__(self, look: Callable[[], None], pause: float):
        self._look, self._pause, self._over = look, pause, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.wrong: list[str] = []

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the present look."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(60)

    def _run(self) -> None:
        while not self._over.wait(self._pause):
            try:
                self._look()
            except Exception as error:  # told by the test, which would not see it otherwise
                self.wrong.append(f"the reader failed: {type(error).__name__}: {error}")


def versions_of(zone: str, day: date, row: Row) -> dict[tuple[str, date], int]:
    """The deliveries that a row says it was made of."""
    if zone == FEATURES:
        version, previous = row[2], row[3]
        before = date.fromordinal(day.toordinal() - 1)
        return {("visits", day): int(str(version)), ("visits", before): int(str(previous))}
    if zone == LABELS:
        return {("outcomes", day): int(str(row[2]))}
    return {(zone.partition("/")[2], day): int(str(row[1]))}


class LakeReader(Reader):
    """Reads partitions by their commits.

    :ivar looks: how many days it has looked at
    :ivar seen: the different versions that it has seen, of all lakes and days
    :ivar folders: those that it has read from
    """

    def __init__(self) -> None:
        super().__init__(self._look_at_all, pause=0.02)
        self.lake: Lake | None = None
        self.looks, self.seen, self.folders = 0, set[tuple[str, ...]](), set[str]()
        self._known: dict[tuple[str, date], str] = {}

    def watch(self, lake: Lake | None) -> None:
        """Looks at this lake from now on."""
        self.lake, self._known = lake, {}

    def _look_at_all(self) -> None:
        lake = self.lake
        for zone in ZONES if lake else ():
            assert lake
            for day in lake.committed_days(zone):
                self._look_at(lake, zone, day)

    def _look_at(self, lake: Lake, zone: str, day: date) -> None:
        text = lake.commit_file(zone, day).read_text()
        self.looks += 1
        if self._known.get((zone, day)) == text:
            return
        where = f"{lake.root.name}/{zone} ds={day}"
        try:
            commit = Commit.from_json(text)
            rows = lake.rows(commit)
        except Exception as error:
            self.wrong.append(f"{where}: a commit that cannot be followed: {type(error).__name__}: {error}: {text!r}")
            return
        if wrong := not_one_version(lake, zone, day, rows):
            self.wrong.append(f"{where}: {wrong}")
        if commit.rows != len(rows):
            self.wrong.append(f"{where}: the commit promises {commit.rows} rows, the files hold {len(rows)}")
        self._known[zone, day] = text
        self.seen.add((lake.root.name, zone, str(day), str(sorted(versions_of(zone, day, rows[0]).values()))))
        self.folders.add(f"{lake.root.name}/{commit.folder}")


def not_one_version(lake: Lake, zone: str, day: date, rows: list[Row]) -> str:
    """What is wrong with the rows of a day; empty: they are exactly one version that was delivered."""
    if not rows:
        return "no rows"
    versions = versions_of(zone, day, rows[0])
    if late := {which: number for which, number in versions.items() if number > lake.versions.get(which, 0)}:
        return f"versions that were never delivered: {late}"
    expected = expected_rows(zone, day, versions)
    found = [row[: len(expected[0])] for row in rows]
    return differences(expected, found)


def differences(expected: list[Row], found: list[Row]) -> str:
    """The rows that are on one side only, or more often; empty: there are none."""
    if sorted(expected) == sorted(found):
        return ""
    lost, more = set(expected) - set(found), set(found) - set(expected)
    twice = len(found) - len(set(found))
    return (
        f"expected {len(expected)} rows, found {len(found)}: {len(lost)} missing ({sorted(lost)[:2]}), "
        f"{len(more)} too many ({sorted(more)[:2]}), {twice} twice"
    )


class TableReader(Reader):
    """Asks Redshift for each day's rows in sums; ``looks`` and ``seen`` as the other's."""

    def __init__(self) -> None:
        super().__init__(self._look_at_both, pause=0.1)
        self.watched: tuple[Tables, Lake] | None = None
        self.looks, self.seen = 0, set[tuple[str, ...]]()

    def watch(self, watched: tuple[Tables, Lake] | None) -> None:
        """Looks at these tables from now on, which are loaded from that lake."""
        self.watched = watched

    def _look_at_both(self) -> None:
        if self.watched is None:
            return
        tables, lake = self.watched
        for zone in (FEATURES, LABELS):
            days = tables.look(zone)
            if self.watched is None or days is None:
                continue
            for day, found in days.items():
                self.looks += 1
                self._judge(lake, zone, day, found)

    def _judge(self, lake: Lake, zone: str, day: date, found: list[Any]) -> None:
        where = f"{zone} ds={day}"
        rows, keys, *extremes = found
        if rows != keys or extremes[::2] != extremes[1::2]:
            self.wrong.append(f"table of {lake.root.name}/{where}: {rows} rows of {keys} keys, versions {extremes}: a mixture")
            return
        row: Row = ("", None, *extremes[::2])
        versions = versions_of(zone, day, row)
        expected = len(expected_rows(zone, day, versions))
        if rows != expected or any(number > lake.versions.get(which, 0) for which, number in versions.items()):
            self.wrong.append(f"table of {lake.root.name}/{where}: {rows} rows of {versions}, expected {expected}")
        self.seen.add((lake.root.name, zone, str(day), str(sorted(versions.values()))))
