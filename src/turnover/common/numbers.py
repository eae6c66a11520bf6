"""Numbers as people read them, everywhere alike: as many decimals as their interval allows."""

import math
from typing import Any

_MOST_PLACES = 4  # decimals

Interval = tuple[float, float] | list[float]


def effect(value: float, interval: Interval | None) -> str:
    """An effect with its 95 % interval, to two digits of half its width, at most four decimals: 0.946 [0.918, 0.973].

    An interval of no width has the decimals that the effect needs.
    """
    if interval is None:
        return f"{value:.3g} (one seed)"
    half = (interval[1] - interval[0]) / 2
    places = len(f"{value:.{_MOST_PLACES}f}".rstrip("0").partition(".")[2])
    if half:
        places = min(max(1 - math.floor(math.log10(half)), 0), _MOST_PLACES)
    low, high = (f"{bound:z.{places}f}" for bound in interval)  # z: no -0.0000
    return f"{value:z.{places}f} [{low}, {high}]"


def short(value: Any) -> str:
    """A number with up to three digits that mean something, anything else as it is."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if not isinstance(value, float):
        return str(value)
    places = min(max(2 - math.floor(math.log10(abs(value))), 0), 4) if value else 0
    return f"{value:z.{places}f}"
