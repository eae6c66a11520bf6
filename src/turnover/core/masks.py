"""Masks of each example's own units, by counter-based integer hash.

A bit of a mask is a function of (seed, layer, example id, unit) and of nothing else, so it is the same on every
device, in every dtype, batch, process and subset of the data. Nothing is drawn and nothing is stored.

Every unit owns a uniform number u = 0.b₁b₂…b₁₆ in base 2, and is kept if u < p. The bit bₖ of 64 neighbouring units is
one 64-bit word, SplitMix64's output (Steele, Lea and Flood, 2014) for a counter that holds k (the plane) and the
position of the word. So p = 1/2 costs one hash for 64 units, and any p is exact to 2⁻¹⁶. A word is a bijection of the
id: no two examples share a row of 64 units at p = 1/2.
"""

import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from turnover.errors import TurnOverError

Balance = Literal["bernoulli", "exact"]

PLANES = 16  # bits of p
_GAMMA = 0x9E3779B97F4A7C15  # 2⁶⁴ / golden ratio, the increment of SplitMix64
_M1, _M2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORD = (1 << 64) - 1
_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)
_GROUPS = -1  # in the place of a layer's number: the hash that sends an id to its group


def mask(
    ids: Tensor,
    units: int,
    layer: int,
    seed: int,
    p: float = 0.5,
    *,
    groups: int | None = None,
    balance: Balance = "bernoulli",
) -> Tensor:
    """Compute the own mask m(z) of each example: True where it trains the unit; the complement is the flipped mask.

    Args:
        ids: permanent example ids, any integer dtype, not negative, valid beyond 2⁴⁰.  # [batch]
        units: neurons or channels of the layer.
        layer: position of the layer's activation in the network, from 0.
        seed: of the masks; equal to the `seed` given to `attach` or to a run.
        p: share of the units that an example trains.
        groups, balance: as in `attach`.

    Returns:
        bool tensor on the device of `ids`.  # [batch, units]
    """
    ids = check_ids(ids)
    return MaskRule(p, seed, groups, balance).own(ids, units, layer)


