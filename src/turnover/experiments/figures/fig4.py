"""Figure 4: cosines of gradients and contributions to updates, as the paper defines them (a, b) and refined (c, d).

Panels c and d are not in the paper: the cosine over all pairs of a set instead of those that share a mini-batch, and
the contribution without the part of an update that is the example's own gradient. Where runs have watched layers,
panel e has the cosines of the part of the gradients that belongs to each.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from turnover.config.run import RunConfig
from turnover.experiments.plots.curves import SUBSETS, band, curves, key, panels, rows, subset_lines
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.store.tables import read_metrics
from turnover.stats.claims import measure_seeds

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
_LOOKS = {"easy": ("-", "o"), "difficult": ("--", "s"), "all": (":", "^")}  # distinct without colours too


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return the curves of runs that differ in their seed, and every layer's cosine in the last epoch, inputs first."""
    tables = [
        rows(curves(sources, "train", subset, metric), letter, name)
        for letter, (metric, _, _) in _PANELS.items()
        for subset, name in zip(SUBSETS, NAMES, strict=True)
    ]
    metrics = read_metrics(sources[0].folder)["metric"].unique()
    layers = [name for name in metrics if name.startswith("set_cosine/") and name.endswith(".weight")]
    for subset in SUBSETS:
        for metric in layers:
            name = metric.removeprefix("set_cosine/").removesuffix(".weight")
            last = curves(sources, "train", subset, metric).iloc[-1]
            columns = {"panel": "e", "curve": f"{subset}, {name}", "seed": last.index, "value": last.to_numpy()}
            tables.append(pd.DataFrame(columns))
    return Plotted(pd.concat(tables, ignore_index=True))


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the measures of claims 4a and 4b."""
    drawn = panels(numbers)
    pairs, contribution, sets, without_self = (
        {subset: drawn[letter][name] for subset, name in zip(SUBSETS, NAMES, strict=True)} for letter in _PANELS
    )
    values = {
        "cosine_lead": lowest(pairs["easy"], pairs["difficult"]),
        "set_cosine_lead": lowest(sets["easy"], sets["difficult"]),
    }
    for prefix, tables in (("", contribution), ("others_", without_self)):
        for first, second in (("difficult", "all"), ("difficult", "easy"), ("all", "easy")):
            values[f"{prefix}{first}_over_{second}"] = lowest(tables[first], tables[second])
    return values | {f"others_{subset}": list(without_self[subset].mean()) for subset in ("difficult", "easy")}


def lowest(first: pd.DataFrame, second: pd.DataFrame) -> list[float]:
    """Return, for each seed, the difference of two curves in the epoch where its interval over seeds reaches lowest.

    Of all watched epochs but that before training. If that interval is above 0, so are those of the others, and no
    correction for their number is due (an intersection-union test; Berger, 1982). A single seed has no interval.
    """
    difference = (first - second)[first.index > 0]
    ends = [(measure_seeds("", list(lead)).interval or lead)[0] for lead in difference.to_numpy()]
    return [float(value) for value in difference.iloc[int(np.argmin(ends))]]


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw all panels and the key of a to d."""
    drawn, layers = panels(numbers), numbers[numbers["panel"] == "e"]
    mosaic, heights = ("ab;cd;kk;ee", [1, 1, 0.16, 1]) if len(layers) else ("ab;cd;kk", [1, 1, 0.16])
    size = (8.5, 1.2 + 2.45 * sum(heights))
    picture, grid = plt.subplot_mosaic(mosaic, figsize=size, height_ratios=heights, layout="constrained")
    for letter, (_, title, label) in _PANELS.items():
        axes = grid[letter]
        panel(axes, letter, title)
        subset_lines(axes, drawn[letter], NAMES)
        axes.margins(x=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True))
        axes.set(xlabel="epoch", ylabel=label)
    key(grid["k"], grid["a"].get_legend_handles_labels()[0], columns=len(NAMES))
    if len(layers):
        _layers(grid["e"], layers)
    for name in grid.keys() - {"k"}:
        grid[name].axhline(0, color=COLOURS["muted"], linewidth=1, zorder=1)
    return picture


def _layers(axes: Axes, numbers: pd.DataFrame) -> None:
    panel(axes, "e", "all pairs of the set, weights of each layer by themselves, last epoch")
    for subset in SUBSETS:
        mine = numbers[numbers["curve"].str.startswith(f"{subset}, ")]
        by_layer = mine.groupby(mine["curve"].str.removeprefix(f"{subset}, "), sort=False)["value"]
        dash, marker = _LOOKS[subset]
        band(axes, by_layer, COLOURS[subset], linestyle=dash, marker=marker, markersize=4)
    axes.set(xlabel="layer", ylabel="mean cosine of gradients")
