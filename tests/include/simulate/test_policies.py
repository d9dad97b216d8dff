"""Policies play a made-up half-year in which the truth changes on the first of April."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simulate import models, policies
from simulate.__main__ import main
from simulate.models import Workshop

pytestmark = pytest.mark.slow
CHANGE, END = date(2013, 4, 1), date(2013, 6, 20)


def half_year(rows_a_day: int = 120) -> pd.DataFrame:
    """From April on it is the other of two numbers that makes flights late."""
    dice, days = np.random.default_rng(7), [date(2013, 1, 1) + timedelta(days=n) for n in range(175)]
    day = np.repeat(days, rows_a_day)
    first, second = dice.normal(size=(2, len(day)))
    truth = np.where(day < CHANGE, first, second)
    category = {name: dice.choice(["a", "b"], len(day)) for name in ("carrier", "origin", "dest")}
    return pd.DataFrame(
        {
            "entity_id": [f"{n:06d}" for n in range(len(day))], "event_time": pd.to_datetime(day), **category,
            "first": first, "second": second, "ds": pd.to_datetime(day),
            "label": (dice.random(len(day)) < 1 / (1 + np.exp(-2 * truth))).astype(int),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """Keeps its models in a folder of the test's."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(models, "FOLDER", tmp_path_factory.mktemp("simulate"))
        yield Workshop(half_year())


def test_a_policy_that_retrains_follows_the_truth_and_one_that_does_not_is_left_behind(workshop: Workshop) -> None:
    never = policies.play("never", policies.never, workshop, cooldown_days=0, end=END)
    monthly = policies.play("monthly", policies.monthly, workshop, cooldown_days=0, end=END)
    assert never.retrainings == {} and list(monthly.retrainings) == [date(2013, 4, 30), date(2013, 5, 31)]
    assert monthly.promoted[-1] == date(2013, 5, 31)
    aucs = {played.name: policies.monthly_auc(workshop, played.served, [4, 6]) for played in (never, monthly)}
    assert aucs["never"][4] == aucs["monthly"][4] < 0.6, "until then the same model serves"
    assert aucs["never"][6] < 0.6 < 0.65 < aucs["monthly"][6]


def test_a_loss_of_accuracy_is_found_within_days_and_retrains(workshop: Workshop) -> None:
    watch = policies.Watch(policies.Rules(), policies.EVIDENCE)
    played = policies.play("watch", watch, workshop, cooldown_days=28, end=END)
    asked = next(iter(played.retrainings))
    assert asked == date(2013, 4, 28), "found at once, but the cool-down wants four weeks of new data"
    assert "evidence" in played.retrainings[asked] and "Gini" in played.retrainings[asked]
    champion = policies.Champion(workshop, workshop.train(policies.FIRST_TRAINED))
    first, later = (policies.Evening(champion, CHANGE, policies.FIRST_TRAINED, day) for day in (CHANGE, date(2013, 4, 12)))
    assert not watch(first)[0] and "evidence" in watch(later)[0]


def test_the_fixed_loss_of_the_spec_waits_for_labels_and_then_retrains(workshop: Workshop) -> None:
    champion = policies.Champion(workshop, workshop.train(policies.FIRST_TRAINED))

    def asked_on(day: date) -> str:
        return policies.Watch(policies.Rules())(policies.Evening(champion, CHANGE, policies.FIRST_TRAINED, day))[0]

    assert not asked_on(date(2013, 4, 9)), "fewer than a thousand labels"
    assert "Gini" in asked_on(date(2013, 4, 12))


def test_the_cool_down_and_the_age_of_a_model_bound_how_often_it_is_retrained(workshop: Workshop) -> None:
    by_age = policies.Watch(policies.Rules(), policies.NEITHER, max_age_days=20)
    played = policies.play("age", by_age, workshop, cooldown_days=14, end=END)
    trained_until = [policies.FIRST_TRAINED, *(day - timedelta(days=1) for day in played.retrainings)]
    assert [(later - earlier).days for earlier, later in pairwise(trained_until)] == [19] * 4, "one that lost counts, too"


def test_a_model_is_trained_once_and_kept(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    before = workshop.train(policies.FIRST_TRAINED)
    again = Workshop(workshop.rows)
    monkeypatch.setattr(again, "_run_script", lambda *arguments: pytest.fail("trained again"))
    after = again.train(policies.FIRST_TRAINED)
    assert (after.scores == before.scores).all() and after.profile == before.profile
    assert list(after.holdout) == [date(2013, 3, 11), date(2013, 3, 31)]


def test_a_day_that_cannot_be_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--until", "2014-01-01"])
    assert "expected a day after 2013-03-31" in capsys.readouterr().err


def test_the_year_is_found_where_the_jobs_left_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from simulate import year

    monkeypatch.setattr(year, "FOLDER", tmp_path)
    (tmp_path / "year-of-other-code.parquet").write_text("old")
    made = tmp_path / f"year-{year.artifacts_version(year.PROJECT / 'include')}.parquet"
    half_year(1).to_parquet(made)
    assert len(year.load_year(print)) == 175
