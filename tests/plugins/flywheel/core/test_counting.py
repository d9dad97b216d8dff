"""Counting in SQL gives the bins and moments that counting in memory gives."""

import random
import sqlite3
from datetime import date

import numpy as np
import pytest

from flywheel.core.counting import (
    DayCounts,
    Moments,
    add_counts,
    counts_from_sql,
    days_from_json,
    days_to_json,
    moments_from_sql,
    sql_counts,
)
from flywheel.core.profiles import bin_counts, reference_profile


def test_a_database_counts_the_same_bins():
    random.seed(3)

    def rows(shift: float, levels: str) -> list[tuple]:
        return [
            (
                None if random.random() < 0.1 else random.gauss(shift, 1),
                random.randrange(3),
                None if random.random() < 0.05 else random.choice(levels),
                None if shift == 0 else 1.0,
            )
            for _ in range(3000)
        ]

    names, reference, current = ("x", "small", "level", "always_null"), rows(0, "aaabbc'\\"), rows(0.7, "abbcd'\\")
    profile = reference_profile({n: [r[i] for r in reference] for i, n in enumerate(names)}, categorical=["level"])
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    database.create_function("CHR", 1, chr)  # as the engines that this is written for have it
    database.execute("CREATE TABLE features (x REAL, small INTEGER, level TEXT, always_null REAL)")
    select = ", ".join(f"{expression} AS {alias}" for alias, expression in sql_counts(profile).items())
    empty = dict(database.execute(f"SELECT {select} FROM features").fetchone())
    assert counts_from_sql(profile, empty) == (0, {n: [0] * len(f["counts"]) for n, f in profile["features"].items()})
    database.executemany("INSERT INTO features VALUES (?, ?, ?, ?)", current)
    found = dict(database.execute(f"SELECT {select} FROM features").fetchone())
    expected = {n: bin_counts(profile["features"][n], [r[i] for r in current]) for i, n in enumerate(names)}
    assert counts_from_sql(profile, found) == (3000, expected)


def test_a_database_sums_the_moments_of_finite_values_about_the_reference():
    rng = np.random.default_rng(4)
    reference, current = 1e9 + rng.normal(size=500), 1e9 + rng.normal(2, 3, 400)
    profile = reference_profile({"x": reference, "c": ["a"] * 500}, categorical=["c"])
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    database.execute("CREATE TABLE features (x REAL, c TEXT)")
    select = ", ".join(f"{expression} AS {alias}" for alias, expression in sql_counts(profile, moments=True).items())
    nothing = moments_from_sql(profile, dict(database.execute(f"SELECT {select} FROM features").fetchone()))["x"]
    assert nothing.rows == 0 and np.isnan(nothing.mean) and np.isnan(nothing.sd)
    values = [*current.tolist(), None, float("inf")]
    database.executemany("INSERT INTO features VALUES (?, 'a')", [(value,) for value in values])
    found = moments_from_sql(profile, dict(database.execute(f"SELECT {select} FROM features").fetchone()))["x"]
    assert found.rows == 400
    assert found.mean == pytest.approx(current.mean(), rel=1e-15) and found.sd == pytest.approx(current.std(), rel=1e-9)


def test_not_a_number_is_a_null_where_the_engine_can_tell_it():
    """The answer of an engine that orders NaN above all numbers: 3 numbers, 2 NaN, 1 null."""
    profile = reference_profile({"x": [1.0, 2.0, 3.0]})
    expressions = sql_counts(profile, is_nan="isnan({column})", quote="`")
    assert expressions["x__nan"] == "SUM(CASE WHEN isnan(`x`) THEN 1 ELSE 0 END)"
    row = {"rows_counted": 6, "x__null": 1, "x__nan": 2, "x__below": 0, "x__over_0": 4, "x__over_1": 3, "x__over_2": 2}
    assert counts_from_sql(profile, row) == (6, {"x": bin_counts(profile["features"]["x"], [1.0, 2.0, 3.0, None] + [np.nan] * 2)})


def test_days_add_up():
    assert add_counts([{"x": [1, 2], "y": [3]}, {"x": [10, 20], "y": [30]}]) == {"x": [11, 22], "y": [33]}
    assert add_counts([]) == {}
    first, second = Moments(2, 5.0, 1.0, 3.0), Moments(1, 5.0, 2.0, 4.0)
    assert first.plus(second) == Moments(3, 5.0, 3.0, 7.0) and first.plus(second).mean == 6.0
    with pytest.raises(ValueError, match=r"expected one origin, found 5\.0 and 4\.0"):
        first.plus(Moments(1, 4.0, 0.0, 0.0))


def test_what_any_engine_gives_for_a_day_can_be_stored_and_added():
    first = DayCounts(5, {"x": [1, 4], "c": [5, 0]}, {"x": Moments(4, 0.1, 0.2, 1 / 3)})
    second = DayCounts(2, {"x": [2, 0], "c": [1, 1], "score": [2]}, {"x": Moments(2, 0.1, 1.0, 2.0)})
    days = {date(2013, 7, 2): second, date(2013, 7, 1): first}
    text = days_to_json(days)
    assert text.startswith('{"2013-07-01": {"rows": 5, "counts": {"x": [1, 4], "c": [5, 0]}, "moments": {"x": {"rows": 4, ')
    assert days_from_json(text) == days and list(days_from_json(text)) == sorted(days)
    assert first.plus(second) == DayCounts(7, {"x": [3, 4], "c": [6, 1], "score": [2]}, {"x": Moments(6, 0.1, 1.2, 1 / 3 + 2.0)})
    assert first == DayCounts(5, {"x": [1, 4], "c": [5, 0]}, {"x": Moments(4, 0.1, 0.2, 1 / 3)}), "adding changes neither"


def test_a_row_of_sql_becomes_a_day_with_moments_where_it_has_them():
    profile = reference_profile({"x": [1.0, 2.0, 3.0], "c": ["a", "a", "b"]}, categorical=["c"])
    row = {"rows_counted": 3, "x__null": 1, "x__below": 0, "x__over_0": 2, "x__over_1": 1, "x__over_2": 0}
    row |= {"c__null": 0, "c__is_0": 2, "c__is_1": 1}
    counts = {"x": [0, 0, 1, 1, 0, 1], "c": [2, 1, 0, 0, 0]}
    assert DayCounts.from_sql(profile, row) == DayCounts(3, counts)
    row |= {"x__finite": 2, "x__sum": 1.0, "x__squares": 1.0}
    assert DayCounts.from_sql(profile, row) == DayCounts(3, counts, {"x": Moments(2, 2.0, 1.0, 1.0)})
