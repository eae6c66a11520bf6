"""What is known of each dataset before any of its bytes are read; the config is checked against it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetFacts:
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

FACTS: dict[str, DatasetFacts] = {
    "mnist": DatasetFacts("MNIST", 60_000, 10_000, (1, 28, 28), _DIGITS),
    "fashion_mnist": DatasetFacts(
        "Fashion-MNIST",
        60_000,
        10_000,
        (1, 28, 28),
        ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ),
    "cifar10": DatasetFacts(
        "CIFAR-10",
        50_000,
        10_000,
        (3, 32, 32),
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    # the 1,797 images that come with scikit-learn; in their published order, the first 1,500 train
    "digits": DatasetFacts("digits", 1_500, 297, (1, 8, 8), _DIGITS),
}
