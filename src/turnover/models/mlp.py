"""Multilayer perceptron with ReLU: one or more hidden layers."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def mlp(inputs: int, hidden: Sequence[int], classes: int) -> nn.Sequential:
    """Build flatten, linear and ReLU for each hidden size, linear to the logits; PyTorch's default initialisation.

    The paper's network on MNIST is `mlp(784, [4096], 10)` (appendix A), 3.26 million parameters.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise([inputs, *hidden]):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], classes))
