"""Labels that are numbers: loaded with their fractions, and unloaded beside the label of a season before."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import pyarrow as pa
import pytest

from flywheel.core.features import Label

SQL = Path(__file__).parents[3] / "include" / "sql"
WEEK_BEFORE, DAY = "2013-01-01", "2013-01-08"


@pytest.fixture
def forecasting(warehouse: Any) -> Any:
    """A warehouse whose labels are numbers with a season of a week."""
    label = Label(meaning="departures", lag_days=1, kind="number", season_days=7)
    warehouse.features = warehouse.model.features.model_copy(update={"label": label})
    warehouse.model = warehouse.model.model_copy(update={"feature_versions": {1: warehouse.features}})
    warehouse.label_schema = warehouse.label_schema.set(2, pa.field("label", pa.float64()))
    table = jinja2.Environment(loader=jinja2.FileSystemLoader(SQL)).get_template("setup/features/create_labels.sql")  # noqa: S701
    found = warehouse.run(["DROP TABLE labels.flight_delay_v1", table.render(features=warehouse.features)])
    assert found["Status"] == "FINISHED", found.get("Error")
    return warehouse


def test_numbers_are_loaded_as_they_are_and_a_holdout_has_the_naive_forecast(forecasting: Any, days: Any) -> None:
    labels = {WEEK_BEFORE: {"a": 0.25, "c": 1.75}, DAY: {"a": 0.5, "b": 1.5}}
    forecasting.deliver("r1", days({WEEK_BEFORE: {"a": 1, "c": 1}, DAY: {"a": 1, "b": 2}}), days(labels))
    loaded = forecasting.load("r1")
    assert loaded["Status"] == "FINISHED", loaded.get("Error")
    assert sorted((row[0], row[2], row[3]) for row in forecasting.tables()[1]) == [
        ("a", WEEK_BEFORE, 0.25), ("a", DAY, 0.5), ("b", DAY, 1.5), ("c", WEEK_BEFORE, 1.75),
    ]  # fmt: skip

    found = forecasting.run(forecasting.render(["training/unload_train", "training/unload_holdout"], "r1", WEEK_BEFORE, DAY))
    assert found["Status"] == "FINISHED", found.get("Error")
    train, holdout = (unloaded(forecasting, f"snapshots/flight_delay/r1/{part}/") for part in ("train", "holdout"))
    assert sorted(train["label"]) == [0.25, 1.75] and "naive_label" not in train
    assert list(holdout["label"]) == [0.5, 1.5]
    assert holdout["naive_label"][0] == 0.25 and pd.isna(holdout["naive_label"][1]), "b had none a week before"


def unloaded(warehouse: Any, folder: str) -> pd.DataFrame:
    """The rows that UNLOAD wrote below a folder, by entity."""
    entries = warehouse.s3.list_objects_v2(Bucket="sql-tests", Prefix=folder)["Contents"]
    keys = [entry["Key"] for entry in entries if not entry["Key"].endswith("manifest")]
    bodies = [warehouse.s3.get_object(Bucket="sql-tests", Key=key)["Body"].read() for key in keys]
    return pd.concat([pd.read_parquet(io.BytesIO(body)) for body in bodies]).sort_values("entity_id", ignore_index=True)
