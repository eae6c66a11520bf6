"""Probes of a finished network from their definitions, in loops and in float64."""

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


def features_of_mlp(model: nn.Sequential, x: Tensor) -> list[np.ndarray]:
    """What every linear layer with the ReLU behind it gives, by matrix products.  # [n, units] each"""
    h = x.flatten(1).double().numpy()
    linears = [module for module in model if isinstance(module, nn.Linear)]
    outputs = []
    for number, linear in enumerate(linears):
        h = h @ linear.weight.detach().double().numpy().T + linear.bias.detach().double().numpy()
        h = h if number == len(linears) - 1 else np.maximum(h, 0)
        outputs.append(h)
    return outputs


def rewound(model: nn.Module, earlier: nn.Module, layer: str) -> nn.Module:
    """A copy with weight and bias of one layer of another network."""
    result = copy.deepcopy(model)
    ours, theirs = result.get_submodule(layer), earlier.get_submodule(layer)
    with torch.no_grad():
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.copy_(other)
    return result


def share_right(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of examples whose largest logit is that of the label."""
    right = 0
    for one, label in zip(x, y, strict=True):
        logits = model(one[None])[0].tolist()
        right += logits.index(max(logits)) == int(label)
    return right / len(y)


def retrained(model: nn.Module, earlier: nn.Module, layer: str | None, x: Tensor, y: Tensor) -> nn.Module:
    """A copy with one layer of another network, or all, trained by three steps of gradient descent at rate 0.1."""
    result = copy.deepcopy(earlier) if layer is None else rewound(model, earlier, layer)
    trained = list((result if layer is None else result.get_submodule(layer)).parameters())
    for _ in range(3):
        loss = nn.functional.cross_entropy(result(x), y)
        for parameter, slope in zip(trained, torch.autograd.grad(loss, trained), strict=True):
            parameter.data -= 0.1 * slope
    return result


def nearest_labels(train: np.ndarray, labels: Sequence[int], asked: np.ndarray, k: int) -> list[int]:
    """The most frequent label of the k nearest rows, distances summed up one by one."""
    result = []
    for row in asked:
        distances = [
            (math.fsum((a - b) ** 2 for a, b in zip(row, other, strict=True)), label)
            for other, label in zip(train, labels, strict=True)
        ]
        nearest = [label for _, label in sorted(distances, key=lambda pair: pair[0])[:k]]
        result.append(min(set(nearest), key=lambda label: (-nearest.count(label), label)))
    return result


def distance_from_class(h: np.ndarray, true: Sequence[int], test: np.ndarray, test_true: Sequence[int]) -> float:
    """Mean over examples of the distance from the mean of the test examples of their class."""
    distances = []
    for row, label in zip(h, true, strict=True):
        others = [other for other, its in zip(test, test_true, strict=True) if its == label]
        centre = [math.fsum(values) / len(others) for values in zip(*others, strict=True)]
        distances.append(math.sqrt(math.fsum((a - b) ** 2 for a, b in zip(row, centre, strict=True))))
    return math.fsum(distances) / len(distances)


def nc1(h: np.ndarray, labels: Sequence[int]) -> float:
    """Trace of the covariance within classes times the pseudo-inverse of that between them, over the classes."""
    classes = sorted(set(labels))
    means = {c: np.mean([row for row, label in zip(h, labels, strict=True) if label == c], axis=0) for c in classes}
    middle = sum(means.values()) / len(classes)
    within = sum(np.outer(row - means[c], row - means[c]) for row, c in zip(h, labels, strict=True)) / len(h)
    between = sum(np.outer(means[c] - middle, means[c] - middle) for c in classes) / len(classes)
    return float(np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / len(classes))


def pwcca(x: np.ndarray, y: np.ndarray) -> float:
    """Canonical correlations from covariance matrices, each weighted by Σ |h · x_j|."""
    x, y = x - x.mean(0), y - y.mean(0)

    def inverse_root(matrix: np.ndarray) -> np.ndarray:
        values, vectors = np.linalg.eigh(matrix)
        kept = values > values.max() * 1e-12
        root: np.ndarray = vectors[:, kept] @ np.diag(values[kept] ** -0.5) @ vectors[:, kept].T
        return root

    root = inverse_root(x.T @ x)
    left, correlations, _ = np.linalg.svd(root @ (x.T @ y) @ inverse_root(y.T @ y))
    total = weighted = 0.0
    for number in range(min(np.linalg.matrix_rank(x), np.linalg.matrix_rank(y))):
        h = x @ root @ left[:, number]
        weight = sum(abs(float(h @ x[:, unit])) for unit in range(x.shape[1]))
        total, weighted = total + weight, weighted + weight * float(correlations[number])
    return weighted / total


def cka(x: np.ndarray, y: np.ndarray) -> float:
    """By the Hilbert-Schmidt independence criterion of both Gram matrices."""
    n = len(x)
    centring = np.eye(n) - np.ones((n, n)) / n

    def hsic(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.trace(a @ centring @ b @ centring))

    k, other = x @ x.T, y @ y.T
    return hsic(k, other) / math.sqrt(hsic(k, k) * hsic(other, other))


def two_nn(h: np.ndarray, discard: float) -> float:
    """Slope through the origin by least squares, distances one by one."""
    ratios = []
    for i, row in enumerate(h):
        distances = sorted(float(np.sqrt(((row - other) ** 2).sum())) for j, other in enumerate(h) if j != i)
        ratios.append(distances[1] / distances[0])
    ratios.sort()
    n = len(ratios)
    points = [(math.log(ratio), -math.log(1 - i / n)) for i, ratio in enumerate(ratios[: int(n * (1 - discard))], 1)]
    x, y = np.array(points).T
    return float(np.linalg.lstsq(x[:, None], y, rcond=None)[0][0])


def logits_of_mlp(model: nn.Sequential, x: Tensor, left: np.ndarray) -> np.ndarray:
    """Logits of an MLP whose hidden units are multiplied by `left`.  # [n, classes]"""
    h = x.flatten(1).double().numpy()
    linears = [module for module in model if isinstance(module, nn.Linear)]
    start = 0
    for number, linear in enumerate(linears):
        h = h @ linear.weight.detach().double().numpy().T + linear.bias.detach().double().numpy()
        if number < len(linears) - 1:
            h = np.maximum(h, 0) * left[start : start + h.shape[1]]
            start += h.shape[1]
    return h


def zeroed_units(
    model: nn.Sequential, x: Tensor, label: int, others: Tensor, labels: Tensor, units: int, most: int
) -> list[int]:
    """Units in the order in which they are zeroed, each by the slopes of a finite difference, until the label flips."""

    def loss(inputs: Tensor, given: Sequence[int], left: np.ndarray) -> float:
        logits = logits_of_mlp(model, inputs, left)
        return float(np.mean([np.log(np.exp(row - row[y]).sum()) for row, y in zip(logits, given, strict=True)]))

    left = np.ones(units)
    zeroed: list[int] = []
    while logits_of_mlp(model, x, left)[0].argmax() == label and len(zeroed) < most:
        gains = {}
        for unit in set(range(units)) - set(zeroed):
            values = []
            for change in (1e-5, -1e-5):
                changed = left.copy()
                changed[unit] += change
                values.append(loss(x, [label], changed) - loss(others, labels.tolist(), changed))
            gains[unit] = -(values[0] - values[1]) / 2e-5
        zeroed.append(max(gains, key=lambda unit: gains[unit]))
        left[zeroed[-1]] = 0.0
    return zeroed


def lower_loss(one: nn.Module, first: tuple[Tensor, Tensor], other: nn.Module, second: tuple[Tensor, Tensor]) -> float:
    """How often one of the first examples has a lower loss in one network than one of the second in the other.

    Pair by pair, ties counted half.
    """
    losses = [
        [nn.functional.cross_entropy(model(x[i : i + 1]), y[i : i + 1]).item() for i in range(len(x))]
        for model, (x, y) in ((one, first), (other, second))
    ]
    wins = [(low < high) + 0.5 * (low == high) for low in losses[0] for high in losses[1]]
    return sum(wins) / len(wins)
