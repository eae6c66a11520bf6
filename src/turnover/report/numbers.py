"""Numbers as people read them: as many decimals as their interval allows."""

import math
from typing import Any


def decimals(effect: float, interval: tuple[float, float] | None) -> int:
    """How many decimals tell an effect: one digit of half its interval's width; from 1 to 4."""
    half = abs(interval[1] - interval[0]) / 2 if interval else 0.0
    scale = half or abs(effect) / 100
    return min(max(-math.floor(math.log10(scale)), 1), 4) if scale > 1e-5 else 3


def effect(value: float, interval: tuple[float, float] | None) -> str:
    """An effect with its 95 % interval: 0.946 [0.940, 0.951]."""
    places = decimals(value, interval)
    if interval is None:
        return f"{value:.{places}f} (one seed)"
    low, high = interval
    return f"{value:z.{places}f} [{low:z.{places}f}, {high:z.{places}f}]"


def short(value: Any) -> str:
    """A number with up to three digits that mean something, anything else as it is."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if not isinstance(value, float):
        return str(value)
    places = min(max(2 - math.floor(math.log10(abs(value))), 0), 4) if value else 0
    return f"{value:z.{places}f}"
