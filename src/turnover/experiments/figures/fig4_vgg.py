"""Figure 4 for VGG-11 (a to d), and the cosines of the part of the gradients that belongs to each layer (e)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from turnover.experiments.figures.fig4 import panels
from turnover.experiments.plots.curves import curves
from turnover.experiments.plots.figure import Drawn, FigureConfig
from turnover.experiments.plots.learning_curves import SUBSETS, claim
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.store.tables import read_metrics

_LOOKS = {"easy": ("-", "o"), "difficult": ("--", "s"), "all": (":", "^")}  # told apart without colours too


def draw(figure: FigureConfig, sources: Sequence[Source]) -> Drawn:
    """All panels, what they plot and the claims of figure 4, from runs that differ in their seed."""
    picture, places = plt.subplot_mosaic(
        [["a", "b"], ["c", "d"], ["key", "key"], ["e", "e"]],
        figsize=(8.5, 9),
        height_ratios=[1, 1, 0.16, 1],
        layout="constrained",
    )
    numbers, values = panels(places, sources)
    numbers.append(_layers(places["e"], sources))
    claims = [claim(id, config, values) for id, config in figure.claims.items()]
    return Drawn(picture, pd.concat(numbers, ignore_index=True), claims)


def _layers(axes: Axes, sources: Sequence[Source]) -> pd.DataFrame:
    """Cosines of the last epoch for the weights of every layer, from the input to the output."""
    metrics = read_metrics(sources[0].folder)["metric"].unique()
    layers = [name for name in metrics if name.startswith("set_cosine/") and name.endswith(".weight")]
    names = [name.removeprefix("set_cosine/").removesuffix(".weight") for name in layers]
    panel(axes, "e", "all pairs of the set, weights of each layer by themselves, last epoch")
    drawn = []
    for subset in SUBSETS:
        last = pd.DataFrame(
            {
                name: curves(sources, "train", subset, metric).iloc[-1]
                for name, metric in zip(names, layers, strict=True)
            }
        )
        dash, marker = _LOOKS[subset]
        axes.plot(names, last.mean(), color=COLOURS[subset], linestyle=dash, marker=marker, markersize=4)
        axes.fill_between(names, last.min(), last.max(), color=COLOURS[subset], alpha=0.25, linewidth=0)
        long = last.rename_axis(index="seed").reset_index().melt("seed", var_name="curve")
        drawn.append(long.assign(panel="e", curve=subset + ", " + long["curve"]))
    axes.axhline(0, color=COLOURS["muted"], linewidth=1, zorder=1)
    axes.set_xlabel("layer")
    axes.set_ylabel("mean cosine of gradients")
    return pd.concat(drawn)
