"""What ensembles say of examples, one network and one example at a time in plain Python, from the definitions."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

Table = Sequence[Sequence[float]]  # a row for each network, a column for each example
Membership = Sequence[Sequence[bool]]  # whether the network was trained on the example


def mean(values: Sequence[float]) -> float:
    """NaN of nothing."""
    return math.fsum(values) / len(values) if values else math.nan


def split(column: Sequence[float], inside: Sequence[float]) -> tuple[list[float], list[float]]:
    """Values of the networks that were trained on an example, and of the others."""
    with_it = [float(value) for value, each in zip(column, inside, strict=True) if each]
    without = [float(value) for value, each in zip(column, inside, strict=True) if not each]
    return with_it, without


def columns(table: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
    return list(zip(*table, strict=True))


def with_and_without(values: Table, included: Membership) -> tuple[list[float], list[float]]:
    parts = [split(column, inside) for column, inside in zip(columns(values), columns(included), strict=True)]
    return [mean(with_it) for with_it, _ in parts], [mean(without) for _, without in parts]


def memorization(values: Table, included: Membership) -> list[float]:
    return [a - b for a, b in zip(*with_and_without(values, included), strict=True)]


def influence(right: Table, included: Membership) -> list[list[float]]:
    """Every pair of an example t and an example i that some networks were trained on.  # [t][i]"""
    rows = []
    for of_t in columns(right):
        parts = [split(of_t, inside) for inside in columns(included)]
        rows.append([mean(with_it) - mean(without) for with_it, without in parts])
    return rows


def inconsistency(right: Table, included: Membership, fractions: Sequence[float]) -> list[float]:
    """One minus the mean over fractions of the share of right ones among networks without the example."""
    found = []
    for column, inside in zip(columns(right), columns(included), strict=True):
        shares = []
        for fraction in sorted(set(fractions)):
            without = [
                float(is_right)
                for is_right, is_in, its in zip(column, inside, fractions, strict=True)
                if its == fraction and not is_in
            ]
            if without:
                shares.append(mean(without))
        found.append(1 - mean(shares))
    return found


def within_fractions(values: Table, included: Membership, fractions: Sequence[float]) -> list[float]:
    """The mean over fractions of with minus without, of those fractions that have networks of both kinds."""
    found: list[list[float]] = [[] for _ in values[0]]
    for fraction in sorted(set(fractions)):
        rows = [number for number, its in enumerate(fractions) if its == fraction]
        differences = memorization([values[row] for row in rows], [included[row] for row in rows])
        for place, difference in enumerate(differences):
            if not math.isnan(difference):
                found[place].append(difference)
    return [mean(each) for each in found]


def log_likelihood_ratios(confidence: Table, included: Membership, *, enough: float = 32) -> np.ndarray:
    """Two normal densities, each fitted to all other networks of its kind.

    Args:
        enough: networks of either kind for a variance of the example's own, else it is the mean of those of all.
    """
    phi, inside = np.asarray(confidence, dtype=np.float64), np.asarray(included, dtype=bool)
    found = np.empty_like(phi)
    for network in range(len(phi)):
        others = [other for other in range(len(phi)) if other != network]
        log_density = []
        for kind in (True, False):
            middles, variances = [], []
            for example in range(phi.shape[1]):
                values = [phi[other, example] for other in others if inside[other, example] == kind]
                middles.append(mean(values))
                variances.append(np.var(values, ddof=1) if len(values) > 1 else math.nan)
            shared = np.nanmean(variances)
            counts = np.minimum(inside.sum(0), (~inside).sum(0))
            variances = [each if n >= enough else shared for each, n in zip(variances, counts, strict=True)]
            log_density.append(norm.logpdf(phi[network], middles, np.sqrt(variances)))
        found[network] = log_density[0] - log_density[1]
    return found


def true_positive_rate(positive: Sequence[float], negative: Sequence[float], allowed_rate: float) -> float:
    """The best that any threshold does whose share of false alarms is at most the allowed one, all of them tried."""
    best = 0.0
    for threshold in [-math.inf, *positive, *negative, math.inf]:
        false_alarms = sum(each > threshold for each in negative)
        if false_alarms <= allowed_rate * len(negative):
            best = max(best, mean([float(each > threshold) for each in positive]))
    return best


def leave_one_out(right: Membership, left: Sequence[int]) -> dict[int, float]:
    """Right trained on all but another example, minus right trained on all but this one.

    Args:
        right: of each network and example.
        left: which example each network was not trained on.

    Returns:
        Of each example that was left out.
    """
    found = {}
    for example in sorted(set(left)):
        without = [float(row[example]) for row, its in zip(right, left, strict=True) if its == example]
        on_it = [float(row[example]) for row, its in zip(right, left, strict=True) if its != example]
        found[example] = mean(on_it) - mean(without)
    return found


def log_odds(logits: Tensor, labels: Tensor) -> list[float]:
    """log p / (1 - p) of each example's label, in float64."""
    found = []
    for row, label in zip(logits.double().tolist(), labels.tolist(), strict=True):
        others = torch.tensor([each for number, each in enumerate(row) if number != label], dtype=torch.float64)
        found.append(row[label] - float(others.logsumexp(0)))
    return found


def kept(run: Path) -> dict[str, np.ndarray]:
    """What members.npz of a run holds, as it is."""
    with np.load(run / "members.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def blocks(log_odds: Table, included: Membership) -> dict[str, list[float]]:
    """t, probabilities and the jackknife's error of every example, from blocks of which k and k + half are a pair."""
    pairs = len(log_odds) // 2

    def sizes(left_out: int | None) -> tuple[list[float], list[float]]:
        """Means over spreads of the blocks with each example, and of those without."""
        rows = [row for row in range(2 * pairs) if row % pairs != left_out]
        parts = [split([log_odds[row][i] for row in rows], [included[row][i] for row in rows]) for i in range(n)]
        return tuple(over_spread([part[side] for part in parts]) for side in (0, 1))  # type: ignore[return-value]

    def over_spread(kind: list[list[float]]) -> list[float]:
        typical = statistics.median(statistics.variance(values) for values in kind)
        found = []
        for values in kind:
            freedom = len(values) - 1
            variance = (freedom * statistics.variance(values) + 12 * typical) / (freedom + 12)
            found.append(mean(values) / math.sqrt(variance))
        return found

    def probabilities(left_out: int | None) -> tuple[list[float], list[float]]:
        with_it, without = sizes(left_out)
        return [float(norm.cdf(each)) for each in with_it], [float(norm.cdf(each)) for each in without]

    n = len(log_odds[0])
    in_probability, out_probability = probabilities(None)
    again = [[a - b for a, b in zip(*probabilities(pair), strict=True)] for pair in range(pairs)]
    errors = []
    for values in columns(again):
        middle = mean(values)
        errors.append(math.sqrt((pairs - 1) / pairs * math.fsum((value - middle) ** 2 for value in values)))
    return {
        "blocks": [-each for each in sizes(None)[1]],
        "memorization": [a - b for a, b in zip(in_probability, out_probability, strict=True)],
        "memorization_se": errors,
        "out_probability": out_probability,
        "in_probability": in_probability,
    }
