"""Per-example gradients of one parameter in factored form: norms, inner products and sums without building them.

Every layer's gradient for example i is a sum over the positions t where the layer was applied to it (pixels, tokens, or
just one), of cheap terms: for a linear layer G_i = Σ_t d_it a_itᵀ, with inputs a and output gradients d. Inner
products of such sums cost either positions² or one built gradient an example; the shapes decide which is cheaper.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

BUILT = 1 << 26  # numbers of per-example gradients that are built at once: 256 MB in float32
CACHED = 1 << 18  # the same where nothing but their squares is asked for: 1 MB, which stays in a processor's caches


class Factor(ABC):
    """The gradients v_i of one parameter (or of a part of it) for a batch of examples."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of examples."""

    @abstractmethod
    def squared_norms(self) -> Tensor:
        """Compute ‖v_i‖².  # [batch]"""

    @abstractmethod
    def gram(self) -> Tensor:
        """Compute v_i · v_j.  # [batch, batch]"""

    @abstractmethod
    def dot(self, direction: Tensor) -> Tensor:
        """Compute v_i · direction, a tensor of the parameter's shape.  # [batch]"""

    @abstractmethod
    def total(self, weights: Tensor) -> Tensor:
        """Compute Σ_i weights_i v_i, of the parameter's shape.  # weights: [batch]"""

    @abstractmethod
    def build(self, examples: slice) -> Tensor:
        """Build the gradients of some examples, flat.  # [examples, numbers]"""


@dataclass(frozen=True)
class Rows(Factor):
    """Gradients that are small enough to be held: biases, norm layers, whatever is added or multiplied."""

    rows: Tensor  # [batch, *shape]

    def __len__(self) -> int:
        return len(self.rows)

    def squared_norms(self) -> Tensor:
        return self._flat.square().sum(dim=1)

    def gram(self) -> Tensor:
        flat = self._flat
        return flat @ flat.T

    def dot(self, direction: Tensor) -> Tensor:
        return self._flat @ direction.to(self.rows.dtype).flatten()

    def total(self, weights: Tensor) -> Tensor:
        return torch.tensordot(weights.to(self.rows.dtype), self.rows, dims=1)

    def build(self, examples: slice) -> Tensor:
        return self._flat[examples]

    @property
    def _flat(self) -> Tensor:
        return self.rows.reshape(len(self.rows), -1)


