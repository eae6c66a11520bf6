"""Scores from networks that were each trained on a part of the examples.

mem(z_i) = P(right about z_i | trained on z_i) - P(right about z_i | not trained on z_i), and the influence of z_i on
another example z_t is the same difference of being right about z_t; both are means over networks (Feldman and Zhang,
2020; equation 1 of Liu et al.). With losses in place of being right: the mean loss without z_i minus that with it.
Leave-one-out is the definition without subsampling (Feldman, 2020): networks that leave out another example stand for
those trained on all, so that the same formula holds. Of each seed there is one network for every example that is left
out, with the same initial weights; all examples are judged by the same networks, so their errors are not independent.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from turnover.common.seeding import numpy_generator, torch_generator


def random_parts(networks: int, examples: int, fraction: float, seed: int, first: int = 0) -> Tensor:
    """Draw the examples that each network is trained on: a random round(fraction * examples) of them, by its number.

    The numbers go from `first` on, so that more networks add parts and change none.  # bool [networks, examples]
    """
    size = round(fraction * examples)
    included = torch.zeros(networks, examples, dtype=torch.bool)
    for row in range(networks):
        generator = torch_generator(seed, "part", first + row)
        included[row, torch.randperm(examples, generator=generator)[:size]] = True
    return included


def with_and_without(values: Tensor, included: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of a value over the networks that were trained on an example, and over those that were not.

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
    """Return P(right | trained on it) - P(right | not trained on it) by example.  # bool [networks, examples], twice"""
    with_it, without = with_and_without(right, included)
    return with_it - without


def excess_loss(losses: Tensor, included: Tensor) -> Tensor:
    """Return the mean loss of networks not trained on an example minus that of the others.  # [networks, examples]"""
    with_it, without = with_and_without(losses, included)
    return without - with_it


def influence(right: Tensor, included: Tensor) -> Tensor:
    """Return P(right about t | trained on i) - P(right about t | not trained on i), by one matrix product.

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


def inconsistency(right: Tensor, included: Tensor, fraction: Sequence[float] | Tensor) -> Tensor:
    """Return 1 - C-score (Jiang et al., 2021): C(z) = mean over fractions s of P(right about z | not trained on z).

    Args:
        right, included: of each network and example.  # bool [networks, examples] each
        fraction: the share of the examples that each network was trained on.  # [networks]

    Returns:
        float64, from 0 (always right) to 1. The mean is over the fractions that have a network without z; NaN where
        none has.  # [examples]
    """
    share = torch.as_tensor(fraction, dtype=torch.float64, device=right.device)
    groups = [share == value for value in share.unique()]
    right_without = [with_and_without(right[group], included[group])[1] for group in groups]
    return 1 - torch.stack(right_without).nanmean(0)


def left_out(wrong: Tensor, count: int, seed: int) -> Tensor:
    """Choose examples to leave out: half of them with wrong labels, as far as they last, the others with right ones.

    Args:
        wrong: whether the label is wrong.  # bool [examples]
        count: of examples to leave out.

    Returns:
        Positions, sorted.  # int64 [count]
    """
    order = torch.from_numpy(numpy_generator(seed, "left out").permutation(len(wrong))).to(wrong.device)
    bad, good = order[wrong[order]], order[~wrong[order]]
    of_bad = max(min(count // 2, len(bad)), count - len(good))
    return torch.cat([bad[:of_bad], good[: count - of_bad]]).sort().values


def all_but(positions: Tensor, examples: int) -> Tensor:
    """Return the examples each network is trained on: all but the one at its position.  # bool [positions, examples]"""
    included = torch.ones(len(positions), examples, dtype=torch.bool, device=positions.device)
    included[torch.arange(len(positions), device=positions.device), positions] = False
    return included
