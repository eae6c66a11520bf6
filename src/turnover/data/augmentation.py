"""Random crops and horizontal flips of images, drawn anew in every epoch."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from turnover.config.options import CropAugmentation, NoAugmentation
from turnover.core.examples import Examples


def augmented(examples: Examples, config: NoAugmentation | CropAugmentation) -> Examples:
    """Return the examples with images augmented whenever a batch is prepared; for training only."""
    if isinstance(config, NoAugmentation):
        return examples
    return replace(examples, prepare=lambda images: examples.prepare(crop(images, config.pad, flip=config.flip)))


def crop(images: Tensor, pad: int, *, flip: bool) -> Tensor:
    """Move every image by up to `pad` pixels each way, filled with black; mirror half of them if `flip`.

    Draws from PyTorch's global generator of the images' device.  # [batch, channels, height, width], any dtype
    """
    batch, channels, height, width = images.shape
    padded = F.pad(images, (pad, pad, pad, pad))
    down, right = (torch.randint(2 * pad + 1, (batch, 1), device=images.device) for _ in range(2))
    rows = down + torch.arange(height, device=images.device)  # [batch, height]
    columns = right + torch.arange(width, device=images.device)  # [batch, width]
    if flip:
        mirrored = torch.rand((batch, 1), device=images.device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    moved = padded.gather(2, rows[:, None, :, None].expand(-1, channels, -1, padded.shape[3]))
    return moved.gather(3, columns[:, None, None, :].expand(-1, channels, height, -1))
