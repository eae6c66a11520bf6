"""A wandb run beside the tables, or nothing: errors of wandb are logged once and never stop a run.

Nothing here needs a network unless `logger.mode=online`: an offline run stays in a folder until `wandb sync` sends it.
"""

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from turnover.config.options import NoLogger, WandbLogger
from turnover.runs.store.tables import Metric

log = logging.getLogger("turnover")

ROWS = 1000  # at most, of a logged table; the whole table is kept as an artifact
# how long the end of a run waits for a server that is gone; `wandb sync` can send the rest later
PATIENCE = 300  # seconds
RETRIES = 8  # of a file, with pauses of 2, 4, 8, ... 60 seconds: about four minutes, and not bound by the above
_LONGEST = 100  # characters of an identifier; wandb allows 128, for those of artifacts too


@dataclass(frozen=True)
class Files:
    """Files of a run or a figure that wandb keeps as the artifact KIND-OWNER."""

    kind: str  # wandb's type of the artifact
    owner: str  # name of the run or the figure
    paths: tuple[Path, ...]
    # read in place when they are sent; or, if they may be written again, from a copy; or never: a reference is the path
    # of a file and its checksum
    how: Literal["in place", "copy", "reference"] = "in place"

    @property
    def name(self) -> str:
        """Name of the artifact."""
        return f"{self.kind}-{identifier(self.owner)}"


class Dashboard:
    """A wandb run, or nothing: after the first error, or with no logger, every call does nothing."""

    def __init__(self, run: Any = None) -> None:
        self._run = run

    def log(self, values: dict[str, Any]) -> None:
        """Log numbers of one epoch; `epoch` is the step axis."""
        self.attempt(lambda run: run.log(values))

    def go_on(self, rows: Sequence[Metric]) -> None:
        """Log again the metrics from before a run was stopped, unless wandb itself goes on with the same run.

        An offline run begins a file of its own whenever it is started; so the last of them is whole.
        """

        def log_again(run: Any) -> None:
            if not run.resumed:
                whole = (row for row in rows if not row.step)
                for epoch, metrics in groupby(whole, key=lambda row: row.epoch):
                    run.log({"epoch": epoch} | {row.key: row.value for row in metrics})

        self.attempt(log_again)

    def summarise(self, values: Mapping[str, Any]) -> None:
        """Set single values shown in the runs table."""
        self.attempt(lambda run: run.summary.update(dict(values)))

    def show(self, items: Mapping[str, pd.DataFrame | np.ndarray | dict[str, Path]], epoch: int | None = None) -> None:
        """Log tables, histograms of arrays and pictures by their captions, all of one epoch if given."""

        def media(item: pd.DataFrame | np.ndarray | dict[str, Path]) -> Any:
            import wandb

            match item:
                case pd.DataFrame():
                    return wandb.Table(dataframe=bounded(item))
                case np.ndarray():
                    return wandb.Histogram(item[np.isfinite(item)].tolist())
                case _:
                    return [wandb.Image(str(path), caption=caption) for caption, path in item.items()]

        at = {} if epoch is None else {"epoch": epoch}
        self.attempt(lambda run: run.log(at | {name: media(item) for name, item in items.items()}))

    def keep(self, files: Files) -> None:
        """Log files as an artifact that this run has made."""
        self.attempt(lambda run: run.log_artifact(_artifact(files)))

    def use(self, files: Files) -> None:
        """Log files as an artifact that this run was made from; the same name and content are the same artifact.

        `run.use_artifact` would ask the server first, so wandb refuses it offline. This is what it does with an
        artifact that it is given: the server looks for the content by its checksum, and notes the use when it is sent.
        """
        self.attempt(lambda run: run._log_artifact(_artifact(files), is_user_created=True, use_after_commit=True))

    def close(self, *, failed: bool) -> None:
        """Finish the wandb run, marked as failed or not."""
        self.attempt(lambda run: run.finish(exit_code=int(failed)))

    def attempt(self, action: Callable[[Any], object]) -> None:
        """Call `action` on the wandb run, if there is one; an error is logged and switches wandb off."""
        if self._run is None:
            return
        try:
            action(self._run)
        except Exception as error:
            log.warning("wandb failed and is off from here on: %s: %s", type(error).__name__, error)
            self._run = None


