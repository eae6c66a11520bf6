"""Figure 2: histograms of memorization scores, clean (a) and with random labels (b); claims 2a and 2b."""

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turnover.config.run import RunConfig
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.store.tables import read_scores
from turnover.stats.measures import Statistic, auroc, median, skewness, top_share

_BINS = 60
_COLOURS = {"all examples": COLOURS["easy"], "uncorrupted": COLOURS["easy"], "corrupted": COLOURS["difficult"]}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return counts of clean and corrupted score runs of the same seeds, and statistics that count single examples."""
    clean = {source.config.seed: read_scores(source.folder) for source in sources if not source.config.corruption.count}
    noisy = {source.config.seed: read_scores(source.folder) for source in sources if source.config.corruption.count}
    groups = {
        "uncorrupted": {seed: table[~table["corrupted"]] for seed, table in noisy.items()},
        "corrupted": {seed: table[table["corrupted"]] for seed, table in noisy.items()},
    }
    counts = [_counts("a", {"all examples": clean}), _counts("b", groups)]
    real = [table["score"].to_numpy() for table in clean.values()]

    def ordered(positive: Callable[[pd.DataFrame], pd.Series]) -> list[Statistic]:
        return [auroc(table["score"].to_numpy(), positive(table).to_numpy()) for table in noisy.values()]

    def distance(scores: np.ndarray) -> Statistic:
        middle = median(scores)
        return lambda counts: abs(middle(counts))

    statistics = {
        "median_distance": [distance(scores) for scores in real],
        "skewness": [skewness(scores) for scores in real],
        "top_decile_share": [top_share(scores) for scores in real],
        "auroc": ordered(lambda table: table["corrupted"]),
        "auroc_wrong": ordered(lambda table: table["label"] != table["true_label"]),
    }
    return Plotted(pd.concat(counts, ignore_index=True), statistics=statistics, examples=len(real[0]))


def _counts(letter: str, groups: dict[str, dict[int, pd.DataFrame]]) -> pd.DataFrame:
    """Return the number of examples of each group and seed in bins that all groups share."""
    everything = np.concatenate([table["score"] for tables in groups.values() for table in tables.values()])
    edges = np.linspace(everything.min(), everything.max(), _BINS + 1)
    rows = []
    for name, tables in groups.items():
        for seed, table in tables.items():
            examples = np.histogram(table["score"], edges)[0]
            bins = {"panel": letter, "group": name, "seed": seed, "bin_low": edges[:-1], "bin_high": edges[1:]}
            rows.append(pd.DataFrame(bins | {"examples": examples}))
    return pd.concat(rows, ignore_index=True)


def bounds(numbers: pd.DataFrame) -> dict[str, list[tuple[float, float]]]:
    """Return limits of measures by seed: examples of one bin may have any order and any score in it."""
    limits: dict[str, list[tuple[float, float]]] = {"median_distance": [], "auroc": []}
    for _, bins in numbers[numbers["panel"] == "a"].groupby("seed"):
        middle = bins[bins["examples"].cumsum() >= bins["examples"].sum() / 2].iloc[0]  # the bin of the median
        low, high = float(middle["bin_low"]), float(middle["bin_high"])
        limits["median_distance"].append((max(0.0, low, -high), max(-low, high)))
    for _, bins in numbers[numbers["panel"] == "b"].groupby("seed"):
        wide = bins.pivot(index="bin_low", columns="group", values="examples").sort_index()
        yes, no = wide["corrupted"], wide["uncorrupted"]
        below = no.cumsum() - no  # uncorrupted examples in lower bins
        pairs = float(yes.sum() * no.sum())
        low, high = (float((yes * lower).sum()) / pairs for lower in (below, below + no))
        limits["auroc"].append((low, high))
    return limits


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw both histograms."""
    count = max(config.corruption.count for config in configs)
    picture, grid = plt.subplots(1, 2, figsize=(8.5, 3.6), layout="constrained")
    titles = {"a": "no corruption", "b": f"{count:,} random labels"}
    for axes, (letter, title) in zip(grid, titles.items(), strict=True):
        panel(axes, letter, title)
        _histogram(axes, numbers[numbers["panel"] == letter])
    return picture


def _histogram(axes: Axes, numbers: pd.DataFrame) -> None:
    for name, bins in numbers.groupby("group", sort=False):
        counts = bins.pivot(index="seed", columns="bin_low", values="examples").to_numpy()  # [seeds, bins]
        edges = [*sorted(bins["bin_low"].unique()), bins["bin_high"].max()]
        colour, label = _COLOURS[str(name)], f"{name} ({counts[0].sum():,})"
        axes.stairs(counts.mean(axis=0), edges, color=colour, label=label, linewidth=1.2)
        axes.stairs(counts.max(axis=0), edges, baseline=counts.min(axis=0), fill=True, color=colour, alpha=0.35)
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5)
    axes.axvline(0, color=COLOURS["all"], linewidth=0.6, linestyle=":")
    axes.set_xlabel("memorization score (nats)")
    axes.set_ylabel("examples per bin (log scale)")
    axes.legend(title="mean and range over seeds", title_fontsize=7, fontsize=8)
