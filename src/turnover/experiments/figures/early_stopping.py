"""Study: after how many epochs, and with how many seeds, memorization scores rank examples as they finally do.

For every setting (data, network, random labels): (a) Spearman correlation of the scores after an epoch with those
after the last one, of the same seed; (b) of the scores of two seeds after the same epoch, and of the mean of k seeds
with the mean of all others.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from turnover.config.run import RunConfig
from turnover.errors import RefusedInput
from turnover.experiments.plots.curves import band
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source, pair
from turnover.experiments.plots.style import COLOURS, panel, shades
from turnover.runs.store.tables import scores_by_epoch

TO_LAST, SEEDS, REST = "to the last epoch", "between seeds", "means of seeds"
LEVELS = (0.8, 0.9)  # of the correlation with the last scores, for which the summary names an epoch

_LOOKS = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"))  # distinct without colours too


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return every correlation.

    Raises:
        RefusedInput: two runs with the same seed have the same data, network and number of random labels.
    """
    by_setting: dict[str, dict[int, Source]] = {}
    for source in sources:
        name, seed = setting(source), source.config.seed
        kept = by_setting.setdefault(name, {}).setdefault(seed, source)
        if kept.folder != source.folder:  # two experiments may share a run, but not a setting and a seed
            raise RefusedInput(f"{kept.folder.name} and {source.folder.name}: two runs of {name}, seed {seed}")
    tables = []
    for name, runs in by_setting.items():
        scores = {seed: scores_by_epoch(source.folder) for seed, source in runs.items()}
        tables.append(correlations(scores).assign(setting=name))
    return Plotted(pd.concat(tables, ignore_index=True)[["setting", "kind", "epoch", "seeds", "spearman"]])


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw both panels and their key."""
    settings = numbers["setting"].unique()
    picture, mosaic = plt.subplot_mosaic(
        [["a", "b"], ["key", "key"]], figsize=(8.5, 5.2), height_ratios=[1, 0.3], layout="constrained"
    )
    left, right, key = (mosaic[name] for name in ("a", "b", "key"))
    right.sharey(left)
    right.tick_params(labelleft=False)
    panel(left, "a", "with the scores after the last epoch")
    panel(right, "b", "with the scores of other seeds, same epoch")
    for name, colour, look in zip(settings, shades(len(settings)), _LOOKS * len(settings), strict=False):
        correlations = numbers[numbers["setting"] == name]
        _line(left, correlations[correlations["kind"] == TO_LAST], colour, look, name)
        _line(right, correlations[correlations["kind"] == SEEDS], colour, look)
        last = correlations["epoch"].max()
        ends = correlations[(correlations["kind"] == REST) & (correlations["epoch"] == last)]
        if len(ends):
            right.plot(last, ends["spearman"].mean(), "*", color=colour, markersize=12, clip_on=False)
    for axes in (left, right):
        for level in LEVELS:
            axes.axhline(level, color=COLOURS["all"], linewidth=0.6, linestyle=(0, (1, 3)))
        axes.set_xlabel("epoch after which examples are scored (log scale)")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(mpl.ticker.FixedLocator([1, 2, 3, 5, 10, 20, 50, 100, 200]))
        axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
        axes.xaxis.set_major_formatter(ScalarFormatter())
    left.set_ylim(min(0.0, 1.1 * numbers["spearman"].min()), 1.03)
    left.set_ylabel("Spearman correlation")
    left.plot([], [], "*", color=COLOURS["all"], markersize=9, label="mean of some seeds with mean of the rest")
    key.axis("off")
    title = "line and band: mean and range over seeds (a), over pairs of seeds (b)"
    handles, labels = left.get_legend_handles_labels()
    key.legend(handles, labels, title=title, title_fontsize=8, fontsize=8, loc="center", ncols=2)
    return picture


def summary(numbers: pd.DataFrame, rest: dict[str, Any]) -> dict[str, Any]:
    """Return for each setting which epochs are enough."""
    return rest | {str(name): enough(table) for name, table in numbers.groupby("setting", sort=False)}


def setting(source: Source) -> str:
    """Return data, network and random labels of a run, for example "MNIST, MLP 784-4096-10, 20,000 random labels"."""
    count = source.config.corruption.count
    return pair(source.config) + (f", {count:,} random labels" if count else "")


def spearman(scores: pd.DataFrame) -> pd.DataFrame:
    """Return Spearman's correlation of every two columns: Pearson's of their ranks, equal values at their mean rank."""
    return scores.rank().corr()


def correlations(scores: dict[int, pd.DataFrame]) -> pd.DataFrame:
    """Return how scores of one setting correlate, over epochs and over seeds.

    Args:
        scores: for each seed its `scores_by_epoch`, all of the same examples and epochs.

    Returns:
        kind, epoch, seeds, spearman; a row for

        - "to the last epoch": every seed and epoch;
        - "between seeds": every two seeds ("0, 1") and epoch;
        - "means of seeds": every way to split three or more seeds in two ("0 | 1, 2"), and epoch.
    """
    rows: list[dict[str, Any]] = []
    for seed, table in scores.items():
        last = spearman(table)[table.columns.max()]
        rows += [{"kind": TO_LAST, "epoch": epoch, "seeds": str(seed), "spearman": r} for epoch, r in last.items()]
    for epoch in next(iter(scores.values())):
        one_epoch = pd.DataFrame({seed: table[epoch] for seed, table in scores.items()})
        of_seeds = spearman(one_epoch)
        for a, b in combinations(scores, 2):
            rows.append({"kind": SEEDS, "epoch": epoch, "seeds": f"{a}, {b}", "spearman": of_seeds.loc[a, b]})
        for some, rest in _splits(list(scores)):
            means = pd.DataFrame({"some": one_epoch[some].mean(axis=1), "rest": one_epoch[rest].mean(axis=1)})
            text = " | ".join(", ".join(map(str, seeds)) for seeds in (some, rest))
            rows.append({"kind": REST, "epoch": epoch, "seeds": text, "spearman": spearman(means).loc["some", "rest"]})
    return pd.DataFrame(rows)


def _splits(seeds: list[int]) -> list[tuple[list[int], list[int]]]:
    """Return every way to split three or more seeds in two parts, each once, the smaller part first."""
    if len(seeds) < 3:
        return []
    smaller = [list(some) for k in range(1, len(seeds) // 2 + 1) for some in combinations(seeds, k)]
    splits = [(some, [seed for seed in seeds if seed not in some]) for some in smaller]
    return [(some, rest) for some, rest in splits if len(some) < len(rest) or seeds[0] in some]


def enough(table: pd.DataFrame) -> dict[str, Any]:
    """Return the first scored epochs that correlate with the last scores by 0.8 and by 0.9, and how seeds agree.

    Correlations are means over seeds, or over pairs of seeds.
    """
    means = table.groupby(["kind", "epoch"])["spearman"].mean()
    last = int(table["epoch"].max())
    to_last = means[TO_LAST]
    epochs = {f"epoch_{level:g}": int(to_last.index[to_last >= level][0]) for level in LEVELS}
    agreement = {
        name: round(float(means[kind, last]), 4) if kind in means else None
        for name, kind in (("between_seeds", SEEDS), ("means_of_seeds", REST))
    }
    return epochs | {"last_epoch": last} | agreement


def _line(axes: Axes, table: pd.DataFrame, colour: str, look: tuple[str, str], label: str | None = None) -> None:
    if table.empty:  # one seed has no other
        return
    style, marker = look
    by_epoch = table.groupby("epoch")["spearman"]
    band(axes, by_epoch, colour, linestyle=style, marker=marker, markersize=4, label=label)
