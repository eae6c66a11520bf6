"""Learning curve of the networks that give scores, for the attributes of a score table."""

from collections.abc import Sequence

from torch import Tensor

from turnover.core.losses import Loss
from turnover.training.loop import Epoch, Observer


class Curve(Observer):
    """Mean loss, and accuracy where the loss tells it, of each epoch; each example just before it is learnt from."""

    def __init__(self, loss: Loss) -> None:
        self._of = {"loss": list[Tensor]()} | ({"accuracy": list[Tensor]()} if loss.tells_right else {})

    def epoch_end(self, epoch: Epoch) -> None:
        for name, values in (("loss", epoch.losses), ("accuracy", epoch.correct)):
            if name in self._of:
                self._of[name].append(values.double().mean())

    def values(self) -> dict[str, list[float]]:
        """Return a number for each epoch."""
        return {name: [float(value) for value in values] for name, values in self._of.items()}


def mean_curve(curves: Sequence[dict[str, list[float]]]) -> dict[str, list[float]]:
    """Return means over networks, a number for each epoch."""
    return {
        name: [sum(epoch) / len(epoch) for epoch in zip(*(curve[name] for curve in curves), strict=True)]
        for name in curves[0]
    }
