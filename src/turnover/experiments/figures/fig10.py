"""Figure 10: training (a) and test accuracy (b) over epochs, with none to all of the labels replaced by random ones."""

from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from turnover.config.datasets import DATASETS
from turnover.experiments.plots.curves import BAND, curves, line
from turnover.experiments.plots.figure import Drawn, FigureConfig
from turnover.experiments.plots.learning_curves import (
    METRIC,
    accuracy_axes,
    by_seed,
    claim,
    falls,
    final,
    later,
    legend,
)
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import panel

_LIGHTEST = 0.88  # of viridis; beyond it a line can hardly be seen on white


def draw(figure: FigureConfig, sources: Sequence[Source]) -> Drawn:
    """Panels, plotted curves and claims 10a to 10c from runs of every corruption level with the same seeds."""
    cosine = [source for source in sources if source.config.schedule.name == "cosine"]
    sources = [source for source in sources if source not in cosine]
    size, classes = sources[0].config.train_size, DATASETS[sources[0].config.dataset.name].classes
    counts = sorted({source.config.corruption.count for source in sources})
    colours = [to_hex(colour) for colour in mpl.colormaps["viridis"](np.linspace(0, _LIGHTEST, len(counts)))]
    picture, grid = plt.subplots(1, 2, figsize=(8.5, 4.5), layout="constrained")
    numbers = []
    tables: dict[str, dict[int, pd.DataFrame]] = {"train": {}, "test": {}}
    for axes, letter, split in zip(grid, "ab", tables, strict=True):
        panel(axes, letter, {"train": "training accuracy", "test": "test accuracy"}[split])
        for count, colour in zip(counts, colours, strict=True):
            runs = [source for source in sources if source.config.corruption.count == count]
            table = tables[split][count] = curves(runs, split, "all", METRIC)
            name = f"{count:,} ({100 * count / size:.0f} %)"
            numbers.append(line(axes, table, panel=letter, name=name, colour=colour))
        accuracy_axes(axes, classes)
    fitted = curves(cosine, "train", "all", METRIC)
    name = f"{size:,} (100 %), cosine schedule"
    numbers.append(line(grid[0], fitted, panel="a", name=name, colour=colours[-1], style="--"))
    grid[0].legend(handles=[grid[0].lines[-1]], fontsize=8)
    legend(grid[1], f"random labels; {BAND}", columns=2)

    values = {
        "later": latest(tables["train"]),
        "drop": drop(tables["test"], size),
        "drop_clean": falls(tables["test"][0]),
        "fitted": by_seed(final, tables["train"][size]),
        "fitted_cosine": by_seed(final, curves(cosine, "train", "all", METRIC)),
    }
    claims = [claim(id, config, values) for id, config in figure.claims.items()]
    return Drawn(picture, pd.concat(numbers, ignore_index=True), claims)


def latest(train: dict[int, pd.DataFrame]) -> list[float]:
    """For each seed, `later` of the numbers of random labels."""
    seeds = next(iter(train.values())).columns
    return [later(pd.DataFrame({count: table[seed] for count, table in train.items()})) for seed in seeds]


def drop(test: dict[int, pd.DataFrame], size: int) -> list[float]:
    """For each seed, the `falls` of test accuracy, mean over all levels from 20 to 80 % of the `size` labels."""
    found = [falls(table) for count, table in test.items() if 0.2 <= count / size <= 0.8]
    return [float(value) for value in np.mean(found, axis=0)]
