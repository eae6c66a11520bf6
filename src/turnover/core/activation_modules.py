"""Functions that are known as activations or as layers, and modules that compute one activation out of several calls.

Of the latter GPT-2's 0.5 x (1 + tanh(...)) is an example: if the tanh alone were masked, units outside the mask would
still be 0.5 x. Such a module is masked at its output.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode

from turnover.common.untouched import untouched
from turnover.errors import TurnOverError


def _functions(names: str, *namespaces: Any) -> frozenset[Any]:
    """Return the functions of these names, where there are any."""
    return frozenset(getattr(space, name) for space in namespaces for name in names.split() if hasattr(space, name))


RELU = frozenset({F.relu, torch.relu, torch.Tensor.relu})
LINEAR = _functions("linear bilinear matmul mm bmm addmm baddbmm einsum __matmul__ __rmatmul__", torch, F, torch.Tensor)
OTHER_LAYERS = _functions(  # layers too, without units that a mask could follow from them
    "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell cdist mv tensordot cosine_similarity "
    "pairwise_distance multi_head_attention_forward scaled_dot_product_attention",
    *(torch, F),
)
NORMS = frozenset({F.batch_norm, F.group_norm, F.instance_norm})
CONVOLUTIONS = frozenset({F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d})
LAYERS = LINEAR | CONVOLUTIONS  # with weights

_NAMES = (
    "expit relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish softplus softsign hardtanh hardswish "
    "hardsigmoid sigmoid tanh threshold logsigmoid glu softshrink hardshrink tanhshrink clamp_min "
)
ACTIVATIONS = _functions(_NAMES + _NAMES.replace(" ", "_ "), torch, F, torch.Tensor, torch.special)
KNOWN = LAYERS | OTHER_LAYERS | NORMS | ACTIVATIONS  # all that masks depend on
_BOUNDS = _functions("clamp_min clamp_min_", torch, torch.Tensor)


def is_activation(function: Any, args: Any, kwargs: Any) -> bool:
    """Return True if a call is an activation of units, not a lower bound of a divisor or a gate of parameters."""
    if function not in ACTIVATIONS or isinstance(args[0] if args else kwargs.get("input"), nn.Parameter):
        return False
    least = kwargs.get("min", args[1] if len(args) > 1 else None)
    return function not in _BOUNDS or (isinstance(least, int | float) and least == 0)


def candidates(model: nn.Module, layers: list[str] | None) -> dict[str, nn.Module]:
    """Return the modules that may be one activation as a whole, by name.

    They hold no matrices and no statistics. PyTorch's own modules are candidates only if they are named in `layers`.
    """
    modules = {}
    for name, module in model.named_modules():
        small = all(sum(size > 1 for size in tensor.shape) < 2 for tensor in (*module.parameters(), *module.buffers()))
        small = small and not any(isinstance(child, nn.modules.batchnorm._NormBase) for child in module.modules())
        named = name in (layers or []) and not any(True for _ in module.parameters())
        if name and ((small and not _is_from_torch(module)) or named):
            modules[name] = module
    return modules


def is_one_activation(module: nn.Module, args: Any, kwargs: Any, *, named: bool) -> bool:
    """Return True if the module is masked at its output, and not after the activation functions that it calls.

    It is if it computes an elementwise function of its input around a known activation, or was named without having
    one inside. Two passes decide: entries of the output whose inputs do not change must not change either.
    """
    if named and not _is_from_torch(module):
        return not any(True for _ in module.parameters())
    tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
    if len(tensors) != 1 or not args or tensors[0] is not args[0] or not args[0].is_floating_point():
        return False
    x = args[0].detach()
    changed = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).lt(0.5).to(x.device)
    outputs, calls = [], []
    with untouched(module) as rewind, torch.no_grad():
        for variant in (x, torch.where(changed, 0.5 - x, x)):
            rewind()
            with _Calls() as seen:
                outputs.append(module.forward(variant.clone(), *args[1:], **kwargs))
            calls.append(seen.outputs)
    first, second = outputs
    # an activation that does not depend on the input is not one of units, but a gate of parameters
    moved = any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(*calls, strict=False))
    if not all(isinstance(output, Tensor) and output.shape == x.shape for output in outputs):
        return named and not moved
    if not moved:
        return named
    same = (first == second) | (first.isnan() & second.isnan())
    elementwise = bool(same[~changed].all())
    return elementwise and not _is_from_torch(module) and first is not calls[0][0]


def has_values(*values: Any) -> bool:
    """Return True if tensors hold values: not while PyTorch compiles, uses fake tensors, or transforms functions."""
    return not torch.compiler.is_compiling() and not any(
        isinstance(value, FakeTensor)
        or (isinstance(value, Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(value))
        for value in values
    )


class _Calls(TorchFunctionMode):
    """Collects the outputs of known activation functions."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if is_activation(func, args, kwargs or {}):
            self.outputs.append(output)
        return output


def _is_from_torch(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.")


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
    input_letters = "".join(letters for letters, operand in pairs if not isinstance(operand, nn.Parameter))
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
