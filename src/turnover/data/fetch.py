"""Fetching and reading of datasets, byte for byte as published.

The checksums are verified on every read, whatever put the files there. A fetch works in a temporary folder beside
them, under a lock, and moves only verified files into place: a killed one leaves nothing half-done.
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from filelock import FileLock, Timeout

from turnover.common.files import checkout
from turnover.data.archives import Files
from turnover.data.sources import COLLECTIONS, Collection
from turnover.errors import RefusedInput, RunFailed

log = logging.getLogger("turnover")

Contents = dict[str, np.ndarray]  # uint8 [bytes] of each file, by its name; writable and used by nobody else


def data_root() -> Path:
    """Return the folder of all datasets: `$TURNOVER_DATA`, else `data` in the checkout or in the current folder."""
    if given := os.environ.get("TURNOVER_DATA"):
        return Path(given).expanduser()
    return checkout() / "data"


def ensure(name: str, root: Path | None = None) -> Contents:
    """Return the verified files of dataset `name` below `root` (default: `data_root()`), fetched if missing.

    RefusedInput for a name with nothing to fetch, RunFailed if no source has the files.
    """
    if name not in COLLECTIONS:
        raise RefusedInput(f"dataset {name!r}: there is nothing to fetch; allowed: {', '.join(COLLECTIONS)}")
    return obtain(COLLECTIONS[name], data_root() if root is None else root)


def at_hand(name: str) -> bool:
    """Return True if all files of dataset `name` exist below `data_root()`; checksums are not verified."""
    if name not in COLLECTIONS:
        return True
    folder = data_root() / COLLECTIONS[name].folder
    return all((folder / file).is_file() for file in COLLECTIONS[name].files)


def obtain(collection: Collection, root: Path) -> Contents:
    """Return the verified files of a collection below `root`, fetched if missing. Safe in several processes at once."""
    try:
        contents, faults = _read(collection, root)
        if not faults:
            return contents  # without the lock, so that a folder one may only read will do
        root.mkdir(parents=True, exist_ok=True)
        with _only_one(collection, root):
            contents, faults = _read(collection, root)
            if faults:
                _clear(collection, root, faults)
                _fetch(collection, root, list(faults))
                contents, faults = _read(collection, root)
    except OSError as error:
        raise RunFailed(f"{collection.title}: the data folder {root} cannot be used: {error}") from error
    if faults:
        raise RunFailed(f"{collection.title}: written but not read back: {_listed(faults)}")
    return contents


def _read(collection: Collection, root: Path) -> tuple[Contents, dict[str, str]]:
    """Return the contents of the good files, and the fault of each of the others."""
    contents: Contents = {}
    faults = {}
    for name, expected in collection.files.items():
        try:
            content = np.fromfile(root / collection.folder / name, dtype=np.uint8)
        except FileNotFoundError:
            faults[name] = "is missing"
            continue
        if fault := _fault(content.data, expected):
            faults[name] = fault
        else:
            contents[name] = content
    return contents, faults


def _fault(content: bytes | memoryview, expected: str) -> str | None:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return None if md5 == expected else f"has md5 {md5} ({len(content):,} bytes), expected {expected}"


@contextmanager
def _only_one(collection: Collection, root: Path) -> Iterator[None]:
    lock = FileLock(root / f".{collection.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("%s: another process is fetching it; waiting for that one", collection.title)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _clear(collection: Collection, root: Path, faults: dict[str, str]) -> None:
    """Remove files with a wrong checksum and leftovers of killed fetches."""
    for leftover in root.glob(f".{collection.name}.*.partial"):
        log.info("%s: removing what an interrupted fetch left in %s", collection.title, leftover)
        shutil.rmtree(leftover, ignore_errors=True)
    for name, fault in faults.items():
        path = root / collection.folder / name
        if path.exists():
            log.warning("%s %s; it is removed and fetched again", path, fault)
            path.unlink()


def _fetch(collection: Collection, root: Path, names: list[str]) -> None:
    """Install the named files from the first source whose files all have the published checksums."""
    log.info("%s is not in %s; fetching it", collection.title, root)
    failures = []
    with TemporaryDirectory(
        prefix=f".{collection.name}.", suffix=".partial", dir=root, ignore_cleanup_errors=True
    ) as scratch:
        for number, source in enumerate(collection.sources):
            log.info("%s: trying %s", collection.title, source.title)
            folder = Path(scratch, str(number))
            folder.mkdir()
            try:
                _install(collection, source.get(root, folder), root, folder, names)
            except Exception as error:  # whatever went wrong, the next source may do
                failures.append(f"{source.title}: {' '.join(str(error).split()) or type(error).__name__}")
                log.info("  not available: %s", failures[-1].removeprefix(f"{source.title}: "))
                continue
            log.info("%s: %d files are in %s", collection.title, len(collection.files), root / collection.folder)
            return
    raise RunFailed(_all_failed(collection, root, failures))


def _install(collection: Collection, files: Files, root: Path, scratch: Path, names: list[str]) -> None:
    faults = {}
    for name, expected in collection.files.items():
        if fault := _fault(files[name], expected) if name in files else "is not in it":
            faults[name] = fault
    if faults:
        raise RunFailed(_listed(faults))
    ready, target = scratch / "ready", root / collection.folder
    ready.mkdir()
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        (ready / name).write_bytes(files[name])
    for name in names:
        (ready / name).replace(target / name)


def _listed(faults: dict[str, str]) -> str:
    return "; ".join(f"{name} {fault}" for name, fault in faults.items())


def _all_failed(collection: Collection, root: Path, failures: list[str]) -> str:
    files = [f"  {root / collection.folder / name}  md5 {md5}" for name, md5 in collection.files.items()]
    advice = "What to do: put these files in place by hand, or set TURNOVER_DATA to a folder that has them:"
    tried = [f"  {failure}" for failure in failures]
    return "\n".join([f"{collection.title} could not be fetched.", *tried, advice, *files])
