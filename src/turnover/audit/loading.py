"""From listed image files to examples: all headers first, then the pixels, or features of them."""

import logging
from pathlib import Path

import numpy as np

from turnover.audit.duplicates import SMALL
from turnover.audit.features import features_of_files, pictures_of_files
from turnover.audit.folders import File, Listing
from turnover.audit.frozen import PRETRAINED, Frozen
from turnover.audit.images import Header, Unusable, header, read_image
from turnover.audit.labelled import Collection, LeftOut
from turnover.audit.limits import refuse_much
from turnover.audit.workers import each, progress
from turnover.common.text import printable
from turnover.errors import RefusedInput

log = logging.getLogger("turnover")

_NAMED = 10  # files that a message names
_LARGE = 96  # pixels of a side, from which images are taken to be photographs
_PHOTOGRAPHS = f"of photographs take features of a network that has seen millions of them, {PRETRAINED}"


def load(
    data: Path,
    listing: Listing,
    size: int | None,
    unusable: float,
    network: Frozen | None = None,
    *,
    square: bool = False,
    small: bool = False,
) -> Collection:
    """Read the listed images; those that cannot be used are left out.

    Args:
        size: images are resized to size * size pixels; None: they are taken as they are, and must be of one size.
        unusable: the largest share of files that may be left out.
        network: whose features of the images are examples, at the size that it takes; None: the pixels are.
        square: whether pixels must be of square images.
        small: whether digests and small pictures, in which equal ones are found, are enough in the place of pixels.

    Raises:
        RefusedInput: too many cannot be used, they are of different sizes, or need more memory than is free.
    """
    files, bad = listing.files, list[LeftOut]()
    with progress(files, "headers") as bar:
        headers = each(lambda file: header(file.path), files, bar, bad)
    _refuse_unusable(data, bad, len(listing.files), unusable)
    files = [file for file, _ in headers]
    bits = max((image.bits for _, image in headers if image.bits > 8), default=8)
    digests = features = None
    if network is not None:
        refuse_much(data, (len(files), network.width), 4)
        read, (values, digests, features) = features_of_files(files, network, bits, bad)
    elif small:
        refuse_much(data, (len(files), 3, SMALL, SMALL))
        read, values, digests = pictures_of_files(files, size, bits, bad)
    else:
        width, height = (size, size) if size is not None else _one_size(data, headers, square=square)
        channels = max(image.channels for _, image in headers)
        refuse_much(data, (len(files), channels, height, width), resizable=True, instead=_PHOTOGRAPHS)
        if size is None and max(width, height) >= _LARGE:
            log.warning(
                "images of %d x %d pixels, from which a small network learns hardly anything: %s",
                width,
                height,
                _PHOTOGRAPHS,
            )
        read, values = _pixels(files, (channels, height, width), size, bits, bad)
    _refuse_unusable(data, bad, len(listing.files), unusable)

    classes = sorted({file.label for file in read})
    numbers = {label: number for number, label in enumerate(classes)}
    return Collection(
        values,
        np.array([numbers[file.label] for file in read]),
        tuple(classes),
        tuple(file.name for file in read),
        tuple(sorted([*listing.left_out, *bad])),
        tuple(label for label in listing.classes if label not in numbers),
        tuple(file.path for file in read),
        digests,
        features,
        tuple(file.group for file in read),
    )


def _pixels(
    files: list[File], shape: tuple[int, int, int], size: int | None, bits: int, bad: list[LeftOut]
) -> tuple[list[File], np.ndarray]:
    """Return the files that can be read, and their pixels.  # uint8 [n, channels, height, width]"""
    values = np.empty((len(files), *shape), dtype=np.uint8)
    rows = {file: values[row] for row, file in enumerate(files)}

    def fill(file: File) -> int:
        pixels = read_image(file.path, size, bits)
        if pixels.shape[1:] != shape[1:]:
            raise Unusable(f"damaged: {pixels.shape[2]} x {pixels.shape[1]} pixels, its header says otherwise")
        rows[file][:] = pixels
        return len(pixels)

    with progress(files, "images") as bar:
        read = dict(each(fill, files, bar, bad))
    if 0 < len(read) < len(files):
        # without the rows of damaged ones, of which one may have been the only one in colour
        values = values[[file in read for file in files], : max(read.values())]
    return list(read), values


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


def _one_size(data: Path, headers: list[tuple[File, Header]], *, square: bool) -> tuple[int, int]:
    """Return width and height of the images, RefusedInput if they differ, or if they must be square and are not."""
    first = {(image.width, image.height): file.name for file, image in reversed(headers)}
    (width, height), *others = sorted(first)
    if not others and (width == height or not square):
        return width, height
    sizes = ", ".join(f"{w} x {h} ({printable(name)})" for (w, h), name in sorted(first.items())[:3])
    what = f"are of {len(first)} different sizes, {sizes}" if others else f"are not square, as they must be, {sizes}"
    raise RefusedInput(
        f"data = {data}: images {what}; {_PHOTOGRAPHS}; of small pictures, whose pixels say what they are, "
        "set size=32, for example, and all are resized to 32 x 32 pixels"
    )
