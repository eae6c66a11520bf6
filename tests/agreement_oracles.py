"""Agreement of samples that are written out, value by value, in exact fractions."""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import permutations


def pearson(a: Sequence[float], b: Sequence[float]) -> float:
    """Covariance over the root of the product of the variances, rounded once at the end; 0 if one of them is 0."""
    x, y = [Fraction(value) for value in a], [Fraction(value) for value in b]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((u - mean_x) * (v - mean_y) for u, v in zip(x, y, strict=True))
    variances = sum((u - mean_x) ** 2 for u in x) * sum((v - mean_y) ** 2 for v in y)
    return math.copysign(math.sqrt(covariance**2 / variances), covariance) if variances else 0.0


def slope(estimate: Sequence[float], real: Sequence[float]) -> float:
    """Slope of the least-squares line that predicts the second from the first."""
    x, y = [Fraction(value) for value in estimate], [Fraction(value) for value in real]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((u - mean_x) * (v - mean_y) for u, v in zip(x, y, strict=True))
    return float(covariance / sum((u - mean_x) ** 2 for u in x))


def ranks(values: Sequence[float]) -> list[float]:
    """Rank of each value, from 1, equal ones at the mean of the places that they take in the sorted list."""
    ordered = sorted(values)
    places = {value: [place for place, other in enumerate(ordered, 1) if other == value] for value in set(values)}
    return [sum(places[value]) / len(places[value]) for value in values]


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Pearson's correlation of the ranks."""
    return pearson(ranks(a), ranks(b))


def precision_at_wrong(values: Sequence[float], wrong: Sequence[bool]) -> float:
    """Take the k highest one by one; where only some of the equal values fit, each is taken with equal chance."""
    k = sum(wrong)
    left, hits = k, Fraction(0)
    for value in sorted(set(values), reverse=True):
        group = [bad for other, bad in zip(values, wrong, strict=True) if other == value]
        taken = min(left, len(group))
        hits += Fraction(sum(group) * taken, len(group))
        left -= taken
    return float(hits / k) if k else 0.0


def precision_over_orders(values: Sequence[float], wrong: Sequence[bool]) -> float:
    """Mean, over all orders in which the sample may come, of the precision when the first of equal values are taken."""
    k = sum(wrong)
    if not k:
        return 0.0
    pairs = list(zip(values, wrong, strict=True))
    orders = list(permutations(pairs))
    hits = sum(sum(bad for _, bad in sorted(order, key=lambda pair: -pair[0])[:k]) for order in orders)
    return float(Fraction(hits, k * len(orders)))
