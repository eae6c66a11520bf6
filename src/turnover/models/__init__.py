"""Networks built from their configs."""

import torch
from torch import nn

from turnover.config.options import ConvConfig, CvTConfig, GPTConfig, MLPConfig, VGG11Config
from turnover.models.conv import conv, vgg11
from turnover.models.cvt import cvt
from turnover.models.gpt import GPT
from turnover.models.mlp import mlp

__all__ = ["build"]


def build(
    config: MLPConfig | VGG11Config | CvTConfig | ConvConfig | GPTConfig, shape: tuple[int, ...], classes: int
) -> nn.Module:
    """Build a network for images of `shape` (channels, height, width); weights come from PyTorch's global generator.

    A language model is for sequences of up to `shape` (tokens,), and `classes` is its vocabulary.

    Raises:
        RefusedInput: the images do not suit the network.
    """
    if isinstance(config, GPTConfig):
        return GPT(classes, *shape, **config.model_dump(exclude={"name"}))
    channels, height, width = shape
    match config:
        case MLPConfig(hidden=hidden):
            return mlp(channels * height * width, hidden, classes, dropout=config.dropout)
        case VGG11Config():
            options = config.model_dump(exclude={"name", "channels_last"})
            network: nn.Module = vgg11(channels, classes, side=height, **options)
        case ConvConfig(width=width):
            network = conv(channels, classes, width=width, side=height, dropout=config.dropout)
        case CvTConfig():
            network = cvt((channels, height, width), classes, **config.model_dump(exclude={"name", "channels_last"}))
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    return network.to(memory_format=layout)
