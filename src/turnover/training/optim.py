"""Optimizers by their config, and the learning rate of each epoch as a plain function of the epoch."""

import math

import torch
from torch import nn

from turnover.config.options import (
    ConstantSchedule,
    CosineSchedule,
    LinearSchedule,
    MultistepSchedule,
    OptimizerConfig,
)


def build(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Stochastic gradient descent over all trainable parameters; the loop sets the rate of each epoch."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.SGD(parameters, config.lr, config.momentum, weight_decay=config.weight_decay)


def learning_rate(
    schedule: ConstantSchedule | MultistepSchedule | CosineSchedule | LinearSchedule,
    lr: float,
    epoch: int,
    epochs: int,
) -> float:
    """The rate of `epoch`, counted from 1, in a run of `epochs`.

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
