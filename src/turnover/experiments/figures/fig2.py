"""Figure 2: histograms of memorization scores, clean (a) and with random labels (b); claims 2a and 2b.

The control of claim 2a are final losses of ordinary networks, of the same seeds and training, where they were trained.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turnover.config.estimators import Estimator, OneRunEstimator, TurnoverEstimator
from turnover.config.run import RunConfig
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.store.tables import read_scores
from turnover.stats.measures import Statistic, auroc, median, share_among, skewness, top_share

Tables = dict[int, pd.DataFrame]  # scores of the run of each seed
Statistics = list[Statistic]  # by seed

FITTED = 0.1  # nats: the probability of the label is nine tenths or more, as in "near 0"
_BINS = 60
_CONTROL = "final losses, ordinary network"
_COLOURS = {
    "all examples": COLOURS["easy"],
    _CONTROL: COLOURS["all"],
    "uncorrupted": COLOURS["easy"],
    "corrupted": COLOURS["difficult"],
}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return counts of clean and corrupted score runs of the same seeds, and statistics that count single examples."""
    clean, noisy = (_scores(sources, corrupted, TurnoverEstimator) for corrupted in (False, True))
    final, final_noisy = (_scores(sources, corrupted, OneRunEstimator) for corrupted in (False, True))
    groups = {
        "uncorrupted": {seed: table[~table["corrupted"]] for seed, table in noisy.items()},
        "corrupted": {seed: table[table["corrupted"]] for seed, table in noisy.items()},
    }
    counts = [_counts("a", {"all examples": clean, _CONTROL: final}), _counts("b", groups)]

    def ordered(tables: Tables, positive: Callable[[pd.DataFrame], pd.Series], column: str = "score") -> Statistics:
        return [auroc(table[column].to_numpy(), positive(table).to_numpy()) for table in tables.values()]

    def distance(scores: np.ndarray) -> Statistic:
        middle = median(scores)
        return lambda counts: abs(middle(counts))

    def fitted(tables: Tables) -> Statistics:
        both = ((table, final[seed].loc[table.index, "score"]) for seed, table in tables.items() if seed in final)
        return [share_among(table["score"].to_numpy(), (loss < FITTED).to_numpy()) for table, loss in both]

    def each(number: Callable[[np.ndarray], Statistic], tables: Tables) -> Statistics:
        return [number(table["score"].to_numpy()) for table in tables.values()]

    replaced, wrong = (lambda table: table["corrupted"]), (lambda table: table["label"] != table["true_label"])
    statistics = {
        "fitted_share": fitted(clean),
        "median_distance": each(distance, clean),
        "skewness": each(skewness, clean),
        "top_decile_share": each(top_share, clean),
        "final_fitted_share": fitted(final),
        "final_median_distance": each(distance, final),
        "final_skewness": each(skewness, final),
        "final_top_decile_share": each(top_share, final),
        "auroc": ordered(noisy, replaced),
        "auroc_flipped": ordered(noisy, replaced, "flipped_loss"),
        "auroc_final": ordered(final_noisy, replaced),
        "auroc_wrong": ordered(noisy, wrong),
    }
    missing = {name: [math.nan] * len(clean) for name, runs in statistics.items() if not runs}  # no ordinary networks
    there = {name: runs for name, runs in statistics.items() if runs}
    examples = len(next(iter(clean.values())))
    return Plotted(pd.concat(counts, ignore_index=True), missing, there, examples)


def _scores(sources: Sequence[Source], corrupted: bool, estimator: type[Estimator]) -> Tables:
    return {
        source.config.seed: read_scores(source.folder)
        for source in sources
        if bool(source.config.corruption.count) == corrupted and isinstance(source.config.estimator, estimator)
    }


def _counts(letter: str, groups: dict[str, Tables]) -> pd.DataFrame:
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
    for _, bins in numbers[numbers["group"] == "all examples"].groupby("seed"):
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


def drawn(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Return the score runs; the ordinary networks, trained alike, are told by `note`."""
    return [config for config in configs if isinstance(config.estimator, TurnoverEstimator)]


def note(summary: dict[str, Any], configs: Sequence[RunConfig]) -> str:
    """Return what the control is."""
    if len(drawn(configs)) == len(configs):
        return "No ordinary networks were trained beside these, as a control."
    return "Final losses are of ordinary networks, trained alike without masks, on their training examples."


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
    control = numbers["group"].eq(_CONTROL).any()
    axes.set_xlabel("memorization score, or final loss (nats)" if control else "memorization score (nats)")
    axes.set_ylabel("examples per bin (log scale)")
    axes.legend(title="mean and range over seeds", title_fontsize=7, fontsize=8)
