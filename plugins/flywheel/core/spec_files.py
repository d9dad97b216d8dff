"""What the YAML files of model specs and feature definitions have in common: how they are read, and how refusals are worded."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flywheel.core.errors import SpecError
from flywheel.core.yaml_files import read_yaml

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$", description="lower-case letters, digits, underscores")]


class Spec(BaseModel):
    """Base of all parts of a spec: immutable, and no key is accepted that is not declared."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Spec)


def read_spec(path: Path, kind: type[S]) -> S:
    """What a YAML file holds, as ``kind``.

    :raises SpecError: naming file, key, expected and found; unknown keys get a suggestion
    """
    content = read_yaml(path)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise _first_error(path, kind, error) from None


def _first_error(path: Path, kind: type[Spec], error: ValidationError) -> SpecError:
    """Pydantic's first complaint in the words of :class:`SpecError`."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if part != "[key]") or "file"
    found = first.get("input")
    if first["type"] == "extra_forbidden":
        known = _keys_at(kind, first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return SpecError(str(path), key, f"one of the known keys {', '.join(known)}{hint}", first["loc"][-1])
    if first["type"] == "missing":
        return SpecError(str(path), key, "a value (the key is required)", "nothing")
    expected = re.sub(r"^(Value error, |Input should be )", "", first["msg"])
    return SpecError(str(path), key, expected, found if not isinstance(found, (dict, BaseModel)) else "see above")


def _keys_at(kind: type[Spec], location: tuple[int | str, ...]) -> list[str]:
    """The keys that the part of a spec at ``location`` knows."""
    models: list[type[Spec]] = [kind]
    for part in location:
        fields = [model.model_fields[str(part)].annotation for model in models if part in model.model_fields]
        tagged = [
            model for model in models if "type" in model.model_fields and part in get_args(model.model_fields["type"].annotation)
        ]
        # A part that is neither a field nor a tag is a key of a mapping, whose values are of the same models.
        models = [found for field in fields for found in _specs_in(field)] or tagged or models
    return sorted({name for model in models for name in model.model_fields})


def _specs_in(annotation: Any) -> list[type[Spec]]:
    """The parts of a spec that a field's type names, itself, in a mapping or as alternatives."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _specs_in(argument)]
