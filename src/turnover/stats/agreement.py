"""Agreement of a score with another, precision on wrong labels, and their limits under noise and ties.

As in `measures`, each function that returns a statistic prepares one run's values once, so that a replicate costs no
sorting. In a replicate a value drawn c times counts as c equal values. NaN has no rank and is refused.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from turnover.stats.claims import REPLICATES, bootstrap
from turnover.stats.measures import Statistic

Correlation = Callable[[np.ndarray, np.ndarray], Statistic]


def pearson(a: np.ndarray, b: np.ndarray) -> Statistic:
    """Return Pearson's correlation: covariance over the product of standard deviations; 0 if one of them is 0.

    Args:
        a, b: numbers of the same examples.  # [n] each
    """
    _check(a, b)
    a, b = a.astype(np.float64), b.astype(np.float64)

    def statistic(counts: np.ndarray) -> float:
        drawn = np.flatnonzero(counts)
        share = counts[drawn] / counts.sum()
        return _within(share @ (_standard(a[drawn], share) * _standard(b[drawn], share)))

    return statistic


def spearman(a: np.ndarray, b: np.ndarray) -> Statistic:
    """Return Spearman's correlation: Pearson's of the ranks in the drawn sample; 0 if all values of one are equal.

    Equal values have the mean of their ranks.

    Args:
        a, b: numbers of the same examples.  # [n] each
    """
    _check(a, b)
    _, index_a = np.unique(a, return_inverse=True)
    _, index_b = np.unique(b, return_inverse=True)

    def statistic(counts: np.ndarray) -> float:
        times = counts.astype(np.float64)
        rank_a, square_a = _ranks(index_a, times)
        rank_b, square_b = _ranks(index_b, times)
        if square_a == 0 or square_b == 0:
            return 0.0
        product = times @ (rank_a[index_a] * rank_b[index_b])
        # one root, not two: the same order then gives 1 without rounding
        return _within(product / math.sqrt(square_a * square_b))

    return statistic


def partial_spearman(a: np.ndarray, b: np.ndarray, given: np.ndarray) -> float:
    """Compute Spearman's correlation of a and b with a third quantity held fixed; 0 if one of them decides another.

    (r_ab - r_ac r_bc) / √((1 - r_ac²)(1 - r_bc²)), of ranks (Kendall, 1942).

    Args:
        a, b, given: numbers of the same examples.  # [n] each
    """
    once = _once(len(a))
    of_both, of_a, of_b = (spearman(*pair)(once) for pair in ((a, b), (a, given), (b, given)))
    rest = (1 - of_a**2) * (1 - of_b**2)
    return _within((of_both - of_a * of_b) / math.sqrt(rest)) if rest > 0 else 0.0


def slope(estimate: np.ndarray, real: np.ndarray) -> Statistic:
    """Return the slope of the line that predicts `real` from an estimate by least squares; 0 if that is constant.

    It is 1 if the estimate is neither too spread out nor too narrow (calibration slope, Cox, 1958).

    Args:
        estimate, real: numbers of the same examples.  # [n] each
    """
    _check(estimate, real)
    a, b = estimate.astype(np.float64), real.astype(np.float64)

    def statistic(counts: np.ndarray) -> float:
        share = counts / counts.sum()
        centred = a - share @ a
        variance = share @ (centred * centred)
        return float(share @ (centred * (b - share @ b)) / variance) if variance > 0 else 0.0

    return statistic


def bias(estimate: np.ndarray, real: np.ndarray) -> Statistic:
    """Return the mean of an estimate less that of `real`.

    Args:
        estimate, real: numbers of the same examples.  # [n] each
    """
    _check(estimate, real)
    difference = estimate.astype(np.float64) - real.astype(np.float64)
    return lambda counts: float(counts @ difference / counts.sum())


def precision_at_wrong(values: np.ndarray, wrong: np.ndarray) -> Statistic:
    """Return the share of wrong labels among the k highest values, k the number of wrong labels drawn; 0 if k is 0.

    Of the values equal to the k-th as many as still fit are taken at random; this is the expectation over that choice.

    Args:
        values: of every example, higher for a label more likely to be wrong.  # [n]
        wrong: whether the label of an example is wrong.  # bool [n]
    """
    _check(values, wrong)
    _, rank = np.unique(values, return_inverse=True)
    descending = rank.max(initial=0) - rank  # 0 for the highest value

    def statistic(counts: np.ndarray) -> float:
        wrong_counts = counts * wrong
        k = wrong_counts.sum()
        if k == 0:
            return 0.0
        of_value, hits = np.bincount(descending, weights=counts), np.bincount(descending, weights=wrong_counts)
        taken = np.cumsum(of_value)
        last = np.searchsorted(taken, k)  # the k-th highest value
        share = 1 - (taken[last] - k) / of_value[last]  # of its copies that are taken
        return float((hits[:last].sum() + share * hits[last]) / k)

    return statistic


def split_half(first: np.ndarray, second: np.ndarray, correlation: Correlation = spearman) -> Statistic:
    """Return the reliability of the mean of two estimates by the Spearman-Brown formula 2r / (1 + r) of correlation r.

    The formula (Spearman, 1910; Brown, 1910) is that of Pearson's correlation, for halves with independent errors of
    equal variance; for Spearman's it is an approximation. It is meant for positive r: it falls without bound towards
    r = -1, where it is -inf.

    Args:
        first, second: estimates of the same examples, each from one half of the material.  # [n] each
    """
    agreement = correlation(first, second)

    def statistic(counts: np.ndarray) -> float:
        r = agreement(counts)
        return 2 * r / (1 + r) if r > -1 else -math.inf

    return statistic


def reliability(first: np.ndarray, second: np.ndarray, correlation: Correlation = spearman) -> float:
    """Compute `split_half` with every example drawn once."""
    return split_half(first, second, correlation)(_once(len(first)))


def ceiling(reliability: float) -> float:
    """Compute the correlation of a perfect score with an estimate of that reliability: √max(reliability, 0).

    From the attenuation formula (Spearman, 1904): observed correlation = true one · √(product of both reliabilities),
    with 1 for the true one and for the score's reliability. It is derived for Pearson's correlation; for Spearman's it
    is an approximation.
    """
    return math.sqrt(max(reliability, 0.0))


def tie_bound(values: np.ndarray) -> float:
    """Compute the highest Spearman correlation of a score without ties with values: √(1 - Σ(t³ - t) / (n³ - n)).

    t are the sizes of the groups of equal values; 1 if all differ, 0 if none does. Follows from the variance of ranks
    with ties (Kendall, 1945): a score in the same order, with ties broken anyhow, reaches it.

    Args:
        values: at least two numbers, none of them NaN.  # [n]
    """
    n = len(values)
    _, sizes = np.unique(values, return_counts=True)
    t = sizes.astype(np.float64)
    return math.sqrt(max(1 - float((t**3 - t).sum()) / (float(n) ** 3 - n), 0.0))


def interval(runs: Sequence[Statistic], examples: int, replicates: int = REPLICATES) -> tuple[float, float, float]:
    """Compute the mean of a statistic over runs, and the ends of its 95 % percentile bootstrap interval over examples.

    The same examples are drawn for every run. The interval covers the choice of examples, not that of seeds: for seeds
    see `claims.measure`.
    """
    once = _once(examples)
    low, high = np.percentile(bootstrap(runs, examples, replicates), [2.5, 97.5])
    return float(np.mean([run(once) for run in runs])), float(low), float(high)


def _once(examples: int) -> np.ndarray:
    return np.ones(examples, dtype=np.int64)


def _check(a: np.ndarray, b: np.ndarray) -> None:
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"one number of every example on both sides is needed, not {a.shape} and {b.shape}")
    if np.isnan(a).any() or np.isnan(b).any():
        raise ValueError("NaN has no rank and no correlation")


def _standard(values: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Standardise values: minus the mean, over the standard deviation; all 0 if that is 0.

    Differences are taken and scaled first: they are 0 for equal values, which rounding of the mean does not ensure, and
    the squares of small ones do not underflow.
    """
    values = values - values[:1]
    largest = np.abs(values).max(initial=0.0)
    if largest == 0:
        return values
    values /= largest
    values -= share @ values
    return values / np.sqrt(share @ (values * values))


def _ranks(index: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, float]:
    """Compute twice the centred rank of every distinct value, and the sum of their squares over the drawn sample.

    That is the number of drawn values below minus the number above: whole numbers, so that a variance of 0 is exact.

    Args:
        index: of each example's value among the sorted distinct ones.  # [n]
        times: how often each example was drawn.  # [n]
    """
    drawn = np.bincount(index, weights=times)
    up_to = np.cumsum(drawn)
    ranks = 2 * up_to - drawn - up_to[-1:]
    return ranks, float(drawn @ (ranks * ranks))


def _within(r: float) -> float:
    """Clip r to [-1, 1], which rounding may leave; NaN stays NaN."""
    return float(np.clip(r, -1.0, 1.0))
