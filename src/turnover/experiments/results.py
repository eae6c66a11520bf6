"""Results of finished figures, studies, validations and benchmarks: those made here, else the committed ones."""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from turnover.common.files import checkout, outputs_root
from turnover.errors import RunFailed

Values = dict[str, Any]  # the json beside a picture

SCALES = ("laptop", "paper")  # whose results are committed


@dataclass(frozen=True)
class Result:
    """A figure or a study: its picture and its json."""

    name: str  # of its files, without ending
    scale: str
    picture: Path
    values: Values
    local: bool  # made here, not committed

    @property
    def base(self) -> str:
        """Return the figure's name without overrides."""
        return self.name.partition("-")[0]

    @property
    def title(self) -> str:
        """Return its name and scale."""
        return f"{self.name}, {self.scale} scale"

    @property
    def paper_figure(self) -> str:
        """Return the number of the paper's figure that it reproduces; empty for a study of our own."""
        return paper_number(self.base)

    @property
    def all_runs(self) -> Values:
        """Return its runs and the score runs before them, by name."""
        return self.values["runs"] | self.values["score_runs"]


@dataclass(frozen=True)
class Validation:
    """Every estimator against ground truth."""

    folder: Path
    table: pd.DataFrame
    values: Values
    local: bool


def paper_number(figure: str) -> str:
    """Return the number of the paper's figure by the name of one here; empty for a study of our own, as fig4_vgg."""
    number = figure.removeprefix("fig")
    return number if number.isdigit() else ""


def reference(scale: str) -> Path:
    """Return the folder of the committed pictures, tables and results of a scale."""
    return checkout() / "outputs" / "reference" / scale


def read(path: Path) -> Values:
    """Return the values of a json file.

    Raises:
        RunFailed: it is damaged.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise RunFailed(f"{path} is damaged: remove it and make it again") from None
    return values if isinstance(values, dict) else {}


def sealed(values: Values) -> Values:
    """Return values, as of a figure's json, with the checksum of all of them."""
    others = {name: value for name, value in values.items() if name != "checksum"}
    as_read = json.loads(json.dumps(others))
    return others | {"checksum": hashlib.sha256(json.dumps(as_read, sort_keys=True).encode()).hexdigest()}


def intact(values: Values) -> bool:
    """Return True if values have their checksum."""
    return "checksum" in values and values["checksum"] == sealed(values)["checksum"]


def figures(folder: Path) -> dict[str, Values]:
    """Return every figure or study of a folder by the name of its files, as fig2 or fig5-setting=cifar10_vgg11.

    Raises:
        RunFailed: one is damaged, or not as it was written.
    """
    return {path.stem: read_figure(path) for path in sorted(folder.glob("*.json")) if "claims" in read(path)}


def read_figure(path: Path) -> Values:
    """Return the values of the json beside a picture.

    Raises:
        RunFailed: it is damaged, or not as it was written.
    """
    values = read(path)
    if not intact(values):
        why = "changed by hand, or written by an earlier version"
        raise RunFailed(f"{path} does not have its checksum ({why}): make {path.stem.partition('-')[0]} draws it again")
    return values


def committed(scale: str) -> dict[str, Values]:
    """Return every committed figure or study of a scale by the name of its files."""
    return _figures_once(reference(scale))


_figures_once = cache(figures)  # committed files do not change while a page is made


def results(scale: str) -> list[Result]:
    """Return all figures, in the order of the paper, and then all studies; at one scale.

    Raises:
        RunFailed: there is none, neither made here nor committed.
    """
    drawn: dict[str, Result] = {}
    for folder, local in ((reference(scale), False), (outputs_root() / "figures" / scale, True)):
        for name, values in figures(folder).items():
            picture = folder / f"{name}.png"
            if picture.exists():
                drawn[name] = Result(name, scale, picture, values, local)
    if not drawn:
        raise RunFailed(f"there is no figure at {scale} scale: make one with: make fig2 SCALE={scale}")
    return sorted(drawn.values(), key=lambda result: sort_key(result.base))


def sort_key(name: str) -> tuple[bool, int, str]:
    """Return a key that sorts names of figures: the paper's by their numbers, then studies."""
    digits = name.removeprefix("fig").partition("_")[0]
    return not digits.isdigit(), int(digits) if digits.isdigit() else 0, name


def validation(scale: str) -> Validation | None:
    """Return the validation at this scale, if there is one."""
    for folder, local in ((outputs_root() / "validate" / scale, True), (reference(scale) / "validate", False)):
        if (folder / "validate.json").exists():
            return Validation(folder, pd.read_csv(folder / "table.csv"), read(folder / "validate.json"), local)
    return None


def benchmark(scale: str) -> tuple[pd.DataFrame, Values] | None:
    """Return measured speeds and their machine; the committed ones are among the laptop's results."""
    for machine in (outputs_root() / "bench" / "machine.json", reference(scale) / "bench_machine.json"):
        table = machine.with_name("bench.csv")
        if machine.exists() and table.exists():
            return pd.read_csv(table), read(machine)
    return None
