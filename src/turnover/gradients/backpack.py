"""The gradients of single examples through BackPACK (Dangel et al., 2020), the tool of the paper: a slow reference.

It builds every gradient, so that a batch takes memory of the order of examples x parameters. Unsupported parameters
are refused by name.
"""

import copy
import warnings

import torch
from torch import Tensor, nn

from turnover.common.device import Precision, autocast
from turnover.core.losses import CLASSES
from turnover.core.masked import Subnetwork
from turnover.errors import TurnOverError
from turnover.gradients.factors import Factor, Rows
from turnover.gradients.per_example import Gradients, inside


def gradients(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    subnetwork: Subnetwork | None = None,
    *,
    precision: Precision = "float32",
    check: bool = True,
    loose: set[str] | None = None,
) -> Gradients:
    """Compute `turnover.gradients.per_example.gradients`, every one built.

    Args:
        check: compare the sum over the batch with PyTorch's gradient.
        loose: ignored.

    Raises:
        TurnOverError: BackPACK does not support a module, or gives no or wrong gradients for a parameter.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # BackPACK warns where its numbers would be wrong
        from backpack import backpack, extend, extensions

        twin = copy.deepcopy(model)  # its hooks stay on what they are put on
        # PyTorch warns of such hooks where no input has a gradient
        x = x.detach().requires_grad_(x.is_floating_point())
        criterion = nn.CrossEntropyLoss(reduction="sum")  # a gradient of one example's loss, not of its B-th part
        try:
            extend(twin)
            extend(criterion)
            with torch.enable_grad(), autocast(x.device, precision), inside(twin, subnetwork):
                logits = twin(x)
                loss = criterion(logits.double(), y)
            with backpack(extensions.BatchGrad()):
                loss.backward()
        except (NotImplementedError, RuntimeError, AttributeError, UserWarning) as error:
            raise TurnOverError(f"BackPACK cannot find the gradients of this network: {error}") from error
    factors: dict[str, Factor] = {}
    for name, parameter in twin.named_parameters():
        if parameter.requires_grad and parameter.grad is not None:
            built = getattr(parameter, "grad_batch", None)
            if built is None or (check and not _same(built.sum(dim=0), parameter.grad)):
                raise TurnOverError(
                    f"BackPACK gives {'no' if built is None else 'wrong'} gradients of single examples for {name}: "
                    "use tracking.backend=exact"
                )
            factors[name] = Rows(built.detach())
    losses = CLASSES(logits.detach().double(), y)
    return Gradients(factors, losses)


def _same(gradient: Tensor, expected: Tensor) -> bool:
    tolerance = {torch.float64: 1e-9, torch.float32: 1e-3}.get(expected.dtype, 0.1)
    return bool((gradient - expected).norm() <= tolerance * expected.norm() + 1e-12)
