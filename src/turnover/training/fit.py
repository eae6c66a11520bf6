"""Training by a config: its optimizer, the learning rate of each epoch, and the loop with all of its settings."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from turnover.config.options import (
    ConstantSchedule,
    CosineSchedule,
    LinearSchedule,
    MultistepSchedule,
    OptimizerConfig,
)
from turnover.config.run import Training
from turnover.core.examples import Examples
from turnover.data.augmentation import augmented
from turnover.training.loop import Epoch, Observer, Partial, train


def fit(
    config: Training,
    model: nn.Module,
    examples: Examples,
    *,
    seed: int | None = None,
    epochs: int | None = None,
    optimizer: torch.optim.Optimizer | None = None,
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
        on_step: called with 1 after every step.
        first_epoch, partial, observers, stop: as in `training.loop.train`, as are the errors.
    """
    last = config.epochs if epochs is None else epochs
    return train(
        model,
        augmented(examples, config.augmentation),
        build_optimizer(config.optimizer, model) if optimizer is None else optimizer,
        lambda epoch: learning_rate(config.schedule, config.optimizer.lr, epoch, last),
        epochs=last,
        batch_size=config.batch_size,
        seed=config.seed if seed is None else seed,
        first_epoch=first_epoch,
        partial=partial,
        plain_epochs=config.plain_epochs,
        precision=config.settled,
        on_step=lambda: on_step(1),
        observers=observers,
        stop=stop,
    )


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Return SGD over all trainable parameters; the loop sets the rate of each epoch."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.SGD(parameters, config.lr, config.momentum, weight_decay=config.weight_decay)


def learning_rate(
    schedule: ConstantSchedule | MultistepSchedule | CosineSchedule | LinearSchedule,
    lr: float,
    epoch: int,
    epochs: int,
) -> float:
    """Return the rate of `epoch`, counted from 1, in a run of `epochs`.

    constant: lr. multistep: lr gammaᵏ, with k the number of milestones that lie before this epoch.
    cosine: lr (1 + cos(π (epoch - 1) / epochs)) / 2 (Loshchilov and Hutter, 2017, without restarts).
    linear: lr (1 - (epoch - 1) / epochs).
    """
    match schedule:
        case ConstantSchedule():
            return lr
        case MultistepSchedule(milestones=milestones, gamma=gamma):
            return lr * gamma ** sum(milestone < epoch for milestone in milestones)
        case CosineSchedule():
            return lr * (1 + math.cos(math.pi * (epoch - 1) / epochs)) / 2
        case LinearSchedule():
            return lr * (1 - (epoch - 1) / epochs)
