"""ReLU and mask as one operation of autograd.

Two operations would keep the ReLU's output and the multipliers for the backward pass, beside the masked activations,
which the next layer keeps anyway. Those alone tell which units pass a gradient: the ones that are not 0.
"""

from typing import Any

import torch
from torch import Tensor


class MaskedReLU(torch.autograd.Function):
    """relu(x) * multiplier, made in the memory of one of the two."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, relu: Tensor, multiplier: Tensor, scale: float) -> Tensor:
        """Args: x, relu(x), the multipliers, of its shape or to be broadcast to it, and their value on kept units."""
        place, other = (multiplier, relu) if multiplier.shape == relu.shape else (relu, multiplier)
        masked = place.mul_(other).detach()  # a tensor of its own: an input may not be returned, nor a view of one
        ctx.save_for_backward(masked)
        ctx.scale = scale
        return masked

    @staticmethod
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor, None, None, None]:
        (masked,) = ctx.saved_tensors
        # the gradient of an ELU with alpha = 0 that knows its output: scale * error where that is above 0, else 0
        return torch.ops.aten.elu_backward(error, 0, ctx.scale, 0, True, masked), None, None, None
