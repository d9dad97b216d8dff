"""The JSON schemas for editors: up to date, true for every file there is, and as strict as they can be."""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from flywheel.core.contract_files import parse_contract
from flywheel.core.errors import SpecError

ROOT = Path(__file__).parents[4]
DATASETS, FEATURES, MODELS = (ROOT / "include" / folder for folder in ("datasets", "features", "models"))
PAIRS = [
    *((path, DATASETS / "contract.schema.json") for path in sorted(DATASETS.glob("*.yaml"))),
    *((path, FEATURES / "feature.schema.json") for path in sorted(FEATURES.glob("*.yaml"))),
    *((path, MODELS / "model.schema.json") for path in sorted(MODELS.glob("*.yaml"))),
]


class EditorLoader(yaml.SafeLoader):
    """Reads YAML as editors do, to whom a date is a text."""


EditorLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(path: Path):
    return yaml.load(path.read_text(encoding="utf-8"), Loader=EditorLoader)  # noqa: S506


def refusals(content, schema: Path) -> list[str]:
    validator = jsonschema.Draft202012Validator(json.loads(schema.read_text()), format_checker=jsonschema.FormatChecker())
    return [error.message for error in validator.iter_errors(content)]


def make_schemas():
    spec = importlib.util.spec_from_file_location("make_schemas", ROOT / "docs" / "make_schemas.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_schemas_are_up_to_date():
    maker = make_schemas()
    assert set(maker.SCHEMAS) == {schema for _, schema in PAIRS}
    for path, schema in maker.SCHEMAS.items():
        assert path.read_text(encoding="utf-8") == maker.render(schema()), f"run `make schemas` and commit {path.name}"
        jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize(("path", "schema"), PAIRS, ids=lambda path: path.name)
def test_every_file_keeps_its_schema(path, schema):
    assert refusals(read(path), schema) == []


@pytest.mark.parametrize("path", sorted(DATASETS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_contract_names_its_schema_for_editors(path):
    assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=contract.schema.json\n")


@pytest.mark.parametrize(("path", "schema"), PAIRS, ids=lambda path: path.name)
def test_a_typo_in_any_key_is_refused(path, schema):
    for key in read(path):
        content = read(path)
        content[f"{key}x"] = content.pop(key)
        assert any(f"'{key}x' was unexpected" in refusal for refusal in refusals(content, schema)), key


def test_a_typo_deep_inside_a_model_spec_is_refused():
    content = read(MODELS / "flight_delay.yaml")
    content["training"]["compute"]["instance_cout"] = 1
    assert refusals(content, MODELS / "model.schema.json") != []


@pytest.mark.parametrize("name", ["entity_id", "event_time", "ds", "checksum", "label"])
def test_a_feature_called_like_a_column_that_is_there_anyway_is_refused(name):
    content = read(FEATURES / "flight_delay_v1.yaml")
    content["columns"][name] = {"type": "double"}
    assert refusals(content, FEATURES / "feature.schema.json") != []


CONTRACT = {
    "name": "trips",
    "description": "d",
    "owner": "o",
    "cadence": "daily",
    "first_partition": "2013-01-01",
    "key": ["id"],
    "columns": [{"name": "id", "type": "string"}, {"name": "miles", "type": "double", "nullable": True}],
}
WRONG = [
    {"name": "My Trips"},
    {"owner": " "},
    {"cadence": "hourly"},
    {"first_partition": "yesterday"},
    {"first_partition": "2013-02-30"},
    {"lag_days": -1},
    {"lag_days": 1.5},
    {"key": []},
    {"columns": []},
    {"chunk_days": 0},
    {"corrected_within_days": -1},
    {"delivered_with": 3},
    {"volume": 0.5},
    {"volume": {"tolerance": 0}},
    {"volume": {"min_week": 2}},
    {"cadence": "once", "lag_days": 1},
    {"cadence": "once", "volume": {}},
    *(
        {"columns": [{"name": "id", "type": "string"}, {"name": "miles", "type": "double"} | column]}
        for column in (
            {"typ": "double"},
            {"type": "float"},
            {"name": "Miles"},
            {"name": "ds"},
            {"nullable": "yes"},
            {"min": "a"},
            {"type": "string", "max": 1},
            {"allowed": ["a"]},
            {"type": "string", "allowed": [1]},
            {"tolerance": 1},
            {"tolerance": -0.1},
            {"since": "soon"},
            {"deprecated_on": "2013-03-01", "notice_days": 13},
            {"notice_days": 21},
        )
    ),
]


@pytest.mark.parametrize("change", WRONG, ids=json.dumps)
def test_schema_and_loading_refuse_the_same(change):
    schema = DATASETS / "contract.schema.json"
    assert refusals(CONTRACT, schema) == []
    parse_contract(copy.deepcopy(CONTRACT), "trips.yaml")
    wrong = copy.deepcopy(CONTRACT) | change
    assert refusals(wrong, schema) != []
    with pytest.raises(SpecError):
        parse_contract(wrong, "trips.yaml")


@pytest.mark.parametrize("key", ["name", "description", "owner", "cadence", "first_partition", "key", "columns"])
def test_what_a_contract_needs_is_asked_for(key):
    assert refusals({name: value for name, value in CONTRACT.items() if name != key}, DATASETS / "contract.schema.json")


def test_what_jobs_get_keeps_the_schema_too():
    for path in DATASETS.glob("*.yaml"):
        assert refusals(parse_contract(read(path), path.name).as_dict(), DATASETS / "contract.schema.json") == []
