"""Figures 7 and 8: the images with the lowest (a) and the highest (b) memorization scores, one column a class.

Chosen by the mean score over the seeds, among the training examples of each class, in the order of `subsets.ranked`.
What the claim counts is predicted by one seed, on examples that the other seeds find easy or difficult.
"""

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turnover.config.datasets import FACTS
from turnover.config.run import RunConfig
from turnover.data.datasets import load
from turnover.data.subsets import ranked
from turnover.estimators.average import average
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.store.tables import read_scores
from turnover.stats.measures import Statistic

Order = Callable[[pd.DataFrame], pd.DataFrame]  # sorts a score table from the easiest example to the most difficult

ROWS = 5  # images of a class in a panel

_PANELS = {"a": "lowest", "b": "highest"}
_KEY = (
    "over each image: mean score in nats; label, own, flipped prediction of most seeds (?: none); boxed: wrong\n"
    "scores below 0 count as 0, and equal scores go by flipped loss"
)
_GAP, _LINE = 0.42, 0.25  # between two columns, and a line of text, in widths of an image
_STEP = 1 + 2 * _LINE + 0.13  # from one row of images to the next


def tabulate(sources: Sequence[Source]) -> Plotted:
    """What both panels show, and the claim, which counts single examples, from score runs that differ in their seeds.

    A single seed has no others, so it says itself what is easy.
    """
    tables = [_training(read_scores(source.folder)) for source in sources]
    by = [average([other for other in tables if other is not table] or [table]) for table in tables]
    both = list(zip(tables, by, strict=True))
    statistics = {
        "agreement": [agreement(*each, easiest=True) for each in both],
        "agreement_literal": [agreement(*each, easiest=True, order=literal) for each in both],
        "agreement_difficult": [agreement(*each, easiest=False) for each in both],
        "agreement_all": [agreement_all(table) for table in tables],
    }
    return Plotted(extremes(votes(tables)), statistics=statistics, examples=len(tables[0]))


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Both panels, with images from the data set."""
    images = _images(configs[0], numbers["id"])
    facts = FACTS[configs[0].dataset.name]
    picture, grid = plt.subplots(2, 1, figsize=(8.5, 11.3), layout="constrained")
    for axes, (letter, side) in zip(grid, _PANELS.items(), strict=True):
        panel(axes, letter, f"{side} scores")
        _draw(axes, numbers[numbers["panel"] == letter], images, facts.class_names)
    grid[0].set_title(_KEY, loc="right", fontsize=7.5)
    return picture


def votes(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Mean scores and losses; the predictions of more than half of the seeds, -1 where there is none."""
    mean = average(tables)
    for kind in ("own_prediction", "flipped_prediction"):
        agreeing = np.sum([table[kind] == mean[kind] for table in tables], axis=0)
        mean[kind] = np.where(2 * agreeing > len(tables), mean[kind], -1)
    return mean


def extremes(table: pd.DataFrame, rows: int = ROWS) -> pd.DataFrame:
    """The easiest (panel a) and the most difficult (panel b) examples of each class, most extreme first.

    Args:
        table: score table, index "id".

    Returns:
        A row for each image: panel, row, column (both from 0; a class has the same column in both panels), id, label,
        score (nats), own_prediction, flipped_prediction.
    """
    found = []
    for column, (_, alike) in enumerate(table.groupby("label")):
        rising = ranked(alike).reset_index()
        for letter, side in (("a", rising), ("b", rising[::-1])):
            chosen = side.head(rows)
            found.append(chosen.assign(panel=letter, row=range(len(chosen)), column=column))
    names = ["panel", "row", "column", "id", "label", "score", "own_prediction", "flipped_prediction"]
    return pd.concat(found).sort_values(names[:3]).reset_index(drop=True)[names]


