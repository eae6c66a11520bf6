"""Task, interface and results of an estimator that trains networks of its own.

Estimators that observe one ordinary training (`one_run`) or score its network afterwards (`turnover`) need no
interface: the run trains that network itself, with a checkpoint after every epoch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from turnover.config.run import Training
from turnover.core.examples import Examples
from turnover.training.accuracy import Name
from turnover.training.loop import steps_per_epoch


@dataclass(frozen=True)
class Task:
    """Data and networks of a run from a config, or given by a user, all on one device."""

    train: Examples  # what is trained on and scored
    wrong: Tensor  # whether a label is known to be wrong; of own data none is  # bool [examples]
    groups: dict[Name, Examples]  # what is evaluated besides; ("test", "all"), if it is there, by every network
    model: nn.Module  # with the initial weights of the run's seed
    make_model: Callable[[int], nn.Module]  # seed -> another one with that seed's initial weights, turn-over off


@dataclass(frozen=True)
class Design:
    """Training sets and seeds of the networks of an ensemble."""

    included: Tensor  # bool [networks, examples], on the CPU
    seeds: list[int]  # of initial weights and order of examples, one a network
    fraction: Tensor  # float64 [networks], share of the examples that a network is trained on
    repeats: Tensor | None = None  # how often an epoch trains on each; None: once  # int64 [examples], on the CPU

    def blocks(self, most: int) -> list[list[int]]:
        """Return blocks of networks to be kept together: at most `most`, trained on equally many examples."""
        sizes = self.included.sum(1).tolist()
        runs = (list(run) for _, run in groupby(range(len(sizes)), key=lambda number: sizes[number]))
        return [run[start : start + most] for run in runs for start in range(0, len(run), most)]

    def steps(self, epochs: int, batch_size: int) -> int:
        """Return the steps of all networks together."""
        return epochs * sum(steps_per_epoch(size, batch_size) for size in self.visits.tolist())

    @property
    def visits(self) -> Tensor:
        """How many examples an epoch of each network trains on, repeats counted.  # int64 [networks]"""
        return (self.included if self.repeats is None else self.included * self.repeats).sum(1)


@dataclass(frozen=True)
class Outcomes:
    """Predictions of every network for every example, training examples first, then test examples, if there are."""

    confidence: Tensor  # log odds of the label, else minus the loss; float32, of blocks float64  # [networks, examples]
    right: Tensor  # bool [networks, examples]
    logits: Tensor | None = None  # float32 [networks, training examples, classes], of confident learning
    held_out: Tensor | None = None  # float64 [training examples, classes], mean probabilities by blocks without it


@dataclass(frozen=True)
class Estimates:
    """Estimates of every example, and metrics and cost of the networks."""

    columns: dict[str, Tensor]  # by their names in `config.estimators.ESTIMATES`  # [examples] each
    score: str  # the name of the one that is the score
    metrics: dict[str, dict[str, float]]  # by split, after the last epoch
    examples_trained: int  # over all epochs and networks
    scored: Tensor | None = None  # which examples have a score; None: all  # bool [examples]
    outcomes: tuple[Design, Outcomes] | None = None  # predictions of every network, if they are to be kept


class Estimator(Protocol):
    """Interface of scores from several networks. `config.estimator` has the options."""

    def sizes(self, task: Task, config: Training) -> list[int]:
        """Return the numbers of examples that its networks are trained on."""

    def steps(self, task: Task, config: Training) -> int:
        """Return the steps of all its trainings together."""

    def scores(self, task: Task, config: Training, folder: Path, on_step: Callable[[int], object]) -> Estimates:
        """Train the networks and score every example.

        Args:
            folder: what is finished is kept there, and not done again.
            on_step: called with the number of steps made.

        Raises:
            RunFailed: some examples would have no score; raised before any network is trained.
        """
