"""The explorer's data: sets of examples and their images, packed as text that `data.js` reads."""

import base64
import io
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm.auto import trange

from turnover.config.datasets import DATASETS
from turnover.config.options import CorruptionConfig, DatasetConfig
from turnover.data.datasets import load
from turnover.data.fetch import at_hand
from turnover.experiments.plots.figure import NAMES, configured
from turnover.experiments.report.sets import LABELS, ExampleSet
from turnover.runs.store.tables import SCORE_COLUMNS


@dataclass(frozen=True)
class Explorer:
    """Data of single examples on the page."""

    index: dict[str, Any]  # for data.js: the list of sets and of images, and how to read them
    blobs: dict[str, str]  # by element id, in base64
    missing: tuple[str, ...]  # commands that would make more


def explorer(sets: Sequence[ExampleSet], missing: Sequence[str], scale: str) -> Explorer:
    """Return all sets, packed, with the images of their examples."""
    blobs: dict[str, str] = {}
    index: dict[str, Any] = {"sets": [], "images": {}, "floor": FLOOR, "steps": STEPS}
    for examples in sets:
        entry, text = _packed(examples)
        index["sets"].append(entry)
        blobs[f"set-{examples.name}"] = text
    for dataset in dict.fromkeys(examples.dataset for examples in sets):
        if not at_hand(dataset):
            continue
        tables = [examples.table for examples in sets if examples.dataset == dataset]
        ids = np.unique(np.concatenate([table.index.to_numpy() for table in tables]))
        packer = Packer(len(ids))
        packer.ids("id", ids)
        _, height, width = DATASETS[dataset].shape
        blobs[f"ids-{dataset}"] = packer.text()
        blobs |= {f"sheet-{dataset}-{number}": text for number, text in enumerate(sheets(dataset, ids))}
        about = {"rows": len(ids), "fields": packer.fields, "width": width, "height": height, "columns": COLUMNS}
        index["images"][dataset] = about
    return Explorer(index, blobs, _commands(sets, missing, scale))


def _packed(examples: ExampleSet) -> tuple[dict[str, Any], str]:
    facts, table, curves = DATASETS[examples.dataset], examples.table, examples.curves
    packer = Packer(len(table))
    packer.ids("id", table.index.to_numpy())
    for name in LABELS:
        if name in table:
            packer.classes(name, table[name].to_numpy(), name.replace("_", " "))
    for name, title in examples.numbers.items():
        about = SCORE_COLUMNS[name][1] if name in SCORE_COLUMNS else ""
        packer.numbers(name, table[name].to_numpy(), title, about)
    entry: dict[str, Any] = {
        "name": examples.name,
        "title": examples.title,
        "about": examples.about,
        "dataset": examples.dataset,
        "tests": facts.train,  # ids from here on are test examples
        "classes": facts.class_names,
        "rows": len(table),
    }
    if curves:
        highest = float(max(curves.own.max(), curves.flipped.max(), 10 * FLOOR))
        packer.curves("own", curves.own, highest)
        packer.curves("flipped", curves.flipped, highest)
        entry["curves"] = {"epochs": curves.epochs, "highest": highest}
    entry["fields"] = packer.fields
    return entry, packer.text()


def _commands(sets: Sequence[ExampleSet], missing: Sequence[str], scale: str) -> tuple[str, ...]:
    """Return the commands that make what is not there: runs of experiments, and data sets for the images."""
    figures: dict[str, str] = {}
    for name in sorted(NAMES):
        for experiment in configured(name).experiments:
            figures.setdefault(experiment, name)
    runs = [f"make {figures[name]} SCALE={scale}" for name in missing if name in figures]
    absent = [examples.dataset for examples in sets if not at_hand(examples.dataset)]
    return tuple(dict.fromkeys([*runs, *(f"make data DATASET={name}" for name in absent)]))


_HIGHEST = 32768.0  # numbers are scaled to lie below; half floats reach 65504
FLOOR = 1e-4  # nats: smaller losses are drawn as this one
STEPS = 126  # of a curve's logarithmic axis, about a pixel each, in a byte; 255: no value

COLUMNS = 32  # of a sheet, which has as many rows
_SHEET = COLUMNS * COLUMNS
_LEVELS = 16  # of grey
_FEWER = {"mnist": 4}  # show a pen's stroke as well as 256 do, in a third of the bytes
_QUALITY = 30  # of coloured images
_SMALL = 640  # pixels of the longer side
_UNSEEN = 0.5  # of 255: mean difference of pixels that may be lost


