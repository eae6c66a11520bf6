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
        "cosine_lead": least_certain(pairs["easy"], pairs["difficult"]),
        "set_cosine_lead": least_certain(sets["easy"], sets["difficult"]),
        "set_cosine_lead_initial": (sets["easy"] - sets["difficult"]).iloc[0].tolist(),
    }
    for prefix, tables in (("", contribution), ("others_", without_self)):
        for first, second in (("difficult", "all"), ("difficult", "easy"), ("all", "easy")):
            values[f"{prefix}{first}_over_{second}"] = least_certain(tables[first], tables[second])
    return values | {f"others_{subset}": list(without_self[subset].mean()) for subset in ("difficult", "easy")}


def least_of(numbers: pd.DataFrame) -> dict[str, int]:
    """Return of how many epochs a measure is that of the least certain one, by its name."""
    drawn = panels(numbers)
    measured = {"cosine_lead": "a", "set_cosine_lead": "c"}
    measured |= {name: "d" if name.startswith("others_") else "b" for name in measures(numbers) if "_over_" in name}
    return {name: int((drawn[letter]["all"].index > 0).sum()) for name, letter in measured.items()}


def least_certain(first: pd.DataFrame, second: pd.DataFrame) -> list[float]:
    """Return, for each seed, the difference of two curves in the epoch where it is least certain to be above 0.

    Of all watched epochs but that before training, by t over seeds (of one seed, by the difference). If the interval
    is above 0, so are all others, and no correction for their number is due (an intersection-union test;
    Berger, 1982). That it is below 0 is no surprise among many: see `least_of`.
    """
    difference = (first - second)[first.index > 0]
    mean, error = difference.mean(axis=1).to_numpy(), difference.std(axis=1).fillna(1).to_numpy()
    with np.errstate(divide="ignore"):
        t = np.where((mean == 0) & (error == 0), 0, mean / error)
    return [float(value) for value in difference.iloc[int(t.argmin())]]


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
