"""Matrix products of linear layers in float32 on a CPU, by the faster of the two libraries that PyTorch has for them.

PyTorch multiplies float32 matrices by MKL, which uses AVX-512 on Intel's processors alone. oneDNN, its library for
convolutions and low precision, uses what the processor has: on AMD ones with AVX-512 it is 1.1 to 2.2 times as fast, so
that the training step of the paper's MLP takes .5 to .85 of the time; on Intel ones both take the same, and MKL stays.
Both round each sum to float32; only the order of sums differs.
"""

import functools
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.overrides import TorchFunctionMode

SMALL = 1 << 23  # multiply-adds below which the way to oneDNN takes longer than it saves


def suits(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Return True if `linear` takes these: float32 on a CPU, large enough, at full precision.  # x: [..., inputs]"""
    return (
        not torch.compiler.is_compiling()  # before what a compiler cannot look into
        and mkl_lags()
        and all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in (x, weight))
        and x.dim() > 1
        and weight.dim() == 2
        and x.numel() * len(weight) >= SMALL
        and not torch.is_autocast_enabled("cpu")
    )


@functools.cache
def mkl_lags() -> bool:
    """Return True on a processor with AVX-512 that MKL does not use."""
    about = Path("/proc/cpuinfo")  # Linux; there is no other system with MKL on such a processor but Windows
    return (
        torch.backends.mkldnn.is_available()
        and torch.backends.mkl.is_available()
        and "AVX512" in torch.backends.cpu.get_cpu_capability()
        and about.is_file()
        and "AuthenticAMD" in about.read_text(encoding="utf-8", errors="replace")
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute F.linear by oneDNN.  # [..., inputs], [outputs, inputs], [outputs] -> [..., outputs]"""
    product: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")
    return product


def batched(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> Tensor:
    """Compute F.linear for each of some networks, into `out`.

    # [networks, batch, inputs], [networks, outputs, inputs], [networks, 1, outputs] -> [networks, batch, outputs]
    """
    if not suits(x[0], weight[0]):
        return torch.baddbmm(bias, x, weight.mT, out=out)
    for result, rows, matrix, offset in zip(out, x, weight, bias, strict=True):
        result.copy_(linear(rows, matrix, offset[0]))
    return out


def add_batched(target: Tensor, a: Tensor, b: Tensor, *, beta: float, alpha: float) -> None:
    """Set target = beta target + alpha a @ b, for each of some networks.

    oneDNN takes b as it lies in memory but copies an a that is transposed: a is to be the smaller one, as errors are
    that come from fewer units than there are inputs.

    # [networks, n, m], [networks, n, k], [networks, k, m]
    """
    if not suits(a[0], b[0].t()):
        target.baddbmm_(a, b, beta=beta, alpha=alpha)
        return
    for matrix, left, right in zip(target, a, b, strict=True):
        if beta != 1:
            matrix.mul_(beta)
        matrix.add_(linear(left, right.t()), alpha=alpha)


class Linear(torch.autograd.Function):
    """`linear` with gradients, which are products by `Linear` themselves, so that they have gradients too."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        rows = error.flatten(0, -2)  # [examples, outputs]
        below = weights = None
        if ctx.needs_input_grad[0]:
            below = Linear.apply(error, weight.t(), None)
        if ctx.needs_input_grad[1]:
            weights = Linear.apply(rows.t(), x.flatten(0, -2).t(), None)
        return below, weights, rows.sum(0) if ctx.needs_input_grad[2] else None


def fast_products(device: torch.device) -> AbstractContextManager[Any]:
    """Compute linear layers inside by oneDNN where their products suit it."""
    return _FastProducts() if device.type == "cpu" and mkl_lags() else nullcontext()


class _FastProducts(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.linear and not kwargs and suits(*args):
            return Linear.apply(*args, *[None] * (3 - len(args)))
        return func(*args, **(kwargs or {}))
