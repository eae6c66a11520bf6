"""From tables of numbers to text inside a page: binary columns, deflated, in base64; `data.js` is their reader.

Columns follow each other. Each is stored plane by plane: the lowest bytes of all rows, then the next ones, which
deflate makes smaller. Numbers are half floats times a power of two, which leaves them three digits: all that is shown.
"""

import base64
import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

_HIGHEST = 32768.0  # numbers are scaled to lie below; half floats reach 65504
FLOOR = 1e-4  # nats: smaller losses are drawn as this one
STEPS = 126  # of a curve's logarithmic axis, about a pixel each, in a byte; 255: no value


@dataclass
class Packer:
    """Columns that are packed one after the other, and the list of them that their reader needs."""

    rows: int

    def __post_init__(self) -> None:
        self._parts: list[bytes] = []
        self.fields: list[dict[str, Any]] = []

    def ids(self, key: str, values: np.ndarray) -> None:
        """Whole numbers of up to 32 bits."""
        self._add({"key": key, "kind": "id", "bytes": 4}, values.astype("<u4"))

    def classes(self, key: str, values: np.ndarray, title: str) -> None:
        """Class numbers from 0 to 254; -1 means that there is none."""
        if values.max(initial=0) > 254:
            raise ValueError(f"column {key!r} has class {values.max()}: at most 254 can be told in a byte")
        self._add(
            {"key": key, "kind": "class", "title": title, "bytes": 1}, np.where(values < 0, 255, values).astype("u1")
        )

    def numbers(self, key: str, values: np.ndarray, title: str, about: str) -> None:
        """Numbers, rounded to about three digits; NaN stays NaN."""
        largest = float(np.nanmax(np.abs(values), initial=0.0))
        exponent = max(0, math.ceil(math.log2(largest / _HIGHEST))) if largest else 0
        scaled = np.ldexp(values.astype(np.float64), -exponent).astype("<f2")
        field = {"key": key, "kind": "number", "title": title, "about": about, "exponent": exponent, "bytes": 2}
        self._add(field, scaled.view("<u2"))

    def curves(self, key: str, values: np.ndarray, highest: float) -> None:
        """Losses over epochs [epochs, rows], each a byte on a logarithmic axis from FLOOR to `highest`."""
        share = np.log(np.maximum(values, FLOOR) / FLOOR) / math.log(highest / FLOOR)
        steps = np.where(np.isnan(values), 255, np.rint(STEPS * np.clip(np.nan_to_num(share), 0, 1))).astype("u1")
        for epoch, row in enumerate(steps):
            self._add({"key": f"{key}-{epoch}", "kind": "curve", "bytes": 1}, row)

    def text(self) -> str:
        """All columns in base64."""
        return encode(zlib.compress(b"".join(self._parts), 9))

    def _add(self, field: dict[str, Any], values: np.ndarray) -> None:
        if len(values) != self.rows:
            raise ValueError(f"column {field['key']!r} has {len(values)} rows, the set has {self.rows}")
        planes = np.ascontiguousarray(values).view("u1").reshape(self.rows, -1).T
        self._parts.append(planes.tobytes())
        self.fields.append(field)


def encode(content: bytes) -> str:
    """Bytes as text."""
    return base64.b64encode(content).decode("ascii")
