"""Model specs: what is refused, and in which words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from flywheel.core.errors import SpecError
from flywheel.core.specs import load_model_spec, load_model_specs

MODELS = Path(__file__).parents[4] / "include" / "models"


def changed(tmp_path: Path, dotted: str, value: Any) -> Path:
    """The flights' spec with one value set, or removed when ``value`` is ``...``."""
    spec = yaml.safe_load((MODELS / "flight_delay.yaml").read_text())
    *parents, last = dotted.split(".")
    part = spec
    for parent in parents:
        part = part[parent]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    path = tmp_path / "flight_delay.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


def test_the_specs_of_this_project_are_right() -> None:
    specs = load_model_specs(MODELS)
    assert [spec.name for spec in specs] == sorted(path.stem for path in MODELS.glob("*.yaml"))
    assert specs[0].features.table == "flight_delay_v1"
    assert "temp" not in specs[0].features.drivers()
    assert "recent_delay" in specs[0].features.drivers()


ETA = {"type": "continuous", "min": 0.01, "max": 0.3}
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
        ("features.columns.distance.type", "float", "type: expected 'int', 'bigint', 'double' or 'category', found 'float'"),
        ("features.columns.distance.typo", 1, "known keys context, meaning, type (did you mean 'type'?)"),
        ("training.tuning", TUNING | {"parallel_jobs": 9}, "parallel_jobs of at most max_jobs (4), found 9"),
        ("training.tuning", TUNING | {"ranges": {"eta": ETA | {"min": 2}}}, "ranges.eta: min below max (0.3), found 2.0"),
        ("training.tuning", TUNING | {"ranges": {"eta": ETA | {"scalling": "auto"}}}, "(did you mean 'scaling'?)"),
        ("training.tuning", TUNING | {"strategy": "grid"}, "ranges of type categorical only, for strategy grid"),
        ("owner", ..., "owner: expected a value (the key is required), found 'nothing'"),
        ("name", "other", "name: expected the file's name, 'flight_delay', found 'other'"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_file_key_expected_and_found(tmp_path: Path, key: str, value: Any, message: str) -> None:
    path = changed(tmp_path, key, value)
    with pytest.raises(SpecError, match=re.escape(message)) as error:
        load_model_spec(path)
    assert str(error.value).startswith(str(path))


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("name: broken\ntraining: [1,\n")
    with pytest.raises(SpecError, match=r"broken.yaml: line 3: expected valid YAML"):
        load_model_spec(path)
