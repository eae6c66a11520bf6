"""Convolutional networks: a small one, and VGG-11 without batch normalisation (Simonyan and Zisserman, 2015, A)."""

from collections import OrderedDict
from typing import Literal

from torch import nn

from turnover.errors import RefusedInput


def conv(channels: int, classes: int, *, width: int = 32, side: int = 32, dropout: float = 0.0) -> nn.Sequential:
    """Build three blocks of 3 x 3 convolution (stride 2) and ReLU, with `width`, twice and four times as many maps.

    Then one linear layer; PyTorch's default initialisation. With width 32 on images of 3 x 32 x 32: 113,738 parameters.
    Small enough to be trained hundreds of times on a CPU: a step takes a quarter of the time that max-pools in place
    of the stride would need.

    Args:
        side: height and width of the images, in pixels.
        dropout: ordinary dropout of what the linear layer reads.
    """
    blocks: list[tuple[str, nn.Module]] = []
    before = channels
    for number in range(3):
        after = width << number
        layers = [("conv", nn.Conv2d(before, after, 3, stride=2, padding=1)), ("relu", nn.ReLU())]
        blocks.append((f"block{number + 1}", nn.Sequential(OrderedDict(layers))))
        before, side = after, (side + 1) // 2
    head = nn.Linear(before * side**2, classes)
    return nn.Sequential(OrderedDict([*blocks, *_flat(dropout), ("logits", head)]))


def _flat(dropout: float) -> list[tuple[str, nn.Module]]:
    """Return the layers between the last block and the linear layer."""
    return [("flatten", nn.Flatten()), *([("dropout", nn.Dropout(dropout))] if dropout else [])]


_BLOCKS = ((1,), (2,), (4, 4), (8, 8), (8, 8))  # feature maps of each convolution, in multiples of the width


def vgg11(
    channels: int, classes: int, *, width: int = 64, bias: bool = True, side: int = 32, dropout: float = 0.0
) -> nn.Sequential:
    """Build five blocks of 3 x 3 convolutions with ReLU, each ended by a 2 x 2 max-pool, then one linear layer.

    The paper's network on CIFAR-10 (appendix A) is `vgg11(3, 10)`: 8 convolutions, 9.2256 million parameters, the form
    with 512 -> 10 as its only linear layer. `block5` is the last convolutional block.

    Convolutions are drawn from N(0, 2 / fan_out), the linear layer from N(0, 2 / fan_in), biases are 0 (He et al.,
    2015): gradients keep their size on the way down through all eight layers, so the network trains without batch
    normalisation. PyTorch's default shrinks the second moment of activations to a sixth in every layer and stays at
    chance for many epochs. With fan_in everywhere activations keep theirs, but under turn-over dropout, which doubles
    it in every layer (a half is kept, scaled by 2), the first steps at the paper's rate destroy the network.

    Args:
        width: feature maps of the first convolution.
        bias: whether convolutions have biases.
        side: height and width of the images, in pixels.
        dropout: ordinary dropout of what the linear layer reads.

    Raises:
        RefusedInput: the images are too small for five max-pools.
    """
    if side < 32:
        raise RefusedInput(
            f"model = vgg11: images of {side} x {side} pixels are too small, at least 32 x 32 are needed"
        )
    blocks: list[tuple[str, nn.Module]] = []
    before = channels
    for number, multiples in enumerate(_BLOCKS, start=1):
        layers: list[tuple[str, nn.Module]] = []
        for index, multiple in enumerate(multiples, start=1):
            convolution = nn.Conv2d(before, multiple * width, kernel_size=3, padding=1, bias=bias)
            layers += [(f"conv{index}", convolution), (f"relu{index}", nn.ReLU())]
            before = multiple * width
        blocks.append((f"block{number}", nn.Sequential(OrderedDict([*layers, ("pool", nn.MaxPool2d(2))]))))
    head = nn.Linear(before * (side // 32) ** 2, classes)
    network = nn.Sequential(OrderedDict([*blocks, *_flat(dropout), ("logits", head)]))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            keep: Literal["fan_in", "fan_out"] = "fan_out" if isinstance(module, nn.Conv2d) else "fan_in"
            nn.init.kaiming_normal_(module.weight, mode=keep, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
