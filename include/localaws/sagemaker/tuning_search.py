"""Which hyperparameters a tuning job tries next: Optuna's samplers, asked for one training job after the other.

Optuna is imported by the first tuning job and not before: that takes as long as half of the server's whole start.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from localaws.sagemaker.tuning_ranges import Choice, Numbers, Range, combinations

MOST_SEEDS = 2**32
"""NumPy's generators know so many."""

ASK_AGAIN = 10
"""How often a sampler is asked again when it names a combination that has been tried."""


@dataclass(frozen=True)
class Suggestion:
    """What a training job is to try.

    :param hyperparameters: the tuned ones only, as texts
    :param trial: Optuna's
    """

    hyperparameters: dict[str, str]
    trial: Any


class Search:
    """The search of one tuning job; used by its thread only.

    :param strategy: `Bayesian` (tree-structured Parzen estimators), `Random`, or `Grid` (all combinations in order)
    :param seed: None: another search each time
    """

    def __init__(self, strategy: str, ranges: Sequence[Range], *, maximize: bool, seed: int | None):
        optuna = _optuna()
        samplers = optuna.samplers
        seed = None if seed is None else seed % MOST_SEEDS
        if strategy == "Bayesian":
            # Parameters are modelled together, and what other training jobs are trying just now is kept away from.
            sampler = samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        else:
            sampler = samplers.RandomSampler(seed=seed)
        self._ranges = ranges
        self._distributions = {each.name: _distribution(each) for each in ranges}
        self._study = optuna.create_study(direction="maximize" if maximize else "minimize", sampler=sampler)
        self._grid = _all_combinations(ranges) if strategy == "Grid" else None
        self._endless = math.isinf(combinations(ranges))
        self._tried: set[tuple[str, ...]] = set()

    def ask(self) -> Suggestion | None:
        """The next combination; None: all have been tried."""
        if self._grid is not None:
            combination = next(self._grid, None)
            return None if combination is None else self._suggested(combination)
        for _ in range(ASK_AGAIN):
            suggestion = self._suggestion()
            key = tuple(suggestion.hyperparameters.values())
            if key not in self._tried or self._endless:
                self._tried.add(key)
                return suggestion
            self._drop(suggestion)
        return self._untried()

    def tell(self, suggestion: Suggestion, value: float | None, *, completed: bool) -> None:
        """What came of it.

        :param value: the objective; None: the training job failed, or told none
        :param completed: False: the training job was stopped, and could have come further
        """
        if value is None:
            self._drop(suggestion)
        elif completed:
            self._study.tell(suggestion.trial, value)
        else:
            suggestion.trial.report(value, step=1)
            self._study.tell(suggestion.trial, state=_optuna().trial.TrialState.PRUNED)

    def _suggestion(self) -> Suggestion:
        trial = self._study.ask(self._distributions)
        found = {each.name: each.written(_value(each, trial.params[each.name])) for each in self._ranges}
        return Suggestion(found, trial)

    def _suggested(self, combination: Mapping[str, Any]) -> Suggestion:
        self._study.enqueue_trial(dict(combination))
        return self._suggestion()

    def _untried(self) -> Suggestion | None:
        """The first combination of a small space that has not been tried; samplers come back to those they like."""
        for combination in _all_combinations(self._ranges):
            key = tuple(each.written(combination[each.name]) for each in self._ranges)
            if key not in self._tried:
                self._tried.add(key)
                return self._suggested(combination)
        return None

    def _drop(self, suggestion: Suggestion) -> None:
        self._study.tell(suggestion.trial, state=_optuna().trial.TrialState.FAIL)


def _all_combinations(ranges: Sequence[Range]) -> Iterator[dict[str, Any]]:
    names = [each.name for each in ranges]
    return (dict(zip(names, values, strict=True)) for values in product(*(each.values() for each in ranges)))


def _distribution(each: Range) -> Any:
    distributions = _optuna().distributions
    if isinstance(each, Choice):
        return distributions.CategoricalDistribution(each.texts)
    logarithmic = each.scaling != "Linear"
    if each.whole:
        return distributions.IntDistribution(int(each.low), int(each.high), log=logarithmic)
    if each.scaling == "ReverseLogarithmic":
        return distributions.FloatDistribution(1 - each.high, 1 - each.low, log=True)
    return distributions.FloatDistribution(each.low, each.high, log=logarithmic)


def _value(each: Range, found: Any) -> Any:
    """A value of Optuna's as one of the range: a reverse logarithmic scale is searched by its distance from 1."""
    return 1 - found if isinstance(each, Numbers) and each.scaling == "ReverseLogarithmic" else found


@cache
def _optuna() -> Any:
    import optuna

    # It tells of each trial on stderr, which is the server's own log; our training jobs have logs of their own.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
