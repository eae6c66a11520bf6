"""Loss and lack of confidence of a trained network, exact for examples that it has fitted too."""

import torch.nn.functional as F
from torch import Tensor

from turnover.estimators.inputs import own_and_others


def final_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy -log p(label) in nats.

    In float32 `F.cross_entropy` is 0 wherever p > 1 - 6e-8, and so ties most examples of a network that fits its
    data. Here the loss keeps its relative precision.

    Args:
        logits: of float dtype; computed in float32 or wider.  # [b, classes], two classes or more
        labels: class numbers.  # int64 [b]

    Returns:
        Losses; high: difficult.  # [b]

    Raises:
        RefusedInput: shapes or the dtype of labels are others.
    """
    return -F.logsigmoid(-log_odds_against(logits, labels))


def unconfidence(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - p(label), to full relative precision for p near 1 also.

    Args:
        logits: of float dtype; computed in float32 or wider.  # [b, classes], two classes or more
        labels: class numbers.  # int64 [b]

    Returns:
        Probabilities that the label is another one; high: difficult. They rank as `final_loss` does, but where p is
        below the precision they are all 1.  # [b]

    Raises:
        RefusedInput: shapes or the dtype of labels are others.
    """
    return log_odds_against(logits, labels).sigmoid()


def log_odds_against(logits: Tensor, labels: Tensor) -> Tensor:
    """log((1 - p) / p) with p the probability of the label: no difference of nearly equal numbers is taken.  # [b]"""
    own, others = own_and_others(logits, labels)
    return others.logsumexp(dim=1) - own
