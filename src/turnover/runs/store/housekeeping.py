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

from turnover.common.files import naming, outputs_root, read_small
from turnover.config.parse import recorded
from turnover.config.probe_run import ProbeRun, recorded_probe
from turnover.config.run import STAGE_VERSION, RunConfig, hashed, title
from turnover.runs.store import checksums
from turnover.runs.store.run import LOCK, read_manifest

State = Literal["finished", "damaged", "old", "newer", "orphaned", "running", "interrupted", "failed", "unreadable"]
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
        state, about, manifest = judged(folder, thorough=thorough)
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
        with naming(found.folder / LOCK):
            lock.acquire(timeout=0)
    except (Timeout, FileNotFoundError):
        return False
    try:
        if judged(found.folder, thorough=True, at_work=False)[0] != found.state:
            return False
        # at once out of the way, lest a process that waits for the lock begin its work in half a folder
        found.folder.rename(outputs_root() / f".removed-{found.folder.name}-{os.getpid()}")
        for away in outputs_root().glob(".removed-*"):  # and what others, killed since, began to remove
            away.unlink() if away.is_symlink() else shutil.rmtree(away, ignore_errors=True)
    finally:
        with naming(found.folder / LOCK):
            lock.release()
    return True


def judged(folder: Path, *, thorough: bool, at_work: bool | None = None) -> tuple[State, str, dict[str, Any]]:
    """Return the state of a run, what there is to say about it, and its manifest, whatever lies in its folder.

    Args:
        thorough: compare its files with their checksums.
        at_work: whether a process works on it, if that is known.
    """
    try:
        return _state(folder, thorough=thorough, at_work=at_work)
    except Exception as error:  # whatever lies in the folder, the others are judged
        return "unreadable", f"{type(error).__name__}: {error}", {}


def _state(folder: Path, *, thorough: bool, at_work: bool | None) -> tuple[State, str, dict[str, Any]]:
    done = (folder / "DONE").exists()
    damaged = checksums.damaged(folder) if done and thorough else []
    try:
        manifest = read_manifest(folder)
    except (OSError, ValueError) as error:
        return ("damaged", ", ".join(damaged), {}) if damaged else ("unreadable", f"manifest.json: {error}", {})
    if _newer(folder, manifest):
        about = f"made by stage {manifest['stage']}, the code is at {STAGE_VERSION}: a newer checkout's"
        return "newer", ", ".join([about, *damaged]), manifest
    if not done:
        try:
            at_work, gone = locked(folder) if at_work is None else at_work, "its process is gone"
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


def _newer(folder: Path, manifest: dict[str, Any]) -> bool:
    """Return True if a newer checkout has made the run, or works on it: nothing here uses or removes it."""
    return manifest.get("stage", 0) > STAGE_VERSION and _stage(folder) is None


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
        values = yaml.safe_load(read_small(folder / "config.yaml"))
        return recorded_probe(values) if "probe" in values else recorded(values)
    except Exception:  # it may hold anything
        return None


def locked(folder: Path) -> bool:
    """Return True if a process works on a run.

    Raises:
        OSError: nobody can tell.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except FileNotFoundError:  # of the folder
        return False
    lock.release()
    return False


def _size(folder: Path) -> int:
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # of a run at work, a file may be gone already
                total += Path(where, name).stat().st_size
    return total
