"""Scores of one ordinary training run, from the records of every example.

area under the margin (Pleiss et al., 2020); cumulative loss (Ravikumar et al., 2025); forgetting events (Toneva et
al., 2019); first-split learning time (Maini et al., 2022); final loss and confidence.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from turnover.errors import RefusedInput
from turnover.estimators.logit_scores import wide


def correctness(correct: Tensor) -> Tensor:
    """Check and return the correctness of each example in each epoch.  # bool [epochs, n]

    Raises:
        RefusedInput: another dtype (`~` of integers is no negation), another shape or no epoch.
    """
    if correct.dtype != torch.bool:
        raise RefusedInput(f"correct must be bool [epochs, n], got {correct.dtype}")
    return _history("correct", correct)


def history(name: str, values: Tensor) -> Tensor:
    """Check numbers of each example in each epoch, and return them in float32 or wider.  # [epochs, n]

    Raises:
        RefusedInput: another shape or no epoch.
    """
    return wide(_history(name, values))


def last_epoch(happened: Tensor) -> Tensor:
    """Return the last epoch, from 1, in which it happened; 0 if it never did.  # bool [epochs, n] -> float32 [n]"""
    epochs = torch.arange(1, len(happened) + 1, dtype=torch.int32, device=happened.device)
    return (epochs[:, None] * happened).amax(dim=0).float()


def _history(name: str, values: Tensor) -> Tensor:
    if values.dim() != 2 or len(values) == 0:
        raise RefusedInput(f"{name} must be [epochs, n] with one epoch or more, got {tuple(values.shape)}")
    return values


def negative_aum(margins: Tensor) -> Tensor:
    """Return minus the mean margin over all epochs, -AUM.

    Args:
        margins: of each example in each epoch, as `margin` returns them.  # [epochs, n]

    Returns:
        -AUM in logits; high: the network prefers another label.  # [n]

    Raises:
        RefusedInput: margins are not [epochs, n] with at least one epoch.
    """
    return -history("margins", margins).mean(dim=0)


def cumulative_loss(losses: Tensor) -> Tensor:
    """Return the mean of each loss over all epochs: it ranks as their sum does, and runs of any length compare.

    Args:
        losses: of each example in each epoch, in nats.  # [epochs, n]

    Returns:
        Mean loss in nats; high: memorized or difficult.  # [n]

    Raises:
        RefusedInput: losses are not [epochs, n] with at least one epoch.
    """
    return history("losses", losses).mean(dim=0)


def forgetting_events(correct: Tensor) -> Tensor:
    """Count the times that an example goes from correct to wrong between one epoch and the next.

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
    """Return the earliest epoch from which on an example is always classified correctly.

    min {t : correct in all epochs t, t + 1, ..., epochs}, counted from 1; epochs + 1 if it is wrong in the last epoch.

    Args:
        correct: whether each example was classified correctly in each epoch.  # bool [epochs, n]

    Returns:
        Epochs from 1 to epochs + 1; high: difficult.  # float32 [n]

    Raises:
        RefusedInput: correct is not bool [epochs, n] with at least one epoch.
    """
    return last_epoch(~correctness(correct)) + 1


@dataclass(frozen=True)
class Seen:
    """Records of n examples of an ordinary training."""

    losses: Tensor  # of the pass that trains, in nats  # [epochs, n]
    margins: Tensor  # [epochs, n]
    correct: Tensor  # bool [epochs, n]
    final: Tensor  # losses after the last epoch  # [n]
    unconfident: Tensor | None = None  # one minus the probability of the label then, if it has one  # [n]


# by their names in config.estimators.SCORES, but for those that are measured while the network trains
SCORES: dict[str, Callable[[Seen], Any]] = {
    "forgetting": lambda seen: forgetting_events(seen.correct),
    "first_learning": lambda seen: first_learning_epoch(seen.correct),
    "aum": lambda seen: negative_aum(seen.margins),
    "cumulative_loss": lambda seen: cumulative_loss(seen.losses),
    "final_loss": lambda seen: seen.final,
    "confidence": lambda seen: seen.unconfident,
}
