"""What every example adds to the updates of an epoch, measured on the mini-batches that are really trained on.

With the Gram matrix K of a mini-batch's gradients, K_ij = v_i · v_j, its gradient g = (1/B) Σ_j v_j has
v_i · g = (1/B) Σ_j K_ij and ‖g‖² = (1/B²) Σ_ij K_ij, so the contribution v_i · g / ‖g‖ (Liu et al., eq. 4) and all
pairwise cosines (eq. 3) follow from K. An example is part of g itself: K_ii / B of its own v_i · g is the square of its
length, whatever the others do. Without this self-term, the contribution tells how far the others pull its way.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from turnover.gradients.capture import Capture
from turnover.gradients.per_example import Gradients, finish
from turnover.training.loop import Observer


def batch_contributions(gram: Tensor) -> tuple[Tensor, Tensor]:
    """v_i · g / ‖g‖ of every example of a mini-batch, and the same without its self-term; 0 if g is 0.  # [batch] each

    Args:
        gram: v_i · v_j  # [batch, batch]
    """
    products = gram.mean(dim=1)
    norm = gram.mean().clamp_min(0).sqrt()
    inverse = torch.where(norm > 0, 1 / norm.where(norm > 0, 1), 0)
    return products * inverse, (products - gram.diagonal() / len(gram)) * inverse


def cosines(gram: Tensor) -> Tensor:
    """Cosines of all pairs; 0 where a gradient is 0.  # [batch, batch] -> [batch, batch]"""
    norms = gram.diagonal().clamp_min(0).sqrt()
    inverse = torch.where(norms > 0, 1 / norms.where(norms > 0, 1), 0)
    return gram * inverse[:, None] * inverse


class Updates(Observer):
    """Watches the updates of some epochs of `training.loop.train`, for any groups of the training examples.

    Args:
        model: the network that is trained.
        groups: for each name, whether every training example belongs to it.  # bool [examples]
        watched: number of an epoch, from 1 -> whether its updates are measured.
        again: (epoch, positions of a mini-batch) -> its gradients by another backend, in a pass of their own; None: of
            the pass that trains.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: Mapping[str, Tensor],
        watched: Callable[[int], bool],
        again: Callable[[int, Tensor], Gradients] | None = None,
    ) -> None:
        self.model = model
        self.groups = groups
        self.watched = watched
        self.again = again
        self._epoch = 0
        self._checked: set[int] = set()  # sizes of mini-batches
        self._loose: set[str] = set()
        self._seen: Capture | None = None
        self._sums: dict[str, dict[str, Tensor]] = {}  # stay on the device until `means`

    @contextmanager
    def forward(self, epoch: int, batch: int) -> Iterator[None]:
        """Around the forward pass of an update."""
        self._epoch = epoch
        self._seen = Capture(self.model, batch) if self.again is None and self.watched(epoch) else None
        with self._seen or nullcontext():
            yield

    def update(self, logits: Tensor, labels: Tensor, index: Tensor) -> None:
        """After that pass and before its backward pass, which stays possible.

        Args:
            logits: of the mini-batch  # [batch, classes]
            labels: int64 [batch]
            index: which of the training examples it has  # int64 [batch]
        """
        if self._seen is not None:
            check = len(index) not in self._checked
            self._checked.add(len(index))
            found = finish(self.model, self._seen, logits, labels, check=check, loose=self._loose)
            self.add(found.gram(), index)
        elif self.again is not None and self.watched(self._epoch):
            self.add(self.again(self._epoch, index).gram(), index)
        self._seen = None

    def add(self, gram: Tensor, index: Tensor) -> None:
        """Count the mini-batch with these inner products."""
        gram = gram.double()
        with_self, others = batch_contributions(gram)
        alike = cosines(gram).fill_diagonal_(0)
        norms = gram.diagonal().clamp_min(0).sqrt()
        for name, members in self.groups.items():
            inside = members[index].double()  # 1 or 0  # [batch]
            count = inside.sum()
            sums = {
                "examples": count,
                "pairs": count * (count - 1),
                "contribution": inside @ with_self,
                "others_contribution": inside @ others,
                "gradient_norm": inside @ norms,
                "batch_cosine": inside @ alike @ inside,
            }
            known = self._sums.setdefault(name, {})
            for key, value in sums.items():
                known[key] = known[key] + value if key in known else value

    def state_dict(self) -> dict[str, Any]:
        """What the mini-batches since the last `means` add up to."""
        return {"sums": {name: dict(sums) for name, sums in self._sums.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        self._sums = {name: dict(sums) for name, sums in state["sums"].items()}

    def means(self) -> dict[str, dict[str, float]]:
        """For each group the metrics of `tables.METRICS` over all updates since the last call.

        Left out is what has no examples (or no pairs in one mini-batch).
        """
        found: dict[str, dict[str, float]] = {}
        for name, sums in self._sums.items():
            values = {key: float(value) for key, value in sums.items()}
            examples, pairs = values.pop("examples"), values.pop("pairs")
            counts = {key: pairs if key == "batch_cosine" else examples for key in values}
            found[name] = {key: value / counts[key] for key, value in values.items() if counts[key]}
        self._sums = {}
        return found
