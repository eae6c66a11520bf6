"""Memory that is free for this process, and memory that it keeps."""

import ctypes
import functools
import os
from contextlib import suppress
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST = 2**31 - 1  # bytes, what mallopt takes


def available() -> int:
    """Return how many bytes can be taken without swapping: those of the machine, or of the container or job."""
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # where nothing says what others use
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    for group in _groups():
        limit = _lines(group / "memory.max")
        if limit and limit[0] != "max":
            cache = sum(int(line.split()[1]) for line in _lines(group / "memory.stat") if line.startswith("inactive_f"))
            used = int(_lines(group / "memory.current")[0])
            free = min(free, max(0, int(limit[0]) - used + cache))
    return free


@functools.cache
def keep_freed() -> None:
    """Let this process keep memory that it frees, for what it allocates next, if its C library is glibc.

    Else activations go back to the system after every step, and each page of the next ones costs a fault: a tenth to a
    fifth of a step of a convolutional network in float32. Peak memory stays as it is.
    """
    with suppress(AttributeError):  # another C library has no mallopt
        for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            ctypes.CDLL(None).mallopt(option, _LARGEST)


def _groups() -> list[Path]:
    """Return the control groups (version 2) that limit this process, the innermost first."""
    own = next((line[3:] for line in _lines(Path("/proc/self/cgroup")) if line.startswith("0::")), "/")
    group = _GROUPS / own.strip("/")
    return [group, *(parent for parent in group.parents if parent.is_relative_to(_GROUPS))]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
