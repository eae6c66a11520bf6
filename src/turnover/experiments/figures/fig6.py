"""Figure 6: a network trained on easy (a), difficult (b) or random other examples (c) alone, its accuracy on both.

The random examples are a control that the paper does not have: what any examples teach.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from turnover.config.datasets import DATASETS
from turnover.config.run import RunConfig
from turnover.data.subsets import NAMES
from turnover.experiments.plots.curves import METRIC, accuracy_axes, curves, key, line, panels, rows
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.learning_curves import by_seed, final, final_gap
from turnover.experiments.plots.notes import Source, trained_on
from turnover.experiments.plots.style import COLOURS, panel

_PANELS = dict(zip("abc", NAMES, strict=True))  # by what is trained on
_TEST = "all test examples"


def _curve(subset: str, trained: str) -> str:
    return f"{subset} ({'trained on' if subset == trained else 'never seen'})"


def _shown(trained: str) -> list[str]:
    return [subset for subset in NAMES if subset in ("easy", "difficult", trained)]


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return the curves of runs trained on each subset, with the same seeds."""
    tables = []
    for letter, trained in _PANELS.items():
        runs = [source for source in sources if getattr(source.config.subsets, "train_on", None) == trained]
        for subset in _shown(trained):
            tables.append(rows(curves(runs, "train", subset, METRIC), letter, _curve(subset, trained)))
        tables.append(rows(curves(runs, "test", "all", METRIC), letter, _TEST))
    return Plotted(pd.concat(tables, ignore_index=True))


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the measures of claim 6."""
    drawn = panels(numbers)
    values: dict[str, list[float]] = {}
    for letter, trained in _PANELS.items():
        for subset in _shown(trained):
            values[f"{trained}_to_{subset}"] = by_seed(final, drawn[letter][_curve(subset, trained)])
        values[f"{trained}_to_test"] = by_seed(final, drawn[letter][_TEST])
    to_easy, to_difficult = drawn["b"][_curve("easy", "difficult")], drawn["a"][_curve("difficult", "easy")]
    return values | {"transfer": by_seed(final_gap, to_easy, to_difficult)}


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw a panel for each subset, and their key."""
    picture, mosaic = plt.subplot_mosaic(
        [["a", "b", "c"], ["key"] * 3], figsize=(8.5, 4.5), height_ratios=[1, 0.14], layout="constrained"
    )
    for letter, drawn in panels(numbers).items():
        axes, trained = mosaic[letter], _PANELS[letter]
        config = next(config for config in configs if config.subsets.train_on == trained)
        panel(axes, letter, f"trained on {trained_on(config):,} {trained}")
        for subset in _shown(trained):
            name = _curve(subset, trained)
            line(axes, drawn[name], name, COLOURS[subset], "-" if subset == trained else "--")
        line(axes, drawn[_TEST], _TEST, COLOURS["all"], ":")
        accuracy_axes(axes, DATASETS[config.dataset.name].classes, log=True)
        axes.set_xlabel("epoch (log scale)")
        axes.set_ylabel("accuracy of the full network" if letter == "a" else "")
        axes.tick_params(labelleft=letter == "a")
    key(mosaic["key"], _looks(), columns=7)
    return picture


def _looks() -> list[Line2D]:
    """Return lines that look like those of all panels: a colour is a set, a dash what it was to the network."""
    return [
        *(Line2D([], [], color=COLOURS[name], label=name) for name in NAMES),
        Line2D([], [], color="#666666", linestyle="-", label="trained on"),
        Line2D([], [], color="#666666", linestyle="--", label="never seen"),
        Line2D([], [], color=COLOURS["all"], linestyle=":", label=_TEST),
        Line2D([], [], color=COLOURS["muted"], linewidth=1, label="chance"),
    ]
