"""Setting up Redshift: whenever it is run, the tables are those that the loads expect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from infra import provision
from infra.provision import run_setup_sql


def names(warehouse: Any, schema: str) -> list[str]:
    return sorted(table["name"] for table in warehouse.client.list_tables(SchemaPattern=schema, **warehouse.target)["Tables"])


def test_the_tables_of_every_model_are_there_and_stay_when_it_is_run_again(warehouse: Any) -> None:
    warehouse.run(["INSERT INTO labels.flight_delay_v1 VALUES ('a', '2013-01-01', '2013-01-01', 1, 1)"])
    run_setup_sql("tests", warehouse.database)
    assert names(warehouse, "features") == names(warehouse, "labels") == ["flight_delay_v1"]
    assert names(warehouse, "predictions") == ["flight_delay"]
    assert names(warehouse, "latches") == ["features_flight_delay_v1", "labels_flight_delay_v1", "predictions_flight_delay"]
    assert names(warehouse, "monitoring") == [
        "accuracy", "accuracy_decisions", "alarms", "daily_accuracy", "drift_decisions", "feature_drift", "load_checks",
    ]  # fmt: skip
    assert warehouse.rows("SELECT COUNT(*) FROM labels.flight_delay_v1") == [[1]]


def test_a_table_of_another_shape_is_named_with_what_it_lacks_and_what_to_do(warehouse: Any) -> None:
    old = "CREATE TABLE labels.flight_delay_v1 (entity_id VARCHAR(128), event_time TIMESTAMP, ds DATE, outcome INTEGER)"
    warehouse.run(["DROP TABLE labels.flight_delay_v1", old])
    with pytest.raises(RuntimeError) as raised:
        run_setup_sql("tests", warehouse.database)
    assert "Redshift table labels.flight_delay_v1: expected the columns of the spec" in str(raised.value)
    assert "found none of ['checksum', 'label'] and unexpected ['outcome']" in str(raised.value)
    assert "DROP TABLE labels.flight_delay_v1" in str(raised.value)


def test_a_statement_that_fails_is_told_in_redshifts_words(
    warehouse: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sql" / "setup").mkdir(parents=True)
    (tmp_path / "sql" / "setup" / "create_view.sql").write_text("CREATE VIEW labels.all AS SELECT * FROM labels.nothing")
    monkeypatch.setattr(provision, "INCLUDE", tmp_path)
    with pytest.raises(RuntimeError, match=f"setup of Redshift database {warehouse.database}: FAILED: ERROR: "):
        run_setup_sql("tests", warehouse.database)
