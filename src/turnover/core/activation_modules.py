"""What an activation is: the functions that are known as one, and modules that compute one out of several calls.

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

ACTIVATIONS = frozenset(
    getattr(place, name + suffix)
    for place in (torch, F, torch.Tensor, torch.special)
    for name in "expit relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish softplus softsign hardtanh "
    "hardswish hardsigmoid sigmoid tanh threshold logsigmoid glu softshrink hardshrink tanhshrink clamp_min".split()
    for suffix in ("", "_")
    if hasattr(place, name + suffix)
)
_BOUNDS = frozenset(getattr(place, name) for place in (torch, torch.Tensor) for name in ("clamp_min", "clamp_min_"))


def is_activation(function: Any, args: Any, kwargs: Any) -> bool:
    """Whether a call is an activation of units: not a bound that keeps a divisor from 0, not a gate of parameters."""
    if function not in ACTIVATIONS or isinstance(args[0] if args else kwargs.get("input"), nn.Parameter):
        return False
    least = kwargs.get("min", args[1] if len(args) > 1 else None)
    return function not in _BOUNDS or (isinstance(least, int | float) and least == 0)


def candidates(model: nn.Module, layers: list[str] | None) -> dict[str, nn.Module]:
    """The modules that may be one activation as a whole, by name.

    They hold no matrices and no statistics. PyTorch's own are looked into, unless they are named in `layers`.
    """
    found = {}
    for name, module in model.named_modules():
        small = all(sum(size > 1 for size in each.shape) < 2 for each in (*module.parameters(), *module.buffers()))
        small = small and not any(isinstance(each, nn.modules.batchnorm._NormBase) for each in module.modules())
        named = name in (layers or []) and not any(True for _ in module.parameters())
        if name and ((small and not _is_torchs(module)) or named):
            found[name] = module
    return found


def is_one_activation(module: nn.Module, args: Any, kwargs: Any, *, named: bool) -> bool:
    """Whether the module is to be masked at its output, and not after the activation functions that it calls.

    It is if it computes an elementwise function of its input around a known activation, or was named without having
    one inside. This is found by trying: the entries of the output whose inputs stay as they are must stay too.
    """
    if named and not _is_torchs(module):
        return not any(True for _ in module.parameters())
    tensors = [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)]
    if len(tensors) != 1 or not args or tensors[0] is not args[0] or not args[0].is_floating_point():
        return False
    x = args[0].detach()
    changed = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).lt(0.5).to(x.device)
    outputs, calls = [], []
    with untouched(module) as rewind, torch.no_grad():
        for values in (x, torch.where(changed, 0.5 - x, x)):
            rewind()
            with _Calls() as seen:
                outputs.append(module.forward(values.clone(), *args[1:], **kwargs))
            calls.append(seen.outputs)
    first, second = outputs
    # one that does not depend on the input is no activation of units, but a gate that is a parameter
    moved = any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(*calls, strict=False))
    if not all(isinstance(each, Tensor) and each.shape == x.shape for each in outputs):
        return named and not moved
    if not moved:
        return named
    same = (first == second) | (first.isnan() & second.isnan())
    elementwise = bool(same[~changed].all())
    return elementwise and not _is_torchs(module) and first is not calls[0][0]


def has_values(*values: Any) -> bool:
    """Whether there is something to look at; not while PyTorch compiles, pretends, or transforms functions."""
    return not torch.compiler.is_compiling() and not any(
        isinstance(each, FakeTensor)
        or (isinstance(each, Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(each))
        for each in values
    )


class _Calls(TorchFunctionMode):
    """Collects what known activation functions give."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if is_activation(func, args, kwargs or {}):
            self.outputs.append(output)
        return output


def _is_torchs(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.")
