"""Figure 4 for VGG-11 (a to d), and the cosines of the part of the gradients that belongs to each layer (e)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turnover.config.run import RunConfig
from turnover.experiments.figures import fig4
from turnover.experiments.plots.curves import SUBSETS, curves
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.store.tables import read_metrics

_LOOKS = {"easy": ("-", "o"), "difficult": ("--", "s"), "all": (":", "^")}  # told apart without colours too


def tabulate(sources: Sequence[Source]) -> Plotted:
    """The curves of figure 4, and of every layer, from the input to the output, the cosine of the last epoch."""
    names = read_metrics(sources[0].folder)["metric"].unique()
    layers = [name for name in names if name.startswith("set_cosine/") and name.endswith(".weight")]
    parts = [fig4.tabulate(sources).numbers]
    for subset in SUBSETS:
        for metric in layers:
            name = metric.removeprefix("set_cosine/").removesuffix(".weight")
            last = curves(sources, "train", subset, metric).iloc[-1]
            part = {"panel": "e", "curve": f"{subset}, {name}", "seed": last.index, "value": last.to_numpy()}
            parts.append(pd.DataFrame(part))
    return Plotted(pd.concat(parts, ignore_index=True))


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """The measures of the claims of figure 4."""
    return fig4.measures(numbers)


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """The panels of figure 4, and panel e."""
    picture, places = plt.subplot_mosaic(
        [["a", "b"], ["c", "d"], ["key", "key"], ["e", "e"]],
        figsize=(8.5, 9),
        height_ratios=[1, 1, 0.16, 1],
        layout="constrained",
    )
    fig4.fill(places, numbers)
    _layers(places["e"], numbers[numbers["panel"] == "e"])
    return picture


def _layers(axes: Axes, numbers: pd.DataFrame) -> None:
    panel(axes, "e", "all pairs of the set, weights of each layer by themselves, last epoch")
    for subset in SUBSETS:
        mine = numbers[numbers["curve"].str.startswith(f"{subset}, ")]
        by_layer = mine.groupby(mine["curve"].str.removeprefix(f"{subset}, "), sort=False)["value"]
        mean, low, high = by_layer.mean(), by_layer.min(), by_layer.max()
        dash, marker = _LOOKS[subset]
        axes.plot(mean.index, mean, color=COLOURS[subset], linestyle=dash, marker=marker, markersize=4)
        axes.fill_between(mean.index, low, high, color=COLOURS[subset], alpha=0.25, linewidth=0)
    axes.axhline(0, color=COLOURS["muted"], linewidth=1, zorder=1)
    axes.set_xlabel("layer")
    axes.set_ylabel("mean cosine of gradients")
