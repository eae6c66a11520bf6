"""Which class networks would rather give an example, over all of their training."""

import torch
from torch import Tensor

from turnover.core.examples import Examples
from turnover.training.loop import Observer


class Predictions(Observer):
    """Observes every update, of one or more trainings, and adds up the probabilities given to each example.

    They are those of the pass that trains, from before the update. So a wrong label shows as long as it is not learnt
    by heart: the mean over epochs still names the other class when the last epoch no longer does.
    """

    def __init__(self, examples: Examples) -> None:
        self._examples = examples
        self._sums: Tensor | None = None  # float32 [n, classes]; made when the first logits tell how many there are
        self._counts = torch.zeros(len(examples), device=examples.device)

    def update(self, logits: Tensor, labels: Tensor, index: Tensor) -> None:
        """Add the probabilities of a mini-batch."""
        if self._sums is None:
            self._sums = torch.zeros(len(self._examples), logits.shape[1], device=logits.device)
        self._sums[index] += logits.detach().float().softmax(1)  # no example comes twice in a batch
        self._counts[index] += 1

    def most_probable(self) -> tuple[Tensor, Tensor]:
        """The class with the highest mean probability of each example, and that mean.  # int64 [n], float32 [n]"""
        assert self._sums is not None, "asked before any update"
        probability, prediction = (self._sums / self._counts[:, None]).max(1)
        return prediction, probability
