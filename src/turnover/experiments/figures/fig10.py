"""Figure 10: training (a) and test accuracy (b) over epochs, with none to all of the labels replaced by random ones.

And the training accuracy on random labels alone (c): on as many of them wherever some are random, else on all.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from turnover.config.datasets import DATASETS
from turnover.config.run import RunConfig
from turnover.experiments.plots.curves import BAND, METRIC, accuracy_axes, curves, legend, line, panels, rows
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.learning_curves import by_seed, crossed, falls, final, later, unfitted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import panel, shades

_PANELS = {"a": "train", "b": "test", "c": "train"}
_COSINE = ", cosine schedule"


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return the curves of runs of every corruption level with the same seeds."""
    cosine = [source for source in sources if source.config.schedule.name == "cosine"]
    plain = [source for source in sources if source not in cosine]
    size = plain[0].config.train_size
    tables = []
    for letter, split in _PANELS.items():
        for count in sorted({source.config.corruption.count for source in plain}):
            runs = [source for source in plain if source.config.corruption.count == count]
            name = f"{count:,} ({100 * count / size:.0f} %)"
            subset = "difficult" if letter == "c" and count < size else "all"
            if letter != "c" or count:
                tables.append(rows(curves(runs, split, subset, METRIC), letter, name))
    tables.append(rows(curves(cosine, "train", "all", METRIC), "a", f"{size:,} (100 %){_COSINE}"))
    return Plotted(pd.concat(tables, ignore_index=True))


def _counted(drawn: dict[str, pd.DataFrame]) -> dict[int, pd.DataFrame]:
    """Return the curves with a multi-step schedule by their number of random labels, with which their names begin."""
    plain = {name: table for name, table in drawn.items() if not name.endswith(_COSINE)}
    return {int(name.split()[0].replace(",", "")): table for name, table in plain.items()}


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the measures of claims 10a to 10c."""
    drawn = panels(numbers)
    train, test, random = (_counted(drawn[letter]) for letter in _PANELS)
    [cosine] = [table for name, table in drawn["a"].items() if name.endswith(_COSINE)]
    size = max(train)  # all labels random
    some = np.mean([falls(table) for count, table in test.items() if 0.2 <= count / size <= 0.8], axis=0)  # [seeds]
    wrong = {count: table if count == size else wrong_alone(table) for count, table in random.items()}
    by_count = [pd.DataFrame({count: table[seed] for count, table in wrong.items()}) for seed in cosine.columns]
    return {
        "later": [later(curves) for curves in by_count],
        "slower": [unfitted(curves[size]) - unfitted(curves[min(wrong)]) for curves in by_count],
        "crossed_later": [later(curves, crossed) for curves in by_count],
        "drop": some.tolist(),
        "drop_over_random": (some - falls(test[size])).tolist(),
        "drop_random": falls(test[size]),
        "drop_clean": falls(test[0]),
        "fitted": by_seed(final, train[size]),
        "fitted_cosine": by_seed(final, cosine),
    }


def wrong_alone(random: pd.DataFrame) -> pd.DataFrame:
    """Return the lowest accuracy that wrong labels can have where random ones have this one.

    A tenth of these is right by accident, and may be fitted from the start where other labels are right.
    """
    return 1 - (1 - random) / (1 - 1 / DATASETS["cifar10"].classes)


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw the panels."""
    size, classes = configs[0].train_size, DATASETS[configs[0].dataset.name].classes
    picture, grid = plt.subplots(1, 3, figsize=(11, 4.5), layout="constrained")
    drawn = panels(numbers)
    titles = {"a": f"accuracy on the {size:,} training images", "b": "test accuracy", "c": "accuracy on random labels"}
    [cosine] = [name for name in drawn["a"] if name.endswith(_COSINE)]
    colours = dict(zip(drawn["b"], shades(len(drawn["b"])), strict=True))
    for axes, (letter, title) in zip(grid, titles.items(), strict=True):
        panel(axes, letter, title)
        for name, table in drawn[letter].items():
            if name != cosine:
                line(axes, table, name, colours[name])
        accuracy_axes(axes, classes)
    line(grid[0], drawn["a"][cosine], cosine, list(colours.values())[-1], "--")
    grid[0].legend(handles=[grid[0].lines[-1]], fontsize=8)
    legend(grid[1], f"random labels; {BAND}", columns=2)
    return picture
