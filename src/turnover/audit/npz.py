"""Labelled examples from the arrays of an npz file."""

import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np

from turnover.audit.labelled import Collection
from turnover.audit.limits import refuse_much
from turnover.checks.arrays import one_column
from turnover.checks.missing import refuse_missing, remove, some
from turnover.errors import RefusedInput


def read_npz(path: Path) -> Collection:
    """Read arrays x and y, and perhaps ids, of an npz file.

    Raises:
        RefusedInput: they do not suit each other, labels or ids are missing, or need more memory than is free.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_large(path, archive)
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
    if y.dtype.kind == "i" and y.min() == -1 and len(np.unique(y)) > 2:  # with two, -1 and 1, it is a class
        rows = (y == -1).nonzero()[0]
        raise RefusedInput(
            f"data = {path}: y has {len(rows)} times -1, in rows {some(rows)}: if it is a missing label, "
            f"{remove(arrays, 'y != -1')}; if it is a class, give y.astype(str)"
        )
    if len(np.unique(names)) < len(names):
        raise RefusedInput(f"data = {path}: ids must differ; leave them out to name examples by their row")
    classes, labels = np.unique(y, return_inverse=True)
    return Collection(
        _values(path, x, arrays),
        labels.astype(np.int64),
        tuple(map(str, classes.tolist())),
        tuple(map(str, names.tolist())),
    )


def _refuse_large(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse more than fits into memory by the header of x and the sizes of the others, before any is unpacked."""
    sizes = {
        name: archive.getinfo(name).file_size for name in ("x.npy", "y.npy", "ids.npy") if name in archive.NameToInfo
    }
    if "x.npy" not in sizes:
        return
    with archive.open("x.npy") as file:
        first = np.lib.format.read_magic(file) == (1, 0)
        read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    if shape and shape[0]:
        refuse_much(path, shape, dtype.itemsize, besides=sum(sizes.values()) - sizes["x.npy"])


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
