"""Networks from a user's function `make_model`, and checks that they are new and trainable."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from turnover.common.seeding import seeded
from turnover.errors import RefusedInput


def new_network(make_model: Callable[[], nn.Module], seed: int, device: torch.device | str = "cpu") -> nn.Module:
    """Return `make_model()` with PyTorch's generator seeded, on the device.

    Raises:
        RefusedInput: it is no function of no arguments that gives a network with parameters.
    """
    given: Any = make_model
    if isinstance(given, nn.Module):
        kind = type(given).__name__
        raise RefusedInput(
            f"make_model is a network ({kind}): every seed needs a new one, so give a function that makes one, "
            f"def make_model(): return {kind}(...)"
        )
    if not callable(given):
        raise RefusedInput(f"make_model = {given!r}: must be a function that makes a new network")
    with seeded(seed, "init"):
        try:
            model = given()
        except TypeError as error:
            if "argument" not in str(error):
                raise
            raise RefusedInput(f"make_model must need no arguments; called without any, it says: {error}") from error
    if not isinstance(model, nn.Module) or not any(True for _ in model.parameters()):
        raise RefusedInput(f"make_model() gives a {type(model).__name__}: must be an nn.Module with parameters")
    refuse_untrainable(model, "make_model() gives a network")
    return model.to(device)


def refuse_untrainable(model: nn.Module, subject: str = "the network is one") -> None:
    """Refuse a network whose parameters cannot have gradients.

    Raises:
        RefusedInput: all are frozen, or some are lazy or were made in inference mode.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise RefusedInput(
            f"{subject} without a trainable parameter, requires_grad is False for all: set it for those that are to be "
            "trained, model.requires_grad_(True) for all"
        )
    if any(is_lazy(parameter) for parameter in model.parameters()):
        raise RefusedInput(
            f"{subject} with lazy layers, whose weights are not made yet: give the layers their sizes, or run it once "
            "before it is given, model(torch.as_tensor(x[:2]))"
        )
    if any(parameter.is_inference() for parameter in model.parameters()):
        raise RefusedInput(
            f"{subject} made in torch.inference_mode, which can have no gradients: make it outside, or give "
            "copy.deepcopy(model), made outside"
        )


def taken_by(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Return the device of a network's inputs, and their dtype if they are floats: those of its first parameter.

    Raises:
        RefusedInput: it has no parameters.
    """
    first = next(model.parameters(), None)
    if first is None:
        raise RefusedInput(f"the network, a {type(model).__name__}, has no parameters: give one that can be trained")
    return first.device, first.dtype.to_real()


def refuse_shared(first: nn.Module, second: nn.Module) -> None:
    """Refuse two networks of the same function that have in common what training changes.

    Raises:
        RefusedInput: they have, so training one would train the other.
    """
    if shared := _trained(first) & _trained(second):
        raise RefusedInput(
            f"make_model() gives the same network again, or one with {len(shared)} of the same parameters or running "
            "statistics: every seed must start from weights of its own, so make the layers inside the function, or "
            "return copy.deepcopy(model) of what is pretrained; of a trunk that stays as it is, requires_grad_(False), "
            "give the features as x"
        )


def _trained(model: nn.Module) -> set[int]:
    """Return the places in memory of what training changes: parameters, and running statistics of normalisations.

    Parameters that are different objects may share one, after load_state_dict(..., assign=True) for example.
    """
    model.train()  # in which some frozen modules stay in evaluation mode
    normalisations = (module for module in model.modules() if isinstance(module, nn.modules.batchnorm._NormBase))
    changed = [buffer for module in normalisations if module.training for buffer in module.buffers()]
    changed += [parameter for parameter in model.parameters() if parameter.requires_grad]
    return {tensor.data_ptr() for tensor in changed if tensor.numel()}
