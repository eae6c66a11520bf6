"""Looking after the store of runs: what is there, whether it is as it was written, and removing what is of no use."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from filelock import FileLock, Timeout

from turnover import integrity
from turnover.config import STAGE_VERSION, identity, recorded
from turnover.store import LOCK, outputs_root

State = Literal["finished", "damaged", "old", "running", "interrupted", "failed", "unreadable"]
REMOVABLE: dict[State, str] = {
    "damaged": "finished, but a file is missing or does not have its checksum",
    "old": "finished by an earlier stage of the code, whose numbers were others: never used any more",
    "interrupted": "stopped or killed: the same command would go on with it",
    "failed": "ended with an error: the same command would try again",
    "unreadable": "has no manifest that can be read",
}


@dataclass(frozen=True)
class Found:
    """One folder of the store."""

    folder: Path
    state: State
    about: str  # what is wrong, or the message of the run; empty if there is nothing to say
    manifest: dict[str, Any]
    size: int  # bytes


def runs(*, thorough: bool = False) -> Iterator[Found]:
    """Every run of the store, by name.

    Args:
        thorough: compare all files with their checksums, checkpoints too; otherwise no file is taken for damaged.
    """
    root = outputs_root() / "runs"
    for folder in sorted(each for each in root.glob("*") if each.is_dir()):
        state, about, manifest = _judged(folder, thorough=thorough)
        yield Found(
            folder, state, about, manifest, sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
        )


def remove(found: Found) -> bool:
    """Remove a run's folder, unless a process works on it; whether it was removed."""
    lock = FileLock(found.folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    try:
        shutil.rmtree(found.folder)
    finally:
        lock.release()
    return True


def _judged(folder: Path, *, thorough: bool) -> tuple[State, str, dict[str, Any]]:
    done = (folder / "DONE").exists()
    wrong = integrity.damaged(folder) if done and thorough else []
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        status, message = str(manifest["status"]), str(manifest["message"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return ("damaged", ", ".join(wrong), {}) if wrong else ("unreadable", f"manifest.json: {error}", {})
    if not done:
        if _locked(folder):
            return "running", "", manifest
        if status == "failed":
            return "failed", message, manifest
        return "interrupted", message or "its process is gone", manifest
    if wrong:
        return "damaged", ", ".join(wrong), manifest
    if not folder.name.endswith(_identity(folder)):
        return "old", f"made by stage {manifest.get('stage', 'unknown')}, the code is at {STAGE_VERSION}", manifest
    return "finished", "", manifest


def _identity(folder: Path) -> str:
    """How the run of this config is named by the code as it is; "?": the code refuses it, "": nobody can tell."""
    try:
        values = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        return identity(recorded(values))
    except OSError:  # a user's table of subsets may be gone
        return ""
    except (ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        return "?"


def _locked(folder: Path) -> bool:
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
