"""Examples that are the same or nearly the same but for their labels, of which one at least is wrong."""

import logging
from collections import defaultdict
from collections.abc import Iterator
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from turnover.audit.labelled import Collection

log = logging.getLogger("turnover")

_NAMED = 3  # pairs that the remark names
SMALL = 16  # pixels of the side of the pictures that are compared
LEAST_SIDE = 32  # of images; of smaller ones different ones are alike
_ALIKE = 0.995  # correlation of two such pictures, as of an image and its copy that was resized or compressed
_FLAT = 4.0  # standard deviation of the pixels, of 255, below which there is nothing to compare
_BLOCK = 500  # examples whose small pictures are made at once
_LEAF = 1000  # examples of which every pair is compared
_SHRINKS = 0.65  # largest share of a group in one of its halves
_TRIES = 8  # directions that are tried; where none halves a group, as too many are alike, every pair is compared
_MOST = 60_000  # examples of such a group


def contradictions(collection: Collection) -> np.ndarray:
    """Return for each example the name of one that looks the same and has another label, else "".  # object [n]

    It has the same pixels or values, or, of images of 32 pixels or more, nearly the same small picture.
    """
    alike = defaultdict[bytes, list[int]](list)
    known = collection.digests
    for row, values in enumerate(collection.values):
        alike[digest(values.tobytes()) if known is None else known[row].tobytes()].append(row)
    same_as = np.full(len(collection), "", dtype=object)
    for rows in alike.values():
        first = rows[0]
        other = next((row for row in rows if collection.labels[row] != collection.labels[first]), None)
        if other is not None:
            for row in rows:
                same_as[row] = collection.names[other if collection.labels[row] == collection.labels[first] else first]
    for row, other in _nearest(collection).items():
        same_as[row] = same_as[row] or collection.names[other]
    return same_as


def digest(content: bytes) -> bytes:
    """Return 16 bytes that are those of equal content alone."""
    return blake2b(content, digest_size=16).digest()


def _nearest(collection: Collection) -> dict[int, int]:
    """Return of each example that has one the most similar one with another label."""
    large = collection.digests is not None or (
        collection.images and min(collection.values.shape[2:]) >= LEAST_SIDE and collection.values.dtype == np.uint8
    )
    if not large:
        return {}
    labels, pictures = torch.from_numpy(collection.labels), _pictures(collection.values)
    most, other = torch.zeros(len(labels)), torch.full((len(labels),), -1)
    for rows in _groups(pictures, pictures.any(1).nonzero()[:, 0], np.random.default_rng(0)):
        if len(rows) > _MOST:
            log.warning("%d images are so alike that contradictions among them are looked for no further", len(rows))
            continue
        found = pictures[rows]
        for start in range(0, len(rows), _LEAF):
            some = rows[start : start + _LEAF]
            similar = found[start : start + _LEAF] @ found.T  # [some, rows]
            similar[labels[some, None] == labels[rows]] = 0
            correlation, place = similar.max(1)
            better = correlation > most[some]
            most[some[better]], other[some[better]] = correlation[better], rows[place[better]]
    alike = (most >= _ALIKE).nonzero()[:, 0]
    return dict(zip(alike.tolist(), other[alike].tolist(), strict=True))


def _pictures(values: np.ndarray) -> Tensor:
    """Return small pictures of mean 0 and length 1, whose products are correlations; 0 where it is flat.

    Args:
        values: uint8 [n, channels, height, width]

    Returns:
        float32 [n, channels * 16 * 16]
    """
    pictures = torch.empty(len(values), values.shape[1] * SMALL**2)
    for start in range(0, len(values), _BLOCK):
        small = adaptive_avg_pool2d(torch.from_numpy(values[start : start + _BLOCK]).float(), SMALL)
        small = (small - small.mean((2, 3), keepdim=True)).flatten(1)  # so that a flat colour is like nothing
        small *= (small.std(1) >= _FLAT)[:, None]
        pictures[start : start + _BLOCK] = small / small.norm(dim=1, keepdim=True).clamp(min=1e-9)
    return pictures


def _groups(pictures: Tensor, rows: Tensor, random: np.random.Generator) -> Iterator[Tensor]:
    """Yield groups of rows, so that pictures that are alike are together in one; a picture may be in several.

    Rows are halved by where they lie along a random direction, again and again. The halves overlap by four standard
    deviations of how far apart two pictures that are just alike lie along it, so each halving, of about ten for a
    million, parts at most one such pair in 15,000. So a picture is compared with some thousand others, unless many are
    nearly alike (spill trees: Liu et al., NIPS 2004).
    """
    for _ in range(_TRIES if len(rows) > _LEAF else 0):
        width = pictures.shape[1]
        direction = torch.from_numpy(random.normal(size=width) / width**0.5).to(pictures.dtype)
        along = torch.cat([pictures[part] @ direction for part in rows.split(_BLOCK)])
        middle, margin = along.median(), 2 * (2 * (1 - _ALIKE) / width) ** 0.5
        halves = [rows[along <= middle + margin], rows[along >= middle - margin]]
        if max(map(len, halves)) <= _SHRINKS * len(rows):
            for half in halves:
                yield from _groups(pictures, half, random)
            return
    yield rows


def remark(same_as: dict[str, str]) -> list[str]:
    """Return a sentence on contradictions, by the names of examples; none if there are none."""
    if not same_as:
        return []
    pairs = list(dict.fromkeys(tuple(sorted(pair)) for pair in same_as.items()))
    named = "; ".join(" and ".join(pair) for pair in pairs[:_NAMED])
    return [
        f"{len(same_as)} examples are the same as one with another label, or nearly, so one of the two is wrong: "
        f"{named}{'; ...' * (len(pairs) > _NAMED)} (column same_as of suspects.csv). They come first."
    ]
