"""Writes the JSON schemas that editors check and complete the YAML files by: `make schemas`.

`include/datasets/contract.schema.json` is made of the dataclasses of `flywheel.core.contracts`,
`include/features/feature.schema.json` and `include/models/model.schema.json` of the Pydantic models of `flywheel.core.features`
and `flywheel.core.specs`. A test fails when the files are not what this would write. A file names its schema in its first line:
`# yaml-language-server: $schema=contract.schema.json`.

What a schema can say, it says; that a key names columns of the same file, or that min is not above max, only loading tells.
Runs with Airflow's Python, whose Pydantic makes two of them.
"""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, Field, fields
from datetime import date
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from flywheel.core.contracts import LEAST_NOTICE_DAYS, NUMERIC_TYPES, SPARK_TYPES, Column, Contract, Volume
from flywheel.core.features import Features
from flywheel.core.specs import ModelFile

INCLUDE = Path(__file__).resolve().parents[1] / "include"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TYPES = {str: {"type": "string"}, bool: {"type": "boolean"}, int: {"type": "integer"}, float: {"type": "number"},
          date: {"type": "string", "format": "date", "pattern": r"^\d{4}-\d{2}-\d{2}$"}}  # fmt: skip

# Rules between the keys of one mapping, in JSON Schema's words.
_KEY = {"minItems": 1, "uniqueItems": True}
_NO_VOLUME_AND_NO_LAG_FOR_SNAPSHOTS = {
    "if": {"properties": {"cadence": {"const": "once"}}, "required": ["cadence"]},
    "then": {"properties": {"lag_days": {"const": 0}, "volume": {"type": "null"}}},
}
_BOUNDS_FOR_NUMBERS_ONLY = {
    "if": {"properties": {"type": {"enum": [kind for kind in SPARK_TYPES if kind not in NUMERIC_TYPES]}}, "required": ["type"]},
    "then": {"properties": {"min": {"type": "null"}, "max": {"type": "null"}}},
}
_VALUES_FOR_STRINGS_ONLY = {
    "if": {"properties": {"type": {"enum": [kind for kind in SPARK_TYPES if kind != "string"]}}, "required": ["type"]},
    "then": {"properties": {"allowed": {"maxItems": 0}}},
}
_NOTICE_COUNTS_FROM_A_DAY = {
    "if": {"properties": {"notice_days": {"not": {"const": LEAST_NOTICE_DAYS}}}, "required": ["notice_days"]},
    "then": {"required": ["deprecated_on"]},
}


def contract_schema() -> dict[str, Any]:
    """What a contract's YAML file may hold."""
    schema = {"$schema": DIALECT, "title": "A dataset's contract", **_object(Contract)}
    schema["properties"]["key"] |= _KEY
    schema["properties"]["columns"]["minItems"] = 1
    schema["allOf"] = [_NO_VOLUME_AND_NO_LAG_FOR_SNAPSHOTS]
    column = _object(Column) | {"allOf": [_BOUNDS_FOR_NUMBERS_ONLY, _VALUES_FOR_STRINGS_ONLY, _NOTICE_COUNTS_FROM_A_DAY]}
    column["properties"]["name"]["not"] = {"const": "ds"}
    return schema | {"$defs": {"Column": column, "Volume": _object(Volume)}}


def model_schema() -> dict[str, Any]:
    """What a model spec's YAML file may hold."""
    return {"$schema": DIALECT, **_tidy(ModelFile.model_json_schema()), "title": "A model's spec"}


def feature_schema() -> dict[str, Any]:
    """What a feature definition's YAML file may hold."""
    return {"$schema": DIALECT, **_tidy(Features.model_json_schema()), "title": "A feature group at one version"}


def _object(kind: type) -> dict[str, Any]:
    """The schema of a dataclass: no key that it does not have, and those that have no default."""
    document = kind.__doc__ or ""
    described = {
        name: " ".join(text.replace("``", "").split())
        for name, text in re.findall(r":param (\w+): (.+?)(?=\n\s*:param|\Z)", document, re.DOTALL)
    }
    hints = get_type_hints(kind)
    return {
        "description": document.split("\n\n")[0].strip(),
        "type": "object",
        "properties": {field.name: _property(field, hints[field.name], described[field.name]) for field in fields(kind)},
        "required": [field.name for field in fields(kind) if field.default is MISSING],
        "additionalProperties": False,
    }


def _property(field: Field[Any], hint: Any, description: str) -> dict[str, Any]:
    kinds = [kind for kind in get_args(hint) if kind is not type(None)] if type(None) in get_args(hint) else [hint]
    schema = _of_type(kinds[0]) | {key: list(value) if key == "enum" else value for key, value in field.metadata.items()}
    if kinds != [hint]:
        schema = {"anyOf": [schema, {"type": "null"}]}
    schema = {"description": description} | schema
    if isinstance(field.default, (str, bool, int, float)) and field.default != "":
        schema["default"] = field.default
    return schema


def _of_type(kind: Any) -> dict[str, Any]:
    if get_origin(kind) is tuple:
        return {"type": "array", "items": _of_type(get_args(kind)[0])}
    return dict(_TYPES[kind]) if kind in _TYPES else {"$ref": f"#/$defs/{kind.__name__}"}


def _tidy(schema: Any) -> Any:
    """Pydantic's schema without the titles that repeat each key, and with its docstrings in one line each."""
    if isinstance(schema, list):
        return [_tidy(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidy(value) for key, value in schema.items() if not (key == "title" and isinstance(value, str))}
    if isinstance(tidy.get("description"), str):
        tidy["description"] = " ".join(tidy["description"].split())
    return tidy


SCHEMAS = {
    INCLUDE / "datasets" / "contract.schema.json": contract_schema,
    INCLUDE / "features" / "feature.schema.json": feature_schema,
    INCLUDE / "models" / "model.schema.json": model_schema,
}


def render(schema: dict[str, Any]) -> str:
    """A schema as its file holds it."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for path, schema in SCHEMAS.items():
        path.write_text(render(schema()), encoding="utf-8")
        print(f"{path} is written.")
