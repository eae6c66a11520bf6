"""Figure 9: accuracy of own and flipped sub-networks over epochs: MLP, MNIST (a); transformer, Fashion-MNIST (b)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from turnover.config.datasets import DATASETS
from turnover.experiments.plots.curves import KINDS, curves, line
from turnover.experiments.plots.figure import Drawn, FigureConfig
from turnover.experiments.plots.learning_curves import about, accuracy_axes, claim, key
from turnover.experiments.plots.notes import Source, pair
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.store.tables import scores_by_epoch

_SHOWN = ("own, train", "flipped, train", "fresh masks, test", "full network, test")


def draw(figure: FigureConfig, sources: Sequence[Source]) -> Drawn:
    """Panels, plotted curves and claim 9 from score runs of each data set with the same seeds."""
    names = list(dict.fromkeys(source.config.dataset.name for source in sources))
    letters = "abcd"[: len(names)]
    picture, places = plt.subplot_mosaic(
        [[*letters], ["key"] * len(letters)], figsize=(8.5, 4.2), height_ratios=[1, 0.14], layout="constrained"
    )
    numbers = []
    measures: dict[str, list[float]] = {}
    for letter, name in zip(letters, names, strict=True):
        axes = places[letter]
        alike = [source for source in sources if source.config.dataset.name == name]
        panel(axes, letter, pair(alike[0].config))
        for kind in _SHOWN:
            split, metric, colour, dash = KINDS[kind]
            table = curves(alike, split, "all", metric)
            if table.empty:  # shared masks: none is fresh
                continue
            numbers.append(line(axes, table, panel=letter, name=kind, colour=colour, style=dash))
            if split == "test":
                axes.lines[-1].set_linewidth(0.9)
        accuracy_axes(axes, DATASETS[name].classes)
        axes.set(xlabel="epoch", ylabel="accuracy" if letter == "a" else "")
        own, flipped = (curves(alike, "train", "all", f"{kind}_accuracy") for kind in ("own", "flipped"))
        scores = {source.config.seed: scores_by_epoch(source.folder) for source in alike}
        epochs = {seed: settled(own[seed], flipped[seed]) for seed in scores}
        mean = float(np.mean(list(epochs.values())))
        axes.axvline(mean, color=COLOURS["all"], linewidth=0.8, linestyle=":", label="settled (mean)")
        measures[f"settled_{name}"] = [float(epoch) for epoch in epochs.values()]
        measures[f"rank_{name}"] = [rank(scores[seed], epoch) for seed, epoch in epochs.items()]
        measures[f"kept_{name}"] = [kept(scores, seed, epoch) for seed, epoch in epochs.items()]
    key(places["key"], places["a"].get_legend_handles_labels()[0], columns=6, spacing=1.2)
    claims = [claim("9", about(names, figure.claims["9"]), measures)]
    return Drawn(picture, pd.concat(numbers, ignore_index=True), claims)


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
