"""The folder of a run: named by the run's identity, locked while it is worked on, marked DONE last.

A folder holds config.yaml, manifest.json, log.txt, checkpoint.pt, metrics.parquet, scores.parquet and DONE. Each file
is written beside its place and then moved there, so that a reader never sees half of one, whenever a process dies.
"""

import json
import logging
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from turnover.common.files import locked, outputs_root, read_small, remove_leftovers, write_json, write_text
from turnover.config.run import STAGE_VERSION, RunConfig, identity, run_name
from turnover.errors import RefusedInput, RunFailed
from turnover.runs.store import checksums
from turnover.runs.store.provenance import now

log = logging.getLogger("turnover")

LOCK = ".lock"  # in a run's folder, locked by the process that works on it
# fields that are read elsewhere
_KINDS = {"status": str, "message": str, "seconds": int | float, "starts": int, "stage": int, "precision": str}
_MOST_SECONDS = 1e12
SCRATCH = "scratch"  # in a run's folder: what a killed run needs besides its checkpoint


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read manifest.json of a run's folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged; names the fault.
    """
    try:
        manifest = json.loads(read_small(folder / "manifest.json"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(manifest, dict):
        raise ValueError("it is no mapping")
    for name, kind in _KINDS.items():
        if name in manifest and not isinstance(manifest[name], kind):
            raise ValueError(f"{name} = {manifest[name]!r:.60}")
    if not -math.inf < manifest.get("seconds", 0.0) <= _MOST_SECONDS:  # nor NaN
        raise ValueError(f"seconds = {manifest['seconds']!r:.60}")
    return manifest


class Folder:
    """The folder of a run of any kind."""

    def __init__(self, name: str, identity: str) -> None:
        self.name, self.identity = name, identity
        self.folder = outputs_root() / "runs" / name

    @property
    def finished(self) -> bool:
        """True if all its files are written."""
        return (self.folder / checksums.DONE).exists()

    @property
    def manifest(self) -> dict[str, Any]:
        """Record of the run: status, seconds, versions, commit, device; empty if it was never started."""
        try:
            return read_manifest(self.folder)
        except FileNotFoundError:
            return {}
        except ValueError as error:
            path = self.folder / "manifest.json"
            if self.finished:
                raise RunFailed(f"{path} is damaged ({error}): {_removal(self.name)} and make it again") from None
            log.warning("%s is damaged (%s): what it said of earlier starts is lost", path, error)
            return {}

    def lock(self) -> AbstractContextManager[None]:
        """Lock the run against other processes; log it if another one holds the lock, and wait."""
        return locked(self.folder / LOCK, self.name)

    @contextmanager
    def working(self, provenance: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Keep manifest.json up to date while the block works: running, then finished, failed or interrupted.

        Entries of the yielded dictionary are recorded too. DONE is written last.
        """
        before = self.manifest
        started = time.monotonic()
        manifest: dict[str, Any] = {
            "name": self.name,
            "status": "running",
            "message": "",
            "started": before.get("started") or now(),
            "ended": "",
            "seconds": before.get("seconds", 0.0),
            "starts": before.get("starts", 0) + 1,
            "parents": [],
            "stage": STAGE_VERSION,
            **provenance,
        }
        extra: dict[str, Any] = {}
        remove_leftovers(
            file for below in ("", "scored/", "weights/", f"{SCRATCH}/") for file in self.folder.glob(f"{below}.*.*")
        )
        write_json(self.folder / "manifest.json", manifest)

        def record(status: str, message: str = "") -> None:
            seconds = round(manifest["seconds"] + time.monotonic() - started, 3)
            ended = {"status": status, "message": message, "ended": now(), "seconds": seconds}
            write_json(self.folder / "manifest.json", manifest | extra | ended)

        try:
            yield extra
            record("finished")
            self._seal()
        except (KeyboardInterrupt, Exception) as error:
            foreseen = isinstance(error, KeyboardInterrupt | RefusedInput | RunFailed)
            log.debug("%s: %s", type(error).__name__, error, exc_info=not foreseen)
            ended = ("failed", f"{type(error).__name__}: {error}")
            if isinstance(error, KeyboardInterrupt):
                ended = ("interrupted", "stopped; the same command goes on from the last checkpoint")
            with suppress(OSError):  # on a full disk the error of the work is raised
                if not self.finished:  # or it was stopped behind its last step
                    record(*ended)
            raise
        self.remove_scratch()  # until DONE is there, it may be needed

    def _seal(self) -> None:
        """Write the checksums of all files and, last of all, DONE: identity of the run, checksum of checksums.txt."""
        every = checksums.rows(self.folder, checksums.files(self.folder))
        write_text(self.folder / checksums.NAME, checksums.table(every))
        itself = checksums.rows(self.folder, [self.folder / checksums.NAME])
        write_text(self.folder / checksums.DONE, f"{self.identity}\n{checksums.table(itself)}")

    def remove_scratch(self) -> None:
        """Remove what only an unfinished run needs; a process may have been killed between DONE and this."""
        shutil.rmtree(self.folder / SCRATCH, ignore_errors=True)


class Run(Folder):
    """The folder of one run that trains."""

    def __init__(self, config: RunConfig, stage: int | None = None) -> None:
        super().__init__(run_name(config, stage), identity(config))
        self.config = config


def cannot_go_on(path: Path, name: str) -> RunFailed:
    """Return the error of a stopped run that needs a lost file, which cannot be made again by itself."""
    remedy = f"remove it, scripts/runs.py gc {name} --failed --yes, and start it again"
    return RunFailed(f"{path} is missing or damaged, so the run cannot go on: {remedy}")


def _removal(name: str) -> str:
    return f"scripts/runs.py gc {name} --damaged --yes"


def require(run: Folder, command: str) -> Path:
    """Return the folder of a finished run with undamaged tables; RunFailed names the command that makes it."""
    if not run.finished:
        raise RunFailed(f"run {run.name} is not finished: {command}")
    if damaged := checksums.damaged(run.folder, besides=("checkpoint.pt",)):
        raise RunFailed(f"run {run.name} is damaged ({', '.join(damaged)}): {_removal(run.name)}, then {command}")
    if isinstance(run, Run):
        refuse_other_precision(run)
    return run.folder


def refuse_other_precision(run: Run) -> None:
    """Refuse precision=bfloat16 for a run that `auto` made in float32, as both have one folder."""
    if run.config.precision == "bfloat16" and run.manifest.get("precision") == "float32":
        raise RunFailed(
            f"precision = 'bfloat16': run {run.name} was begun with precision=auto, which was float32 on that machine; "
            f"precision=auto takes it as it is, or remove {run.folder} to make it anew"
        )
