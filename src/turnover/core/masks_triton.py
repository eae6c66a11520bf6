"""The masks of `turnover.core.masks` on a GPU, in one kernel.

In PyTorch's own operations a mask takes dozens of kernels: 0.65 ms for 256 x 4096 units on an H100, where F.dropout
takes 0.05 ms, so that a training step of VGG-11 with turn-over dropout took three times as long as the plain one
(outputs/reference/h100/bench.csv). The bits are the same; `MaskRule` is the definition.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 1024  # units of one program


@triton.jit(do_not_specialize=["key"])
def _kernel(
    ids: tl.tensor,
    out: tl.tensor,
    units: tl.tensor,
    key: tl.tensor,
    kept: tl.tensor,
    other: tl.tensor,
    P: tl.constexpr,  # noqa: N803
    DIGITS: tl.constexpr,  # noqa: N803
    BLOCK: tl.constexpr,  # noqa: N803
) -> None:
    row = tl.program_id(0).to(tl.int64)
    unit = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    hashed = _mix(tl.load(ids + row).to(tl.int64) * -7046029254386353131 + key)
    word = tl.zeros([BLOCK], tl.int64)
    position = (unit // 64).to(tl.int64)
    for step in tl.static_range(DIGITS):  # from the last binary digit of p to the first
        plane = tl.zeros([BLOCK], tl.int64) + (DIGITS - 1 - step)
        bits = _mix(hashed + (position + (plane << 32)) * -7046029254386353131)
        if (P >> step) % 2 == 1:  # noqa: SIM108 (Triton decides it when it compiles)
            word = bits | word
        else:
            word = bits & word
    own = ((word >> (unit % 64).to(tl.int64)) & 1) == 1
    value = tl.where(own, kept, other).to(out.dtype.element_ty)
    tl.store(out + row * units + unit, value, mask=unit < units)


@triton.jit
def _mix(x: tl.tensor) -> tl.tensor:
    # as masks._mix: int64 shifts copy the sign, which is cut off again
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * -4658895280553007687
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * -7723592293110705685
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


def fill(out: Tensor, ids: Tensor, key: int, p: tuple[int, int], own: float, other: float) -> Tensor:
    """Write `own` to `out` where a unit is the example's own, else `other`, and return it.

    Args:
        out: contiguous, of a dtype with at most 32 bits  # [batch, units]
        ids: contiguous integers  # [batch]
        key: the hash of seed and layer.
        p: its binary digits after the point as an integer, without zeros at the end, and how many they are.
    """
    batch, units = out.shape
    with torch.cuda.device(out.device):
        _kernel[(batch, triton.cdiv(units, _BLOCK))](ids, out, units, key, own, other, *p, _BLOCK)
    return out
