"""From listed image files to examples: all headers first, then the pixels, one file after another, in place."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm.auto import tqdm

from turnover.audit.folders import File, Listing
from turnover.audit.images import Header, Unusable, header, read_image
from turnover.audit.labelled import Collection, LeftOut
from turnover.audit.limits import refuse_much
from turnover.common.text import printable
from turnover.errors import RefusedInput

_NAMED = 10  # files that a message names
_READERS = min(4, os.cpu_count() or 1)  # images that are decoded at a time

Result = TypeVar("Result")


def load(data: Path, listing: Listing, size: int | None, unusable: float) -> Collection:
    """Read the listed images; those that cannot be used are left out.

    Args:
        size: images are resized to size * size pixels; None: they are taken as they are, and must be of one size.
        unusable: the largest share of files that may be left out.

    Raises:
        RefusedInput: too many cannot be used, they are of different sizes, or need more memory than is free.
    """
    files, bad = listing.files, list[LeftOut]()
    headers = _each(lambda file: header(file.path), files, "headers", bad)
    _refuse_unusable(data, bad, len(listing.files), unusable)
    files = [file for file, _ in headers]
    width, height = (size, size) if size is not None else _one_size(data, headers)
    bits = max((image.bits for _, image in headers if image.bits > 8), default=8)
    channels = max(image.channels for _, image in headers)
    refuse_much(data, (len(files), channels, height, width), resizable=True)

    values = np.empty((len(files), channels, height, width), dtype=np.uint8)
    rows = {file: values[row] for row, file in enumerate(files)}

    def fill(file: File) -> int:
        pixels = read_image(file.path, size, bits)
        if pixels.shape[1:] != (height, width):
            raise Unusable(f"damaged: {pixels.shape[2]} x {pixels.shape[1]} pixels, its header says otherwise")
        rows[file][:] = pixels
        return len(pixels)

    read = dict(_each(fill, files, "images", bad))
    _refuse_unusable(data, bad, len(listing.files), unusable)
    if len(read) < len(files):
        # without the rows of damaged ones, of which one may have been the only one in colour
        values = values[[file in read for file in files], : max(read.values())]

    classes = sorted({file.label for file in read})
    numbers = {label: number for number, label in enumerate(classes)}
    return Collection(
        values,
        np.array([numbers[file.label] for file in read]),
        tuple(classes),
        tuple(file.name for file in read),
        tuple(sorted([*listing.left_out, *bad])),
        tuple(label for label in listing.classes if label not in numbers),
    )


def _each(
    work: Callable[[File], Result], files: list[File], title: str, bad: list[LeftOut]
) -> list[tuple[File, Result]]:
    """Work on each file, several at a time; return the usable ones in their order, and add the others to `bad`."""

    def attempt(file: File) -> Result | Unusable:
        try:
            return work(file)
        except Unusable as error:
            return error

    done = []
    with ThreadPoolExecutor(_READERS) as pool:
        try:
            results = tqdm(pool.map(attempt, files), desc=title, total=len(files), unit="image", delay=2)
            for file, result in zip(files, results, strict=True):
                if isinstance(result, Unusable):
                    bad.append(LeftOut(file.name, str(result)))
                else:
                    done.append((file, result))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # Ctrl-C would else wait for all of them
            raise
    return done


def _refuse_unusable(data: Path, bad: list[LeftOut], count: int, share: float) -> None:
    if len(bad) <= share * count and len(bad) < count:
        return
    listed = "".join(f"\n  {printable(name)}: {why}" for name, why in bad[:_NAMED])
    more = f"\n  and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    instead = "mend or remove them" if len(bad) == count else "mend or remove them, or set unusable=1 to leave them out"
    raise RefusedInput(
        f"data = {data}: {len(bad)} of {count} images cannot be used, more than the share of {share:g} that "
        f"unusable={share:g} allows; {instead}{listed}{more}"
    )


def _one_size(data: Path, headers: list[tuple[File, Header]]) -> tuple[int, int]:
    """Return width and height of the images, RefusedInput if they differ."""
    first = {(image.width, image.height): file.name for file, image in reversed(headers)}
    if len(first) > 1:
        sizes = ", ".join(f"{w} x {h} ({printable(name)})" for (w, h), name in sorted(first.items())[:3])
        raise RefusedInput(
            f"data = {data}: images are of {len(first)} different sizes, {sizes}; "
            "set size=32, for example, and all are resized to 32 x 32 pixels"
        )
    return next(iter(first))
