"""What `make reproduce` does, in order: every figure and study, the validation, the benchmark, the report."""

from dataclasses import dataclass
from typing import Any, Literal

import yaml

from turnover.common.files import checkout
from turnover.experiments.plots.figure import NAMES

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
