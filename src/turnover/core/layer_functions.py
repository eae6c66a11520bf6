"""The PyTorch functions that are layers, and the dimension of the units in their outputs."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from turnover.errors import TurnOverError

RELU = frozenset({F.relu, torch.relu, torch.Tensor.relu})
LINEAR = frozenset(
    getattr(namespace, name)
    for namespace in (torch, F, torch.Tensor)
    for name in "linear bilinear matmul mm bmm addmm baddbmm einsum __matmul__ __rmatmul__".split()
    if hasattr(namespace, name)
)
# layers too, without units that a mask could follow from them
OTHER_LAYERS = frozenset(
    getattr(namespace, name)
    for namespace in (torch, F)
    for name in "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell cdist mv tensordot "
    "cosine_similarity pairwise_distance multi_head_attention_forward scaled_dot_product_attention".split()
    if hasattr(namespace, name)
)
NORMS = frozenset({F.batch_norm, F.group_norm, F.instance_norm})
CONVOLUTIONS = frozenset({F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d})
LAYERS = LINEAR | CONVOLUTIONS  # with weights


def from_the_left(function: Any, args: Any) -> int:
    """Return the dimension of the units, from the end, of a product with parameters where it is not the last; else 0.

    These are the rows of a matrix that multiplies from the left, as in `weight @ x`.
    """
    if function is torch.einsum:
        return _einsum_units(*args)
    if function not in LINEAR or function is F.linear or len(args) < 2:
        return 0
    left, right = args[0], args[1]
    rows = isinstance(left, nn.Parameter) and left.dim() == 2 and isinstance(right, Tensor) and right.dim() > 2
    return -2 if rows else 0


def _einsum_units(equation: Any, *operands: Any) -> int:
    """Return the same for `einsum("oc,bct->bot", weight, x)`: the letter that only a parameter gives to the output."""
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    if not isinstance(equation, str) or "->" not in equation or "." in equation:
        return 0
    given, output = equation.replace(" ", "").split("->")
    pairs = list(zip(given.split(","), operands, strict=False))
    input_letters = set[str]().union(*(letters for letters, operand in pairs if not isinstance(operand, nn.Parameter)))
    units = [position for position, letter in enumerate(output) if letter not in input_letters]
    return units[0] - len(output) if len(units) == 1 and units[0] < len(output) - 1 else 0


def unit_dimension(x: Tensor, args: Any, widths: tuple[int, int], channels_first: bool, network: str) -> int:
    """Return the dimension of the units: features after a linear layer, maps after a convolution."""
    if x.dim() == 2:
        return 1
    channel, (width, maps) = (1 if channels_first else x.dim() - 1), widths
    beside = not channels_first and x.shape[1] == maps  # a linear layer, such as a gate, beside a convolution
    gated = False  # half of the layer's output, to be multiplied with the other half
    if not channels_first and x.shape[-1] * 2 == width and args:
        gated = width in (args[0].shape[-1], args[0].stride()[-2])
    if (not width or x.shape[channel] == width or gated) and not beside:
        return channel
    if beside and x.shape[channel] != width:
        return 1
    raise TurnOverError(
        f"cannot tell which dimension of an activation of {network} holds its units: it has shape "
        f"{tuple(x.shape)}, and the last layer with weights had {width}; choose others in attach(layers=[...])"
    )
