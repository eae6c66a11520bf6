"""How often an example is forgotten (Toneva et al., 2019)."""

import torch
from torch import Tensor

from turnover.estimators.inputs import correctness


def forgetting_events(correct: Tensor) -> Tensor:
    """Number of times that an example goes from correct to wrong between one epoch and the next.

    An example that is never classified correctly has nothing to forget and is the most difficult: it counts `epochs`,
    and no other can reach more than half of that.

    Args:
        correct: whether each example was classified correctly in each epoch.  # bool [epochs, n]

    Returns:
        Events; high: difficult.  # float32 [n]

    Raises:
        RefusedInput: correct is not bool [epochs, n] with at least one epoch.
    """
    correct = correctness(correct)
    events = (correct[:-1] & ~correct[1:]).sum(dim=0)
    return torch.where(correct.any(dim=0), events, len(correct)).float()
