"""Publishing predictions: every entity of the window once, or nothing."""

from __future__ import annotations

from typing import Any

import pytest

JAN = {"2013-01-01": {"a": 1, "b": 2}, "2013-01-02": {"c": 3}}
WINDOW = ("2013-01-01", "2013-01-02")
SCORES = [("a", 0.1), ("b", 0.2), ("c", 0.3)]


@pytest.fixture
def loaded(warehouse: Any, days: Any) -> Any:
    """A warehouse with features of two days in the window and one after it."""
    warehouse.deliver("r1", days({**JAN, "2013-01-03": {"later": 4}}))
    assert warehouse.load("r1")["Status"] == "FINISHED"
    return warehouse


def published(warehouse: Any) -> list[list[Any]]:
    return list(warehouse.rows("SELECT * FROM predictions.flight_delay ORDER BY model_version, entity_id, score"))


def test_predictions_get_the_day_of_their_entity_and_are_recorded(loaded: Any) -> None:
    answer = loaded.publish("p1", SCORES, WINDOW, version=3)
    assert answer["Status"] == "FINISHED", answer.get("Error")
    assert published(loaded) == [
        ["a", "2013-01-01", 3, 0.1, "p1"],
        ["b", "2013-01-01", 3, 0.2, "p1"],
        ["c", "2013-01-02", 3, 0.3, "p1"],
    ]
    assert loaded.rows(
        "SELECT table_name, ds, rows_expected, rows_found, keys_found, checksum_expected = checksum_found, passed "
        "FROM monitoring.load_checks WHERE run_key = 'p1' ORDER BY ds"
    ) == [
        ["predictions.flight_delay", "2013-01-01", 2, 2, 2, True, True],
        ["predictions.flight_delay", "2013-01-02", 1, 1, 1, True, True],
    ]


def test_publishing_again_replaces_the_same_days_of_the_same_version(loaded: Any) -> None:
    loaded.publish("p1", SCORES, WINDOW, version=1)
    loaded.publish("p2", SCORES, WINDOW, version=2)
    loaded.publish("p3", [("a", 0.9), ("b", 0.9)], ("2013-01-01", "2013-01-01"), version=2)
    assert [(row[0], row[2], row[4]) for row in published(loaded)] == [
        ("a", 1, "p1"), ("b", 1, "p1"), ("c", 1, "p1"), ("a", 2, "p3"), ("b", 2, "p3"), ("c", 2, "p2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        (SCORES[:-1], "2013-01-02 expected rows=1 checksum={c} found rows=0 keys=0 checksum=0\n"),
        ([*SCORES, ("b", 0.4)], "2013-01-01 expected rows=2 checksum={ab} found rows=3 keys=2 checksum="),
        ([("a", 0.1), ("a", 0.1), ("c", 0.3)], "2013-01-01 expected rows=2 checksum={ab} found rows=2 keys=1 checksum="),
        ([*SCORES, ("stranger", 0.5)], "2013-01-01 expected rows=2 checksum={ab} found rows=3 keys=3 checksum={ab}\n"),
        ([*SCORES, ("later", 0.5)], "2013-01-01 expected rows=2 checksum={ab} found rows=3 keys=3 checksum={ab}\n"),
    ],
    ids=["one is missing", "one came twice", "one in place of another", "one is unknown", "one is of another day"],
)
def test_predictions_that_are_not_one_for_each_entity_are_not_published(loaded: Any, scores: Any, why: str) -> None:
    loaded.publish("p1", SCORES, WINDOW)
    before = published(loaded)
    assert len(before) == 3
    answer = loaded.publish("p2", scores, WINDOW)
    sums = dict(loaded.rows("SELECT ds, SUM(checksum) FROM features.flight_delay_v1 GROUP BY ds"))
    why = why.format(ab=sums["2013-01-01"], c=sums["2013-01-02"])
    assert answer["Status"] == "FAILED"
    assert f"load checks failed: 1, first: predictions.flight_delay ds={why}" in answer["Error"]
    assert published(loaded) == before
