"""Housekeeping of the store of runs: list runs with their state, and remove those of no use."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from filelock import FileLock, Timeout

from turnover.common.files import outputs_root
from turnover.config.parse import recorded
from turnover.config.probe_run import ProbeRun, recorded_probe
from turnover.config.run import STAGE_VERSION, RunConfig, hashed, title
from turnover.runs.store import checksums
from turnover.runs.store.run import LOCK, read_manifest

State = Literal["finished", "damaged", "old", "orphaned", "running", "interrupted", "failed", "unreadable"]
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
    title: str  # readable title; empty if its config cannot be read
    state: State
    about: str  # what is wrong, or the message of the run; empty if there is nothing to say
    manifest: dict[str, Any]
    size: int  # bytes


def runs(*, thorough: bool = False) -> Iterator[Found]:
    """Yield every run of the store, by name.

    Args:
        thorough: compare all files with their checksums, checkpoints too; otherwise no run is reported as damaged.
    """
    root = outputs_root() / "runs"
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        state, about, manifest = _judged(folder, thorough=thorough)
        config = _config(folder)
        yield Found(folder, _title(config) if config else "", state, about, manifest, _size(folder))


def remove(found: Found) -> bool:
    """Remove a run's folder, unless a process works on it or did since its state was read; return True if removed.

    Of a run behind a symbolic link, the link alone is removed.

    Raises:
        OSError: the store cannot be written to.
    """
    lock = FileLock(found.folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except (Timeout, FileNotFoundError):
        return False
    try:
        if _judged(found.folder, thorough=True, locked=False)[0] != found.state:
            return False
        # at once out of the way, lest a process that waits for the lock begin its work in half a folder
        found.folder.rename(outputs_root() / f".removed-{found.folder.name}-{os.getpid()}")
        for away in outputs_root().glob(".removed-*"):  # and what others, killed since, began to remove
            away.unlink() if away.is_symlink() else shutil.rmtree(away, ignore_errors=True)
    finally:
        lock.release()
    return True


def _judged(folder: Path, *, thorough: bool, locked: bool | None = None) -> tuple[State, str, dict[str, Any]]:
    done = (folder / "DONE").exists()
    damaged = checksums.damaged(folder) if done and thorough else []
    try:
        manifest = read_manifest(folder)
    except (OSError, ValueError) as error:
        return ("damaged", ", ".join(damaged), {}) if damaged else ("unreadable", f"manifest.json: {error}", {})
    if not done:
        try:
            at_work, gone = _locked(folder) if locked is None else locked, "its process is gone"
        except OSError as error:
            at_work, gone = False, f"whether a process works on it, nobody can tell here: {error.strerror}"
        if at_work:
            return "running", "", manifest
        message = manifest.get("message", "")
        if manifest.get("status") == "failed":
            return "failed", message, manifest
        return "interrupted", message or gone, manifest
    if damaged:
        return "damaged", ", ".join(damaged), manifest
    named = _stage(folder)
    stage = manifest.get("stage", named)
    if named == STAGE_VERSION:
        return "finished", "", manifest
    if stage in (None, STAGE_VERSION):
        return "orphaned", "finished, but the table it names is gone, or the code no longer allows its config", manifest
    return "old", f"made by stage {stage}, the code is at {STAGE_VERSION}", manifest


def _stage(folder: Path) -> int | None:
    """Return the stage of the code under which the config has the name of the folder; None if there is none."""
    config = _config(folder)
    if config is None:
        return None
    return next(
        (stage for stage in range(STAGE_VERSION, 0, -1) if folder.name.endswith(hashed(config.science(), stage))), None
    )


def _title(config: RunConfig | ProbeRun) -> str:
    return config.title if isinstance(config, ProbeRun) else title(config)


def _config(folder: Path) -> RunConfig | ProbeRun | None:
    try:
        values = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        return recorded_probe(values) if "probe" in values else recorded(values)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        return None


def _locked(folder: Path) -> bool:
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _size(folder: Path) -> int:
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # of a run at work, a file may be gone already
                total += Path(where, name).stat().st_size
    return total
