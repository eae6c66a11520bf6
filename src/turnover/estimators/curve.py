"""Learning curve of the networks that give scores, for the attributes of a score table."""

from torch import Tensor

from turnover.core.losses import Loss
from turnover.training.loop import Epoch, Observer


class Curve(Observer):
    """Mean loss, and accuracy where the loss tells it, of each epoch; each example just before it is learnt from."""

    def __init__(self, loss: Loss) -> None:
        self._of = {"loss": list[list[Tensor]]()} | ({"accuracy": list[list[Tensor]]()} if loss.tells_right else {})

    def epoch_end(self, epoch: Epoch) -> None:
        for name, values in (("loss", epoch.losses), ("accuracy", epoch.correct)):
            if name in self._of:
                self._of[name] += [[]] if epoch.number == 1 else []  # of another network
                self._of[name][-1].append(values.double().mean())

    def mean(self) -> dict[str, list[float]]:
        """Return means over the networks, a number for each epoch."""
        return {
            name: [float(sum(epoch) / len(epoch)) for epoch in zip(*networks, strict=True)]
            for name, networks in self._of.items()
        }
