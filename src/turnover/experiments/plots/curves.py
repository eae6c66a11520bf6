"""Learning curves of several seeds: as plotted numbers, and as lines, the mean, in a band from lowest to highest."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from pandas.api.typing import SeriesGroupBy

from turnover.errors import RefusedInput
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS
from turnover.runs.store.run import read_manifest
from turnover.runs.store.tables import read_metrics

METRIC = "full_accuracy"  # of the full network, at the end of an epoch, in evaluation mode
SUBSETS = ("easy", "difficult", "all")

# split, metric, colour and dashes of what is measured of sub-networks
KINDS = {
    "own, train": ("train", "own_accuracy", COLOURS["own"], "-"),
    "flipped, train": ("train", "flipped_accuracy", COLOURS["flipped"], "-"),
    "full network, train": ("train", "full_accuracy", COLOURS["all"], "-"),
    "full network, test": ("test", "full_accuracy", COLOURS["all"], "--"),
    "fresh masks, test": ("test", "fresh_accuracy", COLOURS["fresh"], "-."),
    "own, constant image": ("train", "constant_accuracy", COLOURS["constant"], ":"),
}

_EPOCHS = (0, 0.1, 1, 2, 5, 10, 20, 50, 100, 200)  # that a logarithmic axis names
BAND = "mean and range over seeds"  # title of a legend
_DASHES = {"easy": "-", "difficult": "--", "all": ":"}  # distinct without colours too


def curves(sources: Sequence[Source], split: str, subset: str, metric: str, *, within: bool = False) -> pd.DataFrame:
    """Return one metric of runs with different seeds.  # index: epoch; a column for each seed

    Args:
        within: also from within epochs, where runs were watched by steps; the index is then no whole number there.
            All epochs of a run are of one length, so of texts none is planted for some of them.
    """
    columns = {}
    for source in sources:
        if source.config.seed in columns:
            raise RefusedInput(f"two runs of seed {source.config.seed} would make one curve: draw one value of a field")
        rows = read_metrics(source.folder, within=within)
        rows = rows[(rows["split"] == split) & (rows["subset"] == subset) & (rows["metric"] == metric)]
        if within:
            trained = read_manifest(source.folder)["examples_trained"]  # repeats counted, by all networks
            visits = trained // (source.config.epochs * source.config.method.networks)
            steps = -(-visits // source.config.batch_size)
            rows = rows.assign(epoch=rows["epoch"] + rows["step"] / steps)
        columns[source.config.seed] = rows.set_index("epoch")["value"]
    return pd.DataFrame(columns).sort_index()


def of_datasets(sources: Sequence[Source], names: Iterable[str]) -> dict[str, list[Source]]:
    """Return the runs of each of these data sets, in this order.

    Raises:
        RefusedInput: there are runs of others.
    """
    runs = {name: [source for source in sources if source.config.dataset.name == name] for name in names}
    for source in sources:
        if source.config.dataset.name not in runs:
            raise RefusedInput(f"dataset = {source.config.dataset.name}: this figure is of {' and '.join(runs)}")
    return {name: of_dataset for name, of_dataset in runs.items() if of_dataset}


def rows(table: pd.DataFrame, panel: str, name: str) -> pd.DataFrame:
    """Return the curves of `curves` as plotted numbers: panel, curve, seed, epoch, value."""
    long = table.rename_axis(index="epoch").reset_index().melt("epoch", var_name="seed")
    return long.assign(panel=panel, curve=name)[["panel", "curve", "seed", "epoch", "value"]]


def panels(numbers: pd.DataFrame) -> dict[str, dict[str, pd.DataFrame]]:
    """Return the curves of plotted numbers by panel and name, each as `curves` returns it."""
    tables: dict[str, dict[str, pd.DataFrame]] = {}
    for (panel, name), points in numbers.groupby(["panel", "curve"], sort=False):
        tables.setdefault(str(panel), {})[str(name)] = points.pivot(index="epoch", columns="seed", values="value")
    return tables


def line(axes: Axes, table: pd.DataFrame, name: str, colour: str, style: str = "-") -> None:
    """Draw the curves of `curves`."""
    axes.plot(table.index, table.mean(axis=1), color=colour, linestyle=style, label=name)
    axes.fill_between(table.index, table.min(axis=1), table.max(axis=1), color=colour, alpha=0.25, linewidth=0)


def band(axes: Axes, values: SeriesGroupBy, colour: str, *, alpha: float = 0.25, **look: Any) -> None:
    """Draw the mean of each group of values, in a band from lowest to highest."""
    mean = values.mean()
    axes.plot(mean.index, mean, color=colour, **look)
    axes.fill_between(mean.index, values.min(), values.max(), color=colour, alpha=alpha, linewidth=0)


def outer_labels(grid: np.ndarray, used: int, x: str, y: str) -> None:
    """Label the first `used` axes of a grid at its edges alone, and switch off the others."""
    columns = grid.shape[1]
    for number, axes in enumerate(grid.flat):
        if number >= used:
            axes.axis("off")
            continue
        lowest = number + columns >= used
        axes.tick_params(labelbottom=lowest)
        axes.set_xlabel(x if lowest else "")
        axes.set_ylabel(y if number % columns == 0 else "")


def subset_lines(axes: Axes, drawn: Mapping[str, pd.DataFrame], names: Iterable[str] = SUBSETS) -> None:
    """Draw a line for the easy, the difficult and all examples, of these names."""
    for subset, name in zip(SUBSETS, names, strict=True):
        line(axes, drawn[name], name, COLOURS[subset], _DASHES[subset])


def accuracy_axes(axes: Axes, classes: int | None, *, log: bool = False) -> None:
    """Set axes of accuracies of the full network over epochs, from 0 to 1, with the level of chance, once all is drawn.

    Args:
        classes: None: they are shares of which chance is taken off, so that there is no such level.
        log: a logarithmic axis of epochs, on which 0 has a place beside 1, or beside the first watched step.
    """
    if classes is not None:
        axes.axhline(1 / classes, color=COLOURS["muted"], linewidth=1, zorder=1, label="chance")
    axes.set_ylim(0, 1.01)
    axes.margins(x=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel("epoch (full network, at its end; 0: before training)")
    if log:
        last = axes.get_xlim()[1]
        watched = np.concatenate([np.asarray(line.get_xdata(), dtype=float) for line in axes.lines])
        start = min(1.0, watched[watched > 0].min())
        axes.set_xscale("symlog", linthresh=start, linscale=0.5)
        axes.set_xlim(0, last)
        ticks = [tick for tick in _EPOCHS if tick == 0 or start <= tick <= last]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("epochs trained (full network; log scale)")
    axes.set_ylabel("accuracy" if classes is not None else "share")


def legend(axes: Axes, title: str = BAND, columns: int = 1) -> None:
    """Draw the legend where it hides least, and paler than what it does hide."""
    axes.legend(
        title=title, title_fontsize=7, fontsize=8, ncols=columns, frameon=True, framealpha=0.8, edgecolor="none"
    )


def key(axes: Axes, handles: Sequence[Artist], columns: int, spacing: float = 2.0) -> None:
    """Draw the legend of several panels, on axes of its own that show nothing else."""
    axes.axis("off")
    axes.legend(
        handles=handles, title=BAND, title_fontsize=7, fontsize=8, loc="center", ncols=columns, columnspacing=spacing
    )
