"""Numbers of learning curves, found by walking along them; a curve is {epoch: accuracy}, epochs rising from 0."""

from collections.abc import Sequence
from itertools import pairwise

Curve = dict[int, float]


def reached(curve: Curve, level: float) -> int:
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
    """Mean difference over all epochs but 0."""
    differences = [first[epoch] - second[epoch] for epoch in first if epoch]
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


def together(first: Curve, second: Curve) -> float:
    """Gain of the second curve over that of the first one, when the first is half way; 0 if it never rises."""
    when, start = halfway(first), min(first)
    gained = [at(curve, when) - curve[start] for curve in (first, second)]
    return gained[1] / gained[0] if max(first.values()) > first[start] else 0.0


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


def lowest_of_others(leads: dict[int, dict[int, float]], seed: int) -> int:
    """Find the epoch in which the sum of the other seeds' leads is lowest, by trying each."""
    best, lowest = -1, float("inf")
    for epoch in leads[seed]:
        total = sum(of_seed[epoch] for other, of_seed in leads.items() if other != seed)
        if total < lowest:
            best, lowest = epoch, total
    return best
