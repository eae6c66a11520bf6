"""Scores from logits and labels, in full precision for networks that fit nearly all of their data.

final loss and confidence; EL2N (Paul et al., 2021); margins.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from turnover.errors import RefusedInput


def own_and_others(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logit of the label  # [b], and logits with that of the label at -∞  # [b, classes], float32 or wider.

    Raises:
        RefusedInput: logits are not [b, classes] with at least two classes, or labels are not int64 [b].
    """
    if logits.dim() != 2 or logits.shape[1] < 2:
        raise RefusedInput(f"logits must be [b, classes] with two classes or more, got {tuple(logits.shape)}")
    if labels.shape != logits.shape[:1] or labels.dtype != torch.int64:
        raise RefusedInput(
            f"labels must be int64 [b], one for each of {len(logits)} rows of logits; "
            f"got {labels.dtype} {tuple(labels.shape)}"
        )
    logits, column = wide(logits), labels[:, None]
    return logits.gather(1, column).squeeze(1), logits.scatter(1, column, -torch.inf)


def wide(values: Tensor) -> Tensor:
    """Return the numbers in float32, or in float64 if they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def final_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute cross-entropy -log p(label) in nats.

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
    """Compute 1 - p(label), to full relative precision for p near 1 also.

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
    """Compute log((1 - p) / p), p the probability of the label, without differences of nearly equal numbers.  # [b]"""
    own, rest = own_and_others(logits, labels)
    return rest.logsumexp(dim=1) - own


def el2n(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute ‖softmax(logits) - onehot(label)‖₂.

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
    _, rest = own_and_others(logits, labels)
    return unconfidence(logits, labels) * (1 + rest.softmax(dim=1).square().sum(dim=1)).sqrt()


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the logit of the label minus the largest other logit; negative if the prediction is wrong.

    Args:
        logits: of float dtype; computed in float32 or wider.  # [b, classes], two classes or more
        labels: class numbers.  # int64 [b]

    Returns:
        Margins in logits.  # [b]

    Raises:
        RefusedInput: shapes or the dtype of labels are others.
    """
    own, rest = own_and_others(logits, labels)
    return own - rest.amax(dim=1)
