"""An observer of the contribution of every example to the updates of an epoch, on the mini-batches of the training."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn

from turnover.gradients.capture import Capture
from turnover.gradients.per_example import Gradients, finish
from turnover.gradients.updates import batch_contributions, cosines
from turnover.training.loop import Observer


class Updates(Observer):
    """Measures the updates of some epochs of `training.loop.train`, for any groups of the training examples.

    Args:
        model: the network that is trained.
        groups: for each name, whether every training example belongs to it.  # bool [examples]
        watched: number of an epoch, from 1 -> whether its updates are measured.
        recompute: (epoch, positions of a mini-batch) -> its gradients by another backend, in a pass of their own; None:
            those of the training pass.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: Mapping[str, Tensor],
        watched: Callable[[int], bool],
        recompute: Callable[[int, Tensor], Gradients] | None = None,
    ) -> None:
        self.model = model
        self.groups = groups
        self.watched = watched
        self.recompute = recompute
        self._epoch = 0
        self._checked: set[int] = set()  # sizes of mini-batches
        self._loose: set[str] = set()
        self._seen: Capture | None = None
        self._sums: dict[str, dict[str, Tensor]] = {}  # stay on the device until `means`

    @contextmanager
    def forward(self, epoch: int, batch: int) -> Iterator[None]:
        """Capture the forward pass of an update inside the context."""
        self._epoch = epoch
        self._seen = Capture(self.model, batch) if self.recompute is None and self.watched(epoch) else None
        with self._seen or nullcontext():
            yield

    def update(self, logits: Tensor, labels: Tensor, index: Tensor) -> None:
        """Measure a mini-batch between its forward and its backward pass, which stays possible.

        Args:
            logits: of the mini-batch  # [batch, classes]
            labels: int64 [batch]
            index: positions of its examples in the training set  # int64 [batch]
        """
        if self._seen is not None:
            check = len(index) not in self._checked
            self._checked.add(len(index))
            gradients = finish(self.model, self._seen, logits, labels, check=check, loose=self._loose)
            self.add(gradients.gram(), index)
        elif self.recompute is not None and self.watched(self._epoch):
            self.add(self.recompute(self._epoch, index).gram(), index)
        self._seen = None

    def add(self, gram: Tensor, index: Tensor) -> None:
        """Add the mini-batch with these inner products to the sums."""
        gram = gram.double()
        with_self, without_self = batch_contributions(gram)
        cosine = cosines(gram).fill_diagonal_(0)
        norms = gram.diagonal().clamp_min(0).sqrt()
        for name, members in self.groups.items():
            inside = members[index].double()  # 1 or 0  # [batch]
            count = inside.sum()
            sums = {
                "examples": count,
                "pairs": count * (count - 1),
                "contribution": inside @ with_self,
                "others_contribution": inside @ without_self,
                "gradient_norm": inside @ norms,
                "batch_cosine": inside @ cosine @ inside,
            }
            totals = self._sums.setdefault(name, {})
            for key, value in sums.items():
                totals[key] = totals[key] + value if key in totals else value

    def state_dict(self) -> dict[str, Any]:
        """Return the sums over the mini-batches since the last `means`."""
        return {"sums": {name: dict(sums) for name, sums in self._sums.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore such a state."""
        self._sums = {name: dict(sums) for name, sums in state["sums"].items()}

    def means(self) -> dict[str, dict[str, float]]:
        """Return the metrics of `tables.METRICS` by group, over all updates since the last call.

        Metrics without examples (or without pairs in one mini-batch) are left out.
        """
        means: dict[str, dict[str, float]] = {}
        for name, sums in self._sums.items():
            values = {key: float(value) for key, value in sums.items()}
            examples, pairs = values.pop("examples"), values.pop("pairs")
            counts = {key: pairs if key == "batch_cosine" else examples for key in values}
            means[name] = {key: value / counts[key] for key, value in values.items() if counts[key]}
        self._sums = {}
        return means
