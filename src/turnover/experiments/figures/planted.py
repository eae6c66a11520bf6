"""Study: repeated, made up, noisy and marked images, and rare classes: how early and how much they are memorized."""

from collections.abc import Sequence
from typing import Any

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
    """Return means over the examples of each run with one size: dataset, kind, seed, size, label, examples, and

    learnt, the epoch from which an example stays right (first_learning), of copies and canaries, and fitted, the share
    right in the last epoch; of the other kinds right_with and right_without, shares of the networks trained with and
    without an example that are right about it, and memorization, their difference. The size of a trigger is how many
    images bear it. Classes with a long tail (imbalance), and the same without (balanced), have a row for each label.
    """
    parts = []
    for source in sources:
        config, scores = source.config, read_scores(source.folder)
        kind = config.corruption.kind
        if kind in _LEARNT:
            learnt = scores["first_learning"]
            table = pd.DataFrame({"learnt": learnt, "fitted": (learnt <= config.epochs).astype(float)})
        else:
            table = memorized(source).rename(columns={"with": "right_with", "without": "right_without"})
            table = table.drop(columns="corrupted").assign(memorization=lambda t: t["right_with"] - t["right_without"])
        known = scores.loc[table.index]
        size, label = known["size"], known["label"] if kind == "imbalance" else pd.Series(-1, known.index)
        size = size.where(size == 0, config.corruption.count) if kind == "trigger" else size
        groups = table.groupby([size.rename("size"), label.rename("label")])
        about: dict[str, str | int] = {"dataset": config.dataset.name, "seed": config.seed}
        about["kind"] = "balanced" if kind == "imbalance" and config.corruption.sizes == [1] else kind
        parts.append(groups.mean().assign(examples=groups.size(), **about).reset_index())
    numbers = pd.concat(parts, ignore_index=True)
    first = ["dataset", "kind", "seed", "size", "label", "examples"]
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
        found["copies_fit"] = of("copies", "first", "fitted")
        found["canaries"] = of("canaries", "first", "learnt") - once
        found["canaries_fit"] = np.minimum(of("canaries", "first", "fitted"), found["copies_fit"])
        # from the mildest to the strongest noise, the rarest to the most frequent trigger
        for kind in ("input_noise", "trigger"):
            found[kind] = of(kind, "last", "memorization") - of(kind, "first", "memorization")
            found[f"{kind}_fit"] = np.minimum(of(kind, "last", "right_with"), of(kind, "first", "right_with"))
        found["trigger_followed"] = of("trigger", "last", "right_without")
        of_class = {kind: _by_label(rows[rows["kind"] == kind]) for kind in ("imbalance", "balanced")}
        differ = {
            kind: (each["memorization", 0] - each["memorization", 9]).to_numpy() for kind, each in of_class.items()
        }
        found |= {"imbalance": differ["imbalance"] - differ["balanced"], "balanced": differ["balanced"]}
        found["imbalance_fit"] = of_class["imbalance"][[("right_with", 0), ("right_with", 9)]].min(axis=1).to_numpy()
        result |= {f"{measure}_{name}": values.tolist() for measure, values in found.items()}
    return result


def items(numbers: pd.DataFrame) -> dict[str, int]:
    """Return how many examples the conditions are shares of, the fewer where one is the lower of two.

    Every seed draws its own, so that all count.
    """
    result: dict[str, int] = {}
    for name, rows in numbers[numbers["size"] > 0].groupby("dataset"):
        of_size = rows.groupby(["kind", "size", "label"])["examples"].sum()
        ends = {kind: of_kind.iloc[[0, -1]] for kind, of_kind in of_size.groupby("kind")}
        result |= {f"{kind}_fit_{name}": int(ends[kind].min()) for kind in ("input_noise", "trigger", "imbalance")}
        once = {kind: int(ends[kind].iloc[0]) for kind in _LEARNT}
        result |= {f"copies_fit_{name}": once["copies"], f"canaries_fit_{name}": min(once.values())}
    return result


def _by_label(rows: pd.DataFrame) -> pd.DataFrame:
    """Return numbers of classes.  # index: seed, columns: (number, label)"""
    return rows.pivot(index="seed", columns="label", values=["right_with", "memorization"]).sort_index()


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw, by data set, when copies and canaries are learnt, and what is memorized of the other kinds by size."""
    names = list(dict.fromkeys(numbers["dataset"]))
    picture, grid = plt.subplots(len(names), 4, figsize=(12, 3.1 * len(names)), squeeze=False, layout="constrained")
    letters = iter("abcdefgh")
    for row, name in zip(grid, names, strict=True):
        rows = numbers[numbers["dataset"] == name]
        never = 1 + max(config.epochs for config in configs if config.dataset.name == name)
        for axes, (kind, (title, x)) in zip(row, _PANELS.items(), strict=True):
            panel(axes, next(letters), title)
            axes.set_xlabel(x)
            axes.set_xscale("log")
            if kind == "learnt":
                _epochs(axes, rows, never)
                continue
            _shares(axes, mine := rows[rows["kind"] == kind])
            if kind == "imbalance":
                sizes = mine.groupby("label")["size"].first()
                same = rows[rows["kind"] == "balanced"].assign(
                    size=lambda table, sizes=sizes: table["label"].map(sizes)
                )
                words = "memorization, equal classes"
                band(axes, same.groupby("size")["memorization"], COLOURS["muted"], linestyle="--", label=words)
        row[0].set_ylabel(f"{DATASETS[name].title}: epoch")
        row[1].set_ylabel("share")
    beneath: dict[str, Any] = {"loc": "upper right", "bbox_to_anchor": (1, 0.93)}  # the line of what is not learnt
    grid[0, 0].legend(fontsize=7, title="mean and range over seeds", title_fontsize=7, **beneath)
    grid[0, 1].legend(fontsize=7, loc="center left", bbox_to_anchor=(0, 0.45))
    grid[0, 3].legend(*(each[-1:] for each in grid[0, 3].get_legend_handles_labels()), fontsize=7, loc="center right")
    return picture


def _epochs(axes: Axes, rows: pd.DataFrame, never: int) -> None:
    for kind, (words, colour) in _LEARNT.items():
        mine = rows[(rows["kind"] == kind) & (rows["size"] > 0)].groupby("size")["learnt"]
        band(axes, mine, COLOURS[colour], marker="o", markersize=4, label=f"{words}, wrong label")
    clean = rows[(rows["kind"] == "copies") & (rows["size"] == 0)]["learnt"].mean()
    axes.axhline(
        clean, color=COLOURS["easy"], linestyle=":", linewidth=1, label="photographs, right label (without noise)"
    )
    axes.axhline(never, color=COLOURS["muted"], linewidth=1, label="not learnt")
    rows = rows[rows["size"] > 0]
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
