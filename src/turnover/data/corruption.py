"""Labels replaced by random ones: the noise whose memorization is studied."""

import torch
from torch import Tensor

from turnover.errors import RefusedInput
from turnover.seeding import numpy_generator


def corrupt(labels: Tensor, classes: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """New labels [n] (int64) and which were replaced [n] (bool); exactly `count` of them, chosen at random.

    A replaced label is uniform over all `classes`, so about one in `classes` of them stays what it was. With one
    seed, the labels replaced by a smaller count are replaced in the same way by a larger one. RefusedInput if
    `count` is not between 0 and n.
    """
    n = len(labels)
    if not 0 <= count <= n:
        raise RefusedInput(f"corruption.count = {count}: must be from 0 to {n}, the number of training examples")
    generator = numpy_generator(seed, "corruption")
    chosen = generator.permutation(n)[:count]
    # Drawn for every example, so that the labels do not depend on the count.
    random_labels = torch.from_numpy(generator.integers(classes, size=n)).to(labels.device)
    corrupted = torch.zeros(n, dtype=torch.bool)
    corrupted[torch.from_numpy(chosen)] = True
    corrupted = corrupted.to(labels.device)
    return torch.where(corrupted, random_labels, labels), corrupted
