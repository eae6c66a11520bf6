"""Figure 5: easy, difficult and all examples over epochs, train (a, c) and test (b, d) of MNIST and of CIFAR-10."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd

from turnover.config.datasets import DATASETS
from turnover.experiments.plots.curves import curves
from turnover.experiments.plots.figure import Drawn, FigureConfig
from turnover.experiments.plots.learning_curves import (
    METRIC,
    SUBSETS,
    about,
    accuracy_axes,
    by_seed,
    claim,
    faster,
    final_gap,
    lead,
    legend,
    subset_lines,
    together,
)
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import panel

_SPLITS = ("train", "test")


def draw(figure: FigureConfig, sources: Sequence[Source]) -> Drawn:
    """Panels, plotted curves and claims 5a to 5c from runs of each data set with the same seeds."""
    names = list(dict.fromkeys(source.config.dataset.name for source in sources))
    picture, grid = plt.subplots(
        len(names), 2, figsize=(8.5, 1.6 + 2.8 * len(names)), layout="constrained", squeeze=False
    )
    numbers = []
    speed: dict[str, dict[str, list[float]]] = {split: {} for split in _SPLITS}
    gaps: dict[str, list[float]] = {}
    for row, name in enumerate(names):
        alike = [source for source in sources if source.config.dataset.name == name]
        for column, split in enumerate(_SPLITS):
            tables = {subset: curves(alike, split, subset, METRIC) for subset in SUBSETS}
            axes, letter = grid[row, column], "abcd"[2 * row + column]
            panel(axes, letter, f"{DATASETS[name].title}, {split}")
            numbers += subset_lines(axes, letter, tables)
            accuracy_axes(axes, DATASETS[name].classes)
            for word, number in {"faster": faster, "together": together, "lead": lead}.items():
                speed[split][f"{word}_{name}"] = by_seed(number, tables["easy"], tables["difficult"])
        gaps[f"final_gap_{name}"] = by_seed(final_gap, tables["easy"], tables["difficult"])  # of test, the last drawn
    legend(grid[0, 0])

    claims = [
        claim(id, about(names, figure.claims[id]), values)
        for id, values in {"5a": speed["train"], "5b": speed["test"], "5c": gaps}.items()
    ]
    return Drawn(picture, pd.concat(numbers, ignore_index=True), claims)
