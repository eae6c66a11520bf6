"""A data set with a permanent id for every example: whole tensors on one device, or read batch by batch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from turnover.core.inputs import Stream, first, take
from turnover.core.losses import CLASSES, Loss
from turnover.core.masks import check_ids
from turnover.errors import RefusedInput


def unchanged(inputs: Any) -> Any:
    """Return inputs that are ready for the network, as they are."""
    return inputs


@dataclass(frozen=True)
class Examples:
    """Inputs, labels and ids; a batch is taken by an index tensor, so no worker process is needed."""

    inputs: Any  # [n, ...] as stored, for example uint8; or a tuple or dict of such tensors, or a `Stream`
    labels: Tensor  # class numbers int64 [n], or targets as their loss takes them  # [n, ...]
    ids: Tensor  # int64 [n]
    prepare: Callable[[Any], Any] = unchanged  # stored inputs of a batch -> inputs of the network
    loss: Loss = CLASSES  # what outputs cost under a label
    names: np.ndarray | None = None  # texts that the ids were made of  # [n]
    repeats: Tensor | None = None  # how often each is trained on in an epoch; None: once  # int64 [n]

    def __post_init__(self) -> None:
        n = len(self)
        if n == 0:
            raise RefusedInput("the data set is empty: at least one example is needed")
        classes = self.loss is CLASSES
        if self.labels.shape[: None if classes else 1] != (n,) or self.ids.shape != (n,):
            raise RefusedInput(
                f"inputs, labels and ids must be of one length: got {n} inputs, "
                f"labels of shape {tuple(self.labels.shape)}, ids of shape {tuple(self.ids.shape)}"
            )
        if classes and self.labels.dtype != torch.int64:
            raise RefusedInput(f"labels must be class numbers of dtype int64, got {self.labels.dtype}")
        check_ids(self.ids)

    def __len__(self) -> int:
        return len(self.inputs if isinstance(self.inputs, Stream) else first(self.inputs))

    @property
    def device(self) -> torch.device:
        return self.ids.device

    @property
    def index(self) -> np.ndarray:
        """Names of the examples if they have any, else ids, for tables.  # [n]"""
        return self.ids.long().cpu().numpy() if self.names is None else self.names

    def batch(self, index: Tensor) -> tuple[Any, Tensor, Tensor]:
        """Return prepared inputs, labels and ids at these positions.  # index: int64 [batch], on the same device"""
        [batch] = self.batches([index])
        return batch

    def batches(self, splits: Sequence[Tensor]) -> Iterator[tuple[Any, Tensor, Tensor]]:
        """Yield prepared inputs, labels and ids at the positions of each batch."""
        streamed = isinstance(self.inputs, Stream)
        stored = self.inputs.batches(splits) if streamed else (take(self.inputs, index) for index in splits)
        for index, inputs in zip(splits, stored, strict=True):
            yield self.prepare(inputs), self.labels[index], self.ids[index]

    def select(self, index: Tensor) -> "Examples":
        """Return the examples at these positions, with their ids."""
        names = None if self.names is None else self.names[index.cpu().numpy()]
        repeats = None if self.repeats is None else self.repeats[index]
        parts = {"inputs": take(self.inputs, index), "labels": self.labels[index], "ids": self.ids[index]}
        return replace(self, **parts, names=names, repeats=repeats)


def put(values: list[Tensor], of_batch: Sequence[Tensor], start: int, total: int) -> int:
    """Copy what was measured of a batch to its place in `values`; return where it ends.

    The first batch makes room for all: small tensors of each, between large ones that go, would break memory up.
    """
    values += [tensor.new_empty(total, *tensor.shape[1:]) for tensor in of_batch[len(values) :]]
    end = start + len(of_batch[0])
    for value, tensor in zip(values, of_batch, strict=True):
        value[start:end] = tensor
    return end
