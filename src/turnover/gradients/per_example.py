"""Per-example gradients of a batch, v_i = ∂ loss_i / ∂ parameters, not built where a formula exists.

One forward and one backward pass down to the activations give norms, inner products, projections and sums of all v_i
(eq. 3 and 4 of Liu et al.). Losses are cross-entropies of single examples, in nats.
"""

import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from turnover.checks.inputs import refuse_logits, user_batch
from turnover.checks.user_network import refuse_untrainable, taken_by
from turnover.common.device import Precision, autocast
from turnover.core.dropout import subnetworks
from turnover.core.inputs import Batch, run, take
from turnover.core.losses import CLASSES, Loss
from turnover.core.masked import Subnetwork
from turnover.errors import TurnOverError
from turnover.gradients.capture import Capture
from turnover.gradients.compound import merge
from turnover.gradients.factors import CACHED, Factor, Rows, slices, wide

log = logging.getLogger("turnover")


@dataclass(frozen=True)
class Gradients:
    """v_1 ... v_batch by parameter; a missing trainable parameter has no influence on any of the losses."""

    factors: dict[str, Factor]
    losses: Tensor  # in nats  # [batch]

    def __repr__(self) -> str:
        return f"<Gradients of {len(self.losses)} examples for {', '.join(self.factors) or 'no parameter'}>"

    def squared_norms(self) -> Tensor:
        """Compute ‖v_i‖².  # [batch]"""
        squares = self._sum(factor.squared_norms() for factor in self.factors.values())
        return squares.clamp_min(0)  # rounding may go below

    def gram(self) -> Tensor:
        """Compute v_i · v_j.  # [batch, batch]"""
        zero = self.losses.new_zeros(len(self.losses), len(self.losses))
        return sum((factor.gram() for factor in self.factors.values()), zero)

    def dot(self, direction: dict[str, Tensor]) -> Tensor:
        """Compute v_i · direction, a tensor for each parameter; missing ones are 0.  # [batch]"""
        return self._sum(factor.dot(direction[name]) for name, factor in self.factors.items() if name in direction)

    def total(self, weights: Tensor) -> dict[str, Tensor]:
        """Compute Σ_i weights_i v_i, a tensor for each parameter.  # weights: [batch]"""
        return {name: factor.total(weights) for name, factor in self.factors.items()}

    def only(self, names: Iterable[str]) -> "Gradients":
        """Return the gradients of some parameters alone, such as those of one layer."""
        return Gradients({name: self.factors[name] for name in names if name in self.factors}, self.losses)

    def _sum(self, terms: Iterable[Tensor]) -> Tensor:
        return sum(terms, torch.zeros_like(self.losses))


class Backend(Protocol):
    """Signature of `gradients`, here and in `backpack`."""

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        subnetwork: Subnetwork | None = None,
        *,
        precision: Precision = "float32",
        check: bool = True,
        loose: set[str] | None = None,
    ) -> Gradients:
        """Compute the gradients of the losses of a batch."""


@torch.inference_mode(False)  # turns gradients on as well, where they are off
def gradients(
    model: nn.Module,
    x: Any,
    y: Any,
    subnetwork: Subnetwork | None = None,
    *,
    precision: Precision = "float32",
    check: bool = True,
    loose: set[str] | None = None,
    loss: Loss = CLASSES,
) -> Gradients:
    """Compute the gradients of the losses of a batch, one for each example.

    Formulas exist for linear layers, 2-d convolutions, layer and (in evaluation mode) batch normalisation, embeddings,
    and parameters that are added to, multiplied with or expanded over a batch. Any other use of a parameter takes one
    backward pass an example, with a warning; none is left out. Weights may be shared.

    Args:
        model: whose output is logits, with the batch as first dimension.
        x: inputs, ready for the network: a tensor or array, a tuple or dict of them.  # [batch, ...]
        y: class numbers from 0, or what the loss takes.  # [batch, ...]
        subnetwork: run each example through this sub-network; None or `all_units`: the full network.
        check: compare a random weighting of all gradients with plain autograd, at the cost of a backward pass;
            gradients of parameters that fail are computed one example at a time.
        loose: names of parameters to compute so from the start; those that fail the check are added.
        loss: of an example.

    Raises:
        TurnOverError: the examples of the batch influence each other, as in batch normalisation in training mode.
        RefusedInput: data that do not suit each other or the network, which may have nothing to train.
    """
    refuse_untrainable(model)
    device, dtype = taken_by(model)
    x, y = user_batch(x, y, device=device, dtype=dtype, loss=loss)
    with Capture(model, len(y)) as seen, inside(model, subnetwork), autocast(y.device, precision):
        logits = run(model, x)  # [batch, classes]
    if loss is CLASSES:
        refuse_logits(logits, y)
    if check and not model.training:
        with autocast(y.device, precision):
            _refuse_mixing(model, x, subnetwork, logits)
    return finish(model, seen, logits, y, check=check, loose=loose, loss=loss)


