"""The networks of the paper, by their config."""

from torch import nn

from turnover.config import ModelConfig
from turnover.models.mlp import mlp

__all__ = ["build"]


def build(config: ModelConfig, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """A network for images of `shape` (channels, height, width); its weights come from PyTorch's global generator."""
    channels, height, width = shape
    return mlp(channels * height * width, config.hidden, classes)
