"""Factored gradients made of others: convolutions, in groups or not, and parameters that are used repeatedly."""

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
        """The same as a linear layer of patches, in groups if there are any."""
        a = F.unfold(self.input, self.shape[2:], self.dilation, self.padding, self.stride).mT  # [batch, places, in]
        d = self.d.flatten(2).mT  # [batch, places, out]
        shape = torch.Size([self.shape[0] // self.groups, *self.shape[1:]])
        pairs = zip(a.chunk(self.groups, 2), d.chunk(self.groups, 2), strict=True)
        parts = [Outer(a, d, shape) for a, d in pairs]
        return parts[0] if self.groups == 1 else Blocks(parts, self.shape)

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
    """The gradients of a parameter that was used in several ways, such as an embedding that is an output layer too."""

    parts: Sequence[Factor]
    shape: torch.Size

    def __len__(self) -> int:
        return len(self.parts[0])

    def squared_norms(self) -> Tensor:
        built = (self.build(some) for some in slices(len(self), self.shape.numel()))
        return torch.cat([each.square().sum(dim=1) for each in built])

    def gram(self) -> Tensor:
        return gram_of_built(self, self.shape.numel())

    def dot(self, direction: Tensor) -> Tensor:
        return torch.stack([part.dot(direction) for part in self.parts]).sum(dim=0)

    def total(self, weights: Tensor) -> Tensor:
        return torch.stack([part.total(weights).reshape(self.shape) for part in self.parts]).sum(dim=0)

    def build(self, examples: slice) -> Tensor:
        return torch.stack([part.build(examples) for part in self.parts]).sum(dim=0)


@dataclass(frozen=True)
class Blocks(Factor):
    """A parameter whose first dimension falls into parts that are used apart: a convolution in groups."""

    parts: Sequence[Factor]
    shape: torch.Size

    def __len__(self) -> int:
        return len(self.parts[0])

    def squared_norms(self) -> Tensor:
        return torch.stack([part.squared_norms() for part in self.parts]).sum(dim=0)

    def gram(self) -> Tensor:
        return torch.stack([part.gram() for part in self.parts]).sum(dim=0)

    def dot(self, direction: Tensor) -> Tensor:
        pieces = zip(self.parts, direction.chunk(len(self.parts)), strict=True)
        return torch.stack([part.dot(piece) for part, piece in pieces]).sum(dim=0)

    def total(self, weights: Tensor) -> Tensor:
        return torch.cat([part.total(weights) for part in self.parts]).reshape(self.shape)

    def build(self, examples: slice) -> Tensor:
        return torch.cat([part.build(examples) for part in self.parts], dim=1)


def merge(parts: Sequence[Factor], shape: torch.Size) -> Factor:
    """One factor for all uses of a parameter in a forward pass: their gradients add up, example by example."""
    if len(parts) == 1:
        return parts[0]
    parts = [part.patches if isinstance(part, Convolution) else part for part in parts]
    if all(isinstance(part, Outer) for part in parts):
        outer = [part for part in parts if isinstance(part, Outer)]
        return Outer(torch.cat([p.a for p in outer], dim=1), torch.cat([p.d for p in outer], dim=1), shape)
    if all(isinstance(part, Rows) for part in parts):
        return Rows(torch.stack([part.rows for part in parts if isinstance(part, Rows)]).sum(dim=0))
    if all(isinstance(part, Lookup) for part in parts):
        lookup = [part for part in parts if isinstance(part, Lookup)]
        return Lookup(torch.cat([p.index for p in lookup], dim=1), torch.cat([p.d for p in lookup], dim=1), shape)
    return Sum(tuple(parts), shape)
