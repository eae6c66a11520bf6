"""Execution of a run: cached if finished, resumed if killed, locked against other processes."""

import logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from turnover.common.files import write_text
from turnover.common.signals import stoppable
from turnover.common.text import visible
from turnover.config.run import STAGE_VERSION, RunConfig
from turnover.errors import RefusedInput
from turnover.runs.store.provenance import provenance
from turnover.runs.store.run import Folder, Run, require

log = logging.getLogger("turnover")


def execute(config: RunConfig) -> Path:
    """Do the run that `config` describes and return its folder; a finished run returns at once.

    Runs whose results it needs, such as the score runs that choose its subsets, are done first if they are missing.
    A run that was killed goes on from its last checkpoint and ends with the same bytes in its tables and weights.

    Raises:
        RefusedInput: the machine cannot do it, for example it has no such device.
        RunFailed: the loss is no longer finite, or the data cannot be fetched; the run is marked failed. Or it is
            finished, and its files are damaged.
    """
    run = Run(config)
    if run.finished:
        require(run, "the same command")
        log.info("cached: %s", ", ".join([run.name, *filter(None, [run.manifest.get("measured")])]))
        run.remove_scratch()
        return run.folder
    for stage in range(1, STAGE_VERSION):
        if (earlier := Run(config, stage)).finished:
            log.info("%s was made by stage %d of the code, whose numbers were others: made again", earlier.name, stage)
    for parent in config.parents:
        if Run(parent).finished:
            require(Run(parent), "the same command")
        else:
            execute(parent)
    # Imported here, so that a cached run or a refused config does not wait for PyTorch
    from turnover.common.device import resolve
    from turnover.common.memory import keep_freed
    from turnover.runs.pipeline import settled, work

    device = resolve(config.device)
    keep_freed()
    with run.lock():
        if not run.finished:
            with removed_if_refused(run), stoppable(), log_file(run.folder / "log.txt"):
                ours = settled(run, device)
                write_text(run.folder / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
                # recorded before anything is trained: a killed run must go on in it
                with run.working(provenance() | {"precision": ours.precision}) as record:
                    work(run, ours, device, record)
    return run.folder


@contextmanager
def removed_if_refused(run: Folder) -> Iterator[None]:
    """Leave no folder of a run that is refused when it starts, by its data or its network, with nothing trained."""
    begun = bool(run.manifest)
    try:
        yield
    except RefusedInput:
        if not begun and not (run.folder / "checkpoint.pt").exists():
            shutil.rmtree(run.folder, ignore_errors=True)
        raise


class _LogFile(logging.FileHandler):
    """Log file whose write errors, as on a full disk, do not stop the run."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, logging's own name
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Log all messages to a file too, inside."""
    handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.DEBUG)  # the file is complete, whatever the caller shows
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        with suppress(OSError):
            handler.close()
