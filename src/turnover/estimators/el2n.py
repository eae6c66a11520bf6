"""Length of the error vector, EL2N (Paul et al., 2021)."""

from torch import Tensor

from turnover.estimators.final import unconfidence
from turnover.estimators.inputs import own_and_others


def el2n(logits: Tensor, labels: Tensor) -> Tensor:
    """‖softmax(logits) - onehot(label)‖₂.

    Paul et al. average it over networks early in training; here it is that of one network.

    Args:
        logits: of float dtype; computed in float32 or wider.  # [b, classes], two classes or more
        labels: class numbers.  # int64 [b]

    Returns:
        Lengths from 0 to √2; high: difficult.  # [b]

    Raises:
        RefusedInput: shapes or the dtype of labels are others.
    """
    # (1 - p)² + Σ p_j² over the other classes j, where p_j = (1 - p) q_j and q is the softmax of the others alone: so
    # that p near 1 costs no precision
    _, others = own_and_others(logits, labels)
    return unconfidence(logits, labels) * (1 + others.softmax(dim=1).square().sum(dim=1)).sqrt()
