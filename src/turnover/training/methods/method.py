"""The interface of a training rule: what a step minimises for each of its examples, and how the gradients come about.

What is observed of an example, and every score, is the loss of its given label in the pass of every step, which is the
same under all rules.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from turnover.common.matmul import fast_products
from turnover.core.inputs import Batch, run


@dataclass(frozen=True)
class Step:
    """A mini-batch after its forward pass, which is observed, and before its backward pass."""

    model: nn.Module
    x: Batch  # inputs of the network  # [batch, ...]
    y: Tensor  # int64 [batch]
    index: Tensor  # positions of its examples in the training set  # int64 [batch]
    epoch: int  # from 1
    lr: float
    logits: Tensor  # of at least 32 bits  # [batch, classes]
    losses: Tensor  # of the examples, cross-entropy of their given labels  # [batch]
    inside: Callable[[nn.Module], AbstractContextManager[None]]  # the sub-networks of the examples, and the precision

    def run(self, model: nn.Module, x: Batch) -> Tensor:
        """Return logits of another pass, in the same sub-networks and precision.  # [batch, classes]"""
        with fast_products(self.losses.device), self.inside(model):
            logits = run(model, x)
        return logits.float() if logits.dtype.itemsize < 4 else logits


class Method:
    """The plain rule, mean cross-entropy, and base of the others, which override what they change.

    with forward(model, len(batch)): logits = model(x)
    backward(step): losses(step) -> gradients
    state_dict(), load_state_dict(state): what it knows besides weights and optimizer, for runs that go on
    """

    weights: Tensor | None = None  # of each class  # float64 [classes]

    def forward(self, model: nn.Module, batch: int) -> AbstractContextManager[object]:
        """Return a context for the forward pass of a mini-batch of this size."""
        return nullcontext()

    def losses(self, step: Step) -> Tensor:
        """Return what is minimised in the mean over the batch, but for the weights of classes.  # [batch]"""
        return step.losses

    def backward(self, step: Step) -> None:
        """Compute the gradients of the weights, which are none before."""
        self.weighted(self.losses(step), step.y).mean().backward()

    def weighted(self, values: Tensor, labels: Tensor) -> Tensor:
        """Return values times the weights of their classes.  # [batch]"""
        return values if self.weights is None else values * self.weights[labels].to(values.dtype)

    def state_dict(self) -> dict[str, Any]:
        """Return its state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore such a state."""
