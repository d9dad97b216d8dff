"""The load of features and labels: each chunk whole, checked and once, whatever comes between."""

from __future__ import annotations

import time
from typing import Any

import pytest
from fault_helpers import Faults

JAN = {"2013-01-01": {"a": 1, "b": 2}, "2013-01-02": {"c": 3}}
CORRECTED = {"2013-01-01": {"a": 7, "d": 4}, "2013-01-02": {"c": 3, "e": 5, "f": 6}}
SLOW = "SELECT COUNT(*) FROM (SELECT ROW_NUMBER() OVER () AS n FROM {})".format(", ".join(f"two AS t{n}" for n in range(34)))
SHORT = "SELECT COUNT(*) FROM (SELECT ROW_NUMBER() OVER () AS n FROM {})".format(", ".join(f"two AS t{n}" for n in range(21)))
TWO = "CREATE TABLE two AS SELECT 1 AS x UNION ALL SELECT 2"


def finished(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer["Status"] == "FINISHED", answer.get("Error")
    return answer


def entities(warehouse: Any) -> list[list[str]]:
    """Entities of the features and of the labels."""
    return [[row[0] for row in rows] for rows in warehouse.tables()]


def test_a_load_puts_what_was_written_into_the_tables_and_tells_it(warehouse: Any, days: Any) -> None:
    finished(warehouse.load(warehouse.deliver("r1", days(JAN), days({"2013-01-01": {"a": 1, "b": 2}}))))
    features, labels = warehouse.tables()
    assert [row[:5] for row in features] == [
        ["a", "2013-01-01 12:00:00", "2013-01-01", 1, 1],
        ["b", "2013-01-01 12:00:00", "2013-01-01", 2, 2],
        ["c", "2013-01-02 12:00:00", "2013-01-02", 3, 3],
    ]
    assert [(row[0], row[2], row[3]) for row in labels] == [("a", "2013-01-01", 1), ("b", "2013-01-01", 0)]
    assert warehouse.rows("SELECT table_name, ds, rows_found FROM monitoring.load_checks ORDER BY table_name, ds") == [
        ["features.flight_delay_v1", "2013-01-01", 2],
        ["features.flight_delay_v1", "2013-01-02", 1],
        ["labels.flight_delay_v1", "2013-01-01", 2],
    ]
    checks = warehouse.rows(
        "SELECT ds, rows_expected, rows_found, keys_found, checksum_expected, checksum_found, passed, run_key "
        "FROM monitoring.load_checks WHERE table_name LIKE 'features.%' ORDER BY ds"
    )
    assert [check[:4] + check[6:] for check in checks] == [
        ["2013-01-01", 2, 2, 2, True, "r1"],
        ["2013-01-02", 1, 1, 1, True, "r1"],
    ]
    assert all(expected == found for _, _, _, _, expected, found, _, _ in checks)
    assert int(checks[0][4]) > 2**63, "the sum of two checksums outgrows a BIGINT"


def test_a_load_that_is_run_again_changes_nothing(warehouse: Any, days: Any) -> None:
    warehouse.deliver("r1", days(JAN), days(JAN))
    finished(warehouse.load("r1"))
    once = warehouse.tables()
    finished(warehouse.load("r1"))
    assert warehouse.tables() == once


def test_exactly_the_days_that_were_written_are_replaced(warehouse: Any, days: Any) -> None:
    finished(warehouse.load(warehouse.deliver("r1", days(JAN), days(JAN))))
    finished(warehouse.load(warehouse.deliver("r2", days({"2013-01-02": {"x": 9}}), days({"2013-01-01": {}}))))
    assert entities(warehouse) == [["a", "b", "x"], ["c"]], "the labels' first day has no rows any more"
    assert warehouse.rows(
        "SELECT ds, rows_found FROM monitoring.load_checks WHERE run_key = 'r2' AND table_name LIKE 'labels.%'"
    ) == [["2013-01-01", 0]]


def test_a_chunk_without_labels_leaves_the_labels_as_they_are(warehouse: Any, days: Any) -> None:
    finished(warehouse.load(warehouse.deliver("r1", days(JAN), days(JAN))))
    labels = warehouse.tables()[1]
    finished(warehouse.load(warehouse.deliver("r2", days({"2013-01-03": {"x": 9}}))))
    assert warehouse.tables()[1] == labels


@pytest.mark.parametrize(
    ("delivered", "why"),
    [
        ({"told": {"2013-01-01": (3, 9)}}, "2013-01-01 expected rows=3 checksum=9 found rows=2 keys=2 checksum="),
        ({"told": {"2013-01-01": (2, 9)}}, "2013-01-01 expected rows=2 checksum=9 found rows=2 keys=2 checksum="),
        (
            {"told": {"2013-01-02": (2, 9)}, "twice": ("c",)},
            "2013-01-02 expected rows=2 checksum=9 found rows=2 keys=1 checksum=",
        ),
        ({"told": {"2013-01-05": (4, 9)}}, "2013-01-05 expected rows=4 checksum=9 found rows=0 keys=0 checksum=0\n"),
    ],
    ids=["a row is missing", "a row is another", "a row came twice", "a day is missing"],
)
def test_a_load_that_does_not_hold_what_was_written_fails_as_a_whole(
    warehouse: Any, days: Any, delivered: dict[str, Any], why: str
) -> None:
    finished(warehouse.load(warehouse.deliver("r1", days({"2013-01-01": {"old": 1}}), days({"2013-01-01": {"old": 1}}))))
    before = warehouse.tables()
    answer = warehouse.load(warehouse.deliver("r2", days(JAN, **delivered), days(JAN)))
    assert answer["Status"] == "FAILED"
    assert f"load checks failed: 1, first: features.flight_delay_v1 ds={why}" in answer["Error"]
    assert warehouse.tables() == before
    assert warehouse.rows("SELECT DISTINCT run_key FROM monitoring.load_checks") == [["r1"]]


def test_rows_of_a_day_that_was_not_told_are_found(warehouse: Any, days: Any) -> None:
    silent = days(JAN)
    silent.csv = lambda: "".join(days({"2013-01-01": JAN["2013-01-01"]}).csv())
    answer = warehouse.load(warehouse.deliver("r1", silent))
    assert "features.flight_delay_v1 ds=2013-01-02 expected rows=0 checksum=0 found rows=1 keys=1" in answer["Error"]


def slowed(statements: list[str], at: int, query: str) -> list[str]:
    return [*statements[:at], query, *statements[at:]]


@pytest.mark.parametrize("latched", [True, False])
def test_of_two_loads_of_the_same_days_at_once_one_wins_whole(warehouse: Any, days: Any, latched: bool) -> None:
    """Without the latch the second's snapshot is older than the first's commit: error 1023."""
    finished(warehouse.run([TWO]))
    finished(warehouse.load(warehouse.deliver("old", days(JAN), days(JAN))))
    for run_key, content in (("r1", JAN), ("r2", CORRECTED)):
        warehouse.deliver(run_key, days(content), days(content))
    batches = [slowed(warehouse.load_batch(key), 3, SHORT)[0 if latched else 1 :] for key in ("r1", "r2")]
    first = warehouse.start(batches[0])
    time.sleep(0.2)
    answers = [warehouse.ended(statement) for statement in (first, warehouse.start(batches[1]))]
    if latched:
        assert [answer["Status"] for answer in answers] == ["FINISHED", "FINISHED"]
        assert entities(warehouse) == [["a", "c", "d", "e", "f"]] * 2
    else:
        assert [answer["Status"] for answer in answers] == ["FINISHED", "FAILED"]
        assert answers[1]["Error"].startswith("ERROR: 1023\n  Detail: Serializable isolation violation on table - ")
        assert entities(warehouse) == [["a", "b", "c"]] * 2


def test_readers_do_not_wait_for_a_load_and_see_the_tables_as_they_were(warehouse: Any, days: Any) -> None:
    finished(warehouse.run([TWO]))
    finished(warehouse.load(warehouse.deliver("old", days(JAN), days(JAN))))
    before = warehouse.tables()
    warehouse.deliver("r1", days(CORRECTED), days(CORRECTED))
    batch = warehouse.load_batch("r1")
    running = warehouse.start(slowed(batch, len(batch), SLOW))
    while warehouse.client.describe_statement(Id=running)["SubStatements"][len(batch)]["Status"] != "STARTED":
        time.sleep(0.02)
    assert warehouse.tables() == before
    warehouse.client.cancel_statement(Id=running)


def test_a_load_that_is_killed_at_any_statement_changes_nothing_and_its_retry_is_as_a_clean_load(
    warehouse: Any, days: Any
) -> None:
    finished(warehouse.run([TWO]))
    clean = {}
    for run_key, content in (("r1", JAN), ("r2", CORRECTED)):
        finished(warehouse.load(warehouse.deliver(run_key, days(content), days(content))))
        clean[run_key] = warehouse.tables()
    faults = Faults(warehouse.aws.endpoint)
    before = "r2"
    for at in range(len(warehouse.load_batch("r1")) + 1):
        run_key = "r1" if before == "r2" else "r2"
        for patience in (0.8, 4, 20):  # until the statements before it are done, on a busy machine too
            name = f"{warehouse.database}-{at}-{patience}"
            faults.add(job="redshift_data", match=f"^{name}$", do={"kill": {"after_seconds": patience}})
            killed = warehouse.run(slowed(warehouse.load_batch(run_key), at, SLOW), StatementName=name)
            assert (killed["Status"], killed["Error"]) == ("FAILED", "FATAL: terminating connection due to administrator command")
            if killed["SubStatements"][at]["Status"] == "FAILED":
                break
        assert [part["Status"] for part in killed["SubStatements"]][: at + 1] == ["FINISHED"] * at + ["FAILED"]
        assert warehouse.tables() == clean[before], at
        finished(warehouse.load(run_key))
        assert warehouse.tables() == clean[run_key], at
        before = run_key
    faults.clear()


def test_a_load_and_a_publication_at_once_do_not_get_into_each_others_way(warehouse: Any, days: Any) -> None:
    """They write different tables, and both write the monitoring tables: nothing that both write may be read by both."""
    finished(warehouse.run([TWO]))
    finished(warehouse.load(warehouse.deliver("r1", days(JAN), days(JAN))))
    warehouse.deliver("r2", days({"2013-02-01": {"x": 1}}), days({"2013-02-01": {"x": 1}}))
    publication = warehouse.publish_batch("p1", [("a", 0.1), ("b", 0.2)], ("2013-01-01", "2013-01-01"))
    running = [warehouse.start(slowed(batch, 3, SHORT)) for batch in (warehouse.load_batch("r2"), publication)]
    for statement in running:
        finished(warehouse.ended(statement))
    assert entities(warehouse)[0] == ["a", "b", "c", "x"]
