from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simulate import models
from simulate.models import Workshop
from simulate.policies import FIRST_TRAINED, Champion
from simulate.season import play_season

pytestmark = pytest.mark.slow


def test_a_summer_is_a_season_to_those_who_have_seen_one_and_nobody_is_called_either_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "FOLDER", tmp_path)
    dice, day = np.random.default_rng(7), np.repeat(pd.date_range(date(2013, 1, 1), date(2013, 7, 31)), 60)
    truth = dice.normal(size=len(day))
    weather = {name: dice.normal(size=len(day)) for name in models.SPEC.features.context()}
    warmth = np.where(day < pd.Timestamp(2013, 5, 1), 40.0, 75.0)
    rows = pd.DataFrame(
        {
            "entity_id": [f"{n:06d}" for n in range(len(day))], "event_time": day,
            **{name: dice.choice(["a", "b"], len(day)) for name in ("carrier", "origin", "dest")},
            "first": truth, **weather, "temp": warmth + 5 * dice.normal(size=len(day)), "ds": day,
            "label": (dice.random(len(day)) < 1 / (1 + np.exp(-2 * truth))).astype(int),
        }
    )  # fmt: skip
    workshop = Workshop(rows)
    champion = Champion(workshop, workshop.train(FIRST_TRAINED))
    stranger, native = (play_season(champion, known=known) for known in (False, True))
    assert stranger.evenings == native.evenings == stranger.textbook == 28
    assert stranger.alarmed == native.alarmed == 0, "weather is on the watch-list"
    assert native.called == {"temp": {"season": 28}}
    assert set(stranger.called) == {"temp"} and "season" not in stranger.called["temp"]
