"""Figure 4: cosines of gradients and contributions to updates, as the paper defines them (a, b) and refined (c, d).

Panels c and d are not in the paper: the cosine over all pairs of a set instead of those that share a mini-batch, and
the contribution without the part of an update that is the example's own gradient.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from turnover.experiments.plots.curves import curves
from turnover.experiments.plots.figure import Drawn, FigureConfig
from turnover.experiments.plots.learning_curves import SUBSETS, by_seed, claim, key, subset_lines
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel

NAMES = ("easy (real labels)", "difficult (random labels)", "all")

# letter: metric, title, label of the axis
_PANELS = {
    "a": ("batch_cosine", "pairs in one mini-batch", "mean cosine of gradients"),
    "b": ("contribution", "as the paper defines it (eq. 4)", "mean contribution\n(nats per unit of length)"),
    "c": ("set_cosine", "all pairs of the set, end of the epoch", "mean cosine of gradients"),
    "d": (
        "others_contribution",
        "the same without the self-term",
        "mean contribution\n(nats per unit of length)",
    ),
}


def draw(figure: FigureConfig, sources: Sequence[Source]) -> Drawn:
    """Panels, plotted curves and claims 4a and 4b from runs that differ in their seed."""
    picture, places = plt.subplot_mosaic(
        [["a", "b"], ["c", "d"], ["key", "key"]], figsize=(8.5, 6.4), height_ratios=[1, 1, 0.16], layout="constrained"
    )
    numbers, values = panels(places, sources)
    claims = [claim(id, config, values) for id, config in figure.claims.items()]
    return Drawn(picture, pd.concat(numbers, ignore_index=True), claims)


def panels(places: Mapping[str, Axes], sources: Sequence[Source]) -> tuple[list[pd.DataFrame], dict[str, list[float]]]:
    """Draw panels a to d and their key; returns what was drawn and all measures of both claims."""
    tables: dict[str, dict[str, pd.DataFrame]] = {}
    numbers = []
    for letter, (metric, title, label) in _PANELS.items():
        axes = places[letter]
        tables[metric] = {subset: curves(sources, "train", subset, metric) for subset in SUBSETS}
        panel(axes, letter, title)
        numbers += subset_lines(axes, letter, tables[metric], NAMES)
        _axes(axes, label)
    key(places["key"], places["a"].get_legend_handles_labels()[0], columns=len(NAMES))
    return numbers, {
        "cosine_lead": lowest(tables["batch_cosine"], "easy", "difficult"),
        "set_cosine_lead": lowest(tables["set_cosine"], "easy", "difficult"),
        "difficult_over_all": lowest(tables["contribution"], "difficult", "all"),
        "difficult_over_easy": lowest(tables["contribution"], "difficult", "easy"),
        "all_over_easy": lowest(tables["contribution"], "all", "easy"),
        "others_difficult_over_all": lowest(tables["others_contribution"], "difficult", "all"),
        "others_difficult_over_easy": lowest(tables["others_contribution"], "difficult", "easy"),
        "others_all_over_easy": lowest(tables["others_contribution"], "all", "easy"),
        "others_difficult": by_seed(_mean, tables["others_contribution"]["difficult"]),
        "others_easy": by_seed(_mean, tables["others_contribution"]["easy"]),
    }


def lowest(tables: dict[str, pd.DataFrame], first: str, second: str) -> list[float]:
    """For each seed, the lowest difference of the curves of two subsets over all epochs that were watched.

    Before training there is no epoch.
    """
    return by_seed(lambda a, b: float((a - b)[a.index > 0].min()), tables[first], tables[second])


def _mean(curve: pd.Series) -> float:
    return float(curve.mean())


def _axes(axes: Axes, label: str) -> None:
    axes.axhline(0, color=COLOURS["muted"], linewidth=1, zorder=1)
    axes.margins(x=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
