"""Reading the YAML of specs and contracts. The parser is imported when it is needed: job containers have none, and get JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flywheel.core.errors import SpecError


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    :raises SpecError: not readable as YAML (with the line), or no mapping
    """
    import yaml

    try:
        # libyaml's parser where there is one: with a hundred specs it is half of the parse time of the DAGs.
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else "file"
        raise SpecError(str(path), where, "valid YAML", getattr(error, "problem", str(error))) from None
    if not isinstance(content, dict):
        raise SpecError(str(path), "file", "a mapping of keys", content)
    return content
