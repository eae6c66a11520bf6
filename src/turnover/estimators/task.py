"""What an estimator works with, whoever brings it: examples, a network, and how more of such networks are made."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from turnover.core.examples import Examples
from turnover.training.accuracy import Name


@dataclass(frozen=True)
class Task:
    """Data and networks of a run from a config, or of a user's own, all on one device."""

    train: Examples  # what is trained on and scored
    wrong: Tensor  # whether a label is known to be wrong; of own data none is  # bool [examples]
    groups: dict[Name, Examples]  # what is evaluated besides; ("test", "all"), if it is there, by every network
    model: nn.Module  # with the initial weights of the run's seed
    make_model: Callable[[int], nn.Module]  # seed -> another one with that seed's initial weights, turn-over off
