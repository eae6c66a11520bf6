"""Labelled examples from an npz file, or from a folder with a subfolder of images for each class."""

import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from turnover.audit.folders import files_of, read_image
from turnover.checks.arrays import one_column
from turnover.checks.missing import refuse_missing, remove
from turnover.common.text import size as amount
from turnover.errors import RefusedInput

MOST_BYTES = 4_000_000_000  # of all inputs together, unpacked


@dataclass(frozen=True)
class Collection:
    """Examples in the order of the file, or of sorted paths."""

    values: np.ndarray  # uint8 or float32, images [n, channels, height, width] or vectors [n, features]
    labels: np.ndarray  # int64 [n], positions in `classes`
    classes: tuple[str, ...]
    names: tuple[str, ...]  # of each example: path below the folder, its id, or its row in the file

    def __len__(self) -> int:
        return len(self.values)

    @property
    def images(self) -> bool:
        """True if the examples are images."""
        return self.values.ndim == 4

    def inputs(self) -> np.ndarray:
        """Return inputs with mean 0 and variance 1 a channel, or a feature, over all examples.  # float32, as values"""
        over = (0, 2, 3) if self.images else (0,)
        mean = self.values.mean(over, dtype=np.float64, keepdims=True)
        deviation = self.values.std(over, dtype=np.float64, keepdims=True)
        scaled = self.values.astype(np.float32)
        scaled -= mean.astype(np.float32)
        scaled /= np.where(deviation > 0, deviation, 1).astype(np.float32)
        return scaled


def collect(path: Path, size: int | None) -> Collection:
    """Read all examples of a folder or file.

    Args:
        size: images of a folder are resized to size * size pixels; None: they are taken as they are.

    Raises:
        RefusedInput: names what is wrong and where, and what to do.
    """
    if path.is_dir():
        collection = _folder(path, size)
    elif path.is_file() and path.suffix == ".npz":
        if size is not None:
            raise RefusedInput(f"size = {size}: is for folders of images; resize the arrays of an npz file beforehand")
        collection = _npz(path)
    else:
        there = "there is no such file or folder" if not path.exists() else "is no folder and no npz file"
        raise RefusedInput(
            f"data = {path}: {there}; give a folder with a subfolder of images for each class, or an npz file: "
            "numpy.savez('data.npz', x=x, y=y)"
        )
    if len(collection.classes) < 2:
        raise RefusedInput(
            f"data = {path}: all examples are of one class, {collection.classes[0]!r}; two are needed at least"
        )
    return collection


def _folder(path: Path, size: int | None) -> Collection:
    files = files_of(path)
    images: list[np.ndarray] = []
    problems: list[str] = []
    for file in tqdm(files, desc="images", unit="image", delay=2):
        image = read_image(file, size)
        if isinstance(image, str):
            problems.append(image)
        else:
            images.append(image)
    if problems:
        more = f"\n  and {len(problems) - 10} more" if len(problems) > 10 else ""
        listed = "".join(f"\n  {line}" for line in problems[:10])
        raise RefusedInput(
            f"data = {path}: {len(problems)} of {len(files)} images cannot be used; mend or remove{listed}{more}"
        )
    shapes = [image.shape[1:] for image in images]
    if len(set(shapes)) > 1:
        kinds = sorted({shape: shapes.index(shape) for shape in shapes}.items())[:3]
        sizes = ", ".join(f"{w} x {h} ({files[at].relative_to(path)})" for (h, w), at in kinds)
        raise RefusedInput(
            f"data = {path}: images are of {len(set(shapes))} different sizes, {sizes}; "
            "set size=32, for example, and all are resized to 32 x 32 pixels"
        )
    channels = max(len(image) for image in images)
    _refuse_much(path, len(images) * channels * int(np.prod(shapes[0])))
    values = np.stack([np.broadcast_to(image, (channels, *shapes[0])) for image in images])
    classes = sorted({file.relative_to(path).parts[0] for file in files})
    labels = np.array([classes.index(file.relative_to(path).parts[0]) for file in files])
    return Collection(values, labels, tuple(classes), tuple(file.relative_to(path).as_posix() for file in files))


