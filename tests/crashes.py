"""Runs that die at every write of a file, before and after it, and go on."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from turnover.config.run import RunConfig
from turnover.runs.execute import execute
from turnover.runs.store.run import Run

TABLES = ("metrics.parquet", "scores.parquet", "config.yaml")


class Crash(BaseException):
    """Ends a process as a kill would: nothing gets to record it."""


def crash_at(number: int, *, after: bool) -> Callable[[Path, Path], Path]:
    """A Path.replace that crashes at its number-th call, before or after it moves the file."""
    replace, calls = Path.replace, itertools.count()

    def crash(self: Path, target: Path) -> Path:
        now = next(calls) == number
        if now and not after:
            raise Crash
        result = replace(self, target)
        if now:
            raise Crash
        return result

    return crash


def crashes_that_change_nothing(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: Sequence[str] = TABLES
) -> int:
    """How many writes the run has; it dies before and after each of them, and ends with the same files every time."""
    whole = execute(config)
    for number in itertools.count():
        for after in (False, True):
            monkeypatch.setenv("TURNOVER_OUTPUTS", str(tmp_path / f"crash-{after}-{number}"))
            with monkeypatch.context() as patch:
                patch.setattr(Path, "replace", crash_at(number, after=after))
                try:
                    execute(config)
                except Crash:
                    pass
                else:  # there were fewer writes
                    return number
            folder = execute(config)
            for name in files:
                assert (folder / name).read_bytes() == (whole / name).read_bytes(), (after, number, name)
            assert Run(config).manifest["status"] == "finished"
    raise AssertionError
