"""Figure 6: a network trained on easy (a), difficult (b) or random other examples (c) alone, its accuracy on both.

The random examples are a control that the paper does not have: what any examples teach.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.lines import Line2D

from turnover.config.datasets import DATASETS
from turnover.data.subsets import NAMES
from turnover.experiments.plots.curves import curves, line
from turnover.experiments.plots.figure import Drawn, FigureConfig
from turnover.experiments.plots.learning_curves import METRIC, accuracy_axes, by_seed, claim, final, final_gap, key
from turnover.experiments.plots.notes import Source, trained_on
from turnover.experiments.plots.style import COLOURS, panel

_SHOWN = ("easy", "difficult")


def draw(figure: FigureConfig, sources: Sequence[Source]) -> Drawn:
    """Panels, plotted curves and claim 6 from runs trained on each subset, with the same seeds."""
    picture, places = plt.subplot_mosaic(
        [["a", "b", "c"], ["key"] * 3], figsize=(8.5, 4.5), height_ratios=[1, 0.14], layout="constrained"
    )
    numbers = []
    values: dict[str, list[float]] = {}
    reached: dict[tuple[str, str], pd.DataFrame] = {}  # accuracy by what was trained on, and on what it is measured
    for letter, trained in zip("abc", NAMES, strict=True):
        axes = places[letter]
        runs = [source for source in sources if source.config.subsets.train_on == trained]
        config = runs[0].config
        panel(axes, letter, f"trained on {trained_on(config):,} {trained}")
        for subset in NAMES:
            table = reached[trained, subset] = curves(runs, "train", subset, METRIC)
            values[f"{trained}_to_{subset}"] = by_seed(final, table)
            if subset in _SHOWN or subset == trained:
                seen = subset == trained
                name = f"{subset} ({'trained on' if seen else 'never seen'})"
                numbers.append(
                    line(axes, table, panel=letter, name=name, colour=COLOURS[subset], style="-" if seen else "--")
                )
        test = curves(runs, "test", "all", METRIC)
        values[f"{trained}_to_test"] = by_seed(final, test)
        numbers.append(line(axes, test, panel=letter, name="all test examples", colour=COLOURS["all"], style=":"))
        accuracy_axes(axes, DATASETS[config.dataset.name].classes)
        axes.set_xlabel("epoch")
        axes.set_ylabel("accuracy of the full network" if letter == "a" else "")
        axes.tick_params(labelleft=letter == "a")
    key(places["key"], _looks(), columns=7)
    values["transfer"] = by_seed(final_gap, reached["difficult", "easy"], reached["easy", "difficult"])
    claims = [claim("6", figure.claims["6"], values)]
    return Drawn(picture, pd.concat(numbers, ignore_index=True), claims)


def _looks() -> list[Line2D]:
    """Lines that look like those of all panels: a colour is a set, a dash what it was to the network."""
    shown = {name: COLOURS[name] for name in NAMES}
    handles = [Line2D([], [], color=colour, label=name) for name, colour in shown.items()]
    handles += [
        Line2D([], [], color="#666666", linestyle="-", label="trained on"),
        Line2D([], [], color="#666666", linestyle="--", label="never seen"),
        Line2D([], [], color=COLOURS["all"], linestyle=":", label="all test examples"),
        Line2D([], [], color=COLOURS["muted"], linewidth=1, label="chance"),
    ]
    return handles
