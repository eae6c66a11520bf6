"""One process at a time: locks that a killed process gives back by itself."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from turnover.errors import RefusedInput

log = logging.getLogger("turnover")


@contextmanager
def locked(path: Path, name: str) -> Iterator[None]:
    """Only one process works inside; another one waits and says so.

    Args:
        path: of the lock's file, which stays; its folder is made if need be, again if it is removed meanwhile.
        name: of what is worked on.

    Raises:
        RefusedInput: the folder cannot be written to.
    """
    lock = FileLock(path)
    while not lock.is_locked:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RefusedInput(f"cannot write to {path.parent}: {error.strerror}; set TURNOVER_OUTPUTS") from None
        with suppress(FileNotFoundError):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                log.info("another process works on %s: waiting for it", name)
                lock.acquire()
    try:
        yield
    finally:
        lock.release()
