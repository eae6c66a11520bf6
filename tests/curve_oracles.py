"""Numbers of learning curves, found by walking along them; a curve is {epoch: accuracy}, epochs rising from 0.

An epoch is a whole number, but where a curve was read by steps.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import copysign, inf
from statistics import mean, stdev

Curve = dict[float, float]


def reached(curve: Curve, level: float) -> float:
    """First epoch at or above the level; one after the last if there is none."""
    for epoch, value in curve.items():
        if value >= level:
            return epoch
    return max(curve) + 1


def early_gain(curve: Curve) -> float:
    """Value at the first epoch that is not before a tenth of the last one, minus the first value."""
    for epoch, value in curve.items():
        if 10 * epoch >= max(curve):
            return value - curve[0]
    raise AssertionError


def lead(first: Curve, second: Curve) -> float:
    """Mean difference over all whole epochs but 0."""
    differences = [first[epoch] - second[epoch] for epoch in first if epoch and epoch == int(epoch)]
    return sum(differences) / len(differences)


def at(curve: Curve, when: float) -> float:
    """The value at any time, on the straight line between two epochs."""
    before = max(epoch for epoch in curve if epoch <= when)
    after = min(epoch for epoch in curve if epoch >= when)
    if before == after:
        return curve[before]
    return curve[before] + (curve[after] - curve[before]) * (when - before) / (after - before)


def halfway(curve: Curve) -> float:
    """When the straight lines between epochs first reach the middle between the first and the highest value."""
    middle = (curve[0] + max(curve.values())) / 2
    if curve[0] >= middle:
        return 0.0
    epochs = list(curve)
    for before, after in pairwise(epochs):
        if curve[after] >= middle:
            return before + (after - before) * (middle - curve[before]) / (curve[after] - curve[before])
    raise AssertionError


def together(first: Curve, second: Curve, chance: float) -> float:
    """How far the second curve is above chance over how far the first one is, when that is half way; 0 if it is not."""
    when = halfway(first)
    above = at(first, when) - chance
    return (at(second, when) - chance) / above if above > 0 else 0.0


def falls(curves: Sequence[Curve]) -> list[float]:
    """For each curve its value at the epoch where the sum of the others is highest (the first such) minus its last."""
    found = []
    for number, curve in enumerate(curves):
        others = [other for place, other in enumerate(curves) if place != number] or [curve]
        best = max(curve, key=lambda epoch: sum(other[epoch] for other in others))
        found.append(curve[best] - curve[max(curve)])
    return found


def unfitted(curve: Curve) -> float:
    """Thousandths of a whole between each two epochs, summed: how far the straight line is below 1 in their middles."""
    total = 0.0
    for before, after in pairwise(curve):
        for part in range(1000):
            total += (1 - at(curve, before + (part + 0.5) * (after - before) / 1000)) * (after - before) / 1000
    return total


def crossed(curve: Curve, level: float) -> float:
    """When the straight lines between epochs first reach the level; one after the last if they never do."""
    if curve[0] >= level:
        return 0.0
    for before, after in pairwise(curve):
        if curve[after] >= level:
            return before + (after - before) * (level - curve[before]) / (curve[after] - curve[before])
    return max(curve) + 1.0


def certainty(values: Sequence[float]) -> float:
    """Mean over standard deviation, which is t up to a factor; of one value, itself; of equal ones, infinite."""
    spread = stdev(values) if len(values) > 1 else 1.0
    return mean(values) / spread if spread else mean(values) and copysign(inf, mean(values))
