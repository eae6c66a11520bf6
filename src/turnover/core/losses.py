"""The loss of an example: what the outputs of a network cost under the example's target, and whether they are right."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from turnover.errors import RefusedInput

UNCOUNTED = -100  # in place of a token that is not to be predicted, as PyTorch's `ignore_index`


def token_losses(outputs: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy of every token, 0 where y is `UNCOUNTED`.  # [n, tokens, vocabulary] -> [n, tokens]"""
    return F.cross_entropy(outputs.flatten(0, 1), y.flatten(), reduction="none", ignore_index=UNCOUNTED).view(y.shape)


class Loss:
    """Base of losses: of outputs y alone is known what they cost. Nothing else in the package computes a loss.

    Outputs are of at least 32 bits and, like targets y, [n, ...] with examples in the first dimension.
    """

    name, word = "", "value"  # what `value` is called in tables, own_value
    tells_right = False  # whether outputs are right or wrong
    tells_share = False  # whether `right` is the share of an example that is right
    predicts_classes = False  # whether an example has one class, and outputs prefer one
    of_classes = False  # whether they are logits of classes and their numbers, or can be written so

    def __call__(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the loss of each example.  # [n]"""
        raise NotImplementedError

    def right(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return whether each example is right, or a share of it; 0 for all where nothing is right or wrong.  # [n]"""
        return torch.zeros(len(y), dtype=torch.bool, device=y.device)

    def value(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return what outputs say of each example, if that is one number.  # [n], else [n, 0]"""
        return outputs.reshape(len(y), -1)[:, 0] if outputs.numel() == len(y) else outputs.new_empty(len(y), 0)

    def label(self, y: Tensor) -> Tensor:
        """Return targets, in one number where that is possible.  # [n], else [n, ...]"""
        return y

    def predicted(self, value: Any) -> Any:
        """Return class numbers, to be compared with `label`, from what `value` returned, if `predicts_classes`."""
        return value

    def as_classes(self, outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [n, classes] and class numbers int64 [n] that have this loss, if `of_classes`."""
        raise NotImplementedError


class Classes(Loss):
    """Cross-entropy -log p(y) in nats: outputs are logits [n, classes], y class numbers int64 [n]."""

    name, word = "class", "prediction"
    tells_right = predicts_classes = of_classes = True

    def __call__(self, outputs: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(outputs, y, reduction="none")

    def right(self, outputs: Tensor, y: Tensor) -> Tensor:
        return outputs.argmax(dim=1) == y

    def value(self, outputs: Tensor, y: Tensor) -> Tensor:
        return outputs.argmax(dim=1)

    def as_classes(self, outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return outputs, y


class SoftLabels(Classes):
    """Cross-entropy -Σ y log p in nats: y holds a probability of each class, [n, classes].

    An example is right if the two most probable classes agree; that of y is its label.
    """

    name, of_classes = "soft", False

    def __call__(self, outputs: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(outputs, y.to(outputs.dtype), reduction="none")

    def right(self, outputs: Tensor, y: Tensor) -> Tensor:
        return outputs.argmax(dim=1) == y.argmax(dim=1)

    def label(self, y: Tensor) -> Tensor:
        return y.argmax(dim=1)


class OneLogit(Loss):
    """Binary cross-entropy in nats: outputs are the log odds of y = 1, [n] or [n, 1], y is 0 or 1, [n]."""

    name, word = "binary", "probability"
    tells_right = predicts_classes = of_classes = True

    def __call__(self, outputs: Tensor, y: Tensor) -> Tensor:
        return -F.logsigmoid(outputs.reshape(y.shape) * (2 * y - 1))  # to full relative precision on either side

    def right(self, outputs: Tensor, y: Tensor) -> Tensor:
        return (outputs.reshape(y.shape) > 0) == (y > 0)

    def value(self, outputs: Tensor, y: Tensor) -> Tensor:
        return outputs.reshape(y.shape).sigmoid()

    def label(self, y: Tensor) -> Tensor:
        return y.long()

    def predicted(self, value: Any) -> Any:
        return value > 0.5

    def as_classes(self, outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logit = outputs.reshape(y.shape)
        return torch.stack([torch.zeros_like(logit), logit], dim=1), y.long()


class SeveralLabels(Loss):
    """Mean over labels of the binary cross-entropy in nats: outputs are log odds [n, labels], y is 0 or 1, alike.

    The mean, not the sum: it compares with one of another number of labels. An example is right if all labels are.
    """

    name, word, tells_right = "multilabel", "right", True

    def __call__(self, outputs: Tensor, y: Tensor) -> Tensor:
        return -F.logsigmoid(outputs * (2 * y - 1)).mean(dim=1)

    def right(self, outputs: Tensor, y: Tensor) -> Tensor:
        return ((outputs > 0) == (y > 0)).all(dim=1)

    def value(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the share of an example's labels that are right.  # [n]"""
        return ((outputs > 0) == (y > 0)).to(outputs.dtype).mean(dim=1)


class SquaredError(Loss):
    """Mean over outputs of (output - y)²: both [n] or [n, outputs]; [n, 1] and [n] are the same."""

    name = "squared"

    def __call__(self, outputs: Tensor, y: Tensor) -> Tensor:
        return (outputs.reshape(y.shape) - y).square().reshape(len(y), -1).mean(dim=1)


class Tokens(Loss):
    """Mean over tokens of the cross-entropy in nats, so that length does not decide: logits [n, tokens, vocabulary].

    y is the token to be predicted at each position, or `UNCOUNTED`, int64 [n, tokens]; `right` is the share that are.
    """

    name, word, tells_share = "tokens", "accuracy", True

    def __call__(self, outputs: Tensor, y: Tensor) -> Tensor:
        return token_losses(outputs, y).sum(1) / self.label(y)

    def right(self, outputs: Tensor, y: Tensor) -> Tensor:
        return (outputs.argmax(2) == y).sum(1) / self.label(y)

    value = right

    def label(self, y: Tensor) -> Tensor:
        """Return how many tokens count.  # int64 [n]"""
        return (y != UNCOUNTED).sum(1)


class Given(Loss):
    """A function (outputs, y) -> loss [n] of whoever calls; y is what was given to it."""

    def __init__(self, function: Callable[[Tensor, Tensor], Any]) -> None:
        self.function = function
        self.name = str(getattr(function, "__name__", type(function).__name__))

    def __call__(self, outputs: Tensor, y: Tensor) -> Tensor:
        losses = self.function(outputs, y.to(outputs.dtype) if y.is_floating_point() else y)
        if not isinstance(losses, Tensor) or losses.shape != y.shape[:1] or not losses.is_floating_point():
            got = f"{losses.dtype} {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
            raise RefusedInput(
                f"loss = {self.name} must return a loss for each example, floats of shape [{len(y)}]; for outputs "
                f"{tuple(outputs.shape)} and y {tuple(y.shape)} it returns {got}: give reduction='none', the mean over "
                "all dimensions but the first, and outputs and y of one shape, for example "
                "lambda outputs, y: (outputs.reshape(y.shape) - y).abs().reshape(len(y), -1).mean(1)"
            )
        return losses


CLASSES, TOKENS = Classes(), Tokens()
LOSSES: dict[str, Loss] = {
    loss.name: loss for loss in (CLASSES, SoftLabels(), OneLogit(), SeveralLabels(), SquaredError(), TOKENS)
}


def loss_of(loss: str | Callable[[Tensor, Tensor], Any]) -> Loss:
    """Return a loss by its name in `LOSSES`, or that of a function (outputs, y) -> loss [n].

    Raises:
        RefusedInput: it is neither.
    """
    if isinstance(loss, str) and loss in LOSSES:
        return LOSSES[loss]
    if isinstance(loss, str) or not callable(loss):
        raise RefusedInput(f"loss = {loss!r}: allowed: {', '.join(LOSSES)}, or a function (outputs, y) -> loss [n]")
    return Given(loss)
