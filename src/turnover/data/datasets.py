"""Datasets as whole tensors on one device; every example keeps its permanent id."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from turnover.common.seeding import numpy_generator
from turnover.config.datasets import DATASETS
from turnover.config.options import CorruptionConfig, DatasetConfig
from turnover.config.text_options import TextConfig
from turnover.data.altered import altered, long_tailed
from turnover.data.corruption import corrupt
from turnover.data.fetch import data_root, ensure
from turnover.data.label_files import relabelled
from turnover.errors import RefusedInput


@dataclass(frozen=True)
class Split:
    """The examples of one split, in the order of their ids."""

    images: Tensor  # uint8 [n, channels, height, width]
    labels: Tensor  # int64 [n], what the model is trained on
    true_labels: Tensor  # int64 [n]
    corrupted: Tensor  # bool [n], the label was replaced, possibly by itself
    size: Tensor  # float64 [n], of what `corruption.sizes` does to the example; 0: nothing
    # int64 [n], position in the data set, test examples after all training examples; survives subsetting, shuffling and
    # corruption
    ids: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> Self:
        """Return the examples on another device."""
        return replace(self, **{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def select(self, index: Tensor) -> Self:
        """Return the examples at these positions (int64 [k], on any device), with their ids."""
        index = index.to(self.ids.device)
        return replace(self, **{field.name: getattr(self, field.name)[index] for field in fields(self)})

    def followed_by(self, other: Self) -> Self:
        """Return these examples followed by those of another split."""
        both = {field.name: [getattr(self, field.name), getattr(other, field.name)] for field in fields(self)}
        return replace(self, **{name: torch.cat(tensors) for name, tensors in both.items()})


@dataclass(frozen=True)
class Dataset:
    """Both splits, and the normalisation that turns pixels into a model's inputs."""

    name: str
    train: Split
    test: Split
    scale: Tensor  # float32 [channels, 1, 1]
    shift: Tensor  # float32 [channels, 1, 1]
    brightest: int  # value of a pixel

    def inputs(self, images: Tensor) -> Tensor:
        """Return pixels (uint8 [b, channels, height, width]) as float32 of the same shape: pixel * scale + shift."""
        # In place: on a CPU, one addcmul takes ten times as long, and so does a product of integers and floats.
        return images.to(torch.float32, copy=True).mul_(self.scale).add_(self.shift)

    def to(self, device: torch.device | str) -> Self:
        """Return the dataset on another device."""
        return replace(
            self,
            train=self.train.to(device),
            test=self.test.to(device),
            scale=self.scale.to(device),
            shift=self.shift.to(device),
        )


def load(
    config: DatasetConfig | TextConfig, corruption: CorruptionConfig, device: torch.device | str = "cpu"
) -> Dataset:
    """Load the images of a config on `device`; its files are fetched first if they are missing.

    In this order: normalisation constants of the full training split, the class-balanced subsets of `config.limit`
    training and `config.test_limit` test examples, corruption of training labels and images or labels of a file, and
    with `config.include_test` the test examples behind the training examples. RunFailed if the files cannot be had,
    RefusedInput for a limit or a count that is too large, or what is wrong in a file of labels.
    """
    assert isinstance(config, DatasetConfig), "texts are loaded by turnover.data.text"
    # of a whole data set nothing is kept, as what is returned would be what is kept
    read = _whole if config.limit is not None and config.test_limit is not None else _whole.__wrapped__
    train, test, full_scale, scale, shift = read(config.name, config.normalization, data_root())
    if corruption.kind == "imbalance":
        assert config.limit is not None
        [ratio] = corruption.sizes
        chosen, size = long_tailed(train.labels, config.limit, ratio, config.seed)
        train = replace(train.select(chosen), size=size)
    elif config.limit is not None:
        train = train.select(torch.from_numpy(balanced_subset(train.labels, config.limit, config.seed)))
    if config.test_limit is not None:
        test = test.select(torch.from_numpy(balanced_subset(test.labels, config.test_limit, config.seed, "test limit")))
    classes, labels, corrupted = DATASETS[config.name].classes, train.labels, train.corrupted
    match corruption.kind:
        case "file":
            assert corruption.path is not None
            labels = relabelled(Path(corruption.path), train.labels, train.ids, DATASETS[config.name].train, classes)
            corrupted = labels != train.labels
        case "random" | "symmetric" | "pair" as kind:
            labels, corrupted = corrupt(train.labels, classes, corruption.count, corruption.seed, kind)
        case "copies" | "canaries" | "trigger" | "input_noise":
            images, labels, corrupted, size = altered(train.images, train.labels, classes, corruption, full_scale)
            train = replace(train, images=images, size=size)
    train = replace(train, labels=labels, corrupted=corrupted)
    if config.include_test:
        train = train.followed_by(test)
    return Dataset(config.name, train, test, scale, shift, full_scale).to(device)