def inside(model: nn.Module, subnetwork: Subnetwork | None) -> AbstractContextManager[None]:
    """Run each example through this sub-network inside the context; None or `all_units`: the full network."""
    return nullcontext() if subnetwork is None or subnetwork.ids is None else subnetworks(model, [subnetwork])


def finish(
    model: nn.Module,
    seen: Capture,
    logits: Tensor,
    y: Tensor,
    *,
    check: bool = True,
    loose: set[str] | None = None,
    loss: Loss = CLASSES,
) -> Gradients:
    """Compute the gradients of the losses of `logits`  # [batch, classes], from the capture of their forward pass.

    Arguments as in `gradients`. The graph stays, for another backward pass.
    """
    losses, below = _of_logits(logits, y, loss)
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if any(parameter.is_complex() for parameter in trainable.values()):
        raise TurnOverError("gradients of single examples are known for real parameters only, and some are complex")
    loose = set() if loose is None else loose
    by_name, unknown = _factored(seen, logits, below, trainable, loose)
    by_name |= _one_by_one({name: trainable[name] for name in unknown}, logits, below)
    if check:
        deviating = _deviating(Gradients(by_name, losses), trainable, logits, below, seen)
        by_name |= _one_by_one({name: trainable[name] for name in deviating}, logits, below)
        unknown |= deviating
    if unknown - loose:
        met = (f"{name} ({seen.others.get(name, 'used in a way that cannot be seen')})" for name in unknown - loose)
        log.warning(
            "gradients of single examples have no formula here and are found one at a time, slowly: %s",
            ", ".join(sorted(met)),
        )
        loose |= unknown
    return Gradients({name: by_name[name] for name in trainable if name in by_name}, losses)


