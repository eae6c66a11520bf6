"""Slow, obvious versions of the training rules: whole trainings, written out example by example."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from turnover.common.seeding import seeded, torch_generator

# the positions of a batch, the number of its epoch -> the gradient of every parameter, of each network
Gradients = Callable[[list[int], int], list[tuple[Tensor, ...]]]


def trained(
    networks: Sequence[nn.Module], n: int, gradients: Gradients, *, seed: int, epochs: int, batch: int, lr: float
) -> None:
    """Train by SGD in the order of the loop."""
    for epoch in range(1, epochs + 1):
        order = torch.randperm(n, generator=torch_generator(seed, "order", epoch)).tolist()
        with seeded(seed, "noise", epoch):
            for start in range(0, n, batch):
                found = gradients(order[start : start + batch], epoch)
                for network, of_network in zip(networks, found, strict=True):
                    for weight, gradient in zip(network.parameters(), of_network, strict=True):
                        weight.data -= lr * gradient


def probabilities(logits: Tensor) -> list[Tensor]:
    """Softmax of the logits of one example, class by class.  # [classes]"""
    powers = [(value - logits.max().detach()).exp() for value in logits]
    return [power / sum(powers) for power in powers]


def cross_entropy(logits: Tensor, label: int) -> Tensor:
    """-log p of the label."""
    return -probabilities(logits)[label].log()


def gce(logits: Tensor, label: int, q: float) -> Tensor:
    """(1 - p^q) / q."""
    return (1 - probabilities(logits)[label] ** q) / q


def rll(logits: Tensor, label: int, alpha: float) -> Tensor:
    """log (1 + a)/a - log (a + p of the label) + the mean over the others of log (a + p)."""
    p = probabilities(logits)
    total = math.log((1 + alpha) / alpha) - (alpha + p[label]).log()
    for other in range(len(p)):
        if other != label:
            total = total + (alpha + p[other]).log() / (len(p) - 1)
    return total


class EarlyLearning:
    """Running means of what was said of each example."""

    def __init__(self, strength: float, momentum: float) -> None:
        self.strength, self.momentum = strength, momentum
        self.means: dict[int, list[float]] = {}

    def __call__(self, logits: Tensor, label: int, position: int) -> Tensor:
        """Loss of one example, whose mean moves on."""
        p = [min(max(value, torch.tensor(1e-4).double()), torch.tensor(1 - 1e-4).double()) for value in
             probabilities(logits)]  # fmt: skip
        said = [float(value.detach()) for value in p]
        shares = [value / sum(said) for value in said]
        before = self.means.get(position, [0.0] * len(p))
        self.means[position] = [
            self.momentum * a + (1 - self.momentum) * b for a, b in zip(before, shares, strict=True)
        ]
        agreement = torch.stack([t * value for t, value in zip(self.means[position], p, strict=True)]).sum()
        return cross_entropy(logits, label) + self.strength * (1 - agreement).log()


def smallest(losses: Sequence[float], share: float, epoch: int, ramp: int) -> list[int]:
    """Which examples of a batch are trained on: those of smallest loss, but a share that grows with the epochs."""
    left_out = share * epoch / ramp if epoch < ramp else share
    count = max(1, round(len(losses) * (1 - left_out)))
    return sorted(range(len(losses)), key=lambda i: losses[i])[:count]


def ranked_weights(scores: Sequence[float], strength: float) -> list[float]:
    """1 + strength (1 - 2 r), with r the share of scores that are lower, half of the equal ones among them."""
    n = len(scores)
    shares = [sum((other < score) + (other == score) / 2 for other in scores) / n for score in scores]
    return [1 + strength * (1 - 2 * share) for share in shares]


def clipped(of_examples: Sequence[tuple[Tensor, ...]], norm: float) -> list[Tensor]:
    """The sum of the gradients of single examples, each no longer than `norm`, by parameter."""
    total = [torch.zeros_like(part) for part in of_examples[0]]
    for parts in of_examples:
        length = math.sqrt(sum(float(part.square().sum()) for part in parts))
        for whole, part in zip(total, parts, strict=True):
            whole += part * min(1.0, norm / length)
    return total


def attacked(
    x: Tensor, start: Tensor, loss: Callable[[Tensor], Tensor], *, radius: float, size: float, steps: int,
    low: float, high: float,
) -> Tensor:  # fmt: skip
    """One example after `steps` steps up the sign of its loss, each number in its range.  # [features]"""

    def inside(values: Tensor) -> Tensor:
        near = [min(max(float(v), float(c) - radius), float(c) + radius) for v, c in zip(values, x, strict=True)]
        return torch.tensor([min(max(value, low), high) for value in near], dtype=x.dtype)

    now = inside(x + start)
    for _ in range(steps):
        now.requires_grad_()
        [gradient] = torch.autograd.grad(loss(now), now)
        signs = [float((g > 0).double() - (g < 0).double()) for g in gradient]
        now = inside(now.detach() + torch.tensor([size * sign for sign in signs], dtype=x.dtype))
    return now


def divergence(p: Sequence[Tensor], q: Sequence[Tensor]) -> Tensor:
    """Σ p log p / q."""
    return sum((a * (a / b).log() for a, b in zip(p, q, strict=True)), torch.zeros(()).double())
