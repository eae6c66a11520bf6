"""The interface of an estimator that trains networks of its own, and what it gives.

Estimators that watch one ordinary training (`one_run`) or score its network afterwards (`turnover`) need none: the run
trains that network itself, with a checkpoint after every epoch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from turnover.config.run import Training
from turnover.estimators.networks import Design, Outcomes
from turnover.estimators.task import Task


@dataclass(frozen=True)
class Estimates:
    """What an estimator says of every example, and what that took."""

    columns: dict[str, Tensor]  # by their names in `config.estimators.ESTIMATES`  # [examples] each
    score: str  # the name of the one that is the score
    metrics: dict[str, dict[str, float]]  # by split, after the last epoch
    examples_trained: int  # over all epochs and networks
    scored: Tensor | None = None  # which examples have a score; None: all  # bool [examples]
    outcomes: tuple[Design, Outcomes] | None = None  # what every network says, if it is to be kept


class Estimator(Protocol):
    """Scores from several networks. `config.estimator` holds its options."""

    def sizes(self, task: Task, config: Training) -> list[int]:
        """On how many examples its networks are trained."""

    def steps(self, task: Task, config: Training) -> int:
        """Steps of all its trainings together."""

    def scores(self, task: Task, config: Training, folder: Path, on_step: Callable[[int], object]) -> Estimates:
        """Train the networks and score every example.

        Args:
            folder: what is finished is kept there, and not done again.
            on_step: is told how many steps were made.

        Raises:
            RunFailed: some examples would have no score; raised before any network is trained.
        """
