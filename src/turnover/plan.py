"""Before a sweep: refuse what is wrong, fetch the data, and say which runs are cached, to do, and how long it takes."""

import logging
import time
from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from turnover.cli import leave
from turnover.config import RunConfig
from turnover.experiments import sweep, varied
from turnover.store import Run
from turnover.values import clock

log = logging.getLogger("turnover")


class AnnouncePlan(Callback):
    """Hydra callback of the entry points: the plan before a sweep, the time left after each of its runs."""

    def __init__(self) -> None:
        self.to_do: list[RunConfig] = []
        self.started = 0.0

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            self.to_do = announce(sweep(list(config.hydra.overrides.task), config.hydra.job.config_name))
        except Exception as error:
            leave(error)  # Hydra itself would turn it into a warning and go on
        self.started = time.monotonic()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        left = sum(not Run(each).finished for each in self.to_do)
        done = len(self.to_do) - left
        if done and left:
            elapsed = time.monotonic() - self.started
            log.info("%d of %d runs done, about %s to go", done, len(self.to_do), clock(elapsed / done * left))


def announce(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Say what will be done, fetch data that is missing, and return the runs that are to do."""
    to_do = [config for config in configs if not Run(config).finished]
    before = {Run(parent).name: parent for config in to_do for parent in config.parents}
    first = [parent for parent in before.values() if not Run(parent).finished]
    made_first = f", and {len(first)} score runs before them" if first else ""
    log.info("%d runs: %d cached, %d to do%s", len(configs), len(configs) - len(to_do), len(to_do), made_first)
    if not to_do:
        return []
    from turnover.estimate import seconds

    alike: dict[str, float] = {}  # runs that differ in seed or labels alone take the same time
    total = 0.0
    for config, told in [*_told(first, first), *_told(to_do, configs)]:
        kind = repr({key: value for key, value in config.science().items() if key not in ("seed", "corruption")})
        if kind not in alike:
            alike[kind] = seconds(config)
        total += alike[kind]
        log.info("  to do, about %s: %s (%s)", clock(alike[kind]), Run(config).name, told)
    log.info("about %s in all, one after another on this machine", clock(total))
    return [*first, *to_do]


def _told(some: Sequence[RunConfig], among: Sequence[RunConfig]) -> list[tuple[RunConfig, str]]:
    """Runs with the fields in which they differ from the others."""
    differing = dict(zip([Run(config).name for config in among], varied(among), strict=True))
    words = [", ".join(f"{name}={value}" for name, value in differing[Run(one).name].items()) for one in some]
    return [(one, text or f"seed={one.seed}") for one, text in zip(some, words, strict=True)]
