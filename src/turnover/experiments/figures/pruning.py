"""Study: test accuracy of networks trained on the hardest, the easiest or random examples, in equally many steps."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turnover.common.text import counted
from turnover.config.datasets import DATASETS
from turnover.config.run import PrunedSubsets, RunConfig
from turnover.experiments.plots.curves import band
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.store.tables import read_metrics

_KEPT = {"hardest": "difficult", "easiest": "easy", "random": "random"}
_LABELS = {"noisy": "a tenth of the labels wrong", "clean": "no wrong labels"}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return a row for each run: dataset, labels (noisy or clean), keep, kept (share of the examples), seed, test."""
    rows = []
    for source in sources:
        config, metrics = source.config, read_metrics(source.folder)
        assert isinstance(config.subsets, PrunedSubsets)
        last = metrics.query("split == 'test' and subset == 'all' and metric == 'full_accuracy'")
        rows.append(
            {
                "dataset": config.dataset.name,
                "labels": "noisy" if config.corruption.count else "clean",
                "keep": config.subsets.keep,
                "kept": counted(config.subsets.size, config.train_size) / config.train_size,
                "seed": config.seed,
                "test": float(last.sort_values("epoch")["value"].iloc[-1]),
            }
        )
    return Plotted(pd.DataFrame(rows))


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return, by seed, test accuracy minus that of as many random examples, and of the hardest half minus of all."""
    result = {}
    for name, rows in numbers.groupby("dataset"):
        tests = rows.sort_values("seed").groupby(["labels", "keep", "kept"])["test"].agg(list)
        for labels, keep, kept in tests.index:
            pairs = zip(tests[labels, keep, kept], tests[labels, "random", kept], strict=True)
            result[f"{keep}_{round(100 * kept)}_{labels}_{name}"] = [test - random for test, random in pairs]
        half = zip(tests["clean", "hardest", 0.5], tests["clean", "random", 1.0], strict=True)
        result[f"half_of_all_{name}"] = [test - of_all for test, of_all in half]
    return result


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw test accuracy against the share of the examples that is kept, with and without wrong labels."""
    names = list(numbers["dataset"].unique())
    picture, grid = plt.subplots(
        len(names), 2, figsize=(9, 3.4 * len(names)), layout="constrained", squeeze=False, sharey="row"
    )
    letters = iter("abcdefgh")
    for row, name in zip(grid, names, strict=True):
        for axes, (labels, words) in zip(row, _LABELS.items(), strict=True):
            panel(axes, next(letters), f"{DATASETS[name].title}: {words}")
            _curves(axes, numbers[(numbers["dataset"] == name) & (numbers["labels"] == labels)])
        row[0].set_ylabel("test accuracy")
    grid[0, 0].legend(fontsize=7, title="mean and range over seeds", title_fontsize=7, alignment="left")
    return picture


def _curves(axes: Axes, rows: pd.DataFrame) -> None:
    everything = rows[(rows["keep"] == "random") & (rows["kept"] == 1)]  # where all curves end
    for keep, colour in _KEPT.items():
        mine = rows[rows["keep"] == keep]
        mine = mine if keep == "random" else pd.concat([mine, everything])
        band(axes, mine.groupby("kept")["test"], COLOURS[colour], marker="o", markersize=4, label=keep)
    right = rows[rows["keep"] == "right"].groupby("kept")["test"]
    if len(right):
        mean = right.mean()
        beyond = [mean - right.min(), right.max() - mean]
        words = "random, none of them wrong"
        axes.errorbar(mean.index, mean, beyond, fmt="*", markersize=8, color=COLOURS["own"], label=words)
    axes.set_xticks(sorted(rows["kept"].unique()))
    axes.set_xlabel("share of the examples that is kept")
