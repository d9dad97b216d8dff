"""Worlds in which nothing changes but what one puts in: the real days of 2013 in another order.

The flights of 2013 change all year long, so that on the real year no alarm is surely a false one, and none surely that of a
shift. Shuffle its whole weeks (or its days, each staying on its day of the week), and any stretch of time is a draw from the same
year: the model's training data, its holdout, and what comes after. What hangs together within a week (or a day) still does.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from laptop.landing import FIRST_DAY
from simulate.models import Days, Trained, Workshop
from simulate.policies import FIRST_TRAINED, Champion

WEEK = 7
BLOCKS = ("week", "day")


def shuffle(rows: Any, block: str, seed: int) -> Any:
    """The year's rows with its whole weeks, or its days within their day of the week, in another order, dated anew.

    :param block: ``week`` or ``day``: what stays together
    :raises ValueError: another block, or less than two weeks
    """
    import numpy as np
    import pandas as pd

    if block not in BLOCKS:
        raise ValueError(f"shuffle: expected a block of {' or '.join(BLOCKS)}, found {block}")
    days = np.unique(rows["ds"].to_numpy().astype("datetime64[D]"))
    weeks = len(days) // WEEK
    if weeks < 2:
        raise ValueError(f"shuffle: expected two weeks of days at least, found {len(days)} days")
    dice, place = np.random.default_rng(seed), np.arange(weeks * WEEK).reshape(weeks, WEEK)
    order = place[dice.permutation(weeks)] if block == "week" else dice.permuted(place, axis=0)
    position = {days[source]: new for new, source in enumerate(order.ravel())}
    old = rows["ds"].to_numpy().astype("datetime64[D]")
    kept = np.isin(old, days[: weeks * WEEK])
    moved = rows[kept]
    new = np.datetime64(FIRST_DAY) + np.array([position[day] for day in old[kept]])
    away = pd.to_timedelta((new - old[kept]).astype(int), unit="D")
    moved = moved.assign(ds=pd.to_datetime(new), event_time=(moved["event_time"] + away).to_numpy())
    return moved.sort_values(["ds", "entity_id"], ignore_index=True)


class World:
    """A world and the model that was trained in it, as the project trains.

    :param rows: the world's
    """

    def __init__(self, rows: Any):
        self.workshop = Workshop(rows)
        self.trained = self.workshop.train(FIRST_TRAINED)
        self.champion = Champion(self.workshop, self.trained)

    @property
    def reference(self) -> Any:
        """The rows that the model's profile was taken from."""
        profile = self.trained.profile
        return self.workshop.rows[self.workshop.between(date.fromisoformat(profile["start"]), date.fromisoformat(profile["end"]))]

    def between(self, first: date, last: date) -> Any:
        """The rows of these days, both inclusive."""
        return self.workshop.rows[self.workshop.between(first, last)]

    def disturbed(self, rows: Any, first: date) -> Champion:
        """The same model, serving these rows instead from the day after its holdout on.

        :param first: the first day that differs; of earlier days what has been counted is counted once for all
        """
        import numpy as np
        import pandas as pd

        early = self.workshop.between(self.trained.holdout[0], first - timedelta(days=1))
        later = rows[(rows["ds"] >= pd.Timestamp(first)).to_numpy()]
        scores = np.concatenate([self.trained.scores[early], self.workshop.score(FIRST_TRAINED, later)])
        data = Days(pd.concat([self.workshop.rows[early], later], ignore_index=True))
        return Champion(data, Trained(self.trained.holdout, self.trained.profile, scores), like=self.champion, until=first)
