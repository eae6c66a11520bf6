"""Adversarial training: on inputs changed within a radius, so that the network errs (PGD) or changes most (TRADES)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from turnover.core.evaluation import evaluation_mode
from turnover.core.examples import Examples
from turnover.core.inputs import first, take
from turnover.training.methods.method import Method, Step


class PGD(Method):
    """Cross-entropy of inputs that were moved up the gradient of their loss (Madry et al., 2018).

    Args:
        radius: largest change of each value of an input, in units of what the network takes.
        size: change in one step.
        steps: of the attack, from a random start, with the network in evaluation mode.
        bounds: lowest and highest values of an input, which broadcast to it.
    """

    def __init__(self, radius: float, size: float, steps: int, bounds: tuple[Tensor, Tensor]) -> None:
        self.radius, self.size, self.steps, self.bounds = radius, size, steps, bounds

    def losses(self, step: Step) -> Tensor:
        """Return the losses on changed inputs.  # [batch]"""

        def loss(logits: Tensor) -> Tensor:
            return F.cross_entropy(logits, step.y, reduction="none")

        start = torch.empty_like(first(step.x)).uniform_(-self.radius, self.radius)
        return loss(step.run(step.model, self.changed(step, start, loss)))

    def changed(self, step: Step, start: Tensor, objective: Callable[[Tensor], Tensor]) -> Tensor:
        """Return inputs moved up the sign of the gradient of an objective of their logits.  # [batch, ...]"""
        x, (low, high) = first(step.x), self.bounds
        near = (x + start).clamp(low, high)
        with evaluation_mode(step.model):
            for _ in range(self.steps):
                near.requires_grad_()
                [gradient] = torch.autograd.grad(objective(step.run(step.model, near)).sum(), near)
                moved = near.detach() + self.size * gradient.sign()
                near = moved.clamp(x - self.radius, x + self.radius).clamp(low, high)
        return near.detach()


class Trades(PGD):
    """Cross-entropy + beta times the divergence from it of changed inputs (Zhang et al., 2019)."""

    def __init__(self, radius: float, size: float, steps: int, bounds: tuple[Tensor, Tensor], beta: float) -> None:
        super().__init__(radius, size, steps, bounds)
        self.beta = beta

    def losses(self, step: Step) -> Tensor:
        """Return cross-entropy + beta KL(p(x) ‖ p(changed x)).  # [batch]"""
        fixed = step.logits.detach()
        start = 0.001 * torch.randn_like(first(step.x))  # at x itself the gradient is 0
        x = self.changed(step, start, lambda logits: divergence(fixed, logits))
        return step.losses + self.beta * divergence(step.logits, step.run(step.model, x))


def divergence(logits: Tensor, others: Tensor) -> Tensor:
    """Compute KL(softmax(logits) ‖ softmax(others)) of each row.  # [batch, classes] each -> [batch]"""
    logs = logits.log_softmax(1)
    return (logs.exp() * (logs - others.log_softmax(1))).sum(1)


def bounds(examples: Examples) -> tuple[Tensor, Tensor]:
    """Return the inputs of the lowest and the highest value that is stored.  # [1, ...] each"""
    one = take(examples.inputs, slice(0, 1))
    lowest, highest = (examples.prepare(one * 0 + value) for value in examples.inputs.aminmax())
    return lowest, highest