def _of_logits(logits: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """Return the losses, in float64, and their gradients of the logits, in their own type.  # [batch], [batch, ...]

    In float64: softmax - 1 of an example that is fitted to 1e-7 is rounding noise, and a unit vector of noise is as
    long as any other. Some examples at a time: those of a language model's vocabulary would fall out of the caches.
    """
    values, below = [], torch.empty_like(logits, requires_grad=False)
    for part in slices(len(logits), max(1, logits[0].numel()), CACHED):
        outputs = logits.detach()[part].double().requires_grad_()
        values.append(loss(outputs, y[part]))
        below[part] = torch.autograd.grad(values[-1].sum(), outputs)[0]
    return torch.cat(values).detach(), below


def _factored(
    seen: Capture, logits: Tensor, below: Tensor, trainable: dict[str, nn.Parameter], loose: set[str]
) -> tuple[dict[str, Factor], set[str]]:
    """Return factors by parameter, and the names of parameters that have a gradient but no factor."""
    uses = [use for use in seen.uses if use.name not in loose]
    unknown = set(seen.others) | loose | {use.name for use in uses if use.spoiled}  # one such use spoils all
    edges = list(dict.fromkeys(use.edge for use in uses))
    outputs = torch.autograd.grad(logits, edges, below, retain_graph=True, allow_unused=True) if edges else ()
    output_gradients = dict(zip(edges, outputs, strict=True))
    # no gradient arrives at an output that has no influence, but also at a view that was changed in place later; and a
    # scripted module, for example, shows no function calls at all
    doubtful = {use.name for use in uses if output_gradients[use.edge] is None}
    doubtful |= set(trainable) - {use.name for use in uses}
    asked = {name: parameter for name, parameter in trainable.items() if name in doubtful - unknown}
    if asked:
        reached = torch.autograd.grad(logits, list(asked.values()), below, retain_graph=True, allow_unused=True)
        unknown |= {name for name, gradient in zip(asked, reached, strict=True) if gradient is not None}
    by_name: dict[str, list[Factor]] = {}
    for use in uses:
        d = output_gradients[use.edge]
        if d is not None and use.name not in unknown:
            by_name.setdefault(use.name, []).append(use.build(d))
    return {name: merge(factors, trainable[name].shape) for name, factors in by_name.items()}, unknown & set(trainable)


def _one_by_one(parameters: dict[str, nn.Parameter], logits: Tensor, below: Tensor) -> dict[str, Factor]:
    if not parameters:
        return {}
    rows: dict[str, list[Tensor]] = {name: [] for name in parameters}
    for position in range(len(logits)):
        alone = torch.zeros_like(below)
        alone[position] = below[position]
        grads = torch.autograd.grad(logits, list(parameters.values()), alone, retain_graph=True, allow_unused=True)
        for (name, parameter), gradient in zip(parameters.items(), grads, strict=True):
            rows[name].append(torch.zeros_like(parameter) if gradient is None else gradient)
    return {name: Rows(wide(torch.stack(grads))) for name, grads in rows.items()}


def _deviating(
    factored: Gradients, trainable: dict[str, nn.Parameter], logits: Tensor, below: Tensor, seen: Capture
) -> set[str]:
    """Return parameters where Σ w_i v_i is not autograd's gradient of Σ w_i loss_i, w_i all different.

    This detects networks that exchange their examples, use a parameter in hidden ways, or have the batch in another
    dimension.
    """
    positions = torch.arange(len(logits), device=logits.device, dtype=torch.float64)
    weights = 0.5 + (positions * 0.6180339887).frac()
    weighted = (below * weights.view(-1, *[1] * (below.dim() - 1))).to(below.dtype)
    plain = torch.autograd.grad(logits, list(trainable.values()), weighted, retain_graph=True, allow_unused=True)
    ours = factored.total(weights)
    total = sum(gradient.double().square().sum() for gradient in plain if gradient is not None) ** 0.5
    deviating = set()
    for (name, parameter), expected in zip(trainable.items(), plain, strict=True):
        zero = torch.zeros_like(parameter)
        expected = zero if expected is None else expected
        low = seen.low or parameter.dtype.itemsize < 4
        relative, absolute = (0.1, 1e-2) if low else (1e-9, 1e-12) if parameter.dtype == torch.float64 else (1e-3, 1e-6)
        difference = (ours.get(name, zero) - expected).double().norm()
        if difference > relative * expected.double().norm() + absolute * total:
            deviating.add(name)
    return deviating


@torch.no_grad()
def _refuse_mixing(model: nn.Module, x: Batch, subnetwork: Subnetwork | None, logits: Tensor) -> None:
    """Refuse a network that gives the last example other logits alone than in the batch."""
    last = None if subnetwork is None or subnetwork.ids is None else Subnetwork(subnetwork.ids[-1:], subnetwork.flipped)
    with inside(model, last):
        alone = run(model, take(x, slice(-1, None)))[0]
    low = logits.dtype.itemsize < 4
    tolerance = 0.1 if low else 1e-9 if logits.dtype == torch.float64 else 1e-3
    if (alone - logits[-1]).norm() > tolerance * (logits[-1].norm() + 1):
        raise TurnOverError(
            "the network mixes the examples of a batch (one gives other logits when it is alone), so none has a "
            "gradient of its own"
        )
