"""Figure 4: cosines of gradients and contributions to updates, as the paper defines them (a, b) and refined (c, d).

Panels c and d are not in the paper: the cosine over all pairs of a set instead of those that share a mini-batch, and
the contribution without the part of an update that is the example's own gradient.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from turnover.config.run import RunConfig
from turnover.experiments.plots.curves import SUBSETS, curves, key, panels, rows, subset_lines
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.learning_curves import by_seed
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


def tabulate(sources: Sequence[Source]) -> Plotted:
    """The curves of runs that differ in their seed."""
    parts = [
        rows(curves(sources, "train", subset, metric), letter, name)
        for letter, (metric, _, _) in _PANELS.items()
        for subset, name in zip(SUBSETS, NAMES, strict=True)
    ]
    return Plotted(pd.concat(parts, ignore_index=True))


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """The measures of claims 4a and 4b."""
    drawn = panels(numbers)
    pairs, contribution, sets, others = (
        {subset: drawn[letter][name] for subset, name in zip(SUBSETS, NAMES, strict=True)} for letter in _PANELS
    )
    found = {
        "cosine_lead": lowest(pairs["easy"], pairs["difficult"]),
        "set_cosine_lead": lowest(sets["easy"], sets["difficult"]),
    }
    for prefix, tables in (("", contribution), ("others_", others)):
        for first, second in (("difficult", "all"), ("difficult", "easy"), ("all", "easy")):
            found[f"{prefix}{first}_over_{second}"] = lowest(tables[first], tables[second])
    return found | {f"others_{subset}": list(others[subset].mean()) for subset in ("difficult", "easy")}


def lowest(first: pd.DataFrame, second: pd.DataFrame) -> list[float]:
    """For each seed, the lowest difference of two curves over all epochs that were watched; before training is none."""
    return by_seed(lambda a, b: float((a - b)[a.index > 0].min()), first, second)


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Panels a to d and their key."""
    picture, places = plt.subplot_mosaic(
        [["a", "b"], ["c", "d"], ["key", "key"]], figsize=(8.5, 6.4), height_ratios=[1, 1, 0.16], layout="constrained"
    )
    fill(places, numbers)
    return picture


def fill(places: Mapping[str, Axes], numbers: pd.DataFrame) -> None:
    """Draw panels a to d and their key on these axes."""
    drawn = panels(numbers)
    for letter, (_, title, label) in _PANELS.items():
        axes = places[letter]
        panel(axes, letter, title)
        subset_lines(axes, drawn[letter], NAMES)
        axes.axhline(0, color=COLOURS["muted"], linewidth=1, zorder=1)
        axes.margins(x=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
    key(places["key"], places["a"].get_legend_handles_labels()[0], columns=len(NAMES))
