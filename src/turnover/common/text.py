"""Formatting of values, numbers and names."""

import difflib
import math
import re
from collections.abc import Iterable
from typing import Any

_MOST_DECIMALS = 4  # decimals

Interval = tuple[float, float] | list[float]


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested dictionaries as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def counted(size: float, of: int) -> int:
    """Return a number of examples: a whole number as it is, any other as a share of them."""
    return size if isinstance(size, int) else round(size * of)


def size(bytes: float) -> str:
    """Format an amount of memory, such as 1.2 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if bytes < 1000 or unit == "GB":
            return f"{bytes:.0f} {unit}" if unit == "B" or bytes >= 10 else f"{bytes:.1f} {unit}"
        bytes /= 1000
    raise AssertionError


def clock(seconds: float) -> str:
    """Format a duration, such as 12 min."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def effect(value: float, interval: Interval | None) -> str:
    """Format an effect with its 95 % interval, to two digits of half its width: 0.946 [0.918, 0.973].

    At most four decimals; an interval of no width has the decimals that the effect needs. A dash if it is not a number.
    """
    if not math.isfinite(value):
        return "–"
    if interval is None:
        return f"{value:.3g} (one seed)"
    half = (interval[1] - interval[0]) / 2
    decimals = len(f"{value:.{_MOST_DECIMALS}f}".rstrip("0").partition(".")[2])
    if half:
        decimals = min(max(1 - math.floor(math.log10(half)), 0), _MOST_DECIMALS)
    low, high = (f"{bound:z.{decimals}f}" for bound in interval)  # z: no -0.0000
    return f"{value:z.{decimals}f} [{low}, {high}]"


def short(value: Any) -> str:
    """Format a number with up to three significant digits, anything else as it is."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if not isinstance(value, float):
        return str(value)
    decimals = min(max(2 - math.floor(math.log10(abs(value))), 0), 4) if value else 0
    return f"{value:z.{decimals}f}"


def suggestion(word: str, allowed: list[str]) -> str:
    """Suggest the allowed words closest to `word`, else list all of them."""
    close = difflib.get_close_matches(word, allowed, n=3)
    return f"did you mean {' or '.join(close)}?" if close else f"allowed: {', '.join(allowed)}"


def printable(text: str) -> str:
    """Return text that any file can hold: bytes of a name that is no UTF-8 as escapes, such as caf\\xe9.png."""
    escaped = re.sub("[\udc80-\udcff]", lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", text)
    return escaped.encode("utf-8", "backslashreplace").decode("utf-8")


def visible(text: str) -> str:
    """Return text whose control characters, which a terminal would obey, are escapes; line breaks and tabs stay."""
    return re.sub("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", lambda found: ascii(found[0])[1:-1], text)


def in_order(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return those of the names that are known, in the order of `known`; el2n/3, after a slash, where el2n is."""
    present = list(names)
    return [name for column in known for name in present if name.partition("/")[0] == column]
