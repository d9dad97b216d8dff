"""The ranges of hyperparameters that a tuning job searches: what AWS accepts, and the values as AWS writes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from localaws.sagemaker.state import invalid

LOGARITHMIC_FROM = 100.0
"""Scaling type Auto is logarithmic where the highest value is so many times the lowest one, else linear."""


@dataclass(frozen=True)
class Numbers:
    """The numbers from `low` to `high`, both included.

    :param scaling: `Linear`, `Logarithmic` or `ReverseLogarithmic`
    """

    name: str
    low: float
    high: float
    scaling: str
    whole: bool

    @property
    def size(self) -> float:
        """How many values there are."""
        return self.high - self.low + 1 if self.whole else math.inf

    def values(self) -> Iterable[Any]:
        """All of them; only of whole numbers."""
        return range(int(self.low), int(self.high) + 1)

    def written(self, value: Any) -> str:
        """A value as the training job gets it."""
        return str(int(value)) if self.whole else repr(min(max(float(value), self.low), self.high))


@dataclass(frozen=True)
class Choice:
    """One of the given texts."""

    name: str
    texts: tuple[str, ...]

    @property
    def size(self) -> float:
        """How many values there are."""
        return len(self.texts)

    def values(self) -> Iterable[Any]:
        """All of them."""
        return self.texts

    def written(self, value: Any) -> str:
        """A value as the training job gets it."""
        return str(value)


Range = Numbers | Choice


def read_ranges(config: Mapping[str, Any]) -> list[Range]:
    """The ranges of a request's ParameterRanges: integer, continuous, categorical ones, each in the request's order.

    :raises SagemakerClientError: ValidationException, a range is empty, is no number, or does not fit its scale
    """
    integers = (_numbers(each, whole=True) for each in config.get("IntegerParameterRanges") or ())
    continuous = (_numbers(each, whole=False) for each in config.get("ContinuousParameterRanges") or ())
    categorical = (_choice(each) for each in config.get("CategoricalParameterRanges") or ())
    return list(chain(integers, continuous, categorical))


def combinations(ranges: Iterable[Range]) -> float:
    """How many combinations of values there are; infinite with a continuous range."""
    return math.prod(each.size for each in ranges)


def _choice(asked: Mapping[str, Any]) -> Choice:
    texts = tuple(asked["Values"])
    if len(set(texts)) < len(texts):
        raise invalid(f"The values of the categorical hyperparameter {asked['Name']} must be unique: {list(texts)}")
    return Choice(asked["Name"], texts)


def _numbers(asked: Mapping[str, Any], *, whole: bool) -> Numbers:
    name, kind = asked["Name"], "integer" if whole else "continuous"
    low, high = (_number(asked[bound], f"{bound} of the {kind} hyperparameter {name}", whole) for bound in BOUNDS)
    if low >= high:
        raise invalid(
            f"MinValue of the {kind} hyperparameter {name} must be less than its MaxValue, got {asked['MinValue']} "
            f"and {asked['MaxValue']}"
        )
    return Numbers(name, low, high, _scaling(asked, name, low, high, whole), whole)


BOUNDS = ("MinValue", "MaxValue")


def _number(text: str, where: str, whole: bool) -> float:
    try:
        value = int(text) if whole else float(text)
    except ValueError as error:
        raise invalid(f"{where} must be {'an integer' if whole else 'a number'}, got {text!r}") from error
    if not math.isfinite(value):
        raise invalid(f"{where} must be finite, got {text!r}")
    return value


def _scaling(asked: Mapping[str, Any], name: str, low: float, high: float, whole: bool) -> str:
    scaling: str = asked.get("ScalingType") or "Auto"
    if scaling == "Auto":
        return "Logarithmic" if low > 0 and high / low >= LOGARITHMIC_FROM else "Linear"
    if scaling == "Logarithmic" and low <= 0:
        raise invalid(f"Logarithmic scaling of {name} works only for ranges with values greater than 0, got MinValue {low}")
    if scaling == "ReverseLogarithmic":
        if whole:
            raise invalid(f"ReverseLogarithmic scaling is not supported for integer hyperparameters such as {name}")
        if low < 0 or high >= 1:
            raise invalid(f"ReverseLogarithmic scaling of {name} works only for ranges within 0<=x<1.0, got {low} to {high}")
    return scaling