def bounded(table: pd.DataFrame, rows: int = ROWS) -> pd.DataFrame:
    """Return at most so many rows, evenly spaced, the first and the last included."""
    return table if len(table) <= rows else table.iloc[np.linspace(0, len(table) - 1, rows).round().astype(int)]


def identifier(name: str) -> str:
    """Return the name as an identifier that wandb allows; a long one ends with a hash of all of it."""
    allowed = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII)
    if len(allowed) <= _LONGEST:
        return allowed
    return f"{allowed[: _LONGEST - 11]}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"


def _artifact(files: Files) -> Any:
    import wandb

    artifact = wandb.Artifact(files.name, type=files.kind)
    for path in map(Path.resolve, files.paths):
        if files.how == "reference":
            artifact.add_reference(path.as_uri(), name=path.name)
        else:
            policy: Any = "mutable" if files.how == "copy" else "immutable"
            artifact.add_file(str(path), policy=policy, skip_cache=True)
    return artifact


@contextmanager
def dashboard(
    logger: NoLogger | WandbLogger,
    *,
    folder: Path,
    name: str,
    title: str | None = None,
    job: str,
    group: str | None,
    tags: list[str],
    config: dict[str, Any],
    axis: str | None = None,
) -> Iterator[Dashboard]:
    """Open a wandb run in `folder`/wandb for the length of the block; offline unless `logger.mode=online`.

    Args:
        title: readable title; None: its name.
        axis: the metric that is the x-axis of all others.
    """
    if isinstance(logger, NoLogger):
        yield Dashboard()
        return
    # copies of what it sends would go to the home folder
    with _environment(WANDB_ERROR_REPORTING="false", WANDB_DATA_DIR=str(folder.resolve() / "wandb")):
        board = Dashboard(_start(logger, folder, name, title or name, job, group, tags, config))
        if axis is not None:
            board.attempt(lambda run: run.define_metric(axis))
            board.attempt(lambda run: run.define_metric("*", step_metric=axis))
        failed = True
        try:
            yield board
            failed = False
        finally:
            board.close(failed=failed)


def _start(
    logger: WandbLogger,
    folder: Path,
    name: str,
    title: str,
    job: str,
    group: str | None,
    tags: list[str],
    config: dict[str, Any],
) -> Any:
    try:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        mode: Any = os.environ.get("WANDB_MODE") or logger.mode  # wandb's own switch wins, as its users expect
        return wandb.init(
            project=logger.project,
            entity=logger.entity,
            mode=mode,
            dir=str(folder),
            id=identifier(name),
            name=title,
            group=group,
            job_type=job,
            tags=tags,
            config=config,
            resume="allow" if mode == "online" else None,
            settings=wandb.Settings(
                silent=True,
                console="off",
                init_timeout=60,
                finish_timeout=PATIENCE,
                finish_timeout_raises=True,
                x_file_transfer_retry_max=RETRIES,
                x_save_requirements=False,  # reading all installed packages takes longer than a small run
            ),
            reinit="finish_previous",
        )
    except Exception as error:
        log.warning("wandb could not start, the run goes on without it: %s: %s", type(error).__name__, error)
        return None


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set environment variables for the length of the block, except those already set."""
    ours = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


class Tracker:
    """Collector of the metrics of a run, which it logs to the dashboard."""

    def __init__(self, dashboard: Dashboard, rows: list[Metric]) -> None:
        self.rows = rows
        self.dashboard = dashboard
        dashboard.go_on(rows)

    def log(self, epoch: int, split: str, values: dict[str, float], subset: str = "all", step: int = 0) -> None:
        """Record metrics of one split, or of a subset of it, at the end of an epoch or so many steps later.

        Only those at the end of an epoch go to the dashboard.
        """
        rows = [Metric(epoch, split, subset, name, value, step) for name, value in values.items()]
        self.rows += rows
        if not step:
            self.dashboard.log({"epoch": epoch} | {row.key: row.value for row in rows})
