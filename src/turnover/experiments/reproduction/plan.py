"""The whole plan, before anything is done: which runs are cached, which are to do, and how long they take."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from turnover.common.files import checkout, outputs_root, write_json
from turnover.common.text import clock
from turnover.config.compose import sweep
from turnover.config.run import RunConfig
from turnover.experiments.plots.figure import NAMES
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

    def sweep(self, experiment: str, scale: Scale, launcher: str) -> list[str]:
        """The overrides of scripts/train.py -m that do the runs of one of its experiments."""
        return [f"+experiment={experiment}", f"scale={scale}", f"hydra/launcher={launcher}", *self.overrides]


def steps(scale: Scale) -> list[Step]:
    """Everything, in an order in which runs that several figures share are done for the first of them."""
    figures = [
        Step(name, tuple(_config("figure", name)["experiments"]), ("figure.py", f"figure={name}", f"scale={scale}"))
        for name in NAMES
    ]
    validated = _config("validate")
    kinds = ("truth", "estimates", "leave_one_out", "influence")
    experiments = tuple(name for kind in kinds for name in validated[kind])
    # hundreds of runs of seconds each: a dashboard of each would take longer than the run
    validate = Step("validate", experiments, ("validate.py", f"scale={scale}"), ("logger=none",))
    bench = Step("bench", (), ("benchmark.py",), about="12 min on 2 cores")
    if scale == "smoke":  # one comparison of seconds, enough to see that it works
        bench = Step("bench", (), ("benchmark.py", "--rounds", "1", "--only", "masks"))
    return [*figures, validate, bench, Step("report", (), ("report.py", f"scale={scale}"))]


def _config(*names: str) -> dict[str, Any]:
    path = checkout().joinpath("conf", *names).with_suffix(".yaml")
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


log = logging.getLogger("turnover")


@dataclass(frozen=True)
class Planned:
    """A step with all of its runs, and what was known of them beforehand."""

    step: Step
    runs: dict[str, list[RunConfig]]  # by experiment
    to_do: int  # score runs before them included, runs of earlier steps not
    seconds: float | None  # what these take; None if nobody can tell

    @property
    def every(self) -> dict[str, RunConfig]:
        """All runs by name, each after the score runs that it needs."""
        configs = [config for configs in self.runs.values() for config in configs]
        return {Run(each).name: each for config in configs for each in (*config.parents, config)}


def announce(steps: Sequence[Step], scale: Scale, launcher: str) -> list[Planned]:
    """Tell the plan as a table, a row as soon as it is known, and return it. Missing data are fetched.

    A run that an earlier step does too is shared. How long runs take is told if they are done here, one after another.
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
                composed[experiment] = sweep(step.sweep(experiment, scale, launcher))
        one = Planned(step, {name: composed[name] for name in step.experiments}, 0, None)
        own = {name: config for name, config in one.every.items() if name not in met}
        to_do = [config for config in own.values() if not Run(config).finished]
        seconds = None
        if here:
            with _remembered() as expected:
                seconds = sum(map(expected.seconds, to_do))
        met |= own
        planned.append(Planned(step, one.runs, len(to_do), seconds))
        numbers = (len(one.every), len(own) - len(to_do), len(one.every) - len(own), len(to_do))
        log.info("%-15s %5d %7d %7d %6d  %s", step.name, *numbers, clock(seconds) if seconds else step.about)
    left = sum(each.to_do for each in planned)
    total = f"; training takes about {clock(left_seconds(planned))}, one run after another" if here and left else ""
    log.info("%d different runs: %d cached, %d to do%s", len(met), len(met) - left, left, total)
    return planned


def left_seconds(planned: Sequence[Planned]) -> float:
    """What the runs of these steps that were to do are expected to take."""
    return sum(each.seconds or 0.0 for each in planned)


@contextmanager
def _remembered() -> Iterator[Expected]:
    """What runs take on this machine, so that who goes on after a stop need not time them again."""
    path, machine = outputs_root() / "reproduction" / "expected.json", repr(provenance()["machine"])
    expected, others = Expected(), {}
    with suppress(FileNotFoundError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        others = found if isinstance(found, dict) else {}
    mine = others.get(machine)
    expected.known |= mine if isinstance(mine, dict) else {}
    before = len(expected.known)
    yield expected
    if len(expected.known) > before:
        write_json(path, others | {machine: expected.known})
