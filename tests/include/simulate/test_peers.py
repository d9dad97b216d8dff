"""What the peers are given and how their answers are read; they themselves, where their environments are installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from laptop.environment import PROJECT
from simulate import models, peer_play
from simulate.peer_play import Answers, days_to, file_of, peer_cells, read_answers, run_peer, weekly, write_looks
from simulate.shifts import SHIFTS
from simulate.worlds import World

LOOKS = ["2013-05-05", "2013-05-12"]
BY_NAME = {shift.name: shift for shift in SHIFTS}
UNIT, CONCEPT = BY_NAME["temp: Fahrenheit as Celsius"], BY_NAME["concept: 50% of labels dealt anew"]


def test_weeks_end_on_their_seventh_day() -> None:
    assert weekly(date(2013, 4, 29), 20) == LOOKS


def test_a_delay_ends_at_the_first_look_that_says_what_is_not_said_without_the_shift() -> None:
    def of(*looks: list[str]) -> dict[str, list[str]]:
        return dict(zip(LOOKS, looks, strict=True))

    def changed(look: list[str]) -> set[str]:
        return {"temp"} & set(look)

    assert days_to(of(["seats"], ["temp"]), of([], []), changed) == "14"
    assert days_to(of([], []), of([], []), changed) == "-"
    assert days_to(of(["temp"], ["temp"]), of(["temp"], ["temp"]), changed) == "always"
    assert days_to(of([], ["temp"]), of([], ["temp"]), changed) == "-"


def test_each_peer_is_read_by_the_changed_column_and_nannyml_by_its_auc() -> None:
    calm = {"columns": [], "estimated": False, "realised": False}
    said = Answers(
        {"quiet.parquet": {LOOKS[0]: ["temp"], LOOKS[1]: []}, file_of(UNIT): {LOOKS[0]: ["temp"], LOOKS[1]: ["temp"]}},
        {
            "quiet.parquet": dict.fromkeys(LOOKS, calm),
            file_of(UNIT): {LOOKS[0]: {**calm, "columns": ["temp"]}, LOOKS[1]: {**calm, "realised": True}},
        },
        {},
    )
    assert peer_cells(UNIT, said) == ["14", "7", "-", "14"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Half a year of made-up days with the columns that two shifts change."""
    dice, day = np.random.default_rng(7), np.repeat(pd.date_range(date(2013, 1, 1), date(2013, 6, 23)), 60)
    truth = dice.normal(size=len(day))
    rows = pd.DataFrame(
        {
            "entity_id": [f"{n:06d}" for n in range(len(day))], "event_time": day,
            **{name: dice.choice(["a", "b"], len(day)) for name in ("carrier", "origin", "dest")},
            "first": truth, "temp": 55 + 10 * dice.normal(size=len(day)), "ds": day,
            "label": (dice.random(len(day)) < 1 / (1 + np.exp(-2 * truth))).astype(int),
        }
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(models, "FOLDER", tmp_path_factory.mktemp("simulate"))
        yield World(rows)


@pytest.fixture(scope="module")
def folder(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("looks")
    write_looks(made, world, [UNIT, CONCEPT], seed=0)
    return made


@pytest.mark.slow
def test_the_peers_get_the_training_data_the_served_days_and_those_of_each_shift(world: World, folder: Path) -> None:
    plan = json.loads((folder / "looks.json").read_text())
    assert plan["columns"] == ["carrier", "origin", "dest", "first", "temp"] and plan["window_days"] == 28
    quiet, unit, concept = plan["files"]
    assert quiet["looks"] == weekly(date(2013, 4, 29), 42), "a window after the shifts is not over yet"
    assert (unit["columns"], concept["columns"]) == (["temp"], ["label"]) and unit["looks"] == quiet["looks"]
    reference = pd.read_parquet(folder / "reference.parquet")
    assert str(reference["ds"].max().date()) == world.trained.profile["end"]
    served = pd.read_parquet(folder / "served.parquet")
    assert served["ds"].min() == pd.Timestamp(world.trained.holdout[0]) and served["ds"].max() == pd.Timestamp(2013, 4, 28)
    rows = pd.read_parquet(folder / file_of(UNIT))
    mean = rows.groupby(rows["ds"] >= pd.Timestamp(2013, 4, 29))["temp"].mean()
    assert mean[False] == pytest.approx(55, abs=1) and mean[True] == pytest.approx(12.8, abs=1)
    assert served["score"].between(0, 1).all()


@pytest.mark.slow
@pytest.mark.skipif(
    not all((PROJECT / f".venv-{peer}" / "bin" / "python").exists() for peer in peer_play.PEERS),
    reason="the peers' environments are made by `make simulate ARGS=--peers`",
)
def test_the_peers_answer(folder: Path) -> None:
    for peer in peer_play.PEERS:
        run_peer(peer, folder, print)
    said = read_answers(folder)
    assert peer_cells(UNIT, said)[:2] == ["7", "7"]
    assert peer_cells(CONCEPT, said)[3] == "7", "realised AUC sees it"
    assert peer_cells(CONCEPT, said)[:3] == ["-", "-", "-"], "what looks at inputs and scores cannot"


def test_a_peer_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_play, "PROJECT", tmp_path)
    with pytest.raises(RuntimeError, match=r"evidently: expected .*\.venv-evidently.*make simulate"):
        run_peer("evidently", tmp_path, print)
    python = tmp_path / ".venv-evidently" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    with pytest.raises(RuntimeError, match=r"exit code 1(.|\n)*looks\.json|exit code 1(.|\n)*No module named"):
        run_peer("evidently", tmp_path, print)
