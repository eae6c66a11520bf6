"""The plan of a sweep: fetch the data, log which runs are cached or to do, and estimate how long they take."""

import logging
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from tqdm.auto import tqdm

from turnover.common.text import clock
from turnover.config.compose import sweep, varied
from turnover.config.run import RunConfig
from turnover.runs.cli import at_end, leave
from turnover.runs.execute import execute
from turnover.runs.slurm import take_over
from turnover.runs.store.housekeeping import judged
from turnover.runs.store.run import Run

log = logging.getLogger("turnover")


_WAIT = 5.0  # seconds between looks at runs that other processes do


class Sweep:
    """The runs of a sweep, with a progress bar if other processes do them, and a final report."""

    def __init__(self, runs: Sequence[RunConfig]) -> None:
        self.runs = runs
        self.cached = {Run(config).name for config in runs if Run(config).finished}  # before it began
        self.to_do: list[RunConfig] = []
        self.started = 0.0
        self._over = threading.Event()
        self._watch: threading.Thread | None = None

    def begin(self, *, here: bool) -> None:
        """Log the plan and fetch missing data; `here`: the runs are done one after another on this machine."""
        self.to_do, self.started = announce(self.runs, here=here), time.monotonic()

    def tell_progress(self) -> None:
        """Log how many runs are done, and the time left if they are done one after another."""
        left = sum(not Run(each).finished for each in self.to_do)
        done = len(self.to_do) - left
        if done and left:
            elapsed = time.monotonic() - self.started
            log.info("%d of %d runs done, about %s to go", done, len(self.to_do), clock(elapsed / done * left))

    def watch(self, runs: Sequence[RunConfig]) -> None:
        """Show a progress bar of runs that other processes do."""
        self._watch = threading.Thread(target=self._show, args=(runs,), daemon=True)
        self._watch.start()

    def _show(self, runs: Sequence[RunConfig]) -> None:
        interval = 0.2 if sys.stderr.isatty() else 30.0
        with tqdm(total=len(runs), desc="runs", unit="run", mininterval=interval) as bar:
            while bar.n < len(runs) and not self._over.wait(_WAIT):
                bar.update(sum(Run(config).finished for config in runs) - bar.n)
            bar.update(sum(Run(config).finished for config in runs) - bar.n)

    def tell_outcome(self) -> None:
        """Log the outcome of every run: done, cached, failed and why, or not made."""
        self._over.set()
        if self._watch is not None:
            self._watch.join()  # its bar is closed before the table
        if len(self.runs) < 2:
            return
        outcomes: dict[str, list[str]] = {"done": [], "cached": [], "failed": [], "not finished": []}
        for config in self.runs:
            run = Run(config)
            if run.finished:
                outcomes["cached" if run.name in self.cached else "done"].append(run.name)
                continue
            state, about, manifest = judged(run.folder, thorough=False)
            if manifest.get("status") == "finished":  # the disk was full before DONE, and then for another message too
                about = "its last files could not be written"
            text = f"{run.name}: {about or state if manifest else 'never started'}"
            where = f"\n      log: {run.folder / 'log.txt'}" if manifest else ""
            outcomes["failed" if state == "failed" else "not finished"].append(text + where)
        numbers = ", ".join(f"{len(names)} {outcome}" for outcome, names in outcomes.items() if names)
        log.info("%d runs: %s", len(self.runs), numbers)
        for outcome in ("failed", "not finished"):
            for line in outcomes[outcome]:
                log.info("  %s: %s", outcome, line)


class AnnouncePlan(Callback):
    """Hydra callback of the entry points: the plan before a sweep, the time left after each of its runs."""

    def __init__(self) -> None:
        self.here: Sweep | None = None  # of runs that this process does

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            planned = Sweep(sweep(list(config.hydra.overrides.task), config.hydra.job.config_name))
            at_end.callback(planned.tell_outcome)
            here = "basic" in str(config.hydra.launcher.get("_target_", "")).lower()
            planned.begin(here=here)
        except Exception as error:
            leave(error)  # Hydra itself would turn it into a warning and go on
        if here:
            self.here = planned
        elif planned.to_do:
            if "submitit" in config.hydra.launcher._target_:
                log.info("logs of the jobs: %s", Path(config.hydra.sweep.dir) / ".submitit")
            if "SlurmLauncher" in config.hydra.launcher._target_:
                take_over(config.hydra.job.config_name)
            planned.watch(planned.to_do)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        if self.here is not None:
            self.here.tell_progress()


def make_here(runs: Sequence[RunConfig]) -> None:
    """Make runs one after another in this process, as the sweep of a script does; one that fails stops no other.

    Raises:
        Exception: that of the first run that failed, as Hydra raises it.
    """
    planned, errors = Sweep(runs), []
    try:
        planned.begin(here=True)
        for config in runs:
            try:
                print(execute(config), flush=True)
            except Exception as error:
                errors.append(error)
            planned.tell_progress()
    finally:
        planned.tell_outcome()
    for first in errors[:1]:
        raise first


def announce(configs: Sequence[RunConfig], *, here: bool = True) -> list[RunConfig]:
    """Log the plan, fetch missing data, and return the runs that are to do.

    The plan says how long they take if they are done here, one after another.
    """
    to_do = [config for config in configs if not Run(config).finished]
    before = {Run(parent).name: parent for config in to_do for parent in config.parents}
    first = [parent for parent in before.values() if not Run(parent).finished]
    made_first = f", and {len(first)} score runs before them" if first else ""
    log.info("%d runs: %d cached, %d to do%s", len(configs), len(configs) - len(to_do), len(to_do), made_first)
    if not to_do:
        return []
    expected, total = Expected(), 0.0
    for config, text in [*_differing(first, first), *_differing(to_do, configs)]:
        if not here:
            log.info("  to do: %s (%s)", Run(config).name, text)
            continue
        seconds = expected.seconds(config)
        total += seconds
        log.info("  to do, about %s: %s (%s)", clock(seconds), Run(config).name, text)
    if here:
        log.info("about %s in all, one after another on this machine", clock(total))
    return [*first, *to_do]


class Expected:
    """Timer of runs; those that differ in seed or labels alone take the same time and are timed once."""

    def __init__(self) -> None:
        self.timed: dict[str, float] = {}  # seconds of a run by its kind

    def seconds(self, config: RunConfig) -> float:
        """Estimate the seconds of a run; missing data are fetched."""
        from turnover.runs.timing import seconds

        science = {key: value for key, value in config.science().items() if key not in ("seed", "corruption")}
        kind = repr(science | {"precision": config.precision})
        if kind not in self.timed:
            self.timed[kind] = seconds(config)
        return self.timed[kind]


def _differing(some: Sequence[RunConfig], among: Sequence[RunConfig]) -> list[tuple[RunConfig, str]]:
    """Return runs with the fields in which they differ from the others, as text."""
    differing = dict(zip([Run(config).name for config in among], varied(among), strict=True))
    words = [", ".join(f"{name}={value}" for name, value in differing[Run(config).name].items()) for config in some]
    return [(config, text or f"seed={config.seed}") for config, text in zip(some, words, strict=True)]
