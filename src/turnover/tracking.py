"""One log(): rows for the run's tables always, wandb beside them if it is wanted.

Trouble with wandb is told once and never ends a run.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from turnover.options import NoLogger, WandbLogger
from turnover.tables import Metric

log = logging.getLogger("turnover")


class Tracker:
    """Collects the metrics of a run and shows them in wandb."""

    def __init__(self, dashboard: "Dashboard", rows: list[Metric]) -> None:
        self.rows = rows
        self.dashboard = dashboard

    def log(self, epoch: int, split: str, values: dict[str, float], subset: str = "all") -> None:
        """Record metrics of one split, or of a subset of it, at the end of an epoch."""
        rows = [Metric(epoch, split, subset, name, value) for name, value in values.items()]
        self.rows += rows
        self.dashboard.log({"epoch": epoch} | {row.key: row.value for row in rows})


class Dashboard:
    """A wandb run, or nothing: after the first error, or with no logger, every call does nothing."""

    def __init__(self, run: Any = None) -> None:
        self._run = run

    def log(self, values: dict[str, Any]) -> None:
        """Numbers of one epoch; `epoch` is the step axis."""
        self._try(lambda run: run.log(values))

    def summarise(self, values: dict[str, Any]) -> None:
        """Single values shown in the runs table."""
        self._try(lambda run: run.summary.update(values))

    def scores(self, table: pd.DataFrame, path: Path) -> None:
        """Score table: histogram, the most memorized examples, and the whole table as an artifact."""

        def show(run: Any) -> None:
            import wandb

            highest = table.nlargest(200, "score")
            run.log(
                {"scores": wandb.Histogram(table["score"].tolist()), "most_memorized": wandb.Table(dataframe=highest)}
            )
            artifact = wandb.Artifact(f"scores-{run.id}", type="scores")
            artifact.add_file(str(path))
            run.log_artifact(artifact)

        self._try(show)

    def picture(self, name: str, path: Path) -> None:
        """A finished figure."""

        def show(run: Any) -> None:
            import wandb

            run.log({name: wandb.Image(str(path))})

        self._try(show)

    def close(self, *, failed: bool) -> None:
        """Finish the wandb run, marked as failed or not."""
        self._try(lambda run: run.finish(exit_code=int(failed)))

    def _try(self, action: Callable[[Any], object]) -> None:
        if self._run is None:
            return
        try:
            action(self._run)
        except Exception as error:
            log.warning("wandb failed and is off from here on: %s: %s", type(error).__name__, error)
            self._run = None


@contextmanager
def dashboard(
    logger: NoLogger | WandbLogger,
    *,
    folder: Path,
    name: str,
    job: str,
    group: str | None,
    tags: list[str],
    config: dict[str, Any],
) -> Iterator[Dashboard]:
    """A wandb run in `folder`/wandb for the length of the block; offline unless `logger=wandb_online`."""
    board = Dashboard(None if isinstance(logger, NoLogger) else _start(logger, folder, name, job, group, tags, config))
    failed = True
    try:
        yield board
        failed = False
    finally:
        board.close(failed=failed)


def _start(
    logger: WandbLogger, folder: Path, name: str, job: str, group: str | None, tags: list[str], config: dict[str, Any]
) -> Any:
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    try:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("WANDB_DATA_DIR", str(folder / "wandb"))  # else copies of artifacts go to the home folder
        mode: Any = os.environ.get("WANDB_MODE") or logger.mode  # wandb's own switch wins, as its users expect
        run = wandb.init(
            project=logger.project,
            entity=logger.entity,
            mode=mode,
            dir=str(folder),
            id=name,
            name=name,
            group=group,
            job_type=job,
            tags=tags,
            config=config,
            resume="allow" if logger.mode == "online" else None,
            settings=wandb.Settings(silent=True, console="off", init_timeout=60),
            reinit="finish_previous",
        )
        run.define_metric("epoch")
        run.define_metric("*", step_metric="epoch")
        return run
    except Exception as error:
        log.warning("wandb could not start, the run goes on without it: %s: %s", type(error).__name__, error)
        return None
