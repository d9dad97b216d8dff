"""Chains of runs over the same days: delivered, corrected, killed, run again; and what they have come to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from data_deliveries import DAYS, FEATURES, LABELS, ZONES, Lake, Row, days_of, delivered_days, expected_rows
from data_jobs import BUCKET, KILLED, WINDOW, Attempt, Jobs
from data_phases import COMMITTING, PHASES, WRITING
from data_readers import LakeReader, TableReader, differences
from data_warehouse import LOAD, SHORT, Tables, Warehouse

from flywheel.core.commits import Commit

ROUNDS = 3
#: Kill points of one round, by what is killed; and in each chain the JVM in each of the jobs.
KILLS = {"ingest": 4, "features": 3, "load": 4}
KILLS_OF_A_CHAIN = ROUNDS * sum(KILLS.values()) + 2
LOAD_PHASES = ("before it deletes", "between delete and insert", "after the inserts")
_DELETE, _INSERTED = LOAD.index("features/delete_features"), LOAD.index("features/insert_labels") + 1
EVERYTHING = [(dataset, day) for dataset in ("visits", "outcomes") for day in delivered_days(dataset)]


@dataclass
class Lab:
    """What all chains share."""

    warehouse: Warehouse
    jobs: Jobs
    seed: str
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    killed_by: Counter[str] = field(default_factory=Counter)
    garbage: int = 0

    def __post_init__(self) -> None:
        self.lake_reader, self.table_reader = LakeReader(), TableReader()

    def read(self) -> None:
        """Starts the readers."""
        self.lake_reader.start()
        self.table_reader.start()

    def stop_reading(self) -> None:
        """Ends them."""
        self.lake_reader.stop()
        self.table_reader.stop()

    def lake(self, name: str) -> Lake:
        """Zones of their own in the bucket."""
        return Lake(self.warehouse.root / "s3" / BUCKET / name, f"s3://{BUCKET}/{name}")

    def measure(self) -> None:
        """Two clean runs: the first finds the JVM cold."""
        lake = self.lake("measured")
        for run_key in ("cold", "warm"):
            lake.deliver(EVERYTHING)
            for job in ("ingest", "features"):
                self.jobs.measure(job, lake, run_key)
        tables = Tables(self.warehouse, lake.uri)
        for _ in range(2):
            began = time.monotonic()
            self.warehouse.run(tables.load("warm", WINDOW))
            self.warehouse.clean_seconds = time.monotonic() - began


class Chain:
    """One chain: the same seed and number give the same deliveries, kills and moments, as far as a clock can.

    :ivar step: where it is, for messages
    """

    def __init__(self, lab: Lab, number: int):
        self.lab, self.name = lab, f"chain{number}"
        self.random = Random(f"{lab.seed}-{number}")
        self.lake = lab.lake(self.name)
        self.tables = Tables(lab.warehouse, self.lake.uri)
        self.step = "the start"
        self.deaths: list[str] = []
        self.unfinished: dict[str, set[str]] = {"ingest": set(), "features": set()}
        self.late: list[tuple[str, Any]] = []
        self._jvm_dies = {(self.random.randrange(ROUNDS), job) for job in ("ingest", "features")}

    @contextmanager
    def _at(self, step: str) -> Iterator[None]:
        """A step; what the readers have seen until its end has to be right."""
        self.step, self.deaths = step, []
        yield
        self._require(not self.lab.lake_reader.wrong, "a reader of S3 saw: ", self.lab.lake_reader.wrong[:3])
        self._require(not self.lab.table_reader.wrong, "a reader of Redshift saw: ", self.lab.table_reader.wrong[:3])

    def _require(self, holds: object, *told: object) -> None:
        where = f"seed {self.lab.seed}, {self.name}, {self.step}, killed there: {', '.join(self.deaths) or 'nothing'}: "
        assert holds, where + "".join(map(str, told))

    def play(self) -> None:
        """All rounds, then the same over the final deliveries with nothing in the way."""
        self.lab.lake_reader.watch(self.lake)
        self.lab.table_reader.watch((self.tables, self.lake))
        try:
            for number in range(ROUNDS):
                self._round(number)
            with self._at("the comparison with a clean run"):
                self._compare_with_clean_run()
                self._judge_garbage()
        finally:
            self.lab.lake_reader.watch(None)
            self.lab.table_reader.watch(None)

    def _round(self, number: int) -> None:
        self.first, self.second = f"r{number}a", f"r{number}b"
        with self._at(f"round {number}, ingest"):
            self._deliver(number)
            self._strike("ingest", (number, "ingest") in self._jvm_dies)
            if self.late:
                self.lake.deliver(self.late)
                self.late = []
            self._finish("ingest")
            self._compare(ZONES[:2])
        with self._at(f"round {number}, features"):
            self._strike("features", (number, "features") in self._jvm_dies)
            self._finish("features")
            self._compare(ZONES)
        with self._at(f"round {number}, load"):
            self._strike_loads()
            self._load_two_at_once()
            # The DAG runs one at a time: what was built last is loaded last.
            self.lab.warehouse.run(self.tables.load(self.second, WINDOW))
            self._compare_tables(self.tables, self.lake)

    # -- deliveries --

    def _deliver(self, number: int) -> None:
        if number:
            self._correct()
            return
        if self.random.random() < 0.5:
            self.late = [self.random.choice([("visits", day) for day in DAYS[1:]])]
        self.lake.deliver(one for one in EVERYTHING if one not in self.late)

    def _correct(self) -> None:
        """New versions of some of what is there."""
        there = [one for one in EVERYTHING if one not in self.late]
        self.lake.deliver(self.random.sample(there, self.random.randint(1, len(there))))

    # -- Spark jobs --

    def _strike(self, job: str, jvm: bool) -> None:
        """Runs that are killed, alone or two at once, as often as the round wants it."""
        hit = 0
        for _ in range(10 * KILLS[job]):
            if hit >= KILLS[job]:
                break
            hit += self._strike_once(job)
        self._require(hit >= KILLS[job], f"expected {KILLS[job]} kills to hit, found {hit}")
        while jvm and not self._kill_jvm(job):
            pass

    def _strike_once(self, job: str) -> int:
        running = [self._start(job, self.first, self._death(job))]
        if self.random.random() < 0.35:
            time.sleep(self.random.uniform(0, self.lab.jobs.clean[job].seconds))
            if job == "ingest":
                self._correct()
            # Another run, or another try of the same one.
            run_key, dies = self.random.choice((self.first, self.second)), self.random.random() < 0.6
            running.append(self._start(job, run_key, self._death(job) if dies else None))
        return sum(self._ended(attempt) for attempt in running)

    def _death(self, job: str) -> dict[str, Any]:
        """When a driver is to die: at a call of a phase, at a small file, or after some time."""
        clean, kind = self.lab.jobs.clean[job], self.random.random()
        sent = self.random.random() < 0.5
        if kind < 0.45:
            phase = self.random.choice(PHASES)
            return {"phase": phase, "call": self.random.randint(1, max(1, clean.calls[phase])), "sent": sent}
        if kind < 0.75:
            return {"put": self.random.randint(1, clean.puts), "call": self.random.randint(1, 8), "sent": sent}
        return {"seconds": self.random.uniform(0, 1.1 * clean.seconds)}

    def _start(self, job: str, run_key: str, death: dict[str, Any] | None) -> tuple[Attempt, dict[str, Any] | None]:
        """Starts a driver; one that is to die after some time is killed from outside by :meth:`_ended`."""
        self.unfinished[job].add(run_key)
        return self.lab.jobs.start(job, self.lake, run_key, None if death and "seconds" in death else death), death

    def _ended(self, started: tuple[Attempt, dict[str, Any] | None]) -> int:
        """Waits for a driver's end. Returns 1 if it was killed, 0 if it came through."""
        attempt, death = started
        if death and "seconds" in death:
            time.sleep(max(0.0, attempt.since + death["seconds"] - time.monotonic()))
            attempt.kill()
        self.lab.jobs.wait(attempt)
        if attempt.exit_code == KILLED:
            self._note(attempt.job, attempt.phase, "driver")
            return 1
        self._judge(attempt)
        return 0

    def _note(self, what: str, phase: str, by: str) -> None:
        self.deaths.append(f"{what} {phase} ({by})")
        self.lab.kills[what, phase] += 1
        self.lab.killed_by[by] += 1

    def _judge(self, attempt: Attempt) -> None:
        """A job that was not killed has succeeded, or says which day has not been delivered yet."""
        missing = [f"ds={day}" for _, day in self.late]
        right = attempt.exit_code == 0 or (missing and missing[0] in attempt.output() and "found none" in attempt.output())
        self._require(right, attempt.log.name, " ended with ", attempt.exit_code, ": ", attempt.output())
        if attempt.exit_code == 0:
            self.unfinished[attempt.job].discard(attempt.run_key)

    def _kill_jvm(self, job: str) -> bool:
        """Kills the JVM with its driver at some moment of a job; whether it struck."""
        attempt, _ = self._start(job, self.first, None)
        time.sleep(self.random.uniform(0, self.lab.jobs.clean[job].seconds))
        attempt.kill()
        self.lab.jobs.kill_jvm()
        self.lab.jobs.wait(attempt)
        if attempt.exit_code == 0:
            return False
        self._note(job, attempt.phase, "JVM")
        return True

    def _finish(self, job: str) -> None:
        """What was killed is run again until it comes through: one after the other, or two at once with a correction between.

        Of two, the first stands still somewhere while days are delivered again and the second takes them, from start to end. What
        the first has read is old when it goes on, and commits; the days have to be of the new deliveries all the same.
        """
        if self.random.random() < 0.6:
            phase = self.random.choice((WRITING, COMMITTING))
            stop = {"phase": phase, "call": self.random.randint(1, 1 + self.lab.jobs.clean[job].calls[phase] // 3), "stop": True}
            slow, _ = self._start(job, self.first, stop)
            self.lab.jobs.wait_until_still(slow)
            self._correct()
            if job == "features":
                self.lab.jobs.run("ingest", self.lake, self.first)
            self._ended(self._start(job, self.second, None))
            slow.go_on()
            self._ended((slow, None))
        else:
            for run_key in (self.first, self.second):
                self._ended(self._start(job, run_key, None))
        self._require(not self.unfinished[job], f"runs that have not ended well: {self.unfinished[job]}")

    # -- loads --

    def _strike_loads(self) -> None:
        hit = 0
        for number in range(10 * KILLS["load"]):
            if hit == KILLS["load"]:
                return
            hit += self._strike_load(f"{self.name}-{self.first}-{number}-{time.monotonic_ns()}")
        self._require(False, f"expected {KILLS['load']} kills to hit, found {hit}")

    def _load_two_at_once(self) -> None:
        """Of two that both live the one waits for the other, which is slow after its delete."""
        warehouse = self.lab.warehouse
        slow, other = (self.tables.load(run_key, WINDOW) for run_key in (self.first, self.second))
        running = [warehouse.start([*slow[: _DELETE + 1], SHORT, *slow[_DELETE + 1 :]]), warehouse.start(other)]
        for statement in running:
            found = warehouse.ended(statement)
            self._require(found["Status"] == "FINISHED", "one of two loads at once: ", found.get("Error"))

    def _strike_load(self, name: str) -> int:
        """A load that is cut short; beside it, it may be, another one whose loader has been killed and which goes on alone."""
        warehouse, kind = self.lab.warehouse, self.random.random()
        statements = self.tables.load(self.random.choice((self.first, self.second)), WINDOW)
        clean = warehouse.clean_seconds
        if kind < 0.5:
            how: dict[str, Any] = {"at": self.random.randint(0, len(statements))}
        elif kind < 0.85:
            how = {"killed_after": self.random.uniform(0, 1.1 * clean)}
        else:
            how = {"server_after": self.random.uniform(0, 1.1 * clean)}
        other = None
        if self.random.random() < 0.4 and "server_after" not in how:
            other = warehouse.start(self.tables.load(self.random.choice((self.first, self.second)), WINDOW))
        answer = warehouse.cut_short(statements, name, how)
        if other:
            found = warehouse.ended(other)
            self._require(found["Status"] == "FINISHED", "a load beside one that was killed: ", found.get("Error"))
        if answer["Status"] == "FINISHED":
            return 0
        done = sum(part["Status"] == "FINISHED" for part in answer["SubStatements"])
        phase = LOAD_PHASES[(done >= _DELETE) + (done >= _INSERTED)]
        self._note("load", phase, {"at": "cancel", "killed_after": "session", "server_after": "Redshift"}[next(iter(how))])
        return 1

    # -- what has to be there --

    def _compare(self, zones: tuple[str, ...]) -> None:
        """What readers find is what the newest deliveries give, made of exactly them."""
        for zone in zones:
            days = self.lake.committed_days(zone)
            self._require(days == list(days_of(zone)), f"{zone}: expected commits of {days_of(zone)}, found {days}")
            for day in days:
                commit, rows = self._read(self.lake, zone, day)
                expected = expected_rows(zone, day, self.lake.versions)
                wrong = differences(expected, [row[: len(expected[0])] for row in rows])
                self._require(not wrong, f"{zone} ds={day}: ", wrong)
                self._require(commit.rows == len(rows), f"{zone} ds={day}: {commit.rows} rows promised, {len(rows)} found")
                if zone in (FEATURES, LABELS):
                    checksum = sum(int(str(row[-1])) for row in rows)
                    self._require(commit.checksum == str(checksum), f"{zone} ds={day}: another checksum than promised")

    @staticmethod
    def _read(lake: Lake, zone: str, day: Any) -> tuple[Commit, list[Row]]:
        commit = Commit.from_json(lake.commit_file(zone, day).read_text())
        return commit, lake.rows(commit)

    def _compare_tables(self, tables: Tables, lake: Lake) -> None:
        """The tables hold what the commits name, to the last bit, and no day that a load has not checked."""
        contents = tables.contents()
        for zone in (FEATURES, LABELS):
            expected = [row for day in days_of(zone) for row in self._read(lake, zone, day)[1]]
            found: list[Row] = [(row[0], *row[3:]) for row in contents[zone]]
            wrong = differences([(row[0], *row[2:]) for row in expected], found)
            self._require(not wrong, f"{tables.names[zone]}: ", wrong)
            moved = [row for row in contents[zone] if row[2] not in str(row[0])]
            self._require(not moved, f"{tables.names[zone]}: rows in another day's partition: ", moved[:2])
        self._require(not (left := tables.unchecked_days()), "days that no load has checked: ", left[:2])

    def _compare_with_clean_run(self) -> None:
        clean = self.lab.lake(f"{self.name}-clean")
        for one, version in self.lake.versions.items():
            clean.deliver([one], version)
        for job in ("ingest", "features"):
            self.lab.jobs.run(job, clean, "clean")
        tables = Tables(self.lab.warehouse, clean.uri)
        self.lab.warehouse.run(tables.load("clean", WINDOW))
        for zone in ZONES:
            for day in days_of(zone):
                wrong = differences(self._read(clean, zone, day)[1], self._read(self.lake, zone, day)[1])
                self._require(not wrong, f"{zone} ds={day} beside a clean run: ", wrong)
        self._require(tables.contents() == self.tables.contents(), "tables are not those of a clean run")

    def _judge_garbage(self) -> None:
        """Nobody has read a folder that no driver has ever committed."""
        drivers = [attempt for attempt in self.lab.jobs.attempts if attempt.lake == self.name]
        committed = {folder for attempt in drivers for folder in attempt.told("commit")}
        garbage = {f"{self.name}/{folder}" for folder in self.lake.folders() - committed}
        self.lab.garbage += len(garbage)
        read = garbage & self.lab.lake_reader.folders
        self._require(not read, f"folders that no commit names were read: {sorted(read)[:3]}")


def write_summary(lab: Lab, path: Path, seconds: float) -> str:
    """What was killed, how often and where; the text."""
    lines = [f"seed {lab.seed}: {lab.kills.total()} kills in {seconds:.0f} s"]
    lines += [f"{what} {phase}: {count}" for (what, phase), count in sorted(lab.kills.items())]
    lines.append("killed: " + ", ".join(f"{by} {count}" for by, count in sorted(lab.killed_by.items())))
    lines.append(f"folders of the dead: {lab.garbage}")
    lines.append(f"readers of S3: {lab.lake_reader.looks} looks, {len(lab.lake_reader.seen)} versions seen")
    lines.append(f"readers of Redshift: {lab.table_reader.looks} looks, {len(lab.table_reader.seen)} versions seen")
    text = "\n".join(lines)
    path.write_text(text)
    return text
