"""The masks of sub-networks on one activation."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from turnover.core.activation_modules import has_values
from turnover.core.masks import MaskRule
from turnover.errors import TurnOverError

_FROM_INPUT = ("GeluBackward0", "SiluBackward0")  # gradients that do not need the output, which may be overwritten


@dataclass(frozen=True)
class Subnetwork:
    """One sub-network of each example: its own or flipped one, or with `ids=None` the full network."""

    ids: Tensor | None  # [batch]
    flipped: bool = False


@dataclass(frozen=True)
class Masked:
    """One masked activation of a forward pass."""

    layer: int
    before: Tensor  # the activation, or the input of its ReLU
    after: Tensor  # masked
    channel: int  # the dimension of the units


def masked(
    x: Tensor,
    subnetworks: Sequence[Subnetwork],
    rule: MaskRule,
    layer: int,
    channel: int,
    before: Tensor | None,
    network: str,
    dropped: float = 0.0,
) -> Tensor:
    """Multiply x by each subnetwork's masks.  # [batch or subnetworks * batch, ...] -> [subnetworks * batch, ...]

    Args:
        channel: the dimension of the units.
        before: the input of the ReLU that gave x, if the gradient is to go straight there.
        network: its name, for errors.
        dropped: share of an example's own units that this pass drops, drawn anew for each example; the others are
            scaled by 1 / (1 - dropped) besides, so that the mean over draws is the own sub-network.
    """
    count = len(subnetworks)
    batch = next((len(subnetwork.ids) for subnetwork in subnetworks if subnetwork.ids is not None), len(x))
    if len(x) not in (batch, count * batch):
        raise TurnOverError(
            f"ids have length {batch}, but the batch in the network has {len(x)} examples: an activation of "
            f"{network} has shape {tuple(x.shape)}, and its first dimension must be the batch "
            "(batch_first=True of nn.TransformerEncoderLayer, nn.LSTM and their kin)"
        )
    shape = [batch] + [1] * (x.dim() - 1)
    shape[channel] = units = x.shape[channel]
    inputs = x.split(batch) if len(x) > batch else [x] * count  # the input of each subnetwork, [batch, ...]

    def factor(subnetwork: Subnetwork, out: Tensor | None = None) -> Tensor:
        if subnetwork.ids is None:
            return x.new_ones(()) if out is None else out.fill_(1)
        values = rule.multiplier(
            subnetwork.ids.to(x.device),
            units,
            layer,
            flipped=subnetwork.flipped,
            dtype=x.dtype.to_real() if x.is_complex() else x.dtype,
            out=out,
        )  # [batch, units]
        if not dropped or subnetwork.flipped:  # these are never trained
            return values
        return F.dropout(values, dropped, inplace=out is not None)

    if before is not None and torch.compiler.is_compiling():
        # the gradient is found from this output, which the next layer keeps; that of relu(x) would be kept besides
        kept = factor(subnetworks[0]).reshape(shape)
        return torch.ops.aten.relu((before * kept).masked_fill(kept == 0, 0))  # 0 times infinity is none
    if before is not None:
        only = subnetworks[0]
        scale = torch.tensor(rule.scale(units, flipped=only.flipped), dtype=x.dtype)
        if dropped and not only.flipped:
            scale *= torch.ones_like(scale).div(1 - dropped)  # rounded as F.dropout does
        return MaskedReLU.apply(before, x, factor(only).reshape(shape), scale.item())
    if count == 1 and subnetworks[0].ids is not None and has_values(x) and type(x.grad_fn).__name__ in _FROM_INPUT:
        return x.mul_(factor(subnetworks[0]).reshape(shape))  # fresh memory costs as much as the arithmetic
    if count == 1 or torch.is_grad_enabled():
        products = [
            rows * factor(subnetwork).reshape(shape if subnetwork.ids is not None else ())
            for rows, subnetwork in zip(inputs, subnetworks, strict=True)
        ]
        return torch.cat(products) if count > 1 else products[0]
    layout = torch.contiguous_format
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        layout = torch.channels_last
    output = torch.empty((count * batch, *x.shape[1:]), dtype=x.dtype, device=x.device, memory_format=layout)
    for rows, target, subnetwork in zip(inputs, output.split(batch), subnetworks, strict=True):
        if x.dim() == 2 and not x.is_complex():  # made where it is used: fresh memory costs as much as the arithmetic
            factor(subnetwork, out=target).mul_(rows)
        else:
            torch.mul(rows, factor(subnetwork).reshape(shape if subnetwork.ids is not None else ()), out=target)
    return output


def unseen(x: Tensor) -> AbstractContextManager[None]:
    """Hide function calls from every TorchFunctionMode: a mask takes fifty, slower to intercept than to compute."""
    plain = type(x) is Tensor and not torch.compiler.is_compiling()
    return torch._C.DisableTorchFunction() if plain else nullcontext()


class MaskedReLU(torch.autograd.Function):
    """relu(x) * multiplier as one operation of autograd, written to the memory of one of the two.

    Two operations would keep the ReLU's output and the multipliers for the backward pass, beside the masked
    activations, which the next layer keeps anyway. Where these are not 0, units pass a gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, relu: Tensor, multiplier: Tensor, scale: float) -> Tensor:
        """Args: x, relu(x), the multipliers, of its shape or to be broadcast to it, and their value on kept units."""
        buffer, factor = (multiplier, relu) if multiplier.shape == relu.shape else (relu, multiplier)
        masked = buffer.mul_(factor).detach()  # a tensor of its own: an input may not be returned, nor a view of one
        ctx.save_for_backward(masked)
        ctx.scale = scale
        return masked

    @staticmethod
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor, None, None, None]:
        (masked,) = ctx.saved_tensors
        # the gradient of an ELU with alpha = 0, from its output: scale * error where that is above 0, else 0
        return torch.ops.aten.elu_backward(error, 0, ctx.scale, 0, True, masked), None, None, None
