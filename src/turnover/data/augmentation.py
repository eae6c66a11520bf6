"""Random changes of images, drawn anew in every epoch: crops and flips, or transforms of torchvision."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from turnover.config.training_options import (
    AugmentationConfig,
    CropAugmentation,
    NoAugmentation,
    TorchvisionAugmentation,
    image_transform,
)
from turnover.core.examples import Examples
from turnover.errors import RefusedInput


def augmented(examples: Examples, config: AugmentationConfig) -> Examples:
    """Return the examples with images augmented whenever a batch is prepared; for training only."""
    match config:
        case NoAugmentation():
            return examples
        case CropAugmentation(pad=pad, flip=flip):
            return replace(examples, prepare=lambda images: examples.prepare(crop(images, pad, flip=flip)))
        case TorchvisionAugmentation():
            transform = nn.Sequential(*(image_transform(**fields) for fields in config.transforms))
            return replace(examples, prepare=lambda images: examples.prepare(transformed(images, transform)))


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


def transformed(images: Tensor, transform: nn.Module) -> Tensor:
    """Transform every image by itself, as transforms of torchvision draw their random numbers once for a whole batch.

    Draws from PyTorch's global generators.  # [batch, channels, height, width], any dtype

    Raises:
        RefusedInput: the transform does not suit the images, or changes their size or dtype.
    """
    try:
        results = [transform(image) for image in images]
    except (TypeError, ValueError) as error:
        raise RefusedInput(f"augmentation.transforms: {error}") from None
    for before, after in zip(images, results, strict=True):
        if (after.shape, after.dtype) != (before.shape, before.dtype):
            raise RefusedInput(
                f"augmentation.transforms: an image of {tuple(before.shape)}, {before.dtype}, becomes one of "
                f"{tuple(after.shape)}, {after.dtype}; both must stay as they are"
            )
    return torch.stack(results)
