"""Training by a config: the loop with all of its settings."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from turnover.config.run import Training
from turnover.core.examples import Examples
from turnover.data.augmentation import augmented
from turnover.training.loop import Epoch, Observer, Partial, steps_per_epoch, train, visits
from turnover.training.methods import build
from turnover.training.methods.method import Method
from turnover.training.optim import build_optimizer, learning_rate


def fit(
    config: Training,
    model: nn.Module,
    examples: Examples,
    *,
    seed: int | None = None,
    epochs: int | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    method: Method | None = None,
    first_epoch: int = 1,
    partial: Partial | None = None,
    on_step: Callable[[int], object] = lambda steps: None,
    observers: Sequence[Observer] = (),
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Epoch]:
    """Train `model` by `config`, yielding after each epoch.

    Args:
        seed, epochs: in place of those of the config, for one of several trainings of a run.
        optimizer: one that has made steps already; None: a new one.
        method: that of the config, if it has been built already; one that trains two networks must be.
        on_step: called with 1 after every step.
        first_epoch, partial, observers, stop: as in `training.loop.train`, as are the errors.
    """
    last = config.epochs if epochs is None else epochs
    steps = steps_per_epoch(visits(examples), config.batch_size)
    return train(
        model,
        augmented(examples, config.augmentation),
        build_optimizer(config.optimizer, model) if optimizer is None else optimizer,
        lambda step: learning_rate(config.schedule, config.optimizer.lr, step, steps, last),
        epochs=last,
        batch_size=config.batch_size,
        seed=config.seed if seed is None else seed,
        method=build(config, model, examples) if method is None else method,
        first_epoch=first_epoch,
        partial=partial,
        plain_epochs=config.plain_epochs,
        precision=config.settled,
        on_step=lambda: on_step(1),
        observers=observers,
        stop=stop,
    )
