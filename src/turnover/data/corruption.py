"""Label noise: training labels replaced by random or wrong ones."""

from typing import Literal

import torch
from torch import Tensor

from turnover.common.seeding import numpy_generator
from turnover.errors import RefusedInput

Kind = Literal["random", "symmetric", "pair"]  # drawn


def corrupt(labels: Tensor, classes: int, count: int, seed: int, kind: Kind = "random") -> tuple[Tensor, Tensor]:
    """Return new labels [n] (int64) and a mask of the replaced ones [n] (bool), exactly `count`, chosen at random.

    random: a replaced label is uniform over all `classes`, so about one in `classes` of them stays what it was (Zhang
    et al., 2017). symmetric: uniform over the other classes. pair: the next class, and the first in place of the last,
    so that the noise depends on the class (Han et al., 2018). With one seed, the same examples are chosen by each
    kind, and the labels replaced by a smaller count are replaced in the same way by a larger one. RefusedInput if
    `count` is not between 0 and n.
    """
    n = len(labels)
    if not 0 <= count <= n:
        raise RefusedInput(f"corruption.count = {count}: must be from 0 to {n}, the number of training examples")
    generator = numpy_generator(seed, "corruption")
    positions = generator.permutation(n)[:count]
    # Drawn for every example, so that the labels do not depend on the count.
    match kind:
        case "random":
            new = torch.from_numpy(generator.integers(classes, size=n)).to(labels.device)
        case "symmetric":
            new = (labels + torch.from_numpy(generator.integers(1, classes, size=n)).to(labels.device)) % classes
        case "pair":
            new = (labels + 1) % classes
    corrupted = torch.zeros(n, dtype=torch.bool)
    corrupted[torch.from_numpy(positions)] = True
    corrupted = corrupted.to(labels.device)
    return torch.where(corrupted, new, labels), corrupted
