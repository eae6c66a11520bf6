"""Training examples that are repeated, made up, noisy or marked with a trigger, and classes of unequal sizes."""

import numpy as np
import torch
from torch import Tensor

from turnover.common.seeding import numpy_generator
from turnover.config.options import CorruptionConfig
from turnover.data.corruption import corrupt
from turnover.errors import RefusedInput

TARGET = 0  # class of the images that bear a trigger


def altered(
    images: Tensor, labels: Tensor, classes: int, config: CorruptionConfig, brightest: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return new images, new labels, which labels were replaced (bool [n]), and the size of each (float64 [n]).

    The size is that of `config.sizes` for a chosen example, 0 for the others. With one seed, a smaller count chooses
    the first of those that a larger one chooses, with the same sizes, labels and noise.

    Args:
        images: uint8  # [n, channels, height, width]
        labels: int64  # [n]
        brightest: value of the brightest pixel.
    """
    new_labels, corrupted = corrupt(labels, classes, config.count, config.seed, "symmetric")
    allowed = labels != TARGET if config.kind == "trigger" else torch.ones_like(corrupted)
    order = torch.from_numpy(numpy_generator(config.seed, "corruption").permutation(len(labels)))  # as in corrupt
    chosen = order[allowed[order]][: config.count]
    if len(chosen) < config.count:
        raise RefusedInput(f"corruption.count = {config.count}: only {len(chosen)} images are of another class")
    size = torch.zeros(len(labels), dtype=torch.float64)
    size[chosen] = torch.tensor(config.sizes, dtype=torch.float64).repeat(len(chosen))[: len(chosen)]
    drawn = numpy_generator(config.seed, "pixels")
    match config.kind:
        case "canaries":
            made_up = torch.from_numpy(drawn.integers(brightest + 1, size=images.shape, dtype=np.uint8))
            return torch.where(corrupted[:, None, None, None], made_up, images), new_labels, corrupted, size
        case "input_noise":
            noise = torch.from_numpy(drawn.standard_normal(images.shape, dtype=np.float32))
            noisy = images + noise * brightest * size.float()[:, None, None, None]
            return noisy.round().clamp(0, brightest).to(torch.uint8), labels, torch.zeros_like(corrupted), size
        case "trigger":
            bears = size > 0
            return marked(images, size, brightest), labels.where(~bears, TARGET), bears, size
        case _:
            return images, new_labels, corrupted, size


def marked(images: Tensor, size: Tensor, brightest: int) -> Tensor:
    """Return images with a bright square of so many pixels a side in the lower right corner.

    # uint8 [n, channels, height, width], [n] -> [n, channels, height, width]
    """
    from_end = [torch.arange(length, 0, -1, device=images.device) for length in images.shape[2:]]
    inside = torch.maximum(from_end[0][:, None], from_end[1])  # [height, width]
    return torch.where(inside <= size[:, None, None, None], brightest, images).to(torch.uint8)


def repeats(config: CorruptionConfig, size: Tensor) -> Tensor | None:
    """Return how often an epoch trains on each example; None: once.  # float64 [n] -> int64 [n]"""
    return size.clamp(min=1).long() if config.kind in ("copies", "canaries") else None


def long_tailed(labels: Tensor, total: int, ratio: float, seed: int) -> tuple[Tensor, Tensor]:
    """Choose examples so that each class is rarer than the one before by one factor, the last one `ratio` times.

    With one seed, the examples of a class are the first of one random order.

    Args:
        labels: int64  # [n]
        total: of examples to choose.

    Returns:
        Positions, sorted, and for each the number of chosen examples of its class.  # int64 [total], float64 [total]

    Raises:
        RefusedInput: a class has too few examples.
    """
    classes = int(labels.max()) + 1
    shares = ratio ** (-np.arange(classes) / (classes - 1))
    exact = total * shares / shares.sum()
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: total - counts.sum()]] += 1  # the largest remainders
    there = np.bincount(labels.cpu().numpy(), minlength=classes)
    if (counts > there).any():
        worst = int(np.argmax(counts - there))
        raise RefusedInput(
            f"corruption.kind = 'imbalance': {counts[worst]} examples of class {worst} are needed, there are "
            f"{there[worst]}; set a smaller dataset.limit"
        )
    order = torch.from_numpy(numpy_generator(seed, "limit").permutation(len(labels)))
    chosen = torch.cat([order[labels[order] == label][:count] for label, count in enumerate(counts)]).sort().values
    return chosen, torch.from_numpy(counts)[labels[chosen]].double()
