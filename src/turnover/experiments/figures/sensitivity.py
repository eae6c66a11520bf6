"""When and how high the test accuracy peaks with random labels (figure 3 b), by learning rate and normalisation."""

from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import StrMethodFormatter

from turnover.experiments.plots.curves import curves
from turnover.experiments.plots.figure import Drawn, FigureConfig
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import panel

_TITLES = {"standard": "inputs of mean 0, variance 1", "unit": "inputs in [0, 1]"}


def draw(figure: FigureConfig, sources: Sequence[Source]) -> Drawn:
    """A panel for each normalisation, a curve for each learning rate, the peak marked; the peaks as a table."""
    picture, panels = plt.subplots(1, len(_TITLES), figsize=(8.5, 3.8), layout="constrained", sharey=True)
    rates = sorted({source.config.optimizer.lr for source in sources})
    colours = dict(
        zip(
            rates, mpl.colormaps["viridis"]([0.85 * i / max(1, len(rates) - 1) for i in range(len(rates))]), strict=True
        )
    )
    numbers, peaks = [], []
    for axes, letter, (kind, title) in zip(panels, "ab", _TITLES.items(), strict=True):
        panel(axes, letter, title)
        for rate in rates:
            chosen = [s for s in sources if (s.config.dataset.normalization, s.config.optimizer.lr) == (kind, rate)]
            table = curves(chosen, "test", "all", "full_accuracy")
            accuracy = table.mean(axis=1)
            epoch, height = int(accuracy.index[int(accuracy.argmax())]), float(accuracy.max())
            axes.plot(accuracy.index, accuracy, color=colours[rate], label=f"lr {rate:g}: {height:.3f} at {epoch}")
            axes.plot(epoch, height, marker="o", markersize=5, color=colours[rate])
            row = {"normalization": kind, "lr": rate}
            numbers.append(pd.DataFrame({**row, "epoch": accuracy.index, "test_accuracy": accuracy.to_numpy()}))
            last = float(accuracy.iloc[-1])
            peaks.append(row | {"peak_epoch": epoch, "peak_accuracy": height, "last_accuracy": last})
        axes.set_xlabel("epoch")
        axes.set_xscale("log")
        axes.set_xlim(1, max(accuracy.index))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.legend(title="peak of the test accuracy and its epoch", title_fontsize=8, fontsize=8, loc="lower left")
    # the rise from chance, in the first epochs, would flatten everything else
    late = pd.concat([table[table["epoch"] >= table["epoch"].max() / 10] for table in numbers])["test_accuracy"]
    panels[0].set_ylim(late.min() - 0.5 * (late.max() - late.min()), late.max() + 0.1 * (late.max() - late.min()))
    panels[0].set_ylabel("test accuracy, full network")
    return Drawn(picture, pd.concat(numbers, ignore_index=True), summary={"peaks": peaks})
