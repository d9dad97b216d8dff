"""Two versions of a feature group in one warehouse, on the way from one to the other."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from infra import provision
from infra.provision import run_setup_sql

from flywheel.core.specs import load_model_spec

INCLUDE = Path(__file__).parents[3] / "include"
TRAINING = ["training/unload_train", "training/unload_holdout", "training/unload_holdout_champion", "training/describe_snapshot"]
DAYS = ("2013-01-01", "2013-01-02")


@pytest.fixture
def cut_over(warehouse: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Version 2 is written and provisioned, and the spec pins it; the champion is of version 1.

    Both versions have the entities a (of the training), b and c; c has no label yet. Version 1 has learned other labels.
    """
    for folder in ("features", "models"):
        (tmp_path / folder).mkdir()
    (tmp_path / "sql").symlink_to(INCLUDE / "sql")
    first = yaml.safe_load((INCLUDE / "features" / "flight_delay_v1.yaml").read_text())
    columns = {"headwind": {"type": "double"}, "carrier": {"type": "category"}, "distance": {"type": "double"}}
    spec = yaml.safe_load((INCLUDE / "models" / "flight_delay.yaml").read_text())
    watched = spec["monitoring"] | {"segments": ["carrier"]}
    for name, content in (
        ("features/flight_delay_v1", first),
        ("features/flight_delay_v2", first | {"version": 2, "columns": columns}),
        ("models/flight_delay", spec | {"features": {"group": "flight_delay", "version": 2}, "monitoring": watched}),
    ):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    monkeypatch.setattr(provision, "INCLUDE", tmp_path)
    warehouse.run([v1_row("kept", 1)])
    run_setup_sql("tests", warehouse.database)
    assert warehouse.rows("SELECT entity_id FROM features.flight_delay_v1") == [["kept"]], "provisioning again drops nothing"
    warehouse.model = load_model_spec(tmp_path / "models" / "flight_delay.yaml")
    warehouse.features = warehouse.model.feature_versions[1]
    entities = [("a", 1), ("b", 2), ("c", 2)]
    found = warehouse.run(
        [
            "DELETE FROM features.flight_delay_v1",
            *(v1_row(entity, day) for entity, day in entities),
            *(
                "INSERT INTO features.flight_delay_v2 "
                f"VALUES ('{entity}', '2013-01-0{day} 12:00', '2013-01-0{day}', -3.5, 'UA', 1, 7)"
                for entity, day in entities
            ),
            *(
                f"INSERT INTO labels.flight_delay_v{version} "
                f"VALUES ('{entity}', '2013-01-0{day} 12:00', '2013-01-0{day}', {version - 1}, 5)"
                for entity, day in entities[:2]
                for version in (1, 2)
            ),
        ]
    )
    assert found["Status"] == "FINISHED", found.get("Error")
    return warehouse


def v1_row(entity: str, day: int) -> str:
    return (
        "INSERT INTO features.flight_delay_v1 (entity_id, event_time, ds, sched_minute, carrier, checksum) "
        f"VALUES ('{entity}', '2013-01-0{day} 12:00', '2013-01-0{day}', 600, 'AA', 3)"
    )


def unloaded(warehouse: Any, folder: str) -> pd.DataFrame:
    """The rows that UNLOAD wrote below a folder."""
    bucket = "sql-tests"
    entries = warehouse.s3.list_objects_v2(Bucket=bucket, Prefix=folder)["Contents"]
    keys = [entry["Key"] for entry in entries if not entry["Key"].endswith("manifest")]
    parts = [pd.read_parquet(io.BytesIO(warehouse.s3.get_object(Bucket=bucket, Key=key)["Body"].read())) for key in keys]
    return pd.concat(parts, ignore_index=True)


def test_both_are_judged_on_the_same_entities_and_labels_each_with_its_own_features(cut_over: Any) -> None:
    answer = cut_over.run([sql for sql in cut_over.render(TRAINING, "r1", *DAYS) if sql.strip()])
    assert answer["Status"] == "FINISHED", answer.get("Error")
    holdout, champion = (unloaded(cut_over, f"snapshots/flight_delay/r1/{part}/") for part in ("holdout", "holdout_champion"))
    assert list(holdout.columns) == ["entity_id", "event_time", "ds", "headwind", "carrier", "distance", "label"]
    assert list(champion.columns) == ["entity_id", "event_time", "ds", *cut_over.features.columns, "label"]
    assert holdout["entity_id"].tolist() == champion["entity_id"].tolist() == ["b"], "c has no label yet"
    assert holdout["label"].tolist() == champion["label"].tolist() == [1], "the labels of the challenger's version"
    assert (holdout["carrier"].tolist(), champion["carrier"].tolist()) == (["UA"], ["AA"])
    described = cut_over.client.get_statement_result(Id=f"{answer['Id']}:4")["Records"]
    assert sorted([next(iter(value.values())) for value in record] for record in described) == [
        ["holdout", DAYS[1], DAYS[1], 2, 1, "7", "5"],
        ["holdout_champion", DAYS[1], DAYS[1], 1, 1, "3", "5"],
        ["train", DAYS[0], DAYS[0], 2, 1, "7", "5"],
    ]


def test_until_a_challenger_wins_the_champions_version_is_scored_and_then_the_other(cut_over: Any) -> None:
    for version, width in ((1, 20), (2, 3)):
        cut_over.features = cut_over.model.feature_versions[version]
        run_key = f"s{version}"
        (unload,) = cut_over.render(["scoring/unload_features"], run_key, DAYS[1], DAYS[1], version=version)
        answer = cut_over.run([unload])
        assert answer["Status"] == "FINISHED", answer.get("Error")
        rows = unloaded(cut_over, f"predictions/flight_delay/{run_key}/input/")
        assert list(rows.columns) == ["entity_id", *cut_over.features.columns] and len(rows.columns) == width + 1
        answer = cut_over.publish(run_key, [("b", 0.25), ("c", 0.5)], (DAYS[1], DAYS[1]), version=version)
        assert answer["Status"] == "FINISHED", answer.get("Error")
    published = "SELECT entity_id, model_version FROM predictions.flight_delay ORDER BY 1, 2"
    assert cut_over.rows(published) == [["b", 1], ["b", 2], ["c", 1], ["c", 2]]
