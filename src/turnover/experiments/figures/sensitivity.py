"""When and how high the test accuracy peaks with random labels (figure 3 b), by learning rate and normalisation."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from turnover.config.options import DatasetConfig
from turnover.config.run import RunConfig
from turnover.experiments.plots.curves import METRIC, curves
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.learning_curves import final, highest, peak_epoch
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import panel

_TITLES = {"standard": "inputs of mean 0, variance 1", "unit": "inputs in [0, 1]"}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return a mean curve over seeds for each normalisation and learning rate."""
    tables = []
    for kind in _TITLES:
        for rate in sorted({source.config.optimizer.lr for source in sources}):
            runs = [s for s in sources if (_normalization(s), s.config.optimizer.lr) == (kind, rate)]
            accuracy = curves(runs, "test", "all", METRIC).mean(axis=1)
            columns = {"normalization": kind, "lr": rate, "epoch": accuracy.index, "test_accuracy": accuracy.to_numpy()}
            tables.append(pd.DataFrame(columns))
    return Plotted(pd.concat(tables, ignore_index=True))


def _normalization(source: Source) -> str:
    assert isinstance(source.config.dataset, DatasetConfig)
    return source.config.dataset.normalization


def summary(numbers: pd.DataFrame, rest: dict[str, Any]) -> dict[str, Any]:
    """Return the peak of every curve."""
    peaks = []
    for (kind, rate), curve in numbers.groupby(["normalization", "lr"], sort=False):
        accuracy = curve.set_index("epoch")["test_accuracy"]
        peak = {"peak_epoch": int(peak_epoch(accuracy)), "peak_accuracy": highest(accuracy)}
        peaks.append({"normalization": kind, "lr": rate} | peak | {"last_accuracy": final(accuracy)})
    return rest | {"peaks": peaks}


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw a panel for each normalisation, a curve for each learning rate, the peak marked."""
    picture, grid = plt.subplots(1, len(_TITLES), figsize=(8.5, 3.8), layout="constrained", sharey=True)
    axes_of = dict(zip(_TITLES, grid, strict=True))
    rates = sorted(numbers["lr"].unique())
    shades = mpl.colormaps["viridis"]([0.85 * i / max(1, len(rates) - 1) for i in range(len(rates))])
    colours = dict(zip(rates, shades, strict=True))
    for peak in summary(numbers, {})["peaks"]:
        kind, rate, epoch, height = (peak[key] for key in ("normalization", "lr", "peak_epoch", "peak_accuracy"))
        curve = numbers[(numbers["normalization"] == kind) & (numbers["lr"] == rate)]
        axes, colour = axes_of[kind], colours[rate]
        axes.plot(curve["epoch"], curve["test_accuracy"], color=colour, label=f"lr {rate:g}: {height:.3f} at {epoch}")
        axes.plot(epoch, height, marker="o", markersize=5, color=colour)
    for letter, (kind, title) in zip("ab", _TITLES.items(), strict=True):
        axes = axes_of[kind]
        panel(axes, letter, title)
        axes.set_xlabel("epoch")
        axes.set_xscale("log")
        axes.set_xlim(1, numbers["epoch"].max())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.legend(title="peak of the test accuracy and its epoch", title_fontsize=8, fontsize=8, loc="lower left")
    # the rise from chance, in the first epochs, would flatten everything else
    late = numbers.loc[numbers["epoch"] >= numbers["epoch"].max() / 10, "test_accuracy"]
    height = late.max() - late.min()
    grid[0].set_ylim(late.min() - 0.5 * height, late.max() + 0.1 * height)
    grid[0].set_ylabel("test accuracy, full network")
    return picture
