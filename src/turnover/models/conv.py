"""A small convolutional network: three convolutions, one linear layer."""

from collections import OrderedDict

from torch import nn

from turnover.errors import RefusedInput


def conv(channels: int, classes: int, *, width: int = 16, side: int = 32) -> nn.Sequential:
    """Three blocks of a 3 x 3 convolution, ReLU and a 2 x 2 max-pool, with `width`, twice and four times as many maps.

    Then one linear layer; PyTorch's default initialisation. With width 16 on images of 3 x 32 x 32: 33,834 parameters.
    Small enough to be trained hundreds of times on a CPU.

    Args:
        side: height and width of the images, in pixels.

    Raises:
        RefusedInput: the images are too small for three max-pools.
    """
    if side < 8:
        raise RefusedInput(f"model = conv: images of {side} x {side} pixels are too small, at least 8 x 8 are needed")
    blocks: list[tuple[str, nn.Module]] = []
    before = channels
    for number in range(3):
        after = width << number
        layers = [("conv", nn.Conv2d(before, after, 3, padding=1)), ("relu", nn.ReLU()), ("pool", nn.MaxPool2d(2))]
        blocks.append((f"block{number + 1}", nn.Sequential(OrderedDict(layers))))
        before = after
    head = nn.Linear(before * (side // 8) ** 2, classes)
    return nn.Sequential(OrderedDict([*blocks, ("flatten", nn.Flatten()), ("logits", head)]))
