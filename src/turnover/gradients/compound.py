"""Factored gradients composed of others: convolutions, with groups or not, and parameters that are used repeatedly."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_weight

from turnover.gradients import factors
from turnover.gradients.factors import Factor, Lookup, Outer, Rows, gram_of_built, slices


@dataclass(frozen=True)
class Convolution(Factor):
    """A 2-d convolution: sums and projections by convolutions, inner products by patches of the input."""

    input: Tensor  # [batch, in, height, width]
    d: Tensor  # gradients of the outputs  # [batch, out, height, width]
    shape: torch.Size  # [out, in / groups, height, width]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def __len__(self) -> int:
        return len(self.input)

    @cached_property
    def patches(self) -> Factor:
        """Return the same gradients as those of a linear layer of patches, by groups if there are any."""
        a = F.unfold(self.input, self.shape[2:], self.dilation, self.padding, self.stride).mT  # [batch, positions, in]
        d = self.d.flatten(2).mT  # [batch, positions, out]
        shape = torch.Size([self.shape[0] // self.groups, *self.shape[1:]])
        pairs = zip(a.chunk(self.groups, 2), d.chunk(self.groups, 2), strict=True)
        blocks = [Outer(a, d, shape) for a, d in pairs]
        return blocks[0] if self.groups == 1 else Blocks(blocks, self.shape)

    def squared_norms(self) -> Tensor:
        numbers = self.input[0].numel() * self.shape[2:].numel()  # about those of an example's patches
        blocks = slices(len(self), numbers, factors.CACHED)
        some = (replace(self, input=self.input[block], d=self.d[block]) for block in blocks)
        return torch.cat([convolution.patches.squared_norms() for convolution in some])

    def gram(self) -> Tensor:
        return self.patches.gram()

    def dot(self, direction: Tensor) -> Tensor:
        outputs = F.conv2d(
            self.input, direction.to(self.input.dtype), None, self.stride, self.padding, self.dilation, self.groups
        )
        return (outputs * self.d).sum(dim=(1, 2, 3))

    def total(self, weights: Tensor) -> Tensor:
        weighted = self.d * weights.to(self.d.dtype)[:, None, None, None]
        return conv2d_weight(self.input, self.shape, weighted, self.stride, self.padding, self.dilation, self.groups)

    def build(self, examples: slice) -> Tensor:
        return self.patches.build(examples)


@dataclass(frozen=True)
class Sum(Factor):
    """The gradients of a parameter with several uses, such as an embedding that is an output layer too."""

    terms: Sequence[Factor]
    shape: torch.Size

    def __len__(self) -> int:
        return len(self.terms[0])

    def squared_norms(self) -> Tensor:
        match self.terms:
            case Outer() as outer, Lookup() as lookup:  # ‖u + v‖² = ‖u‖² + ‖v‖² + 2 u · v
                return outer.squared_norms() + lookup.squared_norms() + 2 * _products(outer, lookup)
        built = (self.build(block) for block in slices(len(self), self.shape.numel()))
        return torch.cat([rows.square().sum(dim=1) for rows in built])

    def gram(self) -> Tensor:
        return gram_of_built(self, self.shape.numel())

    def dot(self, direction: Tensor) -> Tensor:
        return torch.stack([term.dot(direction) for term in self.terms]).sum(dim=0)

    def total(self, weights: Tensor) -> Tensor:
        return torch.stack([term.total(weights).reshape(self.shape) for term in self.terms]).sum(dim=0)

    def build(self, examples: slice) -> Tensor:
        return torch.stack([term.build(examples) for term in self.terms]).sum(dim=0)


@dataclass(frozen=True)
class Blocks(Factor):
    """The gradients of a parameter in blocks along its first dimension: a convolution in groups."""

    blocks: Sequence[Factor]
    shape: torch.Size

    def __len__(self) -> int:
        return len(self.blocks[0])

    def squared_norms(self) -> Tensor:
        return torch.stack([block.squared_norms() for block in self.blocks]).sum(dim=0)

    def gram(self) -> Tensor:
        return torch.stack([block.gram() for block in self.blocks]).sum(dim=0)

    def dot(self, direction: Tensor) -> Tensor:
        pieces = zip(self.blocks, direction.chunk(len(self.blocks)), strict=True)
        return torch.stack([block.dot(piece) for block, piece in pieces]).sum(dim=0)

    def total(self, weights: Tensor) -> Tensor:
        return torch.cat([block.total(weights) for block in self.blocks]).reshape(self.shape)

    def build(self, examples: slice) -> Tensor:
        return torch.cat([block.build(examples) for block in self.blocks], dim=1)


def merge(factors: Sequence[Factor], shape: torch.Size) -> Factor:
    """Merge the factors of all uses of a parameter in a forward pass into one: the sum, example by example."""
    if len(factors) == 1:
        return factors[0]
    factors = [factor.patches if isinstance(factor, Convolution) else factor for factor in factors]
    kinds: list[Factor] = []
    if outer := [factor for factor in factors if isinstance(factor, Outer)]:
        kinds.append(Outer(torch.cat([p.a for p in outer], dim=1), torch.cat([p.d for p in outer], dim=1), shape))
    if lookup := [factor for factor in factors if isinstance(factor, Lookup)]:
        index, d = torch.cat([p.index for p in lookup], dim=1), torch.cat([p.d for p in lookup], dim=1)
        kinds.append(Lookup(index, d, shape))
    if rows := [factor for factor in factors if isinstance(factor, Rows)]:
        kinds.append(Rows(torch.stack([p.rows for p in rows]).sum(dim=0)))
    kinds += [factor for factor in factors if not isinstance(factor, Outer | Lookup | Rows)]
    return kinds[0] if len(kinds) == 1 else Sum(tuple(kinds), shape)


def _products(outer: Outer, lookup: Lookup) -> Tensor:
    """Compute G_i · L_i of a linear layer and a table that are one parameter.  # [batch]

    (Σ_s d_s a_sᵀ) · L = Σ_st d_s[index_t] (a_s · e_t), where L has e_t in its row index_t.
    """
    positions = lookup.index[:, None, :].expand(-1, outer.d.shape[1], -1)  # [batch, s, t]
    return (outer.d.gather(2, positions) * (outer.a @ lookup.d.mT)).sum(dim=(1, 2))
