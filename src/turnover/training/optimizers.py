"""Optimizers by their config."""

import torch
from torch import nn

from turnover.config.options import OptimizerConfig


def build(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Stochastic gradient descent over all trainable parameters; the loop sets the rate of each epoch."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.SGD(parameters, config.lr, config.momentum, weight_decay=config.weight_decay)
