"""Figure 9: accuracy of own and flipped sub-networks over epochs: MLP, MNIST (a); transformer, Fashion-MNIST (b)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from turnover.config.datasets import DATASETS
from turnover.config.run import RunConfig
from turnover.experiments.plots.curves import KINDS, accuracy_axes, curves, key, line, of_datasets, panels, rows
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.learning_curves import by_seed
from turnover.experiments.plots.notes import Source, pair
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.store.tables import scores_by_epoch

_PANELS = {"a": "mnist", "b": "fashion_mnist"}
_SHOWN = ("own, train", "flipped, train", "fresh masks, test", "full network, test")
_SETTLED = {"own": "own, train", "flipped": "flipped, train"}
FEW = 5  # epochs: how late the paper's "a few epochs" may end
KEPT = 0.9  # which part of their agreement makes early scores "nearly as good"


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return the curves of score runs of each data set with the same seeds, and how their scores rank."""
    tables, letters = [], {name: letter for letter, name in _PANELS.items()}
    runs = of_datasets(sources, letters)
    for name, of_dataset in runs.items():
        for kind in _SHOWN:
            split, metric, _, _ = KINDS[kind]
            table = curves(of_dataset, split, "all", metric)
            if not table.empty:  # shared masks: none is fresh
                tables.append(rows(table, letters[name], kind))
    numbers = pd.concat(tables, ignore_index=True)
    values: dict[str, list[float]] = {}
    for name, of_dataset in runs.items():
        scores = {source.config.seed: scores_by_epoch(source.folder) for source in of_dataset}
        values[f"early_rank_{name}"] = [rank(scores[seed]) for seed in sorted(scores)]
        values[f"early_kept_{name}"] = [kept(scores, seed) for seed in sorted(scores)]
    return Plotted(numbers, values)


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the epochs in which own and flipped sub-networks settle; how scores rank is in no table."""
    return {
        f"{kind}_settled_{_PANELS[letter]}": by_seed(settled, drawn[curve])
        for letter, drawn in panels(numbers).items()
        for kind, curve in _SETTLED.items()
    }


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw a panel for each data set, and their key."""
    drawn, settled_by_seed = panels(numbers), measures(numbers)
    picture, mosaic = plt.subplot_mosaic(
        [[*drawn], ["key"] * len(drawn)], figsize=(8.5, 4.2), height_ratios=[1, 0.14], layout="constrained"
    )
    first = mosaic[next(iter(drawn))]
    for letter, tables in drawn.items():
        axes, name = mosaic[letter], _PANELS[letter]
        panel(axes, letter, pair(next(config for config in configs if config.dataset.name == name)))
        for kind, table in tables.items():
            split, _, colour, dash = KINDS[kind]
            line(axes, table, kind, colour, dash)
            if split == "test":
                axes.lines[-1].set_linewidth(0.9)
        accuracy_axes(axes, DATASETS[name].classes, log=True)
        axes.set(xlabel="epoch (log scale)", ylabel="accuracy" if axes is first else "")
        for kind in _SETTLED:
            mean = float(np.mean(settled_by_seed[f"{kind}_settled_{name}"]))
            axes.axvline(mean, color=COLOURS[kind], linewidth=0.8, linestyle=":", label=f"{kind} settled (mean)")
    key(mosaic["key"], first.get_legend_handles_labels()[0], columns=4, spacing=1.2)
    return picture


def settled(curve: pd.Series) -> float:
    """Return the first tracked epoch from which an accuracy stays within 0.02 of its last value.

    Args:
        curve: of one run.  # index: epoch, rising
    """
    away = (curve - curve.iloc[-1]).abs() > 0.02 + 1e-9
    return float(curve.index[int(away.to_numpy().nonzero()[0].max(initial=-1)) + 1])


def rank(scores: pd.DataFrame) -> float:
    """Return Spearman's correlation of the scores after a few epochs with the last ones.

    NaN if only the last ones are kept: they rank like themselves.

    Args:
        scores: of one run, as `scores_by_epoch` returns them.
    """
    early = _early(scores)
    return float("nan") if early is None else float(spearmanr(early, _last(scores))[0])


def kept(scores: dict[int, pd.DataFrame], seed: int) -> float:
    """Return by how much those scores agree better with other seeds than nine tenths as well as the last ones do.

    r(s_e, o) - 0.9 r(s_T, o): Spearman correlations of the scores of `seed` after a few epochs, and after the last one,
    with the mean of the last scores of all other seeds (of its own if there are none). What two epochs of one run have
    in common but two seeds have not, such as their masks, does not count.
    """
    ours = scores[seed]
    early = _early(ours)
    if early is None:
        return float("nan")
    rest = [_last(table) for another, table in scores.items() if another != seed] or [_last(ours)]
    mean = pd.concat(rest, axis=1).mean(axis=1)[ours.index]
    first, last = (float(spearmanr(values, mean)[0]) for values in (early, _last(ours)))
    return first - KEPT * last


def _early(scores: pd.DataFrame) -> pd.Series | None:
    """Return the scores of the latest of the first few epochs that is scored and not the last; None: there is none."""
    epochs = [column for column in scores.columns if int(column) <= FEW and column < scores.columns.max()]
    return scores[max(epochs)] if epochs else None


def _last(scores: pd.DataFrame) -> pd.Series:
    return scores[scores.columns.max()]
