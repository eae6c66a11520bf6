"""Memory that is free for this process."""

import os
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


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
