"""What the scores of one training run are made of, checked: histories over epochs, and logits with labels."""

import torch
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
