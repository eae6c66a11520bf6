"""Early-learning regularisation (Liu et al., 2020): an example is held to what the network said of it before."""

from typing import Any

from torch import Tensor

from turnover.training.methods.method import Method, Step

_LEAST = 1e-4  # probability of a class, as in the authors' code


class EarlyLearning(Method):
    """Cross-entropy + strength log (1 - t · p), with t a running mean of the probabilities p of each example."""

    def __init__(self, examples: int, strength: float, momentum: float) -> None:
        self.examples, self.strength, self.momentum = examples, strength, momentum
        self._targets: Tensor | None = None  # [examples, classes]; made with the first logits

    def losses(self, step: Step) -> Tensor:
        """Move the targets of the examples towards their probabilities, and return the losses.  # [batch]"""
        p = step.logits.softmax(1).clamp(_LEAST, 1 - _LEAST)  # [batch, classes]
        seen = p.detach()
        if self._targets is None:
            self._targets = seen.new_zeros(self.examples, p.shape[1])
        targets = self.momentum * self._targets[step.index] + (1 - self.momentum) * seen / seen.sum(1, keepdim=True)
        self._targets[step.index] = targets
        return step.losses + self.strength * (1 - (targets * p).sum(1)).log()

    def state_dict(self) -> dict[str, Any]:
        """Return the targets."""
        return {"targets": self._targets}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self._targets = state["targets"]
