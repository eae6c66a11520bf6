"""Memorization and influence from networks that were each trained on a random part of the examples.

mem(z_i) = P(right about z_i | trained on z_i) - P(right about z_i | not trained on z_i), and the influence of z_i on
another example z_t is the same difference of being right about z_t; both are means over networks (Feldman and Zhang,
2020; equation 1 of Liu et al.). With losses in place of being right: the mean loss without z_i minus that with it.
"""

import torch
from torch import Tensor

from turnover.common.seeding import torch_generator


def random_parts(networks: int, examples: int, fraction: float, seed: int, first: int = 0) -> Tensor:
    """Which examples each network is trained on: a random round(fraction * examples) of them, drawn by its number.

    The numbers go from `first` on, so that more networks add parts and change none.  # bool [networks, examples]
    """
    size = round(fraction * examples)
    included = torch.zeros(networks, examples, dtype=torch.bool)
    for row in range(networks):
        generator = torch_generator(seed, "part", first + row)
        included[row, torch.randperm(examples, generator=generator)[:size]] = True
    return included


def with_and_without(values: Tensor, included: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of a value over the networks that were trained on an example, and over those that were not.

    Args:
        values: what each network does on each example.  # [networks, examples]
        included: which it was trained on.  # bool [networks, examples]

    Returns:
        Two means, float64; NaN where there is no such network.  # [examples] each
    """
    inside = included.double()
    values = values.double()
    with_it = (values * inside).sum(0) / inside.sum(0)
    without = (values * (1 - inside)).sum(0) / (1 - inside).sum(0)
    return with_it, without


def memorization(right: Tensor, included: Tensor) -> Tensor:
    """P(right | trained on it) - P(right | not trained on it), of each example.  # bool [networks, examples], twice"""
    with_it, without = with_and_without(right, included)
    return with_it - without


def influence(right: Tensor, included: Tensor) -> Tensor:
    """P(right about t | trained on i) - P(right about t | not trained on i), by one matrix product.

    Args:
        right: whether each network is right about examples t, of the test split for instance.  # [networks, t]
        included: which examples i it was trained on.  # bool [networks, i]

    Returns:
        Positive: training on i helps to be right about t; NaN for an i in all networks or in none.  # float64 [t, i]
    """
    inside, right = included.double(), right.double()
    with_it = right.T @ inside / inside.sum(0)
    without = right.T @ (1 - inside) / (1 - inside).sum(0)
    return with_it - without
