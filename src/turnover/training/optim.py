"""The optimizer of a config, and the learning rate of each step."""

import math
from typing import Any

import torch
from torch import nn

from turnover.config.training_options import (
    ConstantSchedule,
    CosineSchedule,
    FallingSchedule,
    LinearSchedule,
    MultistepSchedule,
    OptimizerConfig,
    SGDConfig,
)


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Return an optimizer of all trainable parameters; the loop sets its rate before every step."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [{"params": parameters}]
    if config.decay == "weights":
        groups = [
            {"params": [parameter for parameter in parameters if parameter.ndim > 1]},
            {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
        ]
    if isinstance(config, SGDConfig):
        return torch.optim.SGD(groups, config.lr, config.momentum, weight_decay=config.weight_decay)
    first, second = config.betas
    return torch.optim.AdamW(groups, config.lr, (first, second), config.eps, config.weight_decay)


def learning_rate(
    schedule: ConstantSchedule | MultistepSchedule | CosineSchedule | LinearSchedule,
    lr: float,
    step: int,
    steps: int,
    epochs: int,
) -> float:
    """Return the rate of `step`, counted from 0, in a run of `epochs` with so many `steps` each.

    constant: lr. multistep: lr gammaᵏ, with k the number of milestones that lie before the epoch of this step.
    cosine: lr (1 + cos(π done / total)) / 2 (Loshchilov and Hutter, 2017, without restarts).
    linear: lr (1 - done / total). Of these two, done and total are whole epochs; by step, the steps after the warm-up.
    In a warm-up of w steps the rate is (step + 1) / (w + 1) of that.
    """
    done, total = step // steps, epochs
    if isinstance(schedule, FallingSchedule) and schedule.by == "step":
        done, total = max(0, step - schedule.warmup), max(1, epochs * steps - schedule.warmup)
    match schedule:
        case MultistepSchedule(milestones=milestones, gamma=gamma):
            return lr * gamma ** sum(milestone <= done for milestone in milestones)
        case ConstantSchedule():
            rate = lr
        case CosineSchedule():
            rate = lr * (1 + math.cos(math.pi * done / total)) / 2
        case LinearSchedule():
            rate = lr * (1 - done / total)
    return rate * min(1.0, (step + 1) / (schedule.warmup + 1))
