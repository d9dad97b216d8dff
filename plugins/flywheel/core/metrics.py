"""How good are a classifier's scores? Metrics as plain functions of numpy arrays, used by jobs and by monitoring alike.

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
class Difference:
    """A difference of two metrics with its 95% interval."""

    value: float
    low: float
    high: float


def auc_difference(labels: Any, first: Any, second: Any, blocks: Any, *, resamples: int = 1000, seed: int = 0) -> Difference:
    """AUC of ``first`` minus AUC of ``second`` on the same rows, with a paired block-bootstrap interval.

    Rows of one day share their weather and their knock-on delays, so whole days (or whatever ``blocks`` number) are drawn with
    replacement, not rows; rows drawn one by one would make the interval far too narrow. Resamples that hold one class only
    are left out. NaN when there is one class only.
    """
    import numpy as np

    _, block = np.unique(np.asarray(blocks), return_inverse=True)
    truth = np.asarray(labels)
    positives, rows = np.bincount(block, weights=truth), np.bincount(block)
    wins = block_wins(truth, first, block) - block_wins(truth, second, block)
    weights = np.random.default_rng(seed).multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=resamples)
    weights = np.vstack([np.ones(len(rows)), weights])  # the first line is the data as it is
    pairs = (weights @ positives) * (weights @ (rows - positives))
    won = np.einsum("ri,ij,rj->r", weights, wins, weights, optimize=True)
    differences = won[pairs > 0] / pairs[pairs > 0]
    if pairs[0] == 0:
        return Difference(math.nan, math.nan, math.nan)
    low, high = np.quantile(differences[1:], [0.025, 0.975])
    return Difference(float(differences[0]), float(low), float(high))
