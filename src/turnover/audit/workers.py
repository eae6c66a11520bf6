"""Work on many image files, several at a time, with progress; those that cannot be used are noted."""

import os
from collections.abc import Callable, Sized
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tqdm.auto import tqdm

from turnover.audit.folders import File
from turnover.audit.images import Unusable
from turnover.audit.labelled import LeftOut

_READERS = min(4, os.cpu_count() or 1)  # images that are decoded at a time
_AHEAD = 4096  # images that are asked for before the first of them is there

Result = TypeVar("Result")


def progress(files: Sized, title: str) -> "tqdm[Any]":
    """Return a bar of progress, with the time that is left, shown if the work takes longer than two seconds."""
    return tqdm(desc=title, total=len(files), unit="image", delay=2)


def each(
    work: Callable[[File], Result], files: list[File], bar: "tqdm[Any] | None", bad: list[LeftOut]
) -> list[tuple[File, Result]]:
    """Work on each file, several at a time; return the usable ones in their order, and add the others to `bad`."""

    def attempt(file: File) -> Result | Unusable:
        try:
            return work(file)
        except Unusable as error:
            return error

    done = []
    with ThreadPoolExecutor(_READERS) as pool:
        try:
            for start in range(0, len(files), _AHEAD):
                some = files[start : start + _AHEAD]
                for file, result in zip(some, pool.map(attempt, some), strict=True):
                    if bar is not None:
                        bar.update()
                    if isinstance(result, Unusable):
                        bad.append(LeftOut(file.name, str(result)))
                    else:
                        done.append((file, result))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # Ctrl-C would else wait for all of them
            raise
    return done
