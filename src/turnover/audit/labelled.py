"""Labelled examples in memory, as every reader of the audit returns them."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

_BLOCK = 4_000_000  # values that are standardized at once
_NAMED = 5  # classes that a remark names


class LeftOut(NamedTuple):
    """A file, folder or row that is no example."""

    path: str
    why: str  # the reason, and details behind a colon


@dataclass(frozen=True)
class Collection:
    """Examples in the order of the file, or of sorted paths."""

    values: np.ndarray  # uint8 or float32, images [n, channels, height, width] or vectors [n, features]
    labels: np.ndarray  # int64 [n], positions in `classes`
    classes: tuple[str, ...]
    names: tuple[str, ...]  # of each example: path below the folder, its id, or its row in the file
    left_out: tuple[LeftOut, ...] = ()
    lost_classes: tuple[str, ...] = ()  # those of which no example can be read
    files: tuple[Path, ...] = ()  # of the images, if they are files
    digests: np.ndarray | None = None  # uint8 [n, 16], of pixels of which `values` holds small pictures only
    features: np.ndarray | None = None  # float32 [n, features], by a frozen network
    groups: tuple[str, ...] = ()  # of examples that are held out together; empty names: of its own

    def __len__(self) -> int:
        return len(self.values)

    @property
    def images(self) -> bool:
        """True if the examples are images."""
        return self.values.ndim == 4

    def inputs(self) -> np.ndarray:
        """Return inputs with mean 0 and variance 1 a channel, or a feature, over all examples.  # float32, as values"""
        over = (0, 2, 3) if self.images else (0,)
        rows = max(1, _BLOCK // max(1, self.values[0].size))
        blocks = [slice(start, start + rows) for start in range(0, len(self), rows)]
        count = self.values.size // self.values.shape[1]

        total = sum(self.values[block].sum(over, dtype=np.float64, keepdims=True) for block in blocks)
        mean = np.asarray(total) / count
        total = sum(np.square(self.values[block] - mean).sum(over, keepdims=True) for block in blocks)
        deviation = np.sqrt(np.asarray(total) / count)

        scaled = np.empty(self.values.shape, dtype=np.float32)
        for block in blocks:
            scaled[block] = self.values[block]
            scaled[block] -= mean.astype(np.float32)
            scaled[block] /= np.where(deviation > 0, deviation, 1).astype(np.float32)
        return scaled

    def remarks(self) -> list[str]:
        """Return what the reader of the results must know: how much was left out, and classes without examples."""
        remarks = [f"Left out: {summary(self.left_out)}; unusable.csv names every one."] if self.left_out else []
        if self.lost_classes:
            named = ", ".join(self.lost_classes[:_NAMED])
            more = f" and {len(self.lost_classes) - _NAMED} more" if len(self.lost_classes) > _NAMED else ""
            remarks.append(
                f"No image could be read of {named}{more}: no label is compared with "
                f"{'this class' if len(self.lost_classes) == 1 else 'these classes'}."
            )
        alike: dict[str, list[str]] = {}
        for name in self.classes:
            alike.setdefault(" ".join(name.casefold().split()), []).append(name)
        if doubled := [names for names in alike.values() if len(names) > 1]:
            named = "; ".join(" and ".join(map(repr, names)) for names in doubled[:_NAMED])
            remarks.append(
                f"Classes that differ in spaces or in upper and lower case alone: {named}"
                f"{'; ...' * (len(doubled) > _NAMED)}. Give them one name if they are one."
            )
        return remarks


def summary(left_out: tuple[LeftOut, ...]) -> str:
    """Return how many were left out, and how many of them for each reason, the most frequent first."""
    reasons = Counter(entry.why.partition(":")[0] for entry in left_out)
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return f"{len(left_out)} ({counts})"