def _npz(path: Path) -> Collection:
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_much(path, sum(member.file_size for member in archive.infolist()))
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("x", "y", "ids") if name in file.files}
            there = ", ".join(file.files)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, OSError, NotImplementedError) as error:
        raise RefusedInput(f"data = {path}: is no undamaged npz file ({error}); write it with numpy.savez") from None
    except ValueError as error:
        cause = (
            "holds Python objects, which are not read as they could run code" if "pickle" in str(error) else str(error)
        )
        raise RefusedInput(
            f"data = {path}: {cause}; save plain arrays: x.astype('uint8'), y.astype(str), or x.astype('float32') if x "
            "is not all whole numbers from 0 to 255, and y.astype(bytes) if y holds bytes"
        ) from None
    arrays = {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}  # else raw bytes
    if not {"x", "y"} <= set(arrays):
        raise RefusedInput(
            f"data = {path}: needs arrays x and y, and may have ids; it has {there or 'none'}: name them, "
            "numpy.savez('data.npz', x=x, y=y)"
        )
    x, y = arrays["x"], arrays["y"]
    names = arrays.get("ids", np.arange(len(x) if x.ndim else 0))
    for name, array in (("y", y), ("ids", names)):
        if x.ndim < 2 or array.shape != x.shape[:1] or not len(x):
            raise RefusedInput(
                f"data = {path}: x must be [n, ...] and {name} [n], with n at least 1; got {x.shape} and {array.shape}"
                + (f": {one_column(name, array, arrays)}" if array.shape[1:] and len(array) else "")
            )
        try:
            refuse_missing(name, arrays | {name: array})
        except RefusedInput as error:
            raise RefusedInput(f"data = {path}: {error}") from None
    y, names = _decoded(path, "y", y), _decoded(path, "ids", names)
    if y.dtype.kind not in "iubU":
        whole = y.dtype.kind == "f" and bool(((y == y.round()) & (abs(y) < 2**53)).all())
        kind = "'int64'" if whole else "str"
        raise RefusedInput(f"data = {path}: y must hold class numbers or names, got {y.dtype}; give y.astype({kind})")
    if len(np.unique(names)) < len(names):
        raise RefusedInput(f"data = {path}: ids must differ; leave them out to name examples by their row")
    classes, labels = np.unique(y, return_inverse=True)
    return Collection(
        _values(path, x, arrays),
        labels.astype(np.int64),
        tuple(map(str, classes.tolist())),
        tuple(map(str, names.tolist())),
    )


def _decoded(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    """Return bytes as text, other arrays unchanged."""
    try:
        return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
    except UnicodeDecodeError as error:
        raise RefusedInput(
            f"data = {path}: {name} holds bytes that are no UTF-8 ({error}); give numpy.char.decode({name}, 'latin-1') "
            "or what they are written in"
        ) from None


def _values(path: Path, x: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return x as uint8 or float32, [n, channels, height, width] or [n, features]."""
    if x.dtype.kind not in "iubf":
        raise RefusedInput(
            f"data = {path}: x must hold numbers, got {x.dtype}: give x.astype('float32'), after turning what is no "
            "number into one"
        )
    if x.dtype != np.uint8:
        with warnings.catch_warnings(action="ignore"):  # what overflows float32 is refused below
            x = x.astype(np.float32)
        if not np.isfinite(x).all():
            keep = "numpy.isfinite(x.astype('float32')).reshape(len(x), -1).all(1)"
            rows = (~np.isfinite(x).reshape(len(x), -1).all(1)).nonzero()[0]
            raise RefusedInput(
                f"data = {path}: {len(rows)} rows of x have values that are NaN, infinite or above 3e38, the first is "
                f"row {rows[0]}; {remove(arrays, keep)}"
            )
    match x.ndim:
        case 2:
            return x
        case 3:
            return x[:, None]
        case 4 if x.shape[1] in (1, 3):
            return x
        case 4 if x.shape[3] in (1, 3):
            return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    raise RefusedInput(
        f"data = {path}: x of shape {x.shape}; images are [n, height, width], or have 1 or 3 channels: [n, channels, "
        "height, width] or [n, height, width, channels]; other examples are vectors [n, features]"
    )


def _refuse_much(path: Path, size: int) -> None:
    if size > MOST_BYTES:
        raise RefusedInput(
            f"data = {path}: {amount(size)} unpacked, at most {amount(MOST_BYTES)} are read; take a part of the "
            "examples, or of a folder smaller images: size=32"
        )
