"""Figure 9: accuracy of own and flipped sub-networks over epochs: MLP, MNIST (a); transformer, Fashion-MNIST (b)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from turnover.config.datasets import FACTS
from turnover.config.run import RunConfig
from turnover.experiments.plots.curves import KINDS, accuracy_axes, curves, key, line, of_datasets, panels, rows
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.learning_curves import by_seed
from turnover.experiments.plots.notes import Source, pair
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.store.tables import scores_by_epoch

_PANELS = {"a": "mnist", "b": "fashion_mnist"}
_SHOWN = ("own, train", "flipped, train", "fresh masks, test", "full network, test")


def tabulate(sources: Sequence[Source]) -> Plotted:
    """The curves of score runs of each data set with the same seeds, and how their scores rank."""
    parts, letters = [], {name: letter for letter, name in _PANELS.items()}
    scores: dict[str, dict[int, pd.DataFrame]] = {}
    for name, alike in of_datasets(sources, letters).items():
        for kind in _SHOWN:
            split, metric, _, _ = KINDS[kind]
            table = curves(alike, split, "all", metric)
            if not table.empty:  # shared masks: none is fresh
                parts.append(rows(table, letters[name], kind))
        scores[name] = {source.config.seed: scores_by_epoch(source.folder) for source in alike}
    numbers = pd.concat(parts, ignore_index=True)
    values: dict[str, list[float]] = {}
    for name, by in scores.items():
        epochs = dict(zip(sorted(by), map(int, measures(numbers)[f"settled_{name}"]), strict=True))
        values[f"rank_{name}"] = [rank(by[seed], epoch) for seed, epoch in epochs.items()]
        values[f"kept_{name}"] = [kept(by, seed, epoch) for seed, epoch in epochs.items()]
    return Plotted(numbers, values)


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """When sub-networks settle; how scores rank then is in no table."""
    return {
        f"settled_{_PANELS[letter]}": by_seed(settled, drawn["own, train"], drawn["flipped, train"])
        for letter, drawn in panels(numbers).items()
    }


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """A panel for each data set, and their key."""
    drawn, settled_by_seed = panels(numbers), measures(numbers)
    picture, places = plt.subplot_mosaic(
        [[*drawn], ["key"] * len(drawn)], figsize=(8.5, 4.2), height_ratios=[1, 0.14], layout="constrained"
    )
    for letter, tables in drawn.items():
        axes, name = places[letter], _PANELS[letter]
        panel(axes, letter, pair(next(config for config in configs if config.dataset.name == name)))
        for kind, table in tables.items():
            split, _, colour, dash = KINDS[kind]
            line(axes, table, kind, colour, dash)
            if split == "test":
                axes.lines[-1].set_linewidth(0.9)
        accuracy_axes(axes, FACTS[name].classes, log=True)
        axes.set(xlabel="epoch (log scale)", ylabel="accuracy" if axes is places[next(iter(drawn))] else "")
        mean = float(np.mean(settled_by_seed[f"settled_{name}"]))
        axes.axvline(mean, color=COLOURS["all"], linewidth=0.8, linestyle=":", label="settled (mean)")
    first = places[next(iter(drawn))]
    key(places["key"], first.get_legend_handles_labels()[0], columns=6, spacing=1.2)
    return picture


def settled(own: pd.Series, flipped: pd.Series, within: float = 0.02) -> int:
    """First tracked epoch from which both accuracies stay within `within` of their last values.

    Args:
        own, flipped: accuracies of one run.  # index: epoch, rising
    """
    away = ((own - own.iloc[-1]).abs() > within + 1e-9) | ((flipped - flipped.iloc[-1]).abs() > within + 1e-9)
    return int(own.index[int(away.to_numpy().nonzero()[0].max(initial=-1)) + 1])


def rank(scores: pd.DataFrame, epoch: int) -> float:
    """Spearman correlation of the scores after the first scored epoch that is not before `epoch` with the last ones.

    1 if that is the last epoch: of a run that never settles, only `settled` says so.

    Args:
        scores: of one run, as `scores_by_epoch` gives them.
    """
    return _spearman(scores[_scored(scores, epoch)], scores[_last(scores)])


def kept(scores: dict[int, pd.DataFrame], seed: int, epoch: int) -> float:
    """How well those scores agree with other seeds, in parts of how well the last ones do.

    r(s_e, o) / r(s_T, o): Spearman correlations of the scores of `seed` after the first scored epoch that is not before
    `epoch`, and after the last one, with the mean of the last scores of all other seeds (of its own if there are none).
    What two epochs of one run have in common but two seeds have not, such as their masks, does not count.
    """
    ours = scores[seed]
    others = [table for other, table in scores.items() if other != seed] or [ours]
    mean = pd.concat([table[_last(table)] for table in others], axis=1).mean(axis=1)[ours.index]
    return _spearman(ours[_scored(ours, epoch)], mean) / _spearman(ours[_last(ours)], mean)


def _scored(scores: pd.DataFrame, epoch: int) -> int:
    epochs = scores.columns.to_numpy()
    return int(epochs[epochs >= epoch].min())


def _last(scores: pd.DataFrame) -> int:
    return int(scores.columns.to_numpy().max())


def _spearman(a: pd.Series, b: pd.Series) -> float:
    return float(spearmanr(a, b)[0])
