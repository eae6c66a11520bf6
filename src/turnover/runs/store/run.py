"""Where a run lives: a folder named by the run's identity, locked while it is worked on, marked DONE last.

A folder holds config.yaml, manifest.json, log.txt, checkpoint.pt, metrics.parquet, scores.parquet and DONE. Each file
is written beside its place and then moved there, so that a reader never sees half of one, whenever a process dies.
"""

import errno
import json
import logging
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from turnover.common.locks import locked
from turnover.config.estimators import NoEstimator
from turnover.config.run import STAGE_VERSION, RunConfig, identity
from turnover.errors import RefusedInput, RunFailed
from turnover.runs.store import checksums as integrity
from turnover.runs.store.manifest import read_manifest

log = logging.getLogger("turnover")

LOCK = ".lock"  # in a run's folder: held by the process that works on it
_NO_ROOM = 1_000_000  # bytes; less than this is left on a full disk
SCRATCH = "scratch"  # in a run's folder: besides its checkpoint, what a killed run goes on from


def checkout() -> Path:
    """The folder that holds `conf/`, `data/` and `outputs/`: the repository, else the working directory."""
    # only this far up: an installed package may lie in another project
    repository = Path(__file__).resolve().parents[2]
    return repository if (repository / "conf" / "train.yaml").is_file() else Path.cwd()


def outputs_root() -> Path:
    """$TURNOVER_OUTPUTS, else `outputs/` of the checkout."""
    return Path(os.environ.get("TURNOVER_OUTPUTS") or checkout() / "outputs")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path that takes the place of `path` at the end, or is removed if the block raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            yield temporary
        except RuntimeError as error:  # PyTorch does not say why it could not write
            if shutil.disk_usage(path.parent).free < _NO_ROOM:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
            raise
        _flush(temporary)
        temporary.replace(path)
        with suppress(OSError):  # not every file system can
            _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Make the content of a file, or the names in a folder, outlast a loss of power."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def write_text(path: Path, text: str) -> None:
    """Write a text file, all or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a json file, all or nothing."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


class Run:
    """The folder of one run."""

    def __init__(self, config: RunConfig, stage: int | None = None) -> None:
        self.config = config
        entry = "train" if isinstance(config.estimator, NoEstimator) else "score"
        self.name = f"{entry}-{config.dataset.name}-{config.model.name}-{identity(config, stage)}"
        self.folder = outputs_root() / "runs" / self.name

    @property
    def finished(self) -> bool:
        """Whether all its files are there."""
        return (self.folder / integrity.DONE).exists()

    @property
    def manifest(self) -> dict[str, Any]:
        """What is recorded of the run: status, seconds, versions, commit, device; empty if it was never started."""
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
        """Only one process works on the run; another one waits and says so."""
        return locked(self.folder / LOCK, self.name)

    @contextmanager
    def working(self, provenance: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Keeps manifest.json true while the block works: running, then finished, failed or interrupted.

        What the block puts into the yielded dictionary is recorded with it. DONE is written last.
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
        remove_leftovers(each for part in ("", "scored/", f"{SCRATCH}/") for each in self.folder.glob(f"{part}.*.*"))
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
            with suppress(OSError):  # on a full disk what is told is why the work failed
                if not self.finished:  # or it was stopped behind its last step
                    record(*ended)
            raise
        self.remove_scratch()  # until DONE is there, it may be needed

    def _seal(self) -> None:
        """Write the checksums of all files and, last of all, DONE: identity of the run, checksum of checksums.txt."""
        every = integrity.rows(self.folder, integrity.files(self.folder))
        write_text(self.folder / integrity.NAME, integrity.table(every))
        itself = integrity.rows(self.folder, [self.folder / integrity.NAME])
        write_text(self.folder / integrity.DONE, f"{identity(self.config)}\n{integrity.table(itself)}")

    def remove_scratch(self) -> None:
        """Remove what only an unfinished run needs; a process may have been killed between DONE and this."""
        shutil.rmtree(self.folder / SCRATCH, ignore_errors=True)


def cannot_go_on(path: Path, name: str) -> RunFailed:
    """What is raised if a stopped run needs a file that is lost, and that cannot be made again by itself."""
    remedy = f"remove it, scripts/runs.py gc {name} --failed --yes, and start it again"
    return RunFailed(f"{path} is missing or damaged, so the run cannot go on: {remedy}")


def _removal(name: str) -> str:
    return f"scripts/runs.py gc {name} --damaged --yes"


def require(run: Run, command: str) -> Path:
    """The folder of a finished run with undamaged tables, or RunFailed that names the command which makes it."""
    if not run.finished:
        raise RunFailed(f"run {run.name} is not finished: {command}")
    if wrong := integrity.damaged(run.folder, besides=("checkpoint.pt",)):
        raise RunFailed(f"run {run.name} is damaged ({', '.join(wrong)}): {_removal(run.name)}, then {command}")
    refuse_other_precision(run)
    return run.folder


def refuse_other_precision(run: Run) -> None:
    """bfloat16 by name is not what `auto` made in float32, though both have one folder."""
    if run.config.precision == "bfloat16" and run.manifest.get("precision") == "float32":
        raise RunFailed(
            f"precision = 'bfloat16': run {run.name} was begun with precision=auto, which was float32 on that machine; "
            f"precision=auto takes it as it is, or remove {run.folder} to make it anew"
        )


def provenance() -> dict[str, Any]:
    """Commit, versions and machine: recorded beside every result."""
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
    """The checkout's git commit, with -dirty if tracked files differ from it; empty outside git."""
    try:
        command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
        done = subprocess.run(command, cwd=checkout(), capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def now() -> str:
    """Time in UTC, to the second."""
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


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Remove what `replacing` had begun when its process was killed; safe under the lock of what is worked on."""
    for path in paths:
        if path.suffix[1:].isdigit():
            path.unlink(missing_ok=True)
