"""Leave-one-out: which networks are trained on all examples but one.

mem(z_i) = P(right about z_i | trained on all) - P(right about z_i | trained on all but z_i), the definition of label
memorization (Feldman, 2020) without subsampling. Networks that leave out another example stand for those trained on
all, so that the same formula holds (`subsampling.memorization`). Of each seed there is one network for every example
that is left out, with the same initial weights; which examples meet in a batch differs. All examples are judged by the
same networks, so their errors are not independent.
"""

import torch
from torch import Tensor

from turnover.common.seeding import numpy_generator


def left_out(wrong: Tensor, count: int, seed: int) -> Tensor:
    """Which examples are left out: half of them with wrong labels, as far as they last, the others with right ones.

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
    """Which examples each network is trained on: all but the one at its position.  # bool [positions, examples]"""
    included = torch.ones(len(positions), examples, dtype=torch.bool, device=positions.device)
    included[torch.arange(len(positions), device=positions.device), positions] = False
    return included
