"""`tracking=gradients`: observed updates of a run, and gradients of sets measured after an epoch."""

import torch
from torch import Tensor

from turnover.config.options import GradientTracking
from turnover.config.run import RunConfig
from turnover.core.dropout import is_attached
from turnover.core.evaluation import all_units, own_units
from turnover.gradients import backpack
from turnover.gradients.per_example import Backend, Gradients, gradients
from turnover.gradients.sets import set_gradients
from turnover.runs.build import RunTask
from turnover.training.accuracy import Name
from turnover.training.updates import Updates

_BACKENDS: dict[str, Backend] = {"exact": gradients, "backpack": backpack.gradients}


def updates(task: RunTask, config: RunConfig) -> Updates | None:
    """Return an observer of updates, for all training examples and every trained subset; None if not tracked."""
    tracking = config.tracking
    if not isinstance(tracking, GradientTracking):
        return None
    n = len(task.train)
    groups = {"all": torch.ones(n, dtype=torch.bool, device=task.train.device)}
    for name, positions in task.trained_subsets.items():
        groups[name] = torch.zeros_like(groups["all"]).index_fill_(0, positions, True)

    def watched(epoch: int) -> bool:
        return epoch in (1, config.epochs) or epoch % tracking.every == 0

    def recompute(epoch: int, index: Tensor) -> Gradients:
        x, y, ids = task.train.batch(index)
        masked = is_attached(task.model) and epoch > config.plain_epochs
        subnetwork = own_units if masked else all_units
        with torch.random.fork_rng():  # what the network draws itself is not taken from the update
            return backpack.gradients(task.model, x, y, subnetwork(ids), precision=config.settled)

    return Updates(task.model, groups, watched, recompute if tracking.backend == "backpack" else None)


def sets(task: RunTask, config: RunConfig) -> dict[Name, dict[str, float]]:
    """Return mean cosines and contributions of every tracked set of training examples, in the network as it is now.

    With turn-over dropout, gradients are those of own sub-networks. In float32 whatever the training.
    """
    tracking = config.tracking
    if not isinstance(tracking, GradientTracking):
        return {}
    by_set = {
        name: set_gradients(
            task.model,
            examples,
            own_units if is_attached(task.model) else all_units,
            layers=tracking.layers,
            backend=_BACKENDS[tracking.backend],
        )
        for name, examples in task.groups.items()
        if name[0] == "train" and len(examples) > 1
    }
    update = by_set["train", "all"].mean()
    results: dict[Name, dict[str, float]] = {}
    for name, of_set in by_set.items():
        values = {"set_cosine": of_set.cosine(), "set_contribution": of_set.contribution(update)}
        values |= {f"set_cosine/{parameter}": value for parameter, value in of_set.layer_cosines().items()}
        results[name] = {key: float(value) for key, value in values.items()}
    return results
