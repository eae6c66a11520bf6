"""What the last full reproduction found: the results that are committed under outputs/reference."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from turnover.store import checkout

SCALES = ("laptop", "paper")

Result = dict[str, Any]  # the json that stands beside a picture


def folder(scale: str = "laptop") -> Path:
    """Where the pictures, tables and results of a scale lie."""
    return checkout() / "outputs" / "reference" / scale


@cache
def results(scale: str = "laptop") -> dict[str, Result]:
    """Every committed figure or study by the name of its files, as fig2 or fig5-setting=cifar10_vgg11."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder(scale).glob("*.json"))}
    return {name: result for name, result in found.items() if "claims" in result}


def of_figure(name: str, scale: str) -> dict[str, Result]:
    """The results of a figure at a scale, by the names of their files: with other values there is one for each."""
    return {stem: found for stem, found in results(scale).items() if stem == name or stem.startswith(f"{name}-")}


@cache
def validation() -> pd.DataFrame:
    """How well every estimator agrees with the ground truth; columns as in `turnover.validation.table.COLUMNS`."""
    return pd.read_csv(folder() / "validate" / "table.csv")


def minutes(runs: dict[str, Result]) -> float:
    """How long runs keep all cores of their machine busy; one that does not say how many threads it had, had all."""
    shares = (each.get("threads", each["machine"]["cores"]) / each["machine"]["cores"] for each in runs.values())
    return sum(each["seconds"] * share for each, share in zip(runs.values(), shares, strict=True)) / 60
