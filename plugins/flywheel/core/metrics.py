"""How good are scores and forecasts? Metrics as plain functions of numpy arrays, used by jobs and by monitoring alike.

``labels`` are 0 or 1, ``scores`` are probabilities of 1 (only their order matters to :func:`auc` and :func:`gini`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def auc(labels: Any, scores: Any) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, a tie counting half. NaN with one class only."""
    import numpy as np

    wins = block_wins(labels, scores, np.zeros(len(labels), dtype=int))
    positives = float(np.sum(labels))
    pairs = positives * (len(labels) - positives)
    return float(wins[0, 0]) / pairs if pairs else math.nan


def gini(auc_value: float) -> float:
    """AUC on the scale where 0 is chance and 1 is perfect; a relative drop of accuracy means something on this one."""
    return 2.0 * auc_value - 1.0


def logloss(labels: Any, scores: Any) -> float:
    """Mean negative log likelihood; scores of exactly 0 and 1 are taken as 1e-15 inside. NaN without rows."""
    import numpy as np

    truth, probability = np.asarray(labels, dtype=float), np.clip(np.asarray(scores, dtype=float), 1e-15, 1 - 1e-15)
    if not len(truth):
        return math.nan
    return float(-np.mean(truth * np.log(probability) + (1 - truth) * np.log1p(-probability)))


def calibration_ratio(labels: Any, scores: Any) -> float:
    """Predicted positives over observed ones: 1 is right on average, above 1 predicts too many. NaN without positives."""
    import numpy as np

    observed = float(np.sum(labels))
    return float(np.sum(scores)) / observed if observed else math.nan


def block_wins(labels: Any, scores: Any, blocks: Any) -> np.ndarray:
    """Won pairs by block: how often a positive of block i scores above a negative of block j, a tie counting half.

    The AUC of any weighting of the blocks follows from this matrix, so that resampling blocks needs no second look at the rows.

    :param blocks: block number of each row, from 0
    :return: float array of shape (blocks, blocks)
    """
    import numpy as np

    truth, values, block = np.asarray(labels), np.asarray(scores, dtype=float), np.asarray(blocks, dtype=int)
    size = int(block.max()) + 1 if len(block) else 1
    positive, wins = truth == 1, np.zeros((size, size))
    positive_scores, positive_blocks = values[positive], block[positive]
    for j in range(size):
        negatives = np.sort(values[~positive & (block == j)])
        beaten = np.searchsorted(negatives, positive_scores, "left") + np.searchsorted(negatives, positive_scores, "right")
        wins[:, j] = np.bincount(positive_blocks, weights=beaten / 2.0, minlength=size)
    return wins


@dataclass(frozen=True)
class Estimate:
    """A metric, or the difference of two, with its 95% interval."""

    value: float
    low: float
    high: float


def auc_difference(labels: Any, first: Any, second: Any, blocks: Any, *, resamples: int = 1000, seed: int = 0) -> Estimate:
    """AUC of ``first`` minus AUC of ``second`` on the same rows, with a paired block-bootstrap interval.

    Rows of one day share their weather and their knock-on delays, so whole days (or whatever ``blocks`` number) are drawn with
    replacement, not rows; rows drawn one by one would make the interval far too narrow. Resamples that hold one class only
    are left out. NaN when there is one class only.
    """
    import numpy as np

    _, block = np.unique(np.asarray(blocks), return_inverse=True)
    wins = block_wins(labels, first, block) - block_wins(labels, second, block)
    return _bootstrap_auc(np.asarray(labels), block, wins, resamples, seed)


def ratio_interval(numerators: Any, denominators: Any, blocks: Any, *, resamples: int = 1000, seed: int = 0) -> Estimate:
    """A ratio of two sums (WAPE, calibration, a mean loss) with a block-bootstrap interval; NaN where the lower sum is 0.

    :param numerators: one number per row, such as absolute errors or scores
    :param denominators: one number per row, such as absolute actuals or labels
    :param blocks: block (day) of each row
    """
    import numpy as np

    _, block = np.unique(np.asarray(blocks), return_inverse=True)
    above, below = (np.bincount(block, weights=np.asarray(part, dtype=float)) for part in (numerators, denominators))
    if not len(block) or below.sum() == 0:
        return Estimate(math.nan, math.nan, math.nan)
    weights = _resampled(len(above), resamples, seed)
    lower = weights @ below
    ratios = (weights @ above)[lower != 0] / lower[lower != 0]
    low, high = np.quantile(ratios[1:], [0.025, 0.975])
    return Estimate(float(ratios[0]), float(low), float(high))


def wape(actual: Any, forecast: Any) -> float:
    """Sum of absolute errors over the sum of absolute actuals: an honest percentage, small actuals and zeros included.

    NaN where all actuals are 0.
    """
    import numpy as np

    truth, guess = np.asarray(actual, dtype=float), np.asarray(forecast, dtype=float)
    total = float(np.abs(truth).sum())
    return float(np.abs(truth - guess).sum()) / total if total else math.nan


@dataclass(frozen=True)
class Mape:
    """A mean absolute percentage error, and how many rows it cannot speak of."""

    value: float
    rows: int
    zeros: int


def mape(actual: Any, forecast: Any) -> Mape:
    """Mean absolute percentage error over the rows whose actual is not 0; NaN without any.

    To be shown, not to be gated on: it rewards forecasting too little (of a Poisson count with mean 2 the forecast with the least
    MAPE is half the mean). :func:`wape` does not.
    """
    import numpy as np

    truth, guess = np.asarray(actual, dtype=float), np.asarray(forecast, dtype=float)
    counted = truth != 0
    errors = np.abs(truth[counted] - guess[counted]) / np.abs(truth[counted])
    return Mape(float(errors.mean()) if len(errors) else math.nan, int(counted.sum()), int((~counted).sum()))


def naive_ratio(actual: Any, forecast: Any, naive: Any) -> float:
    """Absolute errors of a forecast over those of the seasonal naive one (the actual of a season before): below 1 it is worth it.

    It tells a model that decays from weeks that are hard for everybody (relative mean absolute error: Hyndman and Koehler, 2006,
    International Journal of Forecasting 22). Rows without a naive forecast (NaN) are left out; NaN where its errors are all 0.
    """
    import numpy as np

    truth, guess, before = (np.asarray(part, dtype=float) for part in (actual, forecast, naive))
    both = ~np.isnan(before)
    errors = float(np.abs(truth[both] - before[both]).sum())
    return float(np.abs(truth[both] - guess[both]).sum()) / errors if errors else math.nan


def _bootstrap_auc(labels: np.ndarray, block: np.ndarray, wins: np.ndarray, resamples: int, seed: int) -> Estimate:
    """Value and interval of a difference from the differences of won pairs by block."""
    import numpy as np

    positives, rows = np.bincount(block, weights=labels), np.bincount(block)
    weights = _resampled(len(rows), resamples, seed)
    pairs = (weights @ positives) * (weights @ (rows - positives))
    won = np.einsum("ri,ij,rj->r", weights, wins, weights, optimize=True)
    if not len(pairs) or pairs[0] == 0:
        return Estimate(math.nan, math.nan, math.nan)
    values = won[pairs > 0] / pairs[pairs > 0]
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return Estimate(float(values[0]), float(low), float(high))


def _resampled(blocks: int, resamples: int, seed: int) -> np.ndarray:
    """How often each block is drawn, by resample; the first line is the data as it is."""
    import numpy as np

    weights = np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), size=resamples)
    return np.vstack([np.ones(blocks), weights])
