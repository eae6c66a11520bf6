"""Provenance of results: commit, versions and machine."""

import os
import platform
import subprocess
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from turnover.common.files import checkout


def provenance() -> dict[str, Any]:
    """Return commit, versions and machine, which are recorded beside every result."""
    return {
        "commit": commit(),
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in ("turnover", "torch", "numpy", "pandas", "hydra-core")},
        },
        "machine": {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
    }


@cache
def commit() -> str:
    """Return the checkout's git commit, with -dirty if tracked files differ from it; empty outside git."""
    try:
        command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
        done = subprocess.run(command, cwd=checkout(), capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def now() -> str:
    """Return the time in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
