"""The gradient of every example of a batch, v_i = ∂ loss_i / ∂ parameters, not built where a formula exists.

One forward and one backward pass down to the activations give norms, inner products, projections and sums of all v_i
(eq. 3 and 4 of Liu et al.). Losses are cross-entropies of single examples, in nats.
"""

import logging
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from turnover.device import Precision, autocast
from turnover.dropout import branches
from turnover.dynamics.capture import Capture, Use
from turnover.dynamics.compound import merge
from turnover.dynamics.factors import Factor, Rows
from turnover.errors import TurnOverError
from turnover.interception import Branch

log = logging.getLogger("turnover")


@dataclass(frozen=True)
class Gradients:
    """v_1 ... v_batch by parameter; a trainable parameter that is missing has no influence on any of the losses."""

    factors: dict[str, Factor]
    losses: Tensor  # in nats  # [batch]

    def squared_norms(self) -> Tensor:
        """‖v_i‖².  # [batch]"""
        return self._sum(each.squared_norms() for each in self.factors.values()).clamp_min(0)  # rounding may go below

    def gram(self) -> Tensor:
        """v_i · v_j.  # [batch, batch]"""
        zero = self.losses.new_zeros(len(self.losses), len(self.losses))
        return sum((each.gram() for each in self.factors.values()), zero)

    def dot(self, direction: dict[str, Tensor]) -> Tensor:
        """v_i · direction, one tensor for each parameter; one that is missing is 0.  # [batch]"""
        return self._sum(each.dot(direction[name]) for name, each in self.factors.items() if name in direction)

    def total(self, weights: Tensor) -> dict[str, Tensor]:
        """Σ_i weights_i v_i, one tensor for each parameter.  # weights: [batch]"""
        return {name: each.total(weights) for name, each in self.factors.items()}

    def only(self, names: Iterable[str]) -> "Gradients":
        """The part of the gradients that belongs to some parameters, such as those of one layer."""
        return Gradients({name: self.factors[name] for name in names if name in self.factors}, self.losses)

    def _sum(self, parts: Iterable[Tensor]) -> Tensor:
        return sum(parts, torch.zeros_like(self.losses))


class Backend(Protocol):
    """A way to find them: `gradients`, or that of `backpack`."""

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        branch: Branch | None = None,
        *,
        precision: Precision = "float32",
        check: bool = False,
    ) -> Gradients:
        """The gradients of the losses of a batch."""


def gradients(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    branch: Branch | None = None,
    *,
    precision: Precision = "float32",
    check: bool = False,
) -> Gradients:
    """The gradients of the losses of a batch, one for each example.

    Known are linear layers, 2-d convolutions, layer and (in evaluation mode) batch normalisation, embeddings, and
    parameters that are added to, multiplied with or expanded over a batch. A parameter that meets any other function
    is found by one backward pass an example, and a warning says so; none is left out. Weights may be shared.

    Args:
        model: whose output is logits, with the batch as first dimension.
        x: inputs  # [batch, ...]
        y: class numbers  # int64 [batch]
        branch: run each example through this sub-network; None or `full`: the full network.
        check: compare one example's gradients with plain autograd, at the cost of another backward pass.

    Raises:
        TurnOverError: the examples of the batch influence each other, as in batch normalisation in training mode.
    """
    masked = branch is not None and branch.ids is not None
    with (
        torch.enable_grad(),
        Capture(model, len(x)) as seen,
        branches(model, [branch]) if branch is not None and masked else nullcontext(),
        autocast(x.device, precision),
    ):
        logits = model(x)  # [batch, classes]
        wide = logits.float() if logits.dtype.itemsize < 4 else logits
        losses = F.cross_entropy(wide, y, reduction="none")  # [batch]
    return finish(model, seen, losses, check=check)


def finish(model: nn.Module, seen: Capture, losses: Tensor, *, check: bool = False, retain: bool = False) -> Gradients:
    """The gradients of `losses`  # [batch], from what was captured in the forward pass.

    Args:
        retain: keep the graph, for another backward pass.
    """
    trainable = {name: each for name, each in model.named_parameters() if each.requires_grad}
    loose = set(seen.others)  # a parameter with one unknown use is found as a whole
    uses = [use for use in seen.uses if use.name not in loose]
    met = loose | {use.name for use in uses}
    unseen = {name: each for name, each in trainable.items() if name not in met}
    if unseen:  # not used at all, or where no function call can be seen, such as in a scripted module
        reached = torch.autograd.grad(losses.sum(), list(unseen.values()), retain_graph=True, allow_unused=True)
        loose |= {name for name, gradient in zip(unseen, reached, strict=True) if gradient is not None}
    by_name = _factored(uses, losses, trainable, retain=bool(loose) or check or retain)
    if loose:
        by_name |= _one_by_one({name: trainable[name] for name in trainable if name in loose}, seen, losses, check)
    found = Gradients({name: by_name[name] for name in trainable if name in by_name}, losses.detach())
    if check:
        _check(found, trainable, losses)
    return found


def _factored(uses: list[Use], losses: Tensor, trainable: dict[str, nn.Parameter], retain: bool) -> dict[str, Factor]:
    edges = list(dict.fromkeys(use.edge for use in uses))
    if not edges:
        return {}
    outputs = torch.autograd.grad(losses.sum(), edges, retain_graph=retain, allow_unused=True)
    known = dict(zip(edges, outputs, strict=True))
    parts: dict[str, list[Factor]] = {}
    for use in uses:
        d = known[use.edge]
        if d is not None:
            parts.setdefault(use.name, []).append(use.build(d))
    return {name: merge(each, trainable[name].shape) for name, each in parts.items()}


def _one_by_one(loose: dict[str, nn.Parameter], seen: Capture, losses: Tensor, check: bool) -> dict[str, Factor]:
    met = ", ".join(f"{name} ({seen.others.get(name, 'in a place that cannot be seen')})" for name in loose)
    log.log(
        logging.WARNING if check else logging.DEBUG,
        "gradients of single examples have no formula here and are found one at a time, slowly: %s",
        met,
    )
    rows: dict[str, list[Tensor]] = {name: [] for name in loose}
    for loss in losses:
        parts = torch.autograd.grad(loss, list(loose.values()), retain_graph=True, allow_unused=True)
        for (name, parameter), part in zip(loose.items(), parts, strict=True):
            rows[name].append(torch.zeros_like(parameter) if part is None else part)
    return {name: Rows(torch.stack(each)) for name, each in rows.items()}


def _check(found: Gradients, trainable: dict[str, nn.Parameter], losses: Tensor) -> None:
    """One example's gradients against autograd: whatever a network does to its batch is seen here."""
    last = torch.zeros_like(losses)
    last[-1] = 1
    plain = torch.autograd.grad(losses[-1], list(trainable.values()), allow_unused=True)
    ours = found.total(last)
    scale = sum(part.double().square().sum() for part in plain if part is not None)
    for (name, parameter), expected in zip(trainable.items(), plain, strict=True):
        zero = torch.zeros_like(parameter)
        difference = ours.get(name, zero) - (zero if expected is None else expected)
        tolerance = {torch.float64: 1e-9, torch.float32: 1e-3}.get(losses.dtype, 0.1)
        if difference.double().square().sum() > tolerance**2 * scale:
            raise TurnOverError(
                f"gradients of single examples cannot be found for {name}: the network mixes the examples of a batch, "
                "or its batch is not the first dimension where this parameter is used"
            )
