"""Inputs of a network: a tensor, or a tuple or dict of arguments; or a data set that is read batch by batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader, default_collate

from turnover.errors import RefusedInput

Batch = Tensor | tuple[Tensor, ...] | dict[str, Tensor]  # of one pass, every tensor [batch, ...]


def run(model: nn.Module, x: Batch) -> Tensor:
    """Run a network and return its outputs, or their `.logits`: a dict gives keyword arguments, a tuple the others."""
    output = model(**x) if isinstance(x, dict) else model(*x) if isinstance(x, tuple) else model(x)
    logits: Tensor = getattr(output, "logits", output)  # as networks of Hugging Face give them
    return logits


def first(x: Batch) -> Tensor:
    """Return the first tensor, for the number of examples and the device."""
    tensor: Tensor = x if isinstance(x, Tensor) else tree_leaves(x)[0]
    return tensor


def take(x: Any, index: Any) -> Any:
    """Return the inputs at some positions; of a `Stream` another one, of which nothing is read.  # index: [batch]"""
    if isinstance(x, Stream):
        return x.select(index)
    return x[index] if isinstance(x, Tensor) else tree_map(lambda tensor: tensor[index], x)


@dataclass(frozen=True)
class Stream:
    """Inputs of a data set that is never held as a whole; its items are the same whenever they are read."""

    dataset: Any  # items (x, y) or (x, y, id), or dicts of arguments with "labels" and perhaps "id"
    positions: Tensor  # of its items, in their order  # int64 [n], on the CPU
    device: torch.device  # of inputs
    dtype: torch.dtype  # of inputs that are floats
    collate: Callable[[list[Any]], Any] = default_collate  # items -> a batch of each of their parts
    workers: int = 0  # processes that read it
    labels: Tensor | None = None  # of all its items as they were first read, on the CPU  # [items, ...]

    def __len__(self) -> int:
        return len(self.positions)

    def select(self, index: Tensor) -> "Stream":
        """Return the items at these positions."""
        return replace(self, positions=self.positions[index.to(self.positions.device)])

    def batches(self, splits: Sequence[Tensor]) -> Iterator[Batch]:
        """Yield the inputs at these positions.

        Raises:
            RefusedInput: an item has another label than before.
        """
        for index, (x, y, *_) in zip(splits, self.items(splits), strict=True):
            if self.labels is not None:
                before = self.labels[self.positions[index.to(self.positions.device)]]
                if not torch.as_tensor(y).cpu().to(before.dtype).equal(before):
                    raise RefusedInput("items of the data set have other labels than before: it must not be shuffled")
            yield x

    def items(self, splits: Sequence[Tensor]) -> Iterator[tuple[Any, ...]]:
        """Yield inputs on the device, then the other parts of the items at these positions."""
        loader = DataLoader(
            self.dataset,
            batch_sampler=(self.positions[index.to(self.positions.device)].tolist() for index in splits),
            collate_fn=self.collate,
            num_workers=self.workers if len(splits) > 1 else 0,
            generator=torch.Generator(),
        )
        batches, gpu = iter(loader), [self.device] if self.device.type == "cuda" else []
        for _ in splits:
            with torch.random.fork_rng(gpu):  # PyTorch's generators go on as if nothing were read
                x, *rest = parts(next(batches)) or ()
            yield tree_map(self._placed, x), *rest

    def _placed(self, tensor: Any) -> Any:
        if not isinstance(tensor, Tensor):
            return tensor
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else None)


def parts(batch: Any) -> tuple[Any, ...] | None:
    """Return inputs, labels and perhaps ids of a collated batch; None: it has no such parts."""
    if isinstance(batch, Mapping):
        x = dict(batch)
        rest = [x.pop(name) for name in ("labels", "id") if name in x]
        return (x, *rest) if "labels" in batch and x else None
    if not isinstance(batch, list | tuple) or len(batch) not in (2, 3):
        return None
    x, *rest = batch
    if isinstance(x, Mapping):
        return dict(x), *rest
    return (x if isinstance(x, Tensor) else tuple(x)), *rest
