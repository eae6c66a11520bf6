"""A user's own labelled examples: a folder of images, a csv or parquet file that lists images, or an npz file."""

import logging
from dataclasses import replace
from pathlib import Path

from turnover.audit.features import features_of_images
from turnover.audit.folders import list_folder
from turnover.audit.frozen import Frozen
from turnover.audit.labelled import Collection, LeftOut
from turnover.audit.listed import list_table
from turnover.audit.loading import load
from turnover.audit.npz import read_npz
from turnover.common.text import printable
from turnover.errors import RefusedInput

log = logging.getLogger("turnover")

UNUSABLE = 0.5  # share of image files that may be left out


def collect(
    path: Path,
    size: int | None,
    unusable: float = UNUSABLE,
    network: Frozen | None = None,
    *,
    square: bool = False,
    small: bool = False,
) -> Collection:
    """Read all examples of a folder or file.

    Args:
        size: images are resized to size * size pixels; None: they are taken as they are.
        unusable: the largest share of image files that may be left out; 0: every one must be usable.
        network: gives features of the images besides.
        square: whether pixels must be of square images, if they are those of files.
        small: whether pixels of files are not needed, as features of them are known.

    Raises:
        RefusedInput: names what is wrong and where, and what to do.
    """
    kind = path.suffix.lower() if path.is_file() else ""
    if path.is_dir() or kind in (".csv", ".parquet"):
        listing = list_folder(path) if path.is_dir() else list_table(path)
        collection = load(path, listing, size, unusable, network, square=square, small=small)
    elif kind == ".npz":
        if size is not None and network is None:
            raise RefusedInput(f"size = {size}: is for images; resize the arrays of an npz file beforehand")
        collection = read_npz(path)
        if network is not None and not collection.images:
            raise RefusedInput(
                f"features = {network.name}: x of {path} holds vectors, no images; leave features out for them"
            )
        if network is not None:
            collection = replace(collection, features=features_of_images(collection.values, network))
    else:
        there = "there is no such file or folder" if not path.exists() else "is no folder, csv, parquet or npz file"
        raise RefusedInput(
            f"data = {path}: {there}; give a folder with a subfolder of images for each class, a csv or parquet file "
            "with columns path and label, or an npz file: numpy.savez('data.npz', x=x, y=y)"
        )
    if len(collection.classes) < 2:
        raise RefusedInput(
            f"data = {path}: all examples are of one class, {collection.classes[0]!r}; two are needed at least"
        )
    collection = replace(
        collection,
        classes=tuple(map(printable, collection.classes)),
        names=tuple(map(printable, collection.names)),
        left_out=tuple(LeftOut(*map(printable, entry)) for entry in collection.left_out),
        lost_classes=tuple(map(printable, collection.lost_classes)),
    )
    for remark in collection.remarks():
        log.warning("%s", remark)
    return collection
