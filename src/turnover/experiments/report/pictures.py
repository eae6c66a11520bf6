"""Pictures inside a page: figures without loss in a smaller form, and images of examples on sheets."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import trange

from turnover.config.datasets import FACTS
from turnover.config.options import CorruptionConfig, DatasetConfig
from turnover.data.datasets import load
from turnover.experiments.report.packing import encode

COLUMNS = 32  # of a sheet, which has as many rows
_SHEET = COLUMNS * COLUMNS
_LEVELS = 16  # of grey
_FEWER = {"mnist": 4}  # show a pen's stroke as well as 256 do, in a third of the bytes
_QUALITY = 30  # of coloured images
_UNSEEN = 0.5  # of 255: mean difference of pixels that may be lost


def figure(path: Path) -> str:
    """A png as a WebP, a third as large, in base64; with 256 colours where nobody sees that."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    few = picture.quantize(256, dither=Image.Dither.NONE).convert("RGB")
    difference = np.asarray(picture, dtype=np.float32) - np.asarray(few, dtype=np.float32)
    return encode(_webp(few if np.abs(difference).mean() < _UNSEEN else picture, lossless=True))


def sheets(dataset: str, ids: np.ndarray) -> Iterator[str]:
    """The images with these ids, row by row on sheets of 32 x 32 or fewer, each a WebP in base64."""
    images = _images(dataset, ids)
    _, height, width, channels = images.shape
    for start in trange(0, len(images), _SHEET, desc=f"images of {FACTS[dataset].title}", leave=False):
        part = images[start : start + _SHEET]
        rows = -(-len(part) // COLUMNS)
        places = np.zeros((rows * COLUMNS, height, width, channels), dtype=np.uint8)
        places[: len(part)] = part
        lines = places.reshape(rows, COLUMNS, height, width, channels).swapaxes(1, 2)
        sheet = lines.reshape(rows * height, COLUMNS * width, channels)
        yield encode(_webp(Image.fromarray(sheet.squeeze()), lossless=channels == 1))


def _images(dataset: str, ids: np.ndarray) -> np.ndarray:
    """uint8 [n, height, width, channels]: of a few levels if they are grey, brightest 255."""
    everything = {"limit": None, "test_limit": None, "include_test": True, "normalization": "unit", "seed": 0}
    whole = DatasetConfig.model_validate({"name": dataset, **everything})
    split = load(
        whole, CorruptionConfig(count=0, seed=0, kind="random")
    ).train  # ids are positions: nothing is left out
    images = split.images.permute(0, 2, 3, 1).numpy()[ids]
    if FACTS[dataset].shape[0] > 1:
        return images
    highest = _FEWER.get(dataset, _LEVELS) - 1
    steps = np.rint(images.astype(np.float32) * (highest / max(int(images.max()), 1)))
    return np.rint(steps * (255 / highest)).astype(np.uint8)


def _webp(picture: Image.Image, *, lossless: bool) -> bytes:
    content = io.BytesIO()
    picture.save(content, "WEBP", lossless=lossless, quality=50 if lossless else _QUALITY, method=4)
    return content.getvalue()
