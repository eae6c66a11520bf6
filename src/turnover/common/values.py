"""Nested values as flat ones, for people to read and compare."""

from typing import Any


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
