"""The explorer's data: sets of examples and their images, packed as text that `data.js` reads."""

import base64
import io
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageChops, ImageStat
from tqdm.auto import trange

from turnover.config.datasets import DATASETS
from turnover.config.options import CorruptionConfig, DatasetConfig
from turnover.data.datasets import load
from turnover.data.fetch import at_hand
from turnover.experiments.plots.figure import NAMES, configured
from turnover.experiments.report.sets import LABELS, ExampleSet
from turnover.runs.store.tables import SCORE_COLUMNS

Pixels = Callable[[np.ndarray], np.ndarray]  # images of so many ids, uint8 [n, height, width, channels]

MOST = 70_000  # examples of a set on the page: all of MNIST, with its test examples


@dataclass(frozen=True)
class Explorer:
    """Data of single examples on the page."""

    index: dict[str, Any]  # for data.js: the list of sets and of images, and how to read them
    blobs: Iterator[tuple[str, str]]  # element ids with their content in base64, made one at a time as they are taken
    missing: tuple[str, ...]  # commands that would make more


def explorer(sets: Sequence[ExampleSet], missing: Sequence[str], scale: str) -> Explorer:
    """Return all sets, packed, with the images of their examples."""
    index: dict[str, Any] = {"sets": [], "images": {}, "floor": FLOOR, "steps": STEPS}
    blobs: list[Iterable[tuple[str, str]]] = []
    shown: dict[str, list[np.ndarray]] = {}  # ids, by data set
    for examples in sets:
        rows, extreme = chosen(examples)
        entry, text = _packed(examples, rows, extreme)
        index["sets"].append(entry)
        blobs.append([(f"set-{examples.name}", text)])
        first = examples.table.iloc[rows].sort_values(next(iter(examples.numbers)), ascending=False)
        shown.setdefault(examples.dataset, []).append(first.index.to_numpy())
    for dataset in filter(at_hand, shown):
        ids = pd.unique(np.concatenate(shown[dataset]))  # so that the examples of a page of the list share a sheet
        packer = Packer(len(ids))
        packer.ids("id", ids)
        _, height, width = DATASETS[dataset].shape
        blobs += [[(f"ids-{dataset}", packer.text())], _named_sheets(dataset, ids)]
        about = {"rows": len(ids), "fields": packer.fields, "width": width, "height": height, "columns": COLUMNS}
        index["images"][dataset] = about
    return Explorer(index, chain.from_iterable(blobs), _commands(sets, missing, scale))


def chosen(examples: ExampleSet) -> tuple[np.ndarray, int]:
    """Return positions of the examples that the page holds, and how many of them, the first, stand for themselves.

    They are all, if these are not more than `MOST`. Else as many of the highest as of the lowest of each number, half
    of `MOST` together or fewer, and others drawn at random, of which each stands for as many that are left out.
    """
    count = len(examples.table)
    extreme = np.full(count, count <= MOST)
    if count > MOST:
        each = MOST // (4 * len(examples.numbers))
        for name in examples.numbers:
            values = examples.table[name].to_numpy(dtype=np.float64)
            for side in (values, -values):  # NaN is last in both
                extreme[np.argpartition(side, each)[:each]] = True
    order = np.random.default_rng(0).permutation(count)  # the same of all sets of as many examples
    others = order[~extreme[order]][: MOST - int(extreme.sum())]
    return np.concatenate([np.flatnonzero(extreme), np.sort(others)]), int(extreme.sum())


def _named_sheets(dataset: str, ids: np.ndarray) -> Iterator[tuple[str, str]]:
    for number, text in enumerate(sheets(pixels(dataset), ids, DATASETS[dataset].title)):
        yield f"sheet-{dataset}-{number}", text


def _packed(examples: ExampleSet, rows: np.ndarray, extreme: int) -> tuple[dict[str, Any], str]:
    facts, curves = DATASETS[examples.dataset], examples.curves
    table, whole = examples.table.iloc[rows], len(examples.table)
    packer = Packer(len(table))
    packer.ids("id", table.index.to_numpy())
    for name in LABELS:
        if name in table:
            packer.classes(name, table[name].to_numpy(), name.replace("_", " "))
    for name, title in examples.numbers.items():
        about = SCORE_COLUMNS[name][1] if name in SCORE_COLUMNS else ""
        packer.numbers(name, table[name].to_numpy(), title, about)
    part = (
        f" This page holds {len(table):,} of them: {extreme:,} with the highest or the lowest of a number, and "
        f"{len(table) - extreme:,} drawn at random, which stand for all others in counts and correlations."
    )
    entry: dict[str, Any] = {
        "name": examples.name,
        "title": examples.title,
        "about": f"{examples.about}{part * (len(table) < whole)} The whole table: {examples.source}.",
        "dataset": examples.dataset,
        "tests": facts.train,  # ids from here on are test examples
        "classes": facts.class_names,
        "rows": len(table),
        "whole": whole,
        "extreme": extreme,  # so many rows, the first, stand for themselves
    }
    if curves:
        own, flipped = curves.own[:, rows], curves.flipped[:, rows]
        highest = float(max(own.max(), flipped.max(), 10 * FLOOR))
        packer.curves("own", own, highest)
        packer.curves("flipped", flipped, highest)
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
    unlike = ImageStat.Stat(ImageChops.difference(picture, few)).mean  # of each colour
    return encode(_webp(few if sum(unlike) < 3 * _UNSEEN else picture, lossless=True))


def small(path: Path) -> str:
    """Return a png as a small WebP in base64."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((_SMALL, _SMALL))
    return encode(_webp(picture, lossless=False, quality=70))


def sheets(pixels: Pixels, ids: np.ndarray, title: str) -> Iterator[str]:
    """Yield the images with these ids, row by row on sheets of 32 x 32 or fewer, each a WebP in base64."""
    for start in trange(0, len(ids), _SHEET, desc=f"images of {title}", leave=False):
        some = pixels(ids[start : start + _SHEET])
        _, height, width, channels = some.shape
        rows = -(-len(some) // COLUMNS)
        cells = np.zeros((rows * COLUMNS, height, width, channels), dtype=np.uint8)
        cells[: len(some)] = some
        lines = cells.reshape(rows, COLUMNS, height, width, channels).swapaxes(1, 2)
        sheet = lines.reshape(rows * height, COLUMNS * width, channels)
        yield encode(_webp(Image.fromarray(sheet.squeeze()), lossless=channels == 1))


def pixels(dataset: str) -> Pixels:
    """Return a function from ids to the images of a data set, of a few levels if they are grey, brightest 255."""
    everything = {"limit": None, "test_limit": None, "include_test": True, "normalization": "unit", "seed": 0}
    whole = DatasetConfig.model_validate({"name": dataset, **everything})
    images = load(whole, CorruptionConfig(count=0, seed=0, kind="random", path=None, sizes=[])).train.images
    highest, brightest = _FEWER.get(dataset, _LEVELS) - 1, max(int(images.max()), 1)

    def of(ids: np.ndarray) -> np.ndarray:
        some = images[ids].permute(0, 2, 3, 1).numpy()  # ids are positions: nothing is left out
        if some.shape[3] > 1:
            return some
        steps = np.rint(some.astype(np.float32) * (highest / brightest))
        return np.rint(steps * (255 / highest)).astype(np.uint8)

    return of


def _webp(picture: Image.Image, *, lossless: bool, quality: int = _QUALITY) -> bytes:
    content = io.BytesIO()
    picture.save(content, "WEBP", lossless=lossless, quality=50 if lossless else quality, method=4)
    return content.getvalue()
