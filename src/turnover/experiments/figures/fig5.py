"""Figure 5: easy, difficult and all examples over epochs, train (a, c) and test (b, d) of MNIST and of CIFAR-10."""

from collections.abc import Callable, Sequence
from functools import partial

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from turnover.config.datasets import DATASETS
from turnover.config.run import RunConfig
from turnover.experiments.plots.curves import (
    METRIC,
    SUBSETS,
    accuracy_axes,
    curves,
    legend,
    of_datasets,
    panels,
    rows,
    subset_lines,
)
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.learning_curves import by_seed, faster, final_gap, lead, together
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import panel

# letter: data set, split, and the claim about it
_PANELS = {
    "a": ("mnist", "train", "5a"),
    "b": ("mnist", "test", "5b"),
    "c": ("cifar10", "train", "5a"),
    "d": ("cifar10", "test", "5b"),
}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return the curves of runs of each data set with the same seeds."""
    runs = of_datasets(sources, ("mnist", "cifar10"))
    tables = [
        rows(curves(runs[name], split, subset, METRIC, within=True), letter, subset)
        for letter, (name, split, _) in _PANELS.items()
        if name in runs
        for subset in SUBSETS
    ]
    return Plotted(pd.concat(tables, ignore_index=True))


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the measures of claims 5a to 5c."""
    values: dict[str, list[float]] = {}
    for letter, drawn in panels(numbers).items():
        name, split, claim = _PANELS[letter]
        easy, difficult = drawn["easy"], drawn["difficult"]
        from_chance: Callable[..., float] = partial(together, chance=1 / DATASETS[name].classes)
        for word, number in {"faster": faster, "together": from_chance, "lead": lead}.items():
            values[f"{claim} {word}_{name}"] = by_seed(number, easy, difficult)
        if split == "test":
            values[f"final_gap_{name}"] = by_seed(final_gap, easy, difficult)
    return values


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw a row of panels for each data set."""
    drawn = panels(numbers)
    lines = len(drawn) // 2
    picture, grid = plt.subplots(lines, 2, figsize=(8.5, 1.6 + 2.8 * lines), layout="constrained", squeeze=False)
    for axes, (letter, tables) in zip(grid.flat, drawn.items(), strict=True):
        name, split, _ = _PANELS[letter]
        panel(axes, letter, f"{DATASETS[name].title}, {split}")
        subset_lines(axes, tables)
        accuracy_axes(axes, DATASETS[name].classes, log=True)
    legend(grid[-1, 0])
    return picture
