"""Examples that are the same or nearly the same but for their labels, of which one at least is wrong."""

from collections import defaultdict
from hashlib import blake2b

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from turnover.audit.labelled import Collection

_NAMED = 3  # pairs that the remark names
_SMALL = 16  # pixels of the side of the pictures that are compared
_LEAST_SIDE = 32  # of images; of smaller ones different ones are alike
_ALIKE = 0.995  # correlation of two such pictures, as of an image and its copy that was resized or compressed
_FLAT = 4.0  # standard deviation of the pixels, of 255, below which there is nothing to compare
_MOST = 60_000  # examples, of which every pair is compared
_BLOCK = 500  # examples that are compared with all others at once


def contradictions(collection: Collection) -> np.ndarray:
    """Return for each example the name of one that looks the same and has another label, else "".  # object [n]

    It has the same pixels or values, or, of images of 32 pixels or more, nearly the same small picture.
    """
    alike = defaultdict[bytes, list[int]](list)
    known = collection.digests
    for row, values in enumerate(collection.values):
        alike[blake2b(values.tobytes(), digest_size=16).digest() if known is None else known[row].tobytes()].append(row)
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


def _nearest(collection: Collection) -> dict[int, int]:
    """Return of each example that has one the most similar one with another label."""
    large = collection.digests is not None or (
        collection.images and min(collection.values.shape[2:]) >= _LEAST_SIDE and collection.values.dtype == np.uint8
    )
    if not large or len(collection) > _MOST:
        return {}
    labels = torch.from_numpy(collection.labels)
    small = torch.cat(
        [
            adaptive_avg_pool2d(torch.from_numpy(collection.values[start : start + _BLOCK]).float(), _SMALL)
            for start in range(0, len(collection), _BLOCK)
        ]
    )
    small = (small - small.mean((2, 3), keepdim=True)).flatten(1)  # so that a flat colour is like nothing
    structured = small.std(1) >= _FLAT
    small /= small.norm(dim=1, keepdim=True).clamp(min=1e-9)
    small[~structured] = 0
    found = {}
    for start in range(0, len(small), _BLOCK):
        similar = small[start : start + _BLOCK] @ small.T  # [block, n]
        similar[labels[start : start + _BLOCK, None] == labels] = 0
        most, other = similar.max(1)
        for row in (most >= _ALIKE).nonzero()[:, 0].tolist():
            found[start + row] = int(other[row])
    return found


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
