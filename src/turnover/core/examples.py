"""A data set as whole tensors on one device, with a permanent id for every example."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from turnover.core.losses import CLASSES, Loss
from turnover.core.masks import check_ids
from turnover.errors import RefusedInput


def unchanged(inputs: Tensor) -> Tensor:
    """Return inputs that are ready for the network, as they are."""
    return inputs


@dataclass(frozen=True)
class Examples:
    """Inputs, labels and ids; a batch is taken by an index tensor, so no worker process is needed."""

    inputs: Tensor  # [n, ...] as stored, for example uint8
    labels: Tensor  # class numbers int64 [n], or targets as their loss takes them  # [n, ...]
    ids: Tensor  # int64 [n]
    prepare: Callable[[Tensor], Tensor] = unchanged  # stored inputs of a batch -> inputs of the network
    loss: Loss = CLASSES  # what outputs cost under a label

    def __post_init__(self) -> None:
        n = len(self.inputs)
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
        return len(self.inputs)

    @property
    def device(self) -> torch.device:
        return self.inputs.device

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return prepared inputs, labels and ids at these positions.  # index: int64 [batch], on the same device"""
        return self.prepare(self.inputs[index]), self.labels[index], self.ids[index]

    def select(self, index: Tensor) -> "Examples":
        """Return the examples at these positions, with their ids."""
        return replace(self, inputs=self.inputs[index], labels=self.labels[index], ids=self.ids[index])

    def on_constant_inputs(self) -> "Examples":
        """Return the same labels and ids, with inputs that are all 1, so that examples differ by their masks alone."""
        blank = torch.ones_like(self.prepare(self.inputs[:1]))  # expanded, so that it takes the memory of one
        return replace(self, inputs=blank.expand(len(self), *blank.shape[1:]), prepare=unchanged)
