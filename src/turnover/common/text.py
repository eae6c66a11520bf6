"""Values, numbers and names as people read them."""

import difflib
import math
from typing import Any

_MOST_PLACES = 4  # decimals

Interval = tuple[float, float] | list[float]


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def counted(size: float, of: int) -> int:
    """A number of examples: a whole number as it is, another one as a share of them."""
    return size if isinstance(size, int) else round(size * of)


def size(bytes: float) -> str:
    """An amount of memory as people say it."""
    for unit in ("B", "kB", "MB", "GB"):
        if bytes < 1000 or unit == "GB":
            return f"{bytes:.0f} {unit}" if unit == "B" or bytes >= 10 else f"{bytes:.1f} {unit}"
        bytes /= 1000
    raise AssertionError


def clock(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


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


def suggestion(word: str, allowed: list[str]) -> str:
    """What the writer of `word` may have meant, else all that is allowed."""
    close = difflib.get_close_matches(word, allowed, n=3)
    return f"did you mean {' or '.join(close)}?" if close else f"allowed: {', '.join(allowed)}"
