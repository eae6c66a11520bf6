"""Gradients of single examples clipped to a length, with noise (DP-SGD, Abadi et al., 2016) or without.

The lengths are exact and no gradient of a single example is built: one backward pass down to the activations gives
them, a second one the sum of the clipped gradients, that of Σ loss_i min(1, C / ‖v_i‖).
"""

from contextlib import AbstractContextManager

import torch
from torch import nn

from turnover.gradients.capture import Capture
from turnover.gradients.per_example import finish
from turnover.training.methods.method import Method, Step


class Clipping(Method):
    """Clip the gradient of each example to the length `norm`, and add noise to their sum.

    The gradient of a step is (Σ v_i min(1, norm / ‖v_i‖) + noise norm N(0, 1)) / batch. Steps go through shuffled
    batches, which accountants of DP-SGD do not assume: they want batches drawn by Poisson sampling.
    """

    def __init__(self, norm: float, noise: float) -> None:
        self.norm, self.noise = norm, noise
        self._seen: Capture | None = None
        self._checked: set[int] = set()  # sizes of mini-batches
        self._loose: set[str] = set()

    def forward(self, model: nn.Module, batch: int) -> AbstractContextManager[object]:
        """Capture the forward pass inside the context."""
        self._seen = Capture(model, batch)
        return self._seen

    def backward(self, step: Step) -> None:
        """Compute the clipped and noisy gradients."""
        assert self._seen is not None
        batch = len(step.y)
        single = finish(
            step.model, self._seen, step.logits, step.y, check=batch not in self._checked, loose=self._loose
        )
        self._checked.add(batch)
        norms = self.weighted(single.squared_norms().sqrt(), step.y)  # [batch]
        factors = (self.norm / norms).clamp(max=1).to(step.losses.dtype)  # 1 where the gradient is 0
        (self.weighted(step.losses, step.y) * factors).mean().backward()
        self._seen = None
        if self.noise:
            for parameter in step.model.parameters():
                if parameter.requires_grad:
                    drawn = torch.randn_like(parameter) * (self.noise * self.norm / batch)
                    parameter.grad = drawn if parameter.grad is None else parameter.grad.add_(drawn)
