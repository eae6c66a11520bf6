"""manifest.json of a run: what became of it, when, where and with which versions."""

import json
import math
from pathlib import Path
from typing import Any

_KINDS = {"status": str, "message": str, "seconds": int | float, "starts": int, "precision": str}  # what others rely on


def read_manifest(folder: Path) -> dict[str, Any]:
    """What manifest.json of a run's folder says.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged; names what makes no sense.
    """
    found = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError("it is no mapping")
    for name, kind in _KINDS.items():
        if name in found and not isinstance(found[name], kind):
            raise ValueError(f"{name} = {found[name]!r}")
    if not math.isfinite(found.get("seconds", 0.0)):
        raise ValueError(f"seconds = {found['seconds']}")
    return found
