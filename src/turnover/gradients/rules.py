"""Rules for factored gradients: from a function's output gradient to the factors of its parameters."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vjp, vmap

from turnover.gradients.compound import Convolution
from turnover.gradients.factors import Factor, Lookup, Outer, Rows, wide

Build = Callable[[Tensor], Factor]  # gradient of the function's output -> factor of one of its parameters
Known = list[tuple[Tensor, Build]]  # by parameter; one that is two arguments of a function occurs twice
Widen = Callable[
    [Tensor], Tensor
]  # gradients of a part of a parameter -> of the parameter, 0 elsewhere  # [batch, ...]


def _by_position(x: Tensor) -> Tensor:
    """Flatten positions to one dimension, in float32 at least.  # [batch, ..., width] -> [batch, positions, width]"""
    return wide(x.detach()).reshape(len(x), -1, x.shape[-1])


def _linear(output: Tensor, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Known:
    if weight.dim() != 2 or input.dim() < 2:
        return []
    a = _by_position(input)
    builds: Known = [(weight, lambda d: Outer(a, _by_position(d), weight.shape))]
    if bias is not None:
        builds.append((bias, lambda d: Rows(_by_position(d).sum(dim=1))))
    return builds


def _conv2d(
    output: Tensor,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Known:
    if input.dim() != 4:
        return []
    image, pad = wide(input.detach()), padding
    if isinstance(padding, str):  # "same" may pad one more pixel after than before
        pad = 0
        if padding == "same":
            down, across = (dilate * (k - 1) for dilate, k in zip(_pair(dilation), weight.shape[2:], strict=True))
            image = F.pad(image, (across // 2, -(-across // 2), down // 2, -(-down // 2)))
    sizes = _pair(stride), _pair(pad), _pair(dilation)
    builds: Known = [(weight, lambda d: Convolution(image, wide(d), weight.shape, *sizes, groups))]
    if bias is not None:
        builds.append((bias, lambda d: Rows(wide(d).sum(dim=(2, 3)))))
    return builds


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _layer_norm(
    output: Tensor,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Known:
    shape = torch.Size(normalized_shape)
    if input.dim() <= len(shape):
        return []
    normal = F.layer_norm(wide(input.detach()), shape, eps=eps)
    return _affine(normal, weight, bias, lambda x: x.reshape(len(x), -1, *shape).sum(dim=1))


def _batch_norm(
    output: Tensor,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Known:
    normal = F.batch_norm(wide(input.detach()), running_mean, running_var, eps=eps)
    return _affine(normal, weight, bias, lambda x: x.reshape(*x.shape[:2], -1).sum(dim=2))


def _affine(normal: Tensor, weight: Tensor | None, bias: Tensor | None, collect: Callable[[Tensor], Tensor]) -> Known:
    builds: Known = []
    if weight is not None:
        builds.append((weight, lambda d: Rows(collect(wide(d) * normal))))
    if bias is not None:
        builds.append((bias, lambda d: Rows(collect(wide(d)))))
    return builds


def _embedding(
    output: Tensor,
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Known:
    if max_norm is not None or scale_grad_by_freq:
        return []  # its gradients are not the derivative of its output
    index = input.reshape(len(input), -1)

    def of_weight(d: Tensor) -> Factor:
        d = _by_position(d)
        if padding_idx is not None:  # this row is never trained
            d = d * (index != padding_idx % len(weight))[:, :, None]
        return Lookup(index, d, weight.shape)

    return [(weight, of_weight)]


def _added(output: Tensor, input: Tensor, other: Tensor, *, alpha: float = 1) -> Known:
    """Rule of x + parameter, the parameter broadcast over the batch: a position embedding."""
    if alpha != 1 or not isinstance(input, Tensor) or not isinstance(other, Tensor) or input is other:
        return []

    def of(parameter: Tensor) -> Build:
        return lambda d: Rows(_broadcast_sum(wide(d), parameter.shape))

    return [(parameter, of(parameter)) for parameter in (input, other) if _is_broadcast(parameter, output)]


def _multiplied(output: Tensor, input: Tensor, other: Tensor) -> Known:
    """Rule of x * parameter, the parameter broadcast over the batch: a scale."""
    if not isinstance(input, Tensor) or not isinstance(other, Tensor) or input is other:
        return []

    def of(parameter: Tensor, x: Tensor) -> Build:
        return lambda d: Rows(_broadcast_sum(wide(d) * x, parameter.shape))

    pairs = ((input, other.detach()), (other, input.detach()))
    return [(parameter, of(parameter, x)) for parameter, x in pairs if _is_broadcast(parameter, output)]


def _expanded(output: Tensor, input: Tensor, *sizes: Any, **named: Any) -> Known:
    """Rule of a parameter expanded over the batch: a class token."""
    if not _is_broadcast(input, output):
        return []
    return [(input, lambda d: Rows(_broadcast_sum(wide(d), input.shape)))]


def _is_broadcast(parameter: Tensor, output: Tensor) -> bool:
    """Return True if a parameter has no batch dimension, or one of size 1."""
    return parameter.dim() < output.dim() or (parameter.dim() == output.dim() and len(parameter) == 1 < len(output))


def _broadcast_sum(d: Tensor, shape: torch.Size) -> Tensor:
    """Sum over all broadcast dimensions but the batch.  # [batch, ...] -> [batch, *shape]"""
    missing = d.dim() - len(shape)
    full = [1] * missing + list(shape)
    over = [dim for dim in range(1, d.dim()) if full[dim] == 1 < d.shape[dim]]
    summed = d.sum(dim=over, keepdim=True) if over else d
    return summed.reshape(len(d), *shape)


RULES: dict[Any, Callable[..., Known]] = {
    F.linear: _linear,
    F.conv2d: _conv2d,
    F.layer_norm: _layer_norm,
    F.batch_norm: _batch_norm,
    F.embedding: _embedding,
}
_T = torch.Tensor


def _register(functions: Iterable[Any], rule: Callable[..., Known]) -> None:
    RULES.update(dict.fromkeys(functions, rule))


_register((torch.add, _T.add, _T.add_, _T.__add__, _T.__radd__, _T.__iadd__), _added)
_register((torch.mul, _T.mul, _T.__mul__, _T.__rmul__), _multiplied)
EXPANSIONS = (_T.expand, _T.expand_as)  # the only ones that need no other tensor with the examples of the batch
_register(EXPANSIONS, _expanded)
# a part of a parameter, the same for all examples: the first rows of a table of positions
SELECTIONS = (_T.__getitem__, _T.unsqueeze, F.embedding)


def widening(parameter: Tensor, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Widen:
    """Return how gradients of func(*args, **kwargs), a part of a parameter, become gradients of the parameter."""

    def part(parameter_: Tensor) -> Any:
        return func(*(parameter_ if each is parameter else each for each in args), **kwargs)

    return lambda rows: vmap(vjp(part, parameter.detach())[1])(rows)[0]


def of_selected(build: Build, part: Tensor, widen: Widen) -> Build:
    """Return the rule of a parameter from that of a part of it."""
    return lambda d: Rows(widen(build(d).build(slice(None)).unflatten(1, part.shape)))
