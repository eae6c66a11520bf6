"""Names and sizes of the datasets, of images and of text, against which configs are checked before data are read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetInfo:
    """Names and sizes of one dataset."""

    title: str
    train: int
    test: int
    shape: tuple[int, int, int]  # channels, height, width
    class_names: tuple[str, ...]

    @property
    def classes(self) -> int:
        return len(self.class_names)


_DIGITS = tuple("0123456789")

DATASETS: dict[str, DatasetInfo] = {
    "mnist": DatasetInfo("MNIST", 60_000, 10_000, (1, 28, 28), _DIGITS),
    "fashion_mnist": DatasetInfo(
        "Fashion-MNIST",
        60_000,
        10_000,
        (1, 28, 28),
        ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ),
    "cifar10": DatasetInfo(
        "CIFAR-10",
        50_000,
        10_000,
        (3, 32, 32),
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    # the 1,797 images that come with scikit-learn; in their published order, the first 1,500 train
    "digits": DatasetInfo("digits", 1_500, 297, (1, 8, 8), _DIGITS),
}


@dataclass(frozen=True)
class TextInfo:
    """Name and sizes of one data set of text, in distinct texts."""

    title: str
    train: int
    test: int  # held out


TEXTS: dict[str, dict[str, TextInfo]] = {  # by `dataset.near_duplicates`
    "sotu": {
        "keep": TextInfo("State of the Union", 64_894, 5_000),
        "drop": TextInfo("State of the Union", 64_593, 5_000),
    },
    "spdx": {
        "keep": TextInfo("SPDX licences", 6_000, 672),
        "drop": TextInfo("SPDX licences", 4_062, 672),
    },
}
