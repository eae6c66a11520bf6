"""Inputs x that are several arguments of a network: a tuple or a dict of tensors or arrays."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from turnover.checks.arrays import array_of, tensor_of
from turnover.checks.missing import refuse_masked, some
from turnover.errors import RefusedInput


def arguments_of(x: Any, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...] | dict[str, Tensor]:
    """Return the arguments as tensors, floats in the dtype.  # [n, ...] each

    Raises:
        RefusedInput: there are none, or they differ in length or hold values that are not finite.
    """
    named = {str(name): part for name, part in (x.items() if isinstance(x, Mapping) else enumerate(x))}
    tensors = {}
    for name, part in named.items():
        code = f"x[{name!r}]" if isinstance(x, Mapping) else f"x[{name}]"
        refuse_masked(code, part, partial(_removed, x))
        tensor = tensor_of(code, array_of(code, part), device)
        tensors[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
        if not tensor.dim() or tensor.is_complex():
            raise RefusedInput(f"{code} must hold a row of real numbers for each example, got {tensor.dtype}")
        if tensor.is_floating_point() and not tensors[name].isfinite().all():
            rows = (~tensors[name].isfinite().reshape(len(tensor), -1).all(1)).nonzero()[:, 0]
            keep = f"torch.as_tensor({code}).isfinite().reshape(len({code}), -1).all(1).cpu().numpy()"
            raise RefusedInput(
                f"{code} has values that are NaN or infinite, in rows {some(rows)}: fill them in, or "
                f"{_removed(x, keep)}"
            )
    lengths = {name: len(tensor) for name, tensor in tensors.items()}
    if len(set(lengths.values())) != 1:
        raise RefusedInput(
            "the tensors of x must have a row for each example: "
            f"{', '.join(f'{name} has {length}' for name, length in lengths.items()) or 'there are none'}"
        )
    return tensors if isinstance(x, Mapping) else tuple(tensors.values())


def _removed(x: Any, keep: str) -> str:
    kept = "{name: part[keep] for name, part in x.items()}"
    x_kept = kept if isinstance(x, Mapping) else "tuple(part[keep] for part in x)"
    return f"remove these: keep = {keep}; x = {x_kept}; y = y[keep]"
