"""What every operator tells its users in its docstring."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from typing import Any

import pytest
from airflow.sdk import BaseOperator

import flywheel.operators
import flywheel.sensors


def classes() -> list[Any]:
    """All operators and sensors of the package, bases that nobody uses directly left out."""
    found = []
    for package in (flywheel.operators, flywheel.sensors):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for _, member in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                if issubclass(member, BaseOperator) and member.__module__ == module.name and not inspect.isabstract(member):
                    found.append(member)
    return found


def document(operator: Any) -> str:
    """The docstrings of a class and of those that it is made of, without those of Airflow."""
    return "\n".join(base.__doc__ or "" for base in operator.__mro__ if base.__module__.startswith("flywheel"))


@pytest.mark.parametrize("operator", classes(), ids=lambda operator: operator.__name__)
def test_the_document_names_the_api_and_every_parameter_and_says_what_is_templated(operator: Any) -> None:
    text = document(operator)
    assert "API" in text, "which calls of AWS it makes"
    own = {name for base in operator.__mro__ if base.__module__.startswith("flywheel") and "__init__" in vars(base)
           for name in inspect.signature(vars(base)["__init__"]).parameters} - {"self", "kwargs"}  # fmt: skip
    told = dict(re.findall(r":param (\w+):((?:.|\n(?!\s*(?::|Returns|\n)))*)", text))
    assert own <= set(told), f"not documented: {sorted(own - set(told))}"
    for name in set(operator.template_fields) & set(told):
        assert "templated" in told[name], f"{name} is a template field; its document does not say so"


@pytest.mark.parametrize("operator", classes(), ids=lambda operator: operator.__name__)
def test_times_have_their_unit_in_the_name(operator: Any) -> None:
    names = {name for base in operator.__mro__ if base.__module__.startswith("flywheel") and "__init__" in vars(base)
             for name in inspect.signature(vars(base)["__init__"]).parameters}  # fmt: skip
    for name in names:
        if re.search(r"timeout|wait|poll|every|delay|seconds|minutes|hours|days", name) and name != "wait_for_completion":
            assert re.search(r"seconds|minutes|hours|days|timeout_minutes", name), f"{name}: in which unit?"
