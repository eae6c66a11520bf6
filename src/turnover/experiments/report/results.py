"""Finished figures, studies, validation and benchmark: those made here, else the committed ones."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from turnover.common.files import outputs_root
from turnover.errors import RunFailed
from turnover.experiments.results import figures, read, reference

_NUMBER = re.compile(r"fig(\d+)")  # of a whole name: fig4_vgg is none of the paper's figures


@dataclass(frozen=True)
class Result:
    """A figure or a study: its picture, and what its json says."""

    name: str  # of its files, without ending
    scale: str
    picture: Path
    values: dict[str, Any]
    local: bool  # made here, not committed

    @property
    def base(self) -> str:
        """The figure's name without overrides."""
        return self.name.partition("-")[0]

    @property
    def paper_figure(self) -> str:
        """The number of the paper's figure that it reproduces; empty for a study of our own."""
        found = _NUMBER.fullmatch(self.base)
        return found[1] if found else ""


@dataclass(frozen=True)
class Validation:
    """Every estimator against ground truth."""

    folder: Path
    table: pd.DataFrame
    values: dict[str, Any]
    local: bool


def shown_scales(scale: str) -> tuple[str, ...]:
    """The scales that a report at `scale` shows: what was run at the paper's own stands beside laptop scale."""
    return ("laptop", "paper") if scale == "laptop" else (scale,)


def results(scale: str) -> list[Result]:
    """All figures, in the order of the paper, and then all studies; at one scale.

    Raises:
        RunFailed: there is none, neither made here nor committed.
    """
    found: dict[str, Result] = {}
    for folder, local in ((reference(scale), False), (outputs_root() / "figures" / scale, True)):
        for name, values in figures(folder).items():
            picture = folder / f"{name}.png"
            if picture.exists():
                found[name] = Result(name, scale, picture, values, local)
    if not found:
        raise RunFailed(f"there is no figure at {scale} scale: make one with: make fig2 SCALE={scale}")
    return sorted(found.values(), key=_order)


def validation(scale: str) -> Validation | None:
    """The validation at this scale, if there is one."""
    for folder, local in ((outputs_root() / "validate" / scale, True), (reference(scale) / "validate", False)):
        if (folder / "validate.json").exists():
            return Validation(folder, pd.read_csv(folder / "table.csv"), read(folder / "validate.json"), local)
    return None


def benchmark(scale: str) -> tuple[pd.DataFrame, dict[str, Any]] | None:
    """Measured speeds and the machine they were measured on; they have no scale but stand with the laptop's results."""
    for machine in (outputs_root() / "bench" / "machine.json", reference(scale) / "bench_machine.json"):
        table = machine.with_name("bench.csv")
        if machine.exists() and table.exists():
            return pd.read_csv(table), read(machine)
    return None


def _order(result: Result) -> tuple[bool, int, str]:
    number = result.paper_figure
    return not number, int(number or 0), result.name
