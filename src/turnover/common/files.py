"""Paths of the checkout and its outputs, atomic writes, arrays of stopped runs, and locks."""

import errno
import json
import logging
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger("turnover")

_SMALL = 16_000_000  # bytes


def checkout() -> Path:
    """Return the folder of `conf/`, `data/` and `outputs/`: the repository, else the working directory."""
    # only this far up: an installed package may lie in another project
    repository = Path(__file__).resolve().parents[3]
    return repository if (repository / "conf" / "train.yaml").is_file() else Path.cwd()


def outputs_root() -> Path:
    """Return $TURNOVER_OUTPUTS, else `outputs/` of the checkout."""
    return Path(os.environ.get("TURNOVER_OUTPUTS") or checkout() / "outputs")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` at the end, or is removed if the block raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with naming(path):
            yield temporary
            _flush(temporary)
            temporary.replace(path)
            with suppress(PermissionError):  # one may write to a folder and not read it
                _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name `path` in an OSError of the block that names no file, such as one of a full disk."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause and not isinstance(cause, OSError):  # PyTorch and matplotlib stumble over it and raise another
            cause = None if cause.__suppress_context__ else cause.__context__
        if not isinstance(cause, OSError):
            raise
        cause.filename = cause.filename or str(path)
        raise cause from None


def _flush(path: Path) -> None:
    """Make the content of a file, or the names in a folder, outlast a loss of power."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):  # not every file system can
            raise
    finally:
        os.close(number)


def read_small(path: Path) -> str:
    """Return the text of a file that a run keeps about itself, whatever lies at its place.

    Raises:
        FileNotFoundError: no file is there.
        ValueError: it is larger than any such file, or no text.
    """
    if not path.is_file():  # nor a device or a pipe, which might never end
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    with path.open("rb") as file:
        content = file.read(_SMALL + 1)
    if len(content) > _SMALL:
        raise ValueError(f"it has more than {_SMALL:,} bytes")
    return content.decode("utf-8")


def write_text(path: Path, text: str) -> None:
    """Write a text file, all or nothing; of a name that is no UTF-8, the bytes as escapes."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write a json file, all or nothing."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Remove temporary files of `replacing` whose process was killed; safe under the lock of their folder."""
    for path in paths:
        if path.suffix[1:].isdigit():
            path.unlink(missing_ok=True)


def keep(path: Path, **arrays: "Tensor") -> None:
    """Write arrays to a file, all or nothing."""
    import numpy as np

    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **{name: array.cpu().numpy() for name, array in arrays.items()})  # type: ignore[arg-type]


def kept(path: Path) -> "dict[str, Tensor] | None":
    """Return the arrays of such a file; None if it is missing, or damaged, with a warning."""
    import numpy as np
    import torch

    try:
        with np.load(path, allow_pickle=False) as file:  # reading compares every array with its CRC-32
            return {name: torch.from_numpy(file[name]) for name in file.files}
    except FileNotFoundError:
        return None
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError, NotImplementedError, OSError) as error:
        log.warning("%s is damaged (%s)", path, error)
        return None


@contextmanager
def locked(path: Path, name: str) -> Iterator[None]:
    """Let one process at a time work inside; others log that they wait.

    Args:
        path: of the lock's file, which stays; its folder is made if need be, again if it is removed meanwhile.
        name: of the work, for the log.
    """
    lock = FileLock(path)
    while not lock.is_locked:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError), naming(path):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                log.info("another process works on %s: waiting for it", name)
                lock.acquire()
    try:
        yield
    finally:
        with naming(path):
            lock.release()
