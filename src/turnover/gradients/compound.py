"""Factored gradients composed of others: convolutions, with groups or not, and parameters that are used repeatedly."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_weight

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
        return self.patches.squared_norms()

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
    if all(isinstance(factor, Outer) for factor in factors):
        outer = [factor for factor in factors if isinstance(factor, Outer)]
        return Outer(torch.cat([p.a for p in outer], dim=1), torch.cat([p.d for p in outer], dim=1), shape)
    if all(isinstance(factor, Rows) for factor in factors):
        return Rows(torch.stack([factor.rows for factor in factors if isinstance(factor, Rows)]).sum(dim=0))
    if all(isinstance(factor, Lookup) for factor in factors):
        lookup = [factor for factor in factors if isinstance(factor, Lookup)]
        return Lookup(torch.cat([p.index for p in lookup], dim=1), torch.cat([p.d for p in lookup], dim=1), shape)
    return Sum(tuple(factors), shape)