def agreement(table: pd.DataFrame, by: pd.DataFrame, *, easiest: bool, order: Order = ranked) -> Statistic:
    """Share of the easiest, or of the most difficult, tenth of every class whose own and flipped predictions are right.

    The tenth of a class of n examples is the first ceil(n / 10) in that order, or the last. A resample chooses its own
    tenths.

    Args:
        table: whose predictions count, index "id".
        by: whose scores tell what is easy, of the same examples in the same order.
        order: of a score table, from the easiest example to the most difficult one.
    """
    places = by.index.get_indexer(order(by).index)
    places = places if easiest else places[::-1]
    places = places[np.argsort(table["label"].to_numpy()[places], kind="stable")]
    right = _both_right(table)[places]
    _, first, kind = np.unique(table["label"].to_numpy()[places], return_index=True, return_inverse=True)

    def statistic(counts: np.ndarray) -> float:
        drawn = counts[places]
        before = np.cumsum(drawn) - drawn
        place = before - before[first][kind]  # how many of the same class come before the example
        tenth = -(-np.bincount(kind, weights=drawn).astype(np.int64) // 10)
        kept = np.clip(tenth[kind] - place, 0, drawn)  # of an example's copies only those needed
        return float(kept @ right / kept.sum())

    return statistic


def literal(table: pd.DataFrame) -> pd.DataFrame:
    """A score table from the lowest score to the highest, negative ones and all; equal ones in the order of rows."""
    return table.sort_values("score", kind="stable")


def agreement_all(table: pd.DataFrame) -> Statistic:
    """Share of all examples whose own and flipped predictions are right."""
    right = _both_right(table)
    return lambda counts: float(counts @ right / counts.sum())


def _training(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["split"] == "train"]


def _both_right(table: pd.DataFrame) -> np.ndarray:
    right = (table["own_prediction"] == table["label"]) & (table["flipped_prediction"] == table["label"])
    return right.to_numpy()


def _images(config: RunConfig, ids: pd.Series) -> dict[int, np.ndarray]:
    """The pixels of each of these examples, as they are in the data set.  # uint8 [height, width, channels] each"""
    train = load(config.dataset, config.corruption).train
    where = pd.Series(range(len(train)), index=train.ids.numpy())
    return {id: train.images[where[id]].permute(1, 2, 0).numpy() for id in ids}


def _draw(axes: Axes, shown: pd.DataFrame, images: dict[int, np.ndarray], names: Sequence[str]) -> None:
    """Images of width 1 on one pair of axes, each with its texts above it, and the classes above all."""
    brightest = max(int(image.max()) for image in images.values())
    for each in shown.to_dict("records"):
        left, top = each["column"] * (1 + _GAP), -each["row"] * _STEP
        extent = (left, left + 1, top - 1, top)
        axes.imshow(images[each["id"]], cmap="gray", vmin=0, vmax=brightest, extent=extent)
        middle = left + 0.5
        axes.text(middle, top + 1.5 * _LINE, f"{each['score']:z.2f}", ha="center", va="center", fontsize=7)
        for place, kind in zip((-0.46, 0, 0.46), ("label", "own_prediction", "flipped_prediction"), strict=True):
            look: dict[str, Any] = {}
            if each[kind] != each["label"]:
                box = {"facecolor": COLOURS["difficult"], "edgecolor": "none", "pad": 1}
                look = {"color": "white", "weight": "bold", "bbox": box}
            where = (middle + place, top + 0.5 * _LINE)
            text = names[each[kind]][:3] if each[kind] >= 0 else "?"
            axes.text(*where, text, ha="center", va="center", fontsize=7, **look)
    for column, label in dict(zip(shown["column"], shown["label"], strict=True)).items():
        middle = column * (1 + _GAP) + 0.5
        axes.text(middle, 3 * _LINE, names[label], ha="center", va="center", fontsize=8, weight="bold")
    columns, rows = shown["column"].max() + 1, shown["row"].max() + 1
    axes.set(xlim=(-_GAP / 2, columns * (1 + _GAP) - _GAP / 2), ylim=(-(rows - 1) * _STEP - 1.05, 3.6 * _LINE))
    axes.set_aspect("equal")
    axes.axis("off")
