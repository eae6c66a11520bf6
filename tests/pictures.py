"""Small image files for the tests of the audit."""

from pathlib import Path

import numpy as np
from PIL import Image

GREY = np.arange(2 * 5 * 4, dtype=np.uint8).reshape(2, 5, 4) * 6


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    """Write an image, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)  # type: ignore[arg-type]
    return path


def two_classes(folder: Path, count: int = 5) -> Path:
    """Write so many different grey images of 5 x 4 pixels into each of cat/ and dog/."""
    for number in range(count):
        for shift, label in enumerate(("cat", "dog")):
            save(folder / label / f"{number}.png", (GREY[0] + 2 * number + shift).astype(np.uint8))
    return folder