@dataclass(frozen=True)
class MaskRule:
    """The function from (layer, id, unit) to a bit of a mask, with its parameters."""

    p: float
    seed: int
    groups: int | None = None
    balance: Balance = "bernoulli"

    def __post_init__(self) -> None:
        if not 0 < self._threshold < 1 << PLANES:
            raise TurnOverError(f"p = {self.p}: must lie between 0 and 1, at least 2^-{PLANES} away from both")
        if self.groups is not None and self.groups < 1:
            raise TurnOverError(
                f"groups = {self.groups}: must be at least 1, or None for a mask of its own per example"
            )
        if self.balance not in get_args(Balance):
            raise TurnOverError(f"balance = {self.balance!r}: allowed: {', '.join(get_args(Balance))}")
        if not 0 <= self.seed < 1 << 63:
            raise TurnOverError(f"seed = {self.seed}: must be at least 0 and less than 2^63")

    @property
    def _threshold(self) -> int:
        return round(self.p * (1 << PLANES))

    def own(self, ids: Tensor, units: int, layer: int) -> Tensor:
        """Compute own masks.  # bool [batch, units]"""
        return self._choose(ids, units, layer, (True, False, torch.bool))

    def multiplier(
        self, ids: Tensor, units: int, layer: int, *, flipped: bool, dtype: torch.dtype, out: Tensor | None = None
    ) -> Tensor:
        """Compute the multipliers of activations: 1/p on own units, or 1/(1-p) on flipped ones, and 0 elsewhere.

        p is the exact keep probability, so that the mean multiplier is 1. Written to `out`, a contiguous tensor of
        that shape and dtype, if there is one.  # [batch, units]
        """
        scale = self.scale(units, flipped=flipped)
        if self.balance == "bernoulli" and _has_kernel(ids, dtype):
            from turnover.core.masks_triton import fill  # Triton comes with PyTorch for GPUs alone

            out = torch.empty(len(ids), units, dtype=dtype, device=ids.device) if out is None else out
            own, other = (0.0, scale) if flipped else (scale, 0.0)
            zeros = self._zeros
            digits = (self._threshold >> zeros, PLANES - zeros)
            return fill(out, self._mask_ids(ids).contiguous(), _key(self.seed, layer), digits, own, other)
        return self._choose(ids, units, layer, (scale, flipped, dtype), out)

    def scale(self, units: int, *, flipped: bool) -> float:
        """Return 1/p for own units, 1/(1-p) for flipped ones."""
        keep = self.keep(units)
        return 1 / (1 - keep if flipped else keep)

    def keep(self, units: int) -> float:
        """Return the share of a layer's units that an example trains; its exact mean over examples."""
        return self._threshold / (1 << PLANES) if self.balance == "bernoulli" else self._kept(units) / units

    def _choose(
        self, ids: Tensor, units: int, layer: int, values: tuple[float, bool, torch.dtype], out: Tensor | None = None
    ) -> Tensor:
        known = _is_plain(ids) and _get_current_dispatch_mode() is None  # which may make it of fake tensors
        table = (_known_table if known else _table)(*values, ids.device)
        rows = _mix(self._mask_ids(ids).long() * _signed(_GAMMA) + _key(self.seed, layer))  # [batch]
        if self.balance == "exact":
            result = torch.where(self._lowest(rows, units), table[-1, 0], table[0, 0])
        elif torch.compiler.is_compiling():  # which fuses single bits with what they multiply, but not a table
            words = self._words(rows, -(-units // 64))[:, :, None]
            bits = (~words if values[1] else words) >> torch.arange(64, device=ids.device) & 1
            result = bits.flatten(1)[:, :units].to(values[2]) * values[0]
        elif out is not None and units % 64 == 0:
            return _unpack(self._words(rows, units // 64), table, out)
        else:
            result = _unpack(self._words(rows, -(-units // 64)), table)[:, :units]
        return result if out is None else out.copy_(result)

    def _mask_ids(self, ids: Tensor) -> Tensor:
        """Return the numbers that masks are made from: ids, or the groups that they fall into.  # [batch]"""
        if self.groups is None:
            return ids
        hashes = _mix(ids.long() * _signed(_GAMMA) + _key(self.seed, _GROUPS))
        return _shift_right(hashes, 1, hashes) % self.groups

    @property
    def _zeros(self) -> int:
        """Return how many binary digits p has after its last 1; they decide nothing."""
        return (self._threshold & -self._threshold).bit_length() - 1

    def _words(self, rows: Tensor, count: int) -> Tensor:
        """Compute masks packed into words: bit i of word j is unit 64 j + i.  # int64 [batch, count]"""
        positions = torch.arange(count, device=rows.device)
        words = torch.zeros((), dtype=torch.int64, device=rows.device)
        # u < p, decided from the last binary digit of p to the first; a sum would be multiplied out by compilers
        for plane in range(PLANES - 1 - self._zeros, -1, -1):
            bits = _mix(rows[:, None] + (positions | plane << 32) * _signed(_GAMMA))
            digit = self._threshold >> (PLANES - 1 - plane) & 1
            words = bits | words if digit else bits & words
        return words

    def _kept(self, units: int) -> int:
        if units < 2:
            raise TurnOverError(f"balance='exact' needs at least 2 units in every masked layer, found one with {units}")
        return min(max(round(self.p * units), 1), units - 1)

    def _lowest(self, rows: Tensor, units: int) -> Tensor:
        """Return True for the round(p units) units of lowest hash in each row, where hashes are all different."""
        hashes = _mix(rows[:, None] + torch.arange(units, device=rows.device) * _signed(_GAMMA))
        return hashes <= hashes.kthvalue(self._kept(units), dim=1, keepdim=True).values


def check_ids(ids: Tensor | None) -> Tensor:
    """Return `ids` if they can be example ids, unsigned ones as int64; else raise a TurnOverError."""
    if not isinstance(ids, Tensor):
        raise TurnOverError(
            f"ids must be a tensor of integers, the permanent id of each example, got {type(ids).__name__}: give "
            "positions in torch.arange(n) for n examples, or torch.as_tensor(ids), or of names "
            "turnover.core.names.numbers(ids)"
        )
    if ids.dtype == torch.bool or ids.is_floating_point() or ids.is_complex():
        raise TurnOverError(
            f"ids must have an integer dtype, got {ids.dtype}, which cannot hold every id exactly: make them "
            "integers from the start, as torch.arange(n) is for n examples"
        )
    if ids.dim() != 1:
        raise TurnOverError(f"ids must have one dimension, [batch], got shape {tuple(ids.shape)}: give ids.ravel()")
    if unsigned := ids.dtype in _UNSIGNED:  # for which PyTorch has next to no arithmetic
        ids = ids.long()  # 2^63 and more become negative
    message = "ids must not be negative, or 2^63 and more: each is an example's permanent index, as in torch.arange(n)"
    if ids.device.type == "cpu":
        if len(ids) and int(ids.min()) < 0:
            raise TurnOverError(f"{message}; got {int(ids.min()) + (unsigned << 64)}")
    else:
        torch._assert_async((ids >= 0).all(), message)  # checked without a wait
    return ids


def _table(scale: float, flipped: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the values of eight units for each byte of a mask, from its lowest bit on: `scale` or 0.  # [256, 8]"""
    bits = torch.arange(2, device=device).to(dtype)  # made there: copied numbers would make a GPU wait
    values = (1 - bits if flipped else bits) * scale
    return values[(torch.arange(256, device=device)[:, None] >> torch.arange(8, device=device)) & 1]


_known_table = cache(_table)  # a quarter of the time of a small mask; not in compilers, which trace all that is made


def _unpack(words: Tensor, table: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the value of each bit of the words, in `out` if given.  # [batch, count] -> [batch, 64 count]"""
    # A table of bytes moves 8 times fewer integers than shifting out single bits.
    octets = words.view(torch.uint8)  # lowest byte first on every machine and GPU that PyTorch is built for, bar one:
    if sys.byteorder == "big":
        octets = octets.view(-1, 8).flip(1)
    index = octets.reshape(-1).int()
    return torch.index_select(table, 0, index, out=None if out is None else out.view(-1, 8)).reshape(len(words), -1)


def _has_kernel(ids: Tensor, dtype: torch.dtype) -> bool:
    """Return True if a Triton kernel makes the masks: on a GPU, outside of compilers and fake devices."""
    return ids.is_cuda and dtype.itemsize <= 4 and _is_plain(ids) and _has_triton()


def _is_plain(ids: Tensor) -> bool:
    """Return True outside of compilers, fake devices and transforms of functions."""
    eager = type(ids) is Tensor and not torch.compiler.is_compiling()
    return eager and not torch._C._functorch.is_functorch_wrapped_tensor(ids)


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None  # a search of the whole path, needed for every mask


def _mix(x: Tensor) -> Tensor:
    """Apply SplitMix64's finaliser, a bijection of 64-bit integers: every output bit depends on every input bit.

    In place: the two buffers it needs stay in a CPU's cache.
    """
    shifted = torch.empty_like(x)
    for bits, factor in ((30, _M1), (27, _M2)):
        x.bitwise_xor_(_shift_right(x, bits, shifted)).mul_(_signed(factor))
    return x.bitwise_xor_(_shift_right(x, 31, shifted))


def _shift_right(x: Tensor, bits: int, out: Tensor) -> Tensor:
    # int64 shifts copy the sign; the words here have none
    return torch.bitwise_right_shift(x, bits, out=out).bitwise_and_(_WORD >> bits)


def _key(seed: int, layer: int) -> int:
    """Return a 64-bit number for (seed, layer), in plain integers so that it costs nothing on the device."""
    x = (seed * _GAMMA + 1) & _WORD
    for step in (0, (layer + 2) * _GAMMA):
        x = (x + step) & _WORD
        x = ((x ^ x >> 30) * _M1) & _WORD
        x = ((x ^ x >> 27) * _M2) & _WORD
        x ^= x >> 31
    return _signed(x)


def _signed(x: int) -> int:
    return x - (1 << 64) if x >> 63 else x
