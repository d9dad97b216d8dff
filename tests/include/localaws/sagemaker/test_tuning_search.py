"""The ranges of a tuning job, and which of their values are tried next."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from moto.sagemaker.exceptions import SagemakerClientError

from localaws.sagemaker.tuning_ranges import Numbers, combinations, read_ranges
from localaws.sagemaker.tuning_search import Search

INCLUDE = Path(__file__).parents[4] / "include"


def numbers(low: str, high: str, scaling: str | None = None, *, whole: bool = False, name: str = "x") -> dict[str, Any]:
    asked = {"Name": name, "MinValue": low, "MaxValue": high} | ({"ScalingType": scaling} if scaling else {})
    return {"IntegerParameterRanges" if whole else "ContinuousParameterRanges": [asked]}


def choice(*values: str, name: str = "kind") -> dict[str, Any]:
    return {"CategoricalParameterRanges": [{"Name": name, "Values": list(values)}]}


def tried(strategy: str, config: dict[str, Any], count: int, seed: int = 3) -> list[dict[str, str]]:
    """What a search tries when nothing is known of the results."""
    search = Search(strategy, read_ranges(config), maximize=True, seed=seed)
    found = (search.ask() for _ in range(count))
    return [suggestion.hyperparameters for suggestion in found if suggestion is not None]


@pytest.mark.parametrize(
    ("config", "scaling"),
    [
        (numbers("0.1", "0.9"), "Linear"),
        (numbers("0.0001", "1"), "Logarithmic"),
        (numbers("0", "1"), "Linear"),
        (numbers("1", "1000", whole=True), "Logarithmic"),
        (numbers("0.0001", "1", "Linear"), "Linear"),
        (numbers("0.5", "0.999", "ReverseLogarithmic"), "ReverseLogarithmic"),
    ],
)
def test_auto_scales_by_the_orders_of_magnitude(config: dict[str, Any], scaling: str) -> None:
    found = read_ranges(config)[0]
    assert isinstance(found, Numbers) and found.scaling == scaling


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (numbers("3", "3", whole=True), "must be less than"),
        (numbers("1.5", "3", whole=True), "MinValue of the integer hyperparameter x must be an integer, got '1.5'"),
        (numbers("0", "inf"), "must be finite"),
        (numbers("1", "9", "ReverseLogarithmic", whole=True), "not supported for integer"),
        (choice("a", "b", "a"), "must be unique"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(config: dict[str, Any], said: str) -> None:
    with pytest.raises(SagemakerClientError, match=said):
        read_ranges(config)


@pytest.mark.parametrize("strategy", ["Bayesian", "Random"])
def test_a_logarithmic_scale_gives_each_order_of_magnitude_its_share(strategy: str) -> None:
    values = [float(each["x"]) for each in tried(strategy, numbers("0.0001", "1", "Logarithmic"), 200)]
    assert all(0.0001 <= value <= 1 for value in values)
    assert 60 <= sum(value < 0.01 for value in values) <= 140


def test_a_reverse_logarithmic_scale_looks_closely_near_one() -> None:
    values = [float(each["x"]) for each in tried("Random", numbers("0", "0.9999", "ReverseLogarithmic"), 200)]
    assert all(0 <= value <= 0.9999 for value in values)
    assert 60 <= sum(value > 0.99 for value in values) <= 140


def test_values_are_written_as_aws_writes_them() -> None:
    config = numbers("1", "30", whole=True, name="depth") | numbers("0.1", "0.3") | choice('"gbtree"', '"dart"')
    for found in tried("Bayesian", config, 20):
        assert found["depth"] == str(int(found["depth"]))
        assert found["x"] == repr(float(found["x"]))
        assert found["kind"] in ('"gbtree"', '"dart"')


@pytest.mark.parametrize("strategy", ["Bayesian", "Random", "Grid"])
def test_no_combination_is_tried_twice_and_all_are_tried(strategy: str) -> None:
    config = choice("a", "b", "c") if strategy == "Grid" else choice("a", "b", "c") | numbers("1", "4", whole=True)
    total = int(combinations(read_ranges(config)))
    found = [tuple(each.values()) for each in tried(strategy, config, total + 1)]
    assert len(found) == len(set(found)) == total


def test_the_same_seed_gives_the_same_search() -> None:
    config = numbers("0", "1") | choice("a", "b")
    assert tried("Bayesian", config, 12, seed=8) == tried("Bayesian", config, 12, seed=8)
    assert tried("Bayesian", config, 12, seed=8) != tried("Bayesian", config, 12, seed=9)


def test_bayesian_search_learns_from_what_it_is_told() -> None:
    def distance(strategy: str, seed: int) -> float:
        """How far from the best value, at x = 0.7 and y = 30, a search of 30 training jobs ends."""
        ranges = read_ranges(numbers("0", "1") | numbers("0", "100", whole=True, name="y"))
        search = Search(strategy, ranges, maximize=False, seed=seed)
        found = []
        for number in range(30):
            suggestion = search.ask()
            assert suggestion is not None
            x, y = float(suggestion.hyperparameters["x"]), int(suggestion.hyperparameters["y"])
            found.append((x - 0.7) ** 2 + ((y - 30) / 100) ** 2)
            # Failed and stopped ones must not confuse it.
            value = None if number % 7 == 3 else found[-1]
            search.tell(suggestion, value, completed=number % 7 != 5)
        return min(found)

    seeds = range(15)
    assert median(distance("Bayesian", seed) for seed in seeds) < median(distance("Random", seed) for seed in seeds) / 2


def test_optuna_is_loaded_only_when_something_is_tuned() -> None:
    code = "import sys, localaws.server, localaws.sagemaker; sys.exit('optuna' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(INCLUDE)}, check=True)
