"""Learning curves of several seeds: one line, the mean, in a band from the lowest to the highest seed."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from turnover.errors import RefusedInput
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS
from turnover.runs.store.tables import read_metrics

# split, metric, colour and dashes of what is measured of sub-networks
KINDS = {
    "own, train": ("train", "own_accuracy", COLOURS["own"], "-"),
    "flipped, train": ("train", "flipped_accuracy", COLOURS["flipped"], "-"),
    "full network, train": ("train", "full_accuracy", COLOURS["all"], "-"),
    "full network, test": ("test", "full_accuracy", COLOURS["all"], "--"),
    "fresh masks, test": ("test", "fresh_accuracy", COLOURS["fresh"], "-."),
    "own, constant image": ("train", "constant_accuracy", COLOURS["constant"], ":"),
}

BAND = "mean and range over seeds"  # title of a legend


def curves(sources: Sequence[Source], split: str, subset: str, metric: str) -> pd.DataFrame:
    """One metric of runs with different seeds.  # index: epoch; a column for each seed"""
    columns = {}
    for source in sources:
        if source.config.seed in columns:
            raise RefusedInput(f"two runs of seed {source.config.seed} would make one curve: draw one value of a field")
        rows = read_metrics(source.folder)
        rows = rows[(rows["split"] == split) & (rows["subset"] == subset) & (rows["metric"] == metric)]
        columns[source.config.seed] = rows.set_index("epoch")["value"]
    return pd.DataFrame(columns).sort_index()


def line(axes: Axes, table: pd.DataFrame, *, panel: str, name: str, colour: str, style: str = "-") -> pd.DataFrame:
    """Draw `curves` and return what was drawn: panel, curve, seed, epoch, value."""
    axes.plot(table.index, table.mean(axis=1), color=colour, linestyle=style, label=name)
    axes.fill_between(table.index, table.min(axis=1), table.max(axis=1), color=colour, alpha=0.25, linewidth=0)
    long = table.rename_axis(index="epoch").reset_index().melt("epoch", var_name="seed")
    return long.assign(panel=panel, curve=name)[["panel", "curve", "seed", "epoch", "value"]]
