"""Features of images by a frozen network, a few hundred at a time, kept by the content of files and the network."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from turnover.audit.duplicates import LEAST_SIDE, SMALL, digest
from turnover.audit.folders import File
from turnover.audit.frozen import Frozen
from turnover.audit.images import Unusable, read_image
from turnover.audit.labelled import LeftOut
from turnover.audit.workers import each, progress
from turnover.common.files import keep, kept, outputs_root
from turnover.errors import RefusedInput

_CHUNK = 256  # images whose features are kept together, and whose pixels are in memory at a time

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]  # small pictures, digests of pixels, features


def features_of_files(files: list[File], network: Frozen, bits: int, bad: list[LeftOut]) -> tuple[list[File], Arrays]:
    """Return the files that can be read, with small pictures, digests and features of them; progress is the network's.

    Returns:
        uint8 [n, 3, 16, 16], uint8 [n, 16], float32 [n, width]
    """
    read: list[File] = []
    parts: list[Arrays] = []
    with progress(files, "features") as bar:
        for start in range(0, len(files), _CHUNK):
            chunk = files[start : start + _CHUNK]
            end = start + len(chunk)
            named = each(lambda file: _content(file.path), chunk, None, bad)
            chunk = [file for file, _ in named]
            path = _path(network, b"".join(content for _, content in named), str(bits))
            known = kept(path)
            if known is None:
                decoded = each(lambda file: read_image(file.path, network.side, bits), chunk, None, bad)
                usable = [file for file, _ in decoded]
                pixels = np.empty((len(decoded), 3, network.side, network.side), dtype=np.uint8)
                for row, (_, of_file) in enumerate(decoded):
                    pixels[row] = of_file  # of a grey one, three times the same
                arrays, position = _arrays(pixels, network, bar.update), {file: row for row, file in enumerate(chunk)}
                _keep(path, arrays, np.array([position[file] for file in usable], dtype=np.int64))
            else:
                usable, arrays = [chunk[row] for row in known["rows"].tolist()], _known(known)
                again = [file for file in chunk if file not in usable]  # whose reasons are not kept
                each(lambda file: read_image(file.path, network.side, bits), again, None, bad)
            bar.update(end - bar.n)  # what is kept, or cannot be read
            read += usable
            parts.append(arrays)
    small, digests, features = (np.concatenate(of) for of in zip(*parts, strict=True))
    return read, (small, digests, features)


def pictures_of_files(
    files: list[File], size: int | None, bits: int, bad: list[LeftOut]
) -> tuple[list[File], np.ndarray, np.ndarray]:
    """Return the files that can be read, with small pictures and digests of their pixels, one image after another.

    Args:
        size: as `read_image` takes it.

    Returns:
        uint8 [n, 3, 16, 16], 0 for images of less than 32 pixels, of which different ones are alike; uint8 [n, 16]
    """
    small, digests = np.zeros((len(files), 3, SMALL, SMALL), dtype=np.uint8), np.zeros((len(files), 16), dtype=np.uint8)
    place = {file: row for row, file in enumerate(files)}

    def fill(file: File) -> None:
        pixels = read_image(file.path, size, bits)
        pixels = pixels.repeat(3 // len(pixels), axis=0)  # of a grey one, three times the same
        row = place[file]
        # of the shape too: images of one colour in two shapes have the same bytes
        digests[row] = np.frombuffer(digest(str(pixels.shape).encode() + pixels.tobytes()), dtype=np.uint8)
        if min(pixels.shape[1:]) >= LEAST_SIDE:
            small[row] = _small(pixels[None])[0]

    with progress(files, "images") as bar:
        read = [file for file, _ in each(fill, files, bar, bad)]
    if len(read) < len(files):
        rows = [place[file] for file in read]
        small, digests = small[rows], digests[rows]
    return read, small, digests


def features_of_images(values: np.ndarray, network: Frozen) -> np.ndarray:
    """Return features of images in memory, resized to the side that the network takes.

    Args:
        values: uint8, or floats of any range, the same for all.  # [n, channels, height, width]

    Returns:
        float32 [n, width]
    """
    low, high = (0.0, 255.0) if values.dtype == np.uint8 else (float(values.min()), float(values.max()))
    parts = []
    with progress(values, "features") as bar:
        for start in range(0, len(values), _CHUNK):
            chunk = np.ascontiguousarray(values[start : start + _CHUNK])
            path = _path(network, chunk.tobytes(), f"{chunk.shape} {chunk.dtype} {low} {high}")
            known = kept(path)
            if known is None:
                scaled = (torch.from_numpy(chunk).float() - low) * (255 / (high - low or 1))
                side = (network.side, network.side)
                resized = interpolate(scaled, side, mode="bilinear", antialias=True).clamp(0, 255).round()
                pixels = resized.to(torch.uint8).expand(-1, 3, -1, -1).contiguous().numpy()
                _keep(path, arrays := _arrays(pixels, network, bar.update), np.arange(len(chunk)))
            else:
                arrays = _known(known)
            parts.append(arrays[2])
            bar.update(start + len(chunk) - bar.n)
    return np.concatenate(parts)


def features_of_npz(path: Path, names: tuple[str, ...]) -> np.ndarray:
    """Return the features of examples of these names from an npz file with arrays ids and features.

    Returns:
        float32 [n, features]

    Raises:
        RefusedInput: the file has no such arrays, or lacks an example.
    """
    how = f"numpy.savez({path.name!r}, ids=ids, features=features), ids as in column example of suspects.csv"
    try:
        with np.load(path, allow_pickle=False) as file:
            ids, features = file["ids"], np.asarray(file["features"], dtype=np.float32)
    except Exception as error:  # as a damaged file raises anything
        raise RefusedInput(f"features = npz:{path}: cannot be read: {error}; write it as {how}") from None
    if features.ndim != 2 or ids.shape != features.shape[:1] or not np.isfinite(features).all():
        raise RefusedInput(
            f"features = npz:{path}: features must be finite numbers [n, features] and ids [n]; "
            f"got {features.shape} and {ids.shape}"
        )
    rows = {str(name): row for row, name in enumerate(ids.tolist())}
    if len(rows) < len(ids) or (missing := [name for name in names if name not in rows]):
        what = "has an id twice" if len(rows) < len(ids) else f"lacks {len(missing)} examples, such as {missing[0]!r}"
        raise RefusedInput(f"features = npz:{path}: {what}; write it as {how}")
    return features[[rows[name] for name in names]]


def _arrays(pixels: np.ndarray, network: Frozen, on_images: Callable[[int], object]) -> Arrays:
    digests = bytearray(b"".join(digest(of.tobytes()) for of in pixels))  # as in files that are kept already
    return _small(pixels), np.frombuffer(digests, dtype=np.uint8).reshape(-1, 16), network(pixels, on_images)


def _small(pixels: np.ndarray) -> np.ndarray:
    """Return small pictures.  # uint8 [n, 3, height, width] -> uint8 [n, 3, 16, 16]"""
    return adaptive_avg_pool2d(torch.from_numpy(pixels).float(), SMALL).round().to(torch.uint8).numpy()


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return digest(file.read())
    except OSError as error:
        raise Unusable(f"not readable: {error.strerror}") from None


def _path(network: Frozen, content: bytes, options: str) -> Path:
    """Return the file in which the features of these images are kept."""
    name = digest(content + options.encode()).hex()
    return outputs_root() / "audit" / "features" / network.key[:16] / f"{name}.npz"


def _keep(path: Path, arrays: Arrays, rows: np.ndarray) -> None:
    small, digests, features, rows_ = map(torch.from_numpy, map(np.ascontiguousarray, (*arrays, rows)))
    keep(path, small=small, digests=digests, features=features, rows=rows_)  # rows: of the images that could be read


def _known(arrays: dict[str, torch.Tensor]) -> Arrays:
    return arrays["small"].numpy(), arrays["digests"].numpy(), arrays["features"].numpy()
