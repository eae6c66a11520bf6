"""Scores of one ordinary training run, each from a history over epochs or from logits with labels.

final loss and confidence; EL2N (Paul et al., 2021); area under the margin (Pleiss et al., 2020); cumulative loss
(Ravikumar et al., 2025); forgetting events (Toneva et al., 2019); first-split learning time (Maini et al., 2022).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from turnover.errors import RefusedInput


def correctness(correct: Tensor) -> Tensor:
    """Whether each example was classified correctly in each epoch, as given.  # bool [epochs, n]

    Raises:
        RefusedInput: another dtype (`~` of integers is no negation), another shape or no epoch.
    """
    if correct.dtype != torch.bool:
        raise RefusedInput(f"correct must be bool [epochs, n], got {correct.dtype}")
    return _history("correct", correct)


def history(name: str, values: Tensor) -> Tensor:
    """A number of each example in each epoch, in float32 or wider.  # [epochs, n]

    Raises:
        RefusedInput: another shape or no epoch.
    """
    return wide(_history(name, values))


def last_epoch(happened: Tensor) -> Tensor:
    """The last epoch, counted from 1, in which it happened; 0 if it never did.  # bool [epochs, n] -> float32 [n]"""
    epochs = torch.arange(1, len(happened) + 1, dtype=torch.int32, device=happened.device)
    return (epochs[:, None] * happened).amax(dim=0).float()


def own_and_others(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The logit of the label  # [b], and all logits with that of the label at -∞  # [b, classes], float32 or wider.

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
    """The same numbers in float32 or, if they are, in float64."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _history(name: str, values: Tensor) -> Tensor:
    if values.dim() != 2 or len(values) == 0:
        raise RefusedInput(f"{name} must be [epochs, n] with one epoch or more, got {tuple(values.shape)}")
    return values


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


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The logit of the label minus the largest other logit; negative if the prediction is wrong.

    Args:
        logits: of float dtype; computed in float32 or wider.  # [b, classes], two classes or more
        labels: class numbers.  # int64 [b]

    Returns:
        Margins in logits.  # [b]

    Raises:
        RefusedInput: shapes or the dtype of labels are others.
    """
    own, others = own_and_others(logits, labels)
    return own - others.amax(dim=1)


def negative_aum(margins: Tensor) -> Tensor:
    """Minus the mean margin over all epochs, -AUM.

    Args:
        margins: of each example in each epoch, as `margin` gives them.  # [epochs, n]

    Returns:
        -AUM in logits; high: the network would rather give another label.  # [n]

    Raises:
        RefusedInput: margins are not [epochs, n] with at least one epoch.
    """
    return -history("margins", margins).mean(dim=0)


def cumulative_loss(losses: Tensor) -> Tensor:
    """Mean of an example's loss over all epochs: it ranks as their sum does, and runs of any length compare.

    Args:
        losses: of each example in each epoch, in nats.  # [epochs, n]

    Returns:
        Mean loss in nats; high: memorized or difficult.  # [n]

    Raises:
        RefusedInput: losses are not [epochs, n] with at least one epoch.
    """
    return history("losses", losses).mean(dim=0)


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


def first_learning_epoch(correct: Tensor) -> Tensor:
    """The earliest epoch from which on an example is always classified correctly.

    min {t : correct in all epochs t, t + 1, ..., epochs}, counted from 1; epochs + 1 if it is wrong in the last epoch.

    Args:
        correct: whether each example was classified correctly in each epoch.  # bool [epochs, n]

    Returns:
        Epochs from 1 to epochs + 1; high: difficult.  # float32 [n]

    Raises:
        RefusedInput: correct is not bool [epochs, n] with at least one epoch.
    """
    return last_epoch(~correctness(correct)) + 1