def balanced_subset(labels: Tensor | np.ndarray, size: int, seed: int, purpose: str = "limit") -> np.ndarray:
    """Return sorted positions (int64 [size]) of a random subset with equal counts of every class, as far as they last.

    A class with too few examples gives all of them and the others share the rest; what cannot be shared equally goes
    to classes in random order. With one seed and purpose, a smaller choice is part of a larger one. RefusedInput if
    `size` is not between 0 and the number of labels.
    """
    labels = labels.cpu().numpy() if isinstance(labels, Tensor) else labels
    n = len(labels)
    if not 0 <= size <= n:
        raise RefusedInput(f"a subset of {size} examples: must be from 0 to {n}, the number of examples")
    generator = numpy_generator(seed, purpose)
    order = generator.permutation(n)
    _, kind, counts = np.unique(labels[order], return_inverse=True, return_counts=True)
    turn = generator.permutation(len(counts))[kind]
    # Every class sends its examples one a round; the first `size` to come are the choice.
    by_class = np.argsort(kind, kind="stable")
    rounds = np.empty(n, dtype=np.int64)
    rounds[by_class] = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[np.lexsort((turn, rounds))[:size]])


@lru_cache(maxsize=2)  # runs of a sweep that share a process read, check and average their files once
def _whole(name: str, normalization: str, root: Path) -> tuple[Split, Split, int, Tensor, Tensor]:
    """Return both splits as published, the largest pixel value, and the normalisation; nobody writes into them."""
    train, test, full_scale = _READERS[name]()
    test = replace(test, ids=test.ids + len(train))
    return train, test, full_scale, *_normalisation(train.images, normalization, full_scale)


def _normalisation(images: Tensor, kind: str, full_scale: int) -> tuple[Tensor, Tensor]:
    """Return scale and shift (float32 [channels, 1, 1] each) to mean 0 and variance 1 a channel, or to [0, 1]."""
    channels = images.shape[1]
    if kind == "unit":
        return torch.full((channels, 1, 1), 1 / full_scale), torch.zeros(channels, 1, 1)
    # From counts of the 256 pixel values: exact, and no float copy of the images.
    counts = torch.stack([torch.bincount(images[:, c].reshape(-1), minlength=256) for c in range(channels)]).double()
    values = torch.arange(256, dtype=torch.float64)
    share = counts / counts.sum(1, keepdim=True)
    mean = share @ values
    std = (share @ values.square() - mean.square()).sqrt()
    return (1 / std).float().view(-1, 1, 1), (-mean / std).float().view(-1, 1, 1)


def _clean(images: Tensor, labels: Tensor) -> Split:
    corrupted, size = torch.zeros(len(labels), dtype=torch.bool), torch.zeros(len(labels), dtype=torch.float64)
    return Split(images, labels, labels, corrupted, size, torch.arange(len(labels)))


def _idx(name: str) -> tuple[Split, Split, int]:
    files = ensure(name)
    train, test = (
        # After a header of 16 and 8 bytes: the sizes, which the checksum has already fixed.
        _clean(
            torch.from_numpy(files[f"{prefix}-images-idx3-ubyte"][16:]).view(-1, *DATASETS[name].shape),
            torch.from_numpy(files[f"{prefix}-labels-idx1-ubyte"][8:]).long(),
        )
        for prefix in ("train", "t10k")
    )
    return train, test, 255


def _cifar10() -> tuple[Split, Split, int]:
    files = ensure("cifar10")

    def read(*names: str) -> Split:
        # A record is a label byte and 3,072 pixel bytes: red, green, blue, each row by row.
        records = [torch.from_numpy(files[f"{name}.bin"]).view(-1, 3073) for name in names]
        images = torch.cat([record[:, 1:] for record in records]).view(-1, 3, 32, 32)
        return _clean(images, torch.cat([record[:, 0] for record in records]).long())

    return read(*(f"data_batch_{i}" for i in range(1, 6))), read("test_batch"), 255


def _digits() -> tuple[Split, Split, int]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images.astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(digits.target).long()
    train = DATASETS["digits"].train
    return _clean(images[:train], labels[:train]), _clean(images[train:], labels[train:]), 16


_READERS: dict[str, Callable[[], tuple[Split, Split, int]]] = {  # train, test, the largest pixel value
    "mnist": lambda: _idx("mnist"),
    "fashion_mnist": lambda: _idx("fashion_mnist"),
    "cifar10": _cifar10,
    "digits": _digits,
}
