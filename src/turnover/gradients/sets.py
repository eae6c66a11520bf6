"""Mean cosine of the gradients of a set of examples, and each one's contribution to an update: exact, for any size.

With unit gradients u_i = v_i / ‖v_i‖ the mean cosine over all ordered pairs i ≠ j (Liu et al., eq. 3) is
(‖Σ u_i‖² - n) / (n (n - 1)). Norms and the sum come from one pass over the set, in memory of the order of the
parameters. A gradient of zero has cosine 0 with every other.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from turnover.common.device import Precision
from turnover.core.evaluation import Units, all_units, evaluation_mode
from turnover.core.examples import Examples
from turnover.errors import RefusedInput
from turnover.gradients.per_example import Backend, Gradients, gradients

BATCH = 256  # examples whose activations and their gradients are held at once


@dataclass(frozen=True)
class SetGradients:
    """Sums over the gradients v_i of n examples, by parameter."""

    n: int
    total: dict[str, Tensor]  # Σ v_i
    units: dict[str, Tensor]  # Σ u_i, over the gradients that are not zero
    layer_units: dict[str, Tensor]  # Σ v_i,p / ‖v_i,p‖ for every parameter p by itself
    nonzero: Tensor  # number of gradients that are not zero
    layer_nonzero: dict[str, Tensor]

    def mean(self) -> dict[str, Tensor]:
        """Return the gradient of the mean loss."""
        return {name: total / self.n for name, total in self.total.items()}

    def cosine(self) -> Tensor:
        """Compute the mean cosine over all ordered pairs of different examples (eq. 3).

        Raises:
            RefusedInput: the set has fewer than two examples.
        """
        return self._cosine(sum_of_squares(self.units), self.nonzero)

    def layer_cosines(self) -> dict[str, Tensor]:
        """Compute the same for the gradients of each parameter by itself."""
        return {
            name: self._cosine(sum_of_squares({name: units}), self.layer_nonzero[name])
            for name, units in self.layer_units.items()
        }

    def contribution(self, update: dict[str, Tensor]) -> Tensor:
        """Compute the mean of v_i · g / ‖g‖ (eq. 4) for any gradient g, in nats per unit of length; 0 if g is 0."""
        shared = [name for name in self.total if name in update]
        products = [(self.total[name].double() * update[name].double()).sum() for name in shared]
        norm = sum_of_squares(update).sqrt()
        return torch.stack(products).sum() / self.n / norm.where(norm > 0, 1)

    def _cosine(self, square: Tensor, nonzero: Tensor) -> Tensor:
        if self.n < 2:
            raise RefusedInput("a set of one example has no pairs: a mean cosine needs at least two")
        return (square - nonzero) / (self.n * (self.n - 1))


def sum_of_squares(tensors: dict[str, Tensor]) -> Tensor:
    """Compute the squared length of the vector of all numbers, summed in float64."""
    return torch.stack([tensor.double().square().sum() for tensor in tensors.values()]).sum()


def set_gradients(
    model: nn.Module,
    examples: Examples,
    subnetwork: Units = all_units,
    *,
    layers: bool = False,
    batch_size: int = BATCH,
    precision: Precision = "float32",
    backend: Backend = gradients,
) -> SetGradients:
    """Compute the sums behind mean cosine, mean gradient and mean contribution, in one pass over a set.

    Args:
        subnetwork: of each example, `all_units` or `own_units` for instance.
        layers: also the sums for every parameter by itself.

    Raises:
        TurnOverError: as `gradients`.
    """
    sums: dict[str, dict[str, Tensor]] = {"total": {}, "units": {}, "layers": {}}
    nonzero = torch.zeros((), dtype=torch.int64, device=examples.device)
    layer_nonzero: dict[str, Tensor] = {}
    for batch in _batches(model, examples, subnetwork, batch_size, precision, backend):
        norms = batch.squared_norms().sqrt()  # [batch]
        nonzero += (norms > 0).sum()
        _add(sums["total"], batch.total(torch.ones_like(norms)))
        _add(sums["units"], batch.total(_inverse(norms)))
        if layers:
            for name, factor in batch.factors.items():
                # a gradient of rounding noise beside the rest, as that of a bias before a softmax, counts as 0
                layer_norms = factor.squared_norms().clamp_min(0).sqrt()
                layer_norms = layer_norms.where(layer_norms > 10 * torch.finfo(layer_norms.dtype).eps * norms, 0)
                _add(sums["layers"], {name: factor.total(_inverse(layer_norms))})
                _add(layer_nonzero, {name: (layer_norms > 0).sum()})
    return SetGradients(len(examples), sums["total"], sums["units"], sums["layers"], nonzero, layer_nonzero)


def _add(sums: dict[str, Tensor], more: dict[str, Tensor]) -> None:
    """Add tensors to running sums, by name."""
    for name, tensor in more.items():
        sums[name] = sums[name].add_(tensor) if name in sums else tensor


def _inverse(norms: Tensor) -> Tensor:
    return torch.where(norms > 0, 1 / norms.where(norms > 0, 1), 0)


def contributions(
    model: nn.Module,
    examples: Examples,
    update: dict[str, Tensor],
    subnetwork: Units = all_units,
    *,
    batch_size: int = BATCH,
    precision: Precision = "float32",
    backend: Backend = gradients,
) -> Tensor:
    """Compute v_i · g / ‖g‖ of every example (eq. 4) for any gradient g; 0 if g is 0.  # [n]"""
    norm = sum_of_squares(update).sqrt()
    batches = _batches(model, examples, subnetwork, batch_size, precision, backend)
    products = torch.cat([batch.dot(update) for batch in batches])
    return products / norm.where(norm > 0, 1).to(products.dtype)


def _batches(
    model: nn.Module,
    examples: Examples,
    subnetwork: Units,
    batch_size: int,
    precision: Precision,
    backend: Backend,
) -> Iterator[Gradients]:
    """Yield gradients batch by batch, in evaluation mode; the first batch of each size is checked."""
    checked: set[int] = set()
    loose: set[str] = set()
    with evaluation_mode(model):
        for index in torch.arange(len(examples), device=examples.device).split(batch_size):
            x, y, ids = examples.batch(index)
            check = len(index) not in checked
            checked.add(len(index))
            yield backend(model, x, y, subnetwork(ids), precision=precision, check=check, loose=loose)
