"""Model specs and feature definitions: what is refused, and in which words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from flywheel.core.errors import SpecError
from flywheel.core.features import load_feature_groups, load_features
from flywheel.core.specs import load_model_spec, load_model_specs

INCLUDE = Path(__file__).parents[4] / "include"
MODELS = INCLUDE / "models"
SPEC, DEFINITION = "models/flight_delay.yaml", "features/flight_delay_v1.yaml"


@pytest.fixture
def include(tmp_path: Path) -> Path:
    """A folder of the test's own with the flights' spec and definition."""
    for name in (SPEC, DEFINITION):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text((INCLUDE / name).read_text())
    return tmp_path


def changed(path: Path, dotted: str, value: Any, to: str = "") -> Path:
    """The file with one value set, or removed when ``value`` is ``...``; under another name if ``to`` is given."""
    spec = yaml.safe_load(path.read_text())
    *parents, last = dotted.split(".")
    part = spec
    for parent in parents:
        part = part[parent]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    path = path.with_name(to or path.name)
    path.write_text(yaml.safe_dump(spec))
    return path


def test_the_specs_of_this_project_are_right() -> None:
    specs = load_model_specs(MODELS)
    assert [spec.name for spec in specs] == sorted(path.stem for path in MODELS.glob("*.yaml"))
    assert specs[0].features.table == "flight_delay_v1"
    assert "temp" in specs[0].features.context() and "carrier" not in specs[0].features.context()


ETA = {"type": "continuous", "min": 0.01, "max": 0.3}
LABEL = {"meaning": "late", "lag_days": 1}
NUMBER = {"meaning": "departures", "lag_days": 1, "kind": "number"}
TUNING = {"metric": "validation:auc", "max_jobs": 4, "ranges": {"eta": ETA}}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training.compute.instance_cuont", 1, "training.compute.instance_cuont: expected one of the known keys"),
        ("training.compute.instance_cuont", 1, "(did you mean 'instance_count'?)"),
        ("nmae", "x", "nmae: expected one of the known keys"),
        ("training.compute.instance_count", 0, "training.compute.instance_count: expected greater than or equal to 1, found 0"),
        ("training.compute.instance_type", "m5.large", "training.compute.instance_type: expected String should match pattern"),
        ("training.compute.spot.max_wait_seconds", 60, "max_runtime_seconds (3600), found 60"),
        ("training.holdout_days", 80, "holdout_days of at most half of window_days (90), found 80"),
        ("training.schedule", "weekly", "training.schedule: expected"),
        ("features.version", "one", "features.version: expected"),
        ("features.version", 2, "version: expected one of those that include/features defines (flight_delay_v1), found 2"),
        ("features.group", "flights", "group: expected one of flight_delay, which include/features defines, found 'flights'"),
        ("features.columns", {}, "features.columns: expected one of the known keys group, version, found 'columns'"),
        ("training.tuning", TUNING | {"parallel_jobs": 9}, "parallel_jobs of at most max_jobs (4), found 9"),
        ("training.tuning", TUNING | {"ranges": {"eta": ETA | {"min": 2}}}, "ranges.eta: min below max (0.3), found 2.0"),
        ("training.tuning", TUNING | {"ranges": {"eta": ETA | {"scalling": "auto"}}}, "(did you mean 'scaling'?)"),
        ("training.tuning", TUNING | {"strategy": "grid"}, "ranges of type categorical only, for strategy grid"),
        ("monitoring.segments", ["temp"], "segments: expected categories of flight_delay_v1 (carrier, origin, dest)"),
        ("monitoring.accuracy_margin", 0.2, "accuracy_margin of at most accuracy_drop (0.15), found 0.2"),
        ("monitoring.schedule", "0 6 * * 1", "silence_hours of null where schedule is not daily (0 6 * * 1), found 36"),
        ("monitoring.segment_level", "page", "segment_level: expected 'note', 'alert' or 'retrain', found 'page'"),
        ("owner", ..., "owner: expected a value (the key is required), found 'nothing'"),
        ("name", "other", "name: expected the file's name, 'flight_delay', found 'other'"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_file_key_expected_and_found(include: Path, key: str, value: Any, message: str) -> None:
    path = changed(include / SPEC, key, value)
    with pytest.raises(SpecError, match=re.escape(message)) as error:
        load_model_spec(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("columns.distance.type", "float", "type: expected 'int', 'bigint', 'double' or 'category', found 'float'"),
        ("columns.distance.typo", 1, "known keys context, meaning, type (did you mean 'type'?)"),
        *(
            (f"columns.{name}", {"type": "double"}, f"columns.{name}: expected another name than entity_id, event_time, ds, ")
            for name in ("entity_id", "event_time", "ds", "checksum", "label", "naive_label")
        ),
        ("columns.Distance", {"type": "double"}, "columns.Distance: expected String should match pattern"),
        ("label.lag", 1, "known keys kind, lag_days, meaning, season_days"),
        ("label.kind", "count", "label.kind: expected 'class' or 'number', found 'count'"),
        ("label", LABEL | {"season_days": 7}, "label: expected season_days of null for a class, found 7"),
        (
            "label",
            NUMBER | {"lag_days": 9, "season_days": 7},
            "season_days of at least lag_days (9), for the label to be known, found 7",
        ),
        ("chunk_days", 0, "chunk_days: expected greater than or equal to 1, found 0"),
        ("source", ..., "source: expected a value (the key is required), found 'nothing'"),
        ("version", 2, "group and version: expected those of the file's name, 'flight_delay_v1', found 'flight_delay_v2'"),
    ],
)
def test_a_wrong_definition_is_refused_with_file_key_expected_and_found(
    include: Path, key: str, value: Any, message: str
) -> None:
    path = changed(include / DEFINITION, key, value)
    with pytest.raises(SpecError, match=re.escape(message)) as error:
        load_features(path)
    assert str(error.value).startswith(str(path))


def test_a_number_is_judged_by_its_season_and_compared_by_wape(include: Path) -> None:
    model = load_model_spec(include / SPEC)
    assert (model.label.kind, model.label.sql_type, model.label.judged_by) == ("class", "INTEGER", "gini")
    changed(include / DEFINITION, "label", NUMBER)
    load_feature_groups.cache_clear()
    with pytest.raises(SpecError, match=r"promotion.metric: expected 'wape', for the label is a number, found 'auc'"):
        load_model_spec(include / SPEC)
    changed(include / SPEC, "promotion.metric", "wape")
    label = load_features(include / DEFINITION).label
    assert load_model_spec(include / SPEC).label == label
    assert (label.sql_type, label.type, label.judged_by) == ("DOUBLE PRECISION", "double", "wape")
    assert load_features(changed(include / DEFINITION, "label.season_days", 7)).label.judged_by == "naive_ratio"
    changed(include / DEFINITION, "label", LABEL)
    load_feature_groups.cache_clear()
    with pytest.raises(SpecError, match=r"promotion.metric: expected 'auc', for the label is a class, found 'wape'"):
        load_model_spec(include / SPEC)


def test_versions_of_a_group_have_one_kind_of_label(include: Path) -> None:
    changed(changed(include / DEFINITION, "version", 2, to="flight_delay_v2.yaml"), "label", NUMBER)
    with pytest.raises(
        SpecError, match=r"flight_delay_v2.yaml: label.kind: expected the kind of version 1, 'class', found 'number'"
    ):
        load_feature_groups(include / "features")


def test_a_spec_pins_one_version_and_knows_all_of_the_group(include: Path) -> None:
    second = changed(include / DEFINITION, "version", 2, to="flight_delay_v2.yaml")
    changed(second, "columns", {"distance": {"type": "double"}})
    changed(second, "label.lag_days", 3)
    changed(include / SPEC, "monitoring.segments", [])
    old = load_model_spec(include / SPEC)
    new = load_model_spec(changed(include / SPEC, "features.version", 2))
    assert (old.features.table, old.label.lag_days, next(iter(old.features.columns))) == ("flight_delay_v1", 1, "sched_minute")
    assert (new.features.table, new.label.lag_days, list(new.features.columns)) == ("flight_delay_v2", 3, ["distance"])
    assert (new.features.zone, new.start_date, new.end_date) == ("flight_delay/v2", old.start_date, old.end_date)
    assert list(old.feature_versions) == list(new.feature_versions) == [1, 2]


def test_versions_of_a_group_are_loaded_by_one_dag_and_so_have_one_source(include: Path) -> None:
    second = changed(include / DEFINITION, "version", 2, to="flight_delay_v2.yaml")
    changed(second, "source", "weather")
    message = "flight_delay_v2.yaml: source: expected the source of version 1, 'flights', found 'weather'"
    with pytest.raises(SpecError, match=re.escape(message)):
        load_feature_groups(include / "features")


def test_a_tenth_version_comes_after_the_ninth(include: Path) -> None:
    for version in (2, 9, 10):
        changed(include / DEFINITION, "version", version, to=f"flight_delay_v{version}.yaml")
    assert list(load_feature_groups(include / "features")["flight_delay"]) == [1, 2, 9, 10]


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("name: broken\ntraining: [1,\n")
    with pytest.raises(SpecError, match=r"broken.yaml: line 3: expected valid YAML"):
        load_model_spec(path)
