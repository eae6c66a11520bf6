"""The whole plan, before anything is done: which runs are cached, which are to do, and how long they take."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

import yaml

from turnover.common.files import checkout, outputs_root, write_json
from turnover.common.text import clock
from turnover.config.compose import sweep
from turnover.config.run import RunConfig
from turnover.errors import RefusedInput
from turnover.experiments.plots.figure import NAMES, configured
from turnover.runs.plan import Expected
from turnover.runs.store.provenance import provenance
from turnover.runs.store.run import Run

Scale = Literal["smoke", "laptop", "paper"]


@dataclass(frozen=True)
class Step:
    """Something that is reproduced: runs, and then one script that makes something of them."""

    name: str
    experiments: tuple[str, ...]  # whose runs it needs
    last: tuple[str, ...]  # the script and its arguments
    overrides: tuple[str, ...] = ()  # of those runs, on what is no science
    about: str = ""  # how long the script takes, if that is more than a minute


def steps(scale: Scale) -> list[Step]:
    """Return all steps, in an order in which runs that several figures share are done for the first of them."""
    figures = [
        Step(name, tuple(configured(name).experiments), ("figure.py", f"figure={name}", f"scale={scale}"))
        for name in NAMES
    ]
    validated = yaml.safe_load((checkout() / "conf" / "validate.yaml").read_text(encoding="utf-8"))
    kinds = ("truth", "estimates", "leave_one_out", "influence")
    experiments = tuple(name for kind in kinds for name in validated[kind])
    # hundreds of runs of seconds each: a dashboard of each would take longer than the run
    validate = Step("validate", experiments, ("validate.py", f"scale={scale}"), ("logger=none",))
    bench = Step("bench", (), ("benchmark.py",), about="15 min on 2 cores")
    if scale == "smoke":  # one comparison of seconds, enough to see that it works
        bench = Step("bench", (), ("benchmark.py", "--rounds", "1", "--only", "masks"))
    return [*figures, validate, bench, Step("report", (), ("report.py", f"scale={scale}"))]


def chosen(steps: Sequence[Step], only: Sequence[str]) -> list[Step]:
    """Return the steps of these names, in the order of the names; all without names.

    Raises:
        RefusedInput: there is no step of a name.
    """
    by_name = {step.name: step for step in steps}
    for name in only:
        if name not in by_name:
            raise RefusedInput(f"--only: {name!r} is no step; there are {', '.join(by_name)}")
    return [by_name[name] for name in only or by_name]


log = logging.getLogger("turnover")


@dataclass(frozen=True)
class Planned:
    """A step with all of its runs, and what was known of them beforehand."""

    step: Step
    runs: dict[str, list[RunConfig]]  # by experiment
    to_do: int  # score runs before them included, runs of earlier steps not
    seconds: float | None  # expected of these; None if runs are not done here

    @property
    def every(self) -> dict[str, RunConfig]:
        """Return all runs by name, each after the score runs that it needs."""
        return _by_name(self.runs)


def _by_name(runs: dict[str, list[RunConfig]]) -> dict[str, RunConfig]:
    configs = [config for configs in runs.values() for config in configs]
    return {Run(run).name: run for config in configs for run in (*config.parents, config)}


def announce(steps: Sequence[Step], scale: Scale, launcher: str) -> list[Planned]:
    """Log the plan as a table, a row as soon as it is known, and return it. Missing data are fetched.

    A run that an earlier step does too is shared. Times are expected of runs that are done here, one after another.
    """
    here = launcher == "basic"
    log.info("everything at %s scale (to plan what is not cached takes some minutes)", scale)
    log.info("%-15s %5s %7s %7s %6s  %s", "", "runs", "cached", "shared", "to do", "about" if here else "")
    composed: dict[str, list[RunConfig]] = {}
    met: dict[str, RunConfig] = {}
    planned = []
    for step in steps:
        for experiment in step.experiments:
            if experiment not in composed:
                options = [f"scale={scale}", f"hydra/launcher={launcher}", *step.overrides]
                composed[experiment] = sweep([f"+experiment={experiment}", *options])
        runs = {name: composed[name] for name in step.experiments}
        every = _by_name(runs)
        own = {name: config for name, config in every.items() if name not in met}
        to_do = [config for config in own.values() if not Run(config).finished]
        seconds = None
        if here:
            with _remembered() as expected:
                seconds = sum(map(expected.seconds, to_do))
        met |= own
        planned.append(Planned(step, runs, len(to_do), seconds))
        numbers = (len(every), len(own) - len(to_do), len(every) - len(own), len(to_do))
        log.info("%-15s %5d %7d %7d %6d  %s", step.name, *numbers, clock(seconds) if seconds else step.about)
    left = sum(step.to_do for step in planned)
    total = f"; training takes about {clock(left_seconds(planned))}, one run after another" if here and left else ""
    log.info("%d different runs: %d cached, %d to do%s", len(met), len(met) - left, left, total)
    return planned


def left_seconds(planned: Sequence[Planned]) -> float:
    """Return the expected seconds of the runs of these steps that were to do."""
    return sum(step.seconds or 0.0 for step in planned)


@contextmanager
def _remembered() -> Iterator[Expected]:
    """Keep expected times of runs on this machine, so that going on after a stop need not time them again."""
    path, machine = outputs_root() / "reproduction" / "expected.json", repr(provenance()["machine"])
    expected, by_machine = Expected(), {}
    with suppress(FileNotFoundError, ValueError):
        content = json.loads(path.read_text(encoding="utf-8"))
        by_machine = content if isinstance(content, dict) else {}
    here = by_machine.get(machine)
    expected.timed |= here if isinstance(here, dict) else {}
    before = len(expected.timed)
    yield expected
    if len(expected.timed) > before:
        write_json(path, by_machine | {machine: expected.timed})
