"""Training on the examples of small loss, chosen by the network itself or by a second one (Co-teaching)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from turnover.checks.verify import look_once
from turnover.core.attachment import attached_to
from turnover.core.dropout import attach, is_attached
from turnover.training.methods.method import Method, Step


class SmallLoss(Method):
    """Leave out of every batch the examples of highest loss: a share of it that grows to `share` in `ramp` epochs."""

    def __init__(self, share: float, ramp: int) -> None:
        self.share, self.ramp = share, ramp

    def losses(self, step: Step) -> Tensor:
        """Return losses whose mean over the batch is that of the chosen ones.  # [batch]"""
        return self.chosen(step.losses, step.losses, step.epoch)

    def chosen(self, losses: Tensor, judged: Tensor, epoch: int) -> Tensor:
        """Return losses, 0 but where `judged` is small, scaled to the mean of the others.  # [batch]"""
        batch = len(losses)
        count = max(1, round((1 - self.share * min(1, epoch / self.ramp)) * batch))
        kept = torch.zeros_like(losses).index_fill_(0, judged.detach().topk(count, largest=False).indices, 1)
        return losses * kept * (batch / count)


class CoTeaching(SmallLoss):
    """Two networks, of which each trains on the examples that have a small loss in the other (Han et al., 2018).

    The first one is that of the run. With turn-over dropout both have the same masks.

    Args:
        second: with other initial weights.
        optimizer: of the second, like that of the first.
    """

    def __init__(self, share: float, ramp: int, second: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        super().__init__(share, ramp)
        self.second, self.optimizer = second.train(), optimizer

    def backward(self, step: Step) -> None:
        """Compute the gradients of the first network, and make the step of the second."""
        theirs = F.cross_entropy(step.run(self.second, step.x), step.y, reduction="none")
        for group in self.optimizer.param_groups:
            group["lr"] = step.lr
        self.optimizer.zero_grad()
        for losses, judged in ((step.losses, theirs), (theirs, step.losses)):
            self.weighted(self.chosen(losses, judged, step.epoch), step.y).mean().backward()
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the second network and its optimizer."""
        return {"model": self.second.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self.second.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def masked_like(second: nn.Module, model: nn.Module) -> nn.Module:
    """Attach turn-over dropout to a network if a second one has it, with the same masks, and return it."""
    if is_attached(model):
        state = attached_to(model)[1]
        attach(second, state.rule, state.layers, state.dropout, look_once)
    return second
