"""Multilayer perceptron with ReLU: one or more hidden layers."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def mlp(inputs: int, hidden: Sequence[int], classes: int, *, dropout: float = 0.0) -> nn.Sequential:
    """Build flatten, linear and ReLU for each hidden size, linear to the logits; PyTorch's default initialisation.

    The paper's network on MNIST is `mlp(784, [4096], 10)` (appendix A), 3.26 million parameters. Ordinary dropout, if
    any, comes after every ReLU.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise([inputs, *hidden]):
        layers += [nn.Linear(before, after), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], classes))
