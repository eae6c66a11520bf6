"""Length of the gradient of each example's loss, GraNd (Paul et al., 2021)."""

import torch
from torch import Tensor, nn

from turnover.core.examples import Examples
from turnover.core.subnetworks import evaluation_mode
from turnover.gradients.per_example import gradients


def grand(model: nn.Module, examples: Examples, *, batch_size: int = 256) -> Tensor:
    """‖∂ loss / ∂ parameters‖₂ of each example, by the full network in evaluation mode.

    Exact, over all parameters that are trained; turn-over dropout, if attached, masks nothing. Paul et al. average it
    over networks early in training; here it is that of one network. Parameters, their `grad` and the modes of all
    modules stay as they are.

    Returns:
        Lengths in nats per unit of length; high: difficult. In float32, or float64 for a network in float64.  # [n]

    Raises:
        TurnOverError: the network mixes the examples of a batch.
    """
    checked: set[int] = set()  # the first batch of each size is compared with autograd
    loose: set[str] = set()
    norms = []
    with evaluation_mode(model), torch.enable_grad():
        for index in torch.arange(len(examples), device=examples.device).split(batch_size):
            x, y, _ = examples.batch(index)
            found = gradients(model, x, y, check=len(index) not in checked, loose=loose)
            checked.add(len(index))
            norms.append(found.squared_norms().sqrt())
    return torch.cat(norms).to(torch.promote_types(next(model.parameters()).dtype, torch.float32))
