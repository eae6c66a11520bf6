"""Dependence by values of two passes and by gradients, and the parameters that the loss of one example reaches."""

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor, nn

from turnover.checks.watched_pass import Backward, WatchedPass
from turnover.core.activations import TurnOverDropout
from turnover.errors import TurnOverError


def reached(
    module: nn.Module, state: TurnOverDropout, ids: Tensor, run: Callable[[Tensor | None], WatchedPass]
) -> pd.DataFrame:
    """Compute the share of each parameter that the loss of one example reaches, in the full and in its own network.

    Args:
        run: ids, or None for the full network -> a pass with gradients.

    Returns:
        A row for each parameter: name, entries, and the shares of them that have a gradient: full, own.

    Raises:
        TurnOverError: the backward pass computes activations again, without masks.
    """
    named = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    parameters = [parameter for _, parameter in named]
    shares: dict[str, list[list[float]]] = {"full": [], "own": []}
    n = len(ids)
    for kind, given in (("own", ids), ("full", None)):
        seen = run(given)
        # inputs of layers count too: a last layer that is still 0 would hide all before it
        outputs = [output for output in (*seen.outputs, *seen.layers) if output.requires_grad]
        outputs = [output.reshape(n, -1) for output in outputs if output.dim() and len(output) % n == 0]
        if not outputs or not parameters:
            continue
        for example in range(min(n, 2)):
            loss = torch.stack([_projection(output[example]) for output in outputs]).sum()
            with Backward(state) as backward:
                gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            if backward.unmasked and given is not None:
                raise TurnOverError(
                    f"{state.network} computes activations again in its backward pass ({backward.unmasked}), "
                    "where they would not be masked; known and allowed is torch.utils.checkpoint"
                )
            shares[kind].append([_share_of_nonzero(gradient) for gradient in gradients])
    table = {"name": [name for name, _ in named], "entries": [parameter.numel() for parameter in parameters]}
    for kind, rows in shares.items():
        table[kind] = torch.tensor(rows, dtype=torch.float64).reshape(-1, len(named)).mean(0).tolist()
    return pd.DataFrame(table)


def _projection(output: Tensor) -> Tensor:
    """Compute a loss that depends on every entry.  # []"""
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
    return (output * weights.to(output)).sum()


def _share_of_nonzero(gradient: Tensor | None) -> float:
    if gradient is None:
        return 0.0
    entries = gradient.coalesce().values() if gradient.is_sparse else gradient
    return int(entries.count_nonzero()) / gradient.numel()


def changed(before: Tensor, after: Tensor) -> Tensor:
    """Return True for entries that differ by more than rounding."""
    if before.shape != after.shape:
        return torch.ones_like(before, dtype=torch.bool)
    if not before.is_floating_point():
        return before != after
    before, after = before.nan_to_num(), after.nan_to_num()
    relative = {torch.float64: 1e-11, torch.float32: 1e-4}.get(before.dtype, 0.02)
    return (before - after).abs() > relative * before.abs().amax()


def rows_of(entries: Tensor) -> Tensor:
    """Return True for examples with any True entry.  # bool [n, ...] -> [n]"""
    return entries.flatten(1).any(1) if entries.dim() > 1 else entries


def gradients_of(output: Tensor, inputs: list[Tensor], weights: Tensor | None = None) -> tuple[Tensor | None, ...]:
    """Compute gradients of a weighted output with respect to each input; None where it does not depend on it."""
    weights = torch.ones_like(output) if weights is None else weights
    return torch.autograd.grad(output, inputs, weights, retain_graph=True, allow_unused=True)


def bends(output: Tensor, given: Tensor, weights: Tensor) -> bool:
    """Return True if an output is no linear function of the tensor it is computed from."""
    [slope] = torch.autograd.grad(output, [given], weights, retain_graph=True, create_graph=True)
    if not slope.requires_grad:
        return False
    bend = gradients_of(slope, [given])[0]
    return bend is not None and bool((bend.ne(0) & bend.isfinite()).any())