@dataclass(frozen=True)
class Outer(Factor):
    """G_i = Σ_t d_it a_itᵀ: weights of linear layers, and of convolutions in their patches."""

    a: Tensor  # inputs  # [batch, positions, in]
    d: Tensor  # gradients of the outputs  # [batch, positions, out]
    shape: torch.Size  # of the parameter, out * in numbers

    def __len__(self) -> int:
        return len(self.a)

    def squared_norms(self) -> Tensor:
        (_, positions, into), out = self.a.shape, self.d.shape[2]
        if positions == 1:
            return self.a[:, 0].square().sum(dim=1) * self.d[:, 0].square().sum(dim=1)
        if positions * (into + out) <= into * out:  # (d_is · d_it) (a_is · a_it), summed over s and t
            chunks = [((a @ a.mT) * (d @ d.mT)).sum(dim=(1, 2)) for a, d in self._chunks(2 * positions**2)]
        else:
            chunks = [(d.mT @ a).square().sum(dim=(1, 2)) for a, d in self._chunks(into * out)]
        return torch.cat(chunks)

    def gram(self) -> Tensor:
        (batch, positions, into), out = self.a.shape, self.d.shape[2]
        by_positions = batch * positions**2 * (into + out)  # multiplications an example
        by_building = (positions + batch) * into * out
        if by_building < by_positions:
            return gram_of_built(self, into * out)
        flat_a, flat_d = self.a.flatten(0, 1), self.d.flatten(0, 1)  # [batch * positions, ...]
        rows = max(1, BUILT // (positions * batch * positions)) * positions
        chunks = [
            ((a @ flat_a.T) * (d @ flat_d.T))
            .unflatten(0, (-1, positions))
            .unflatten(2, (-1, positions))
            .sum(dim=(1, 3))
            for a, d in zip(flat_a.split(rows), flat_d.split(rows), strict=True)
        ]
        return torch.cat(chunks)

    def dot(self, direction: Tensor) -> Tensor:
        matrix = direction.to(self.a.dtype).reshape(self.d.shape[2], self.a.shape[2])
        return ((self.a @ matrix.T) * self.d).sum(dim=(1, 2))

    def total(self, weights: Tensor) -> Tensor:
        weighted = self.d * weights.to(self.d.dtype)[:, None, None]
        return (weighted.flatten(0, 1).T @ self.a.flatten(0, 1)).reshape(self.shape)

    def build(self, examples: slice) -> Tensor:
        return (self.d[examples].mT @ self.a[examples]).flatten(1)

    def _chunks(self, numbers: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Return blocks of inputs and output gradients that are built at once, at `numbers` an example."""
        size = max(1, min(BUILT, CACHED) // numbers)
        return zip(self.a.split(size), self.d.split(size), strict=True)


@dataclass(frozen=True)
class Lookup(Factor):
    """Rows of a table: G_i has Σ_t d_it [index_it = k] in its row k."""

    index: Tensor  # int64 [batch, positions]
    d: Tensor  # gradients of the outputs  # [batch, positions, width]
    shape: torch.Size  # [rows, width]

    def __len__(self) -> int:
        return len(self.index)

    def squared_norms(self) -> Tensor:
        same = (self.index[:, :, None] == self.index[:, None, :]).to(self.d.dtype)  # [batch, positions, positions]
        return (same * (self.d @ self.d.mT)).sum(dim=(1, 2))

    def gram(self) -> Tensor:
        batch, positions = self.index.shape
        flat, d = self.index.flatten(), self.d.flatten(0, 1)
        rows = max(1, BUILT // (positions * batch * positions)) * positions
        chunks = [
            ((some_d @ d.T) * (some[:, None] == flat))
            .unflatten(0, (-1, positions))
            .unflatten(2, (-1, positions))
            .sum((1, 3))
            for some, some_d in zip(flat.split(rows), d.split(rows), strict=True)
        ]
        return torch.cat(chunks)

    def dot(self, direction: Tensor) -> Tensor:
        return (direction.to(self.d.dtype)[self.index] * self.d).sum(dim=(1, 2))

    def total(self, weights: Tensor) -> Tensor:
        weighted = (self.d * weights.to(self.d.dtype)[:, None, None]).flatten(0, 1)
        return self.d.new_zeros(self.shape).index_add_(0, self.index.flatten(), weighted)

    def build(self, examples: slice) -> Tensor:
        index, d = self.index[examples], self.d[examples]
        table = d.new_zeros(len(d), *self.shape)
        return table.scatter_add_(1, index[:, :, None].expand_as(d), d).flatten(1)


def wide(x: Tensor) -> Tensor:
    """Return x in float32 if its floats have fewer bits."""
    return x.float() if x.is_floating_point() and x.dtype.itemsize < 4 else x


def slices(batch: int, numbers: int, most: int | None = None) -> list[slice]:
    """Return blocks of examples, of at most so many numbers at `numbers` an example; None: `BUILT`."""
    size = max(1, (most or BUILT) // numbers)
    return [slice(start, min(start + size, batch)) for start in range(0, batch, size)]


def gram_of_built(factor: Factor, numbers: int) -> Tensor:
    """Compute inner products of built gradients, by blocks of examples of which two are held at a time."""
    fits = len(factor) * numbers <= BUILT
    blocks = slices(len(factor), numbers if fits else 2 * numbers)
    products: list[list[Tensor]] = [[] for _ in blocks]
    for i, some in enumerate(blocks):
        left = factor.build(some)
        for j in range(i):
            products[i].append(products[j][i].T)
        products[i].append(left @ left.T)
        products[i] += [left @ factor.build(block).T for block in blocks[i + 1 :]]
    return torch.cat([torch.cat(row, dim=1) for row in products])
