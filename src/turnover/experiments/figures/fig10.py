"""Figure 10: training (a) and test accuracy (b) over epochs, with none to all of the labels replaced by random ones."""

from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from turnover.config.datasets import FACTS
from turnover.config.run import RunConfig
from turnover.experiments.plots.curves import BAND, METRIC, accuracy_axes, curves, legend, line, panels, rows
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.learning_curves import by_seed, falls, final, later
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import panel

_LIGHTEST = 0.88  # of viridis; beyond it a line can hardly be seen on white
_PANELS = {"a": "train", "b": "test"}
_COSINE = ", cosine schedule"


def tabulate(sources: Sequence[Source]) -> Plotted:
    """The curves of runs of every corruption level with the same seeds."""
    cosine = [source for source in sources if source.config.schedule.name == "cosine"]
    plain = [source for source in sources if source not in cosine]
    size = plain[0].config.train_size
    parts = []
    for letter, split in _PANELS.items():
        for count in sorted({source.config.corruption.count for source in plain}):
            runs = [source for source in plain if source.config.corruption.count == count]
            name = f"{count:,} ({100 * count / size:.0f} %)"
            parts.append(rows(curves(runs, split, "all", METRIC), letter, name))
    parts.append(rows(curves(cosine, "train", "all", METRIC), "a", f"{size:,} (100 %){_COSINE}"))
    return Plotted(pd.concat(parts, ignore_index=True))


def _counted(drawn: dict[str, pd.DataFrame]) -> dict[int, pd.DataFrame]:
    """The curves with a multi-step schedule by their number of random labels."""
    return {_number(name): one for name, one in drawn.items() if not name.endswith(_COSINE)}


def _number(name: str) -> int:
    """The number of random labels in the name of a curve."""
    return int(name.split()[0].replace(",", ""))


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """The measures of claims 10a to 10c."""
    drawn = panels(numbers)
    train, test = _counted(drawn["a"]), _counted(drawn["b"])
    [(size, cosine)] = [(_number(name), one) for name, one in drawn["a"].items() if name.endswith(_COSINE)]
    some = [falls(table) for count, table in test.items() if 0.2 <= count / size <= 0.8]
    return {
        "later": [later(pd.DataFrame({count: one[seed] for count, one in train.items()})) for seed in cosine.columns],
        "drop": [float(value) for value in np.mean(some, axis=0)],
        "drop_clean": falls(test[0]),
        "fitted": by_seed(final, train[size]),
        "fitted_cosine": by_seed(final, cosine),
    }


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Both panels."""
    size, classes = configs[0].train_size, FACTS[configs[0].dataset.name].classes
    picture, grid = plt.subplots(1, 2, figsize=(8.5, 4.5), layout="constrained")
    drawn = panels(numbers)
    for axes, (letter, split) in zip(grid, _PANELS.items(), strict=True):
        panel(axes, letter, {"train": f"accuracy on the {size:,} training images", "test": "test accuracy"}[split])
        plain = {name: one for name, one in drawn[letter].items() if not name.endswith(_COSINE)}
        colours = [to_hex(colour) for colour in mpl.colormaps["viridis"](np.linspace(0, _LIGHTEST, len(plain)))]
        for (name, table), colour in zip(plain.items(), colours, strict=True):
            line(axes, table, name, colour)
        accuracy_axes(axes, classes)
    [cosine] = [name for name in drawn["a"] if name.endswith(_COSINE)]
    line(grid[0], drawn["a"][cosine], cosine, colours[-1], "--")
    grid[0].legend(handles=[grid[0].lines[-1]], fontsize=8)
    legend(grid[1], f"random labels; {BAND}", columns=2)
    return picture