@dataclass
class Packer:
    """Columns that are packed one after the other, and the list of them that their reader needs."""

    rows: int

    def __post_init__(self) -> None:
        self._parts: list[bytes] = []
        self.fields: list[dict[str, Any]] = []

    def ids(self, key: str, values: np.ndarray) -> None:
        """Add whole numbers of up to 32 bits."""
        self._add({"key": key, "kind": "id", "bytes": 4}, values.astype("<u4"))

    def classes(self, key: str, values: np.ndarray, title: str) -> None:
        """Add class numbers from 0 to 254; -1 means that there is none."""
        if values.max(initial=0) > 254:
            raise ValueError(f"column {key!r} has class {values.max()}: at most 254 can be told in a byte")
        self._add(
            {"key": key, "kind": "class", "title": title, "bytes": 1}, np.where(values < 0, 255, values).astype("u1")
        )

    def numbers(self, key: str, values: np.ndarray, title: str, about: str) -> None:
        """Add numbers, rounded to about three digits; NaN stays NaN."""
        largest = float(np.nanmax(np.abs(values), initial=0.0))
        exponent = max(0, math.ceil(math.log2(largest / _HIGHEST))) if largest else 0
        scaled = np.ldexp(values.astype(np.float64), -exponent).astype("<f2")
        field = {"key": key, "kind": "number", "title": title, "about": about, "exponent": exponent, "bytes": 2}
        self._add(field, scaled.view("<u2"))

    def curves(self, key: str, values: np.ndarray, highest: float) -> None:
        """Add losses over epochs [epochs, rows], each a byte on a logarithmic axis from FLOOR to `highest`."""
        share = np.log(np.maximum(values, FLOOR) / FLOOR) / math.log(highest / FLOOR)
        steps = np.where(np.isnan(values), 255, np.rint(STEPS * np.clip(np.nan_to_num(share), 0, 1))).astype("u1")
        for epoch, row in enumerate(steps):
            self._add({"key": f"{key}-{epoch}", "kind": "curve", "bytes": 1}, row)

    def text(self) -> str:
        """Return all columns in base64."""
        return encode(zlib.compress(b"".join(self._parts), 9))

    def _add(self, field: dict[str, Any], values: np.ndarray) -> None:
        if len(values) != self.rows:
            raise ValueError(f"column {field['key']!r} has {len(values)} rows, the set has {self.rows}")
        planes = np.ascontiguousarray(values).view("u1").reshape(self.rows, -1).T
        self._parts.append(planes.tobytes())
        self.fields.append(field)


def encode(content: bytes) -> str:
    """Return bytes as text."""
    return base64.b64encode(content).decode("ascii")


def figure(path: Path) -> str:
    """Return a png as a WebP, a third as large, in base64; with 256 colours where nobody sees that."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    few = picture.quantize(256, dither=Image.Dither.NONE).convert("RGB")
    difference = np.asarray(picture, dtype=np.float32) - np.asarray(few, dtype=np.float32)
    return encode(_webp(few if np.abs(difference).mean() < _UNSEEN else picture, lossless=True))


def small(path: Path) -> str:
    """Return a png as a small WebP in base64."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((_SMALL, _SMALL))
    return encode(_webp(picture, lossless=False, quality=70))


def sheets(dataset: str, ids: np.ndarray) -> Iterator[str]:
    """Yield the images with these ids, row by row on sheets of 32 x 32 or fewer, each a WebP in base64."""
    images = _images(dataset, ids)
    _, height, width, channels = images.shape
    for start in trange(0, len(images), _SHEET, desc=f"images of {DATASETS[dataset].title}", leave=False):
        some = images[start : start + _SHEET]
        rows = -(-len(some) // COLUMNS)
        cells = np.zeros((rows * COLUMNS, height, width, channels), dtype=np.uint8)
        cells[: len(some)] = some
        lines = cells.reshape(rows, COLUMNS, height, width, channels).swapaxes(1, 2)
        sheet = lines.reshape(rows * height, COLUMNS * width, channels)
        yield encode(_webp(Image.fromarray(sheet.squeeze()), lossless=channels == 1))


def _images(dataset: str, ids: np.ndarray) -> np.ndarray:
    """Return images, of a few levels if they are grey, brightest 255.  # uint8 [n, height, width, channels]"""
    everything = {"limit": None, "test_limit": None, "include_test": True, "normalization": "unit", "seed": 0}
    whole = DatasetConfig.model_validate({"name": dataset, **everything})
    split = load(whole, CorruptionConfig(count=0, seed=0, kind="random", path=None, sizes=[])).train
    images = split.images.permute(0, 2, 3, 1).numpy()[ids]  # ids are positions: nothing is left out
    if DATASETS[dataset].shape[0] > 1:
        return images
    highest = _FEWER.get(dataset, _LEVELS) - 1
    steps = np.rint(images.astype(np.float32) * (highest / max(int(images.max()), 1)))
    return np.rint(steps * (255 / highest)).astype(np.uint8)


def _webp(picture: Image.Image, *, lossless: bool, quality: int = _QUALITY) -> bytes:
    content = io.BytesIO()
    picture.save(content, "WEBP", lossless=lossless, quality=50 if lossless else quality, method=4)
    return content.getvalue()
