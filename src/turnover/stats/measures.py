"""Statistics of a sample with counts of each value, for the bootstrap of a claim.

Each function prepares one run's values once and returns a function of the counts (int [n]), so that a replicate costs
no sorting.
"""

from collections.abc import Callable

import numpy as np

Statistic = Callable[[np.ndarray], float]  # how often each example was drawn, int [n] -> the measure of one run


def median(values: np.ndarray) -> Statistic:
    """Return the median; the mean of the two middle values if their number is even."""
    order = np.argsort(values, kind="stable")
    ranked = values[order].astype(np.float64)

    def statistic(counts: np.ndarray) -> float:
        total = np.cumsum(counts[order])
        n = total[-1]
        middle = np.searchsorted(total, [(n + 1) // 2, n // 2 + 1])
        return float(ranked[middle].mean())

    return statistic


def skewness(values: np.ndarray) -> Statistic:
    """Return the skewness, the third central moment over the 3/2 power of the second; 0 if all values are equal."""
    values = values.astype(np.float64)

    def statistic(counts: np.ndarray) -> float:
        share = counts / counts.sum()
        centred = values - share @ values
        square = centred * centred
        variance = share @ square
        if variance <= 1e-24 * (share @ (values * values)):  # equal up to rounding
            return 0.0
        return float(share @ (square * centred) / variance**1.5)

    return statistic


def top_share(values: np.ndarray, top: float = 0.1) -> Statistic:
    """Return the share of the highest `top` of the values in the sum of all positive ones; 0 if none is positive."""
    order = np.argsort(-values, kind="stable")
    positive = np.maximum(values[order], 0.0).astype(np.float64)

    def statistic(counts: np.ndarray) -> float:
        drawn = counts[order]
        mass = np.cumsum(drawn * positive)
        ranks = np.cumsum(drawn)
        kept = np.ceil(top * ranks[-1])
        last = np.searchsorted(ranks, kept)
        highest = mass[last] - (ranks[last] - kept) * positive[last]  # of the last one's copies only those needed
        return float(highest / mass[-1]) if mass[-1] > 0 else 0.0

    return statistic


def share_among(values: np.ndarray, among: np.ndarray) -> Statistic:
    """Return the share of some values in the sum of all positive ones; 0 if none is positive.

    Args:
        among: which values these are.  # bool [n]
    """
    positive = np.maximum(values, 0.0).astype(np.float64)

    def statistic(counts: np.ndarray) -> float:
        mass = counts * positive
        return float(mass[among].sum() / mass.sum()) if mass.sum() > 0 else 0.0

    return statistic


def auroc(values: np.ndarray, positive: np.ndarray) -> Statistic:
    """Return the AUROC: how often a positive example's value exceeds a negative one's, ties counted half."""
    _, rank = np.unique(values, return_inverse=True)

    def statistic(counts: np.ndarray) -> float:
        yes = np.bincount(rank, weights=counts * positive)
        no = np.bincount(rank, weights=counts * ~positive)
        below = np.cumsum(no) - no
        pairs = yes.sum() * no.sum()
        return float(yes @ (below + no / 2) / pairs) if pairs > 0 else 0.5

    return statistic
