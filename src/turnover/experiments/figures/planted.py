"""Study: repeated, made up, noisy and marked images, and rare classes: how early and how much they are memorized."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turnover.config.datasets import DATASETS
from turnover.config.run import RunConfig
from turnover.experiments.figures.factors import memorized
from turnover.experiments.plots.curves import band
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.store.tables import read_scores

_LEARNT = {"copies": ("photographs", "difficult"), "canaries": ("noise", "constant")}
_PANELS = {
    "learnt": ("epochs until a wrong label is learnt", "times in an epoch"),
    "input_noise": ("images with noise", "standard deviation, brightest pixel = 1"),
    "trigger": ("images with a trigger", "how many there are"),
    "imbalance": ("classes with a long tail", "images of the class"),
}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return means over the examples of each run with one size: dataset, kind, seed, size, examples, and

    learnt, the epoch from which an example stays right (first_learning), of copies and canaries; of the other kinds
    right_with and right_without, shares of the networks trained with and without an example that are right about it,
    and memorization, their difference. The size of a trigger is how many images bear it, of a class its number of
    images.
    """
    parts = []
    for source in sources:
        config, scores = source.config, read_scores(source.folder)
        kind = config.corruption.kind
        if kind in _LEARNT:
            table = pd.DataFrame({"learnt": scores["first_learning"]})
        else:
            table = memorized(source).rename(columns={"with": "right_with", "without": "right_without"})
            table = table.drop(columns="corrupted").assign(memorization=lambda t: t["right_with"] - t["right_without"])
        size = scores["size"].loc[table.index]
        groups = table.groupby(size.where(size == 0, config.corruption.count) if kind == "trigger" else size)
        parts.append(
            groups.mean()
            .assign(examples=groups.size())
            .reset_index(names="size")
            .assign(dataset=config.dataset.name, kind=kind, seed=config.seed)
        )
    numbers = pd.concat(parts, ignore_index=True)
    first = ["dataset", "kind", "seed", "size", "examples"]
    return Plotted(numbers[[*first, *numbers.columns.drop(first)]])


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the measures of the claims, a value for each seed."""
    result: dict[str, list[float]] = {}
    for name, rows in numbers.groupby("dataset"):

        def of(kind: str, which: str, column: str, rows: pd.DataFrame = rows) -> np.ndarray:
            mine = rows[(rows["kind"] == kind) & (rows["size"] > 0)].sort_values(["seed", "size"])
            return mine.groupby("seed")[column].agg(which).to_numpy()

        once, often = of("copies", "first", "learnt"), of("copies", "last", "learnt")
        times = of("copies", "last", "size") / of("copies", "first", "size")
        found = {"copies": often / once, "copies_visits": often * times / once}
        found["canaries"] = of("canaries", "first", "learnt") - once
        # from the mildest to the strongest noise, the rarest to the most frequent trigger and class
        for kind in ("input_noise", "trigger", "imbalance"):
            found[kind] = of(kind, "last", "memorization") - of(kind, "first", "memorization")
            found[f"{kind}_fit"] = np.minimum(of(kind, "last", "right_with"), of(kind, "first", "right_with"))
        found["trigger_followed"] = of("trigger", "last", "right_without")
        result |= {f"{measure}_{name}": values.tolist() for measure, values in found.items()}
    return result


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw, by data set, when copies and canaries are learnt, and what is memorized of the other kinds by size."""
    names = list(dict.fromkeys(numbers["dataset"]))
    picture, grid = plt.subplots(len(names), 4, figsize=(12, 3.1 * len(names)), squeeze=False, layout="constrained")
    letters = iter("abcdefgh")
    for row, name in zip(grid, names, strict=True):
        rows = numbers[(numbers["dataset"] == name) & (numbers["size"] > 0)]
        for axes, (kind, (title, x)) in zip(row, _PANELS.items(), strict=True):
            panel(axes, next(letters), title)
            axes.set_xlabel(x)
            axes.set_xscale("log")
            mine = numbers[(numbers["dataset"] == name) & (numbers["kind"] == kind)]
            if kind == "learnt":
                _epochs(axes, rows)
            else:
                _shares(axes, mine)
        row[0].set_ylabel(f"{DATASETS[name].title}: epoch")
        row[1].set_ylabel("share")
    grid[0, 0].legend(fontsize=7, title="mean and range over seeds", title_fontsize=7)
    grid[0, 1].legend(fontsize=7, loc="center left", bbox_to_anchor=(0, 0.45))
    return picture


def _epochs(axes: Axes, rows: pd.DataFrame) -> None:
    for kind, (words, colour) in _LEARNT.items():
        mine = rows[rows["kind"] == kind].groupby("size")["learnt"]
        band(axes, mine, COLOURS[colour], marker="o", markersize=4, label=words)
    axes.set_xticks(sizes := sorted(rows[rows["kind"].isin(_LEARNT)]["size"].unique()), [f"{size:g}" for size in sizes])
    axes.minorticks_off()
    axes.set_ylim(0)


def _shares(axes: Axes, mine: pd.DataFrame) -> None:
    sized, others = mine[mine["size"] > 0], mine[mine["size"] == 0]
    looks = {
        "right_with": ("right, trained with it", "own"),
        "right_without": ("right, trained without it", "flipped"),
        "memorization": ("memorization, the difference", "all"),
    }
    for column, (words, colour) in looks.items():
        band(axes, sized.groupby("size")[column], COLOURS[colour], marker="o", markersize=4, label=words)
    if len(others):
        axes.axhline(others["memorization"].mean(), color=COLOURS["all"], linestyle=":", linewidth=1, label="of others")
    axes.set_ylim(-0.05, 1.02)
    if sized["size"].nunique() <= 4:
        axes.set_xticks(sizes := sorted(sized["size"].unique()), [f"{size:g}" for size in sizes])
        axes.minorticks_off()
