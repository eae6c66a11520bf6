"""Figures 7 and 8: the images with the lowest (a) and the highest (b) memorization scores, one column a class.

Chosen by the mean score over the seeds, among the training examples of each class, in the order of `subsets.ranked`.
What the claim counts is predicted by one seed, on examples that the other seeds find easy or difficult.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turnover.config.datasets import DATASETS
from turnover.config.run import RunConfig
from turnover.data.datasets import load
from turnover.data.subsets import ranked
from turnover.estimators.score import average
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.store.tables import read_scores
from turnover.stats.measures import Statistic

Order = Callable[[pd.DataFrame], pd.DataFrame]  # sorts a score table from the easiest example to the most difficult

ROWS = 5  # images of a class in a panel

_PANELS = {"a": "lowest", "b": "highest"}
_KEY = (
    "over an image: mean score in nats, if it is not 0.00; in a box: what the own (green)\n"
    "or the flipped sub-network (pink) of most seeds predicts, if it is not the label (?: nothing)"
)
_WRONG = {"own_prediction": COLOURS["own"], "flipped_prediction": COLOURS["flipped"]}
_GAP, _LINE = 0.42, 0.25  # between two columns, and a line of text, in widths of an image


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return the images of both panels, and statistics of single examples, of score runs that differ in their seeds.

    A single seed is ranked by its own scores.
    """
    whole = [read_scores(source.folder) for source in sources]
    tables = [table[table["split"] == "train"] for table in whole]
    by = [average([another for another in tables if another is not table] or [table]) for table in tables]
    pairs = list(zip(tables, by, strict=True))
    statistics = {
        "agreement_literal": [agreement(*pair, easiest=True, order=literal) for pair in pairs],
        "agreement": [agreement(*pair, easiest=True) for pair in pairs],
        "agreement_difficult": [agreement(*pair, easiest=False) for pair in pairs],
        "agreement_all": [agreement_all(table) for table in tables],
    }
    return Plotted(extremes(votes(tables)), statistics=statistics, examples=len(tables[0]))


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw both panels, with images from the data set."""
    images = _images(configs[0], numbers["id"])
    names = DATASETS[configs[0].dataset.name].class_names
    shown = {letter: numbers[numbers["panel"] == letter] for letter in _PANELS}
    texts = {letter: [_texts(row, names) for row in table.to_dict("records")] for letter, table in shown.items()}
    steps = {letter: 1.13 + _LINE * max(map(len, lines)) for letter, lines in texts.items()}
    heights = [2.6 * _LINE + (table["row"].max() + 1) * steps[letter] for letter, table in shown.items()]
    width = (numbers["column"].max() + 1) * (1 + _GAP)
    picture, grid = plt.subplots(
        2, 1, figsize=(8.5, 8.2 / width * sum(heights) + 1.9), height_ratios=heights, layout="constrained"
    )
    for axes, (letter, side) in zip(grid, _PANELS.items(), strict=True):
        panel(axes, letter, f"{side} scores")
        _draw(axes, shown[letter], images, texts[letter], steps[letter], names)
    grid[0].set_title(_KEY, loc="right", fontsize=7.5)
    return picture


def votes(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the mean scores and losses; the predictions of more than half of the seeds, -1 where there is none."""
    mean = average(tables)
    for kind in ("own_prediction", "flipped_prediction"):
        agreeing = np.sum([table[kind] == mean[kind] for table in tables], axis=0)
        mean[kind] = np.where(2 * agreeing > len(tables), mean[kind], -1)
    return mean


def extremes(table: pd.DataFrame, rows: int = ROWS) -> pd.DataFrame:
    """Return the easiest (panel a) and the most difficult (panel b) examples of each class, most extreme first.

    Args:
        table: score table, index "id".

    Returns:
        A row for each image: panel, row, column (both from 0; a class has the same column in both panels), id, label,
        score (nats), own_prediction, flipped_prediction.
    """
    names = ["panel", "row", "column", "id", "label", "score", "own_prediction", "flipped_prediction"]
    columns = []
    for column, (_, of_class) in enumerate(table[[*names[4:], "flipped_loss"]].groupby("label")):
        rising = ranked(of_class).reset_index()
        for letter, side in (("a", rising), ("b", rising[::-1])):
            first = side.head(rows).copy()  # a view would keep all of them
            columns.append(first.assign(panel=letter, row=range(len(first)), column=column))
    return pd.concat(columns).sort_values(names[:3]).reset_index(drop=True)[names]


def agreement(table: pd.DataFrame, by: pd.DataFrame, *, easiest: bool, order: Order = ranked) -> Statistic:
    """Return the share of the easiest, or hardest, tenth of every class whose own and flipped predictions are right.

    The tenth of a class of n examples is the first ceil(n / 10) in that order, or the last. A resample chooses its own
    tenths.

    Args:
        table: whose predictions count, index "id".
        by: the table whose scores rank examples, of the same examples in the same order.
        order: of a score table, from the easiest example to the most difficult one.
    """
    positions = by.index.get_indexer(order(by).index)
    positions = positions if easiest else positions[::-1]
    positions = positions[np.argsort(table["label"].to_numpy()[positions], kind="stable")]
    right = _both_right(table)[positions]
    _, first, kind = np.unique(table["label"].to_numpy()[positions], return_index=True, return_inverse=True)

    def statistic(counts: np.ndarray) -> float:
        drawn = counts[positions]
        before = np.cumsum(drawn) - drawn
        rank = before - before[first][kind]  # how many of the same class come before the example
        tenth = -(-np.bincount(kind, weights=drawn).astype(np.int64) // 10)
        kept = np.clip(tenth[kind] - rank, 0, drawn)  # of an example's copies only those needed
        return float(kept @ right / kept.sum())

    return statistic


def literal(table: pd.DataFrame) -> pd.DataFrame:
    """Sort a score table from the lowest score to the highest, negative or not; equal ones by their ids."""
    return table.sort_index().sort_values("score", kind="stable")


def agreement_all(table: pd.DataFrame) -> Statistic:
    """Return the share of all examples whose own and flipped predictions are right."""
    right = _both_right(table)
    return lambda counts: float(counts @ right / counts.sum())


def _both_right(table: pd.DataFrame) -> np.ndarray:
    right = (table["own_prediction"] == table["label"]) & (table["flipped_prediction"] == table["label"])
    return right.to_numpy()


def _images(config: RunConfig, ids: pd.Series) -> dict[int, np.ndarray]:
    """Return the pixels of these examples, as they are in the data set.  # uint8 [height, width, channels] each"""
    train = load(config.dataset, config.corruption).train
    where = pd.Series(range(len(train)), index=train.ids.numpy())
    return {id: train.images[where[id]].permute(1, 2, 0).numpy() for id in ids}


def _texts(row: dict[Hashable, Any], names: Sequence[str]) -> list[tuple[str, str | None]]:
    """Return the lines over an image, each with the colour of its box: its score, and wrong predictions."""
    score = f"{row['score']:z.2f}"
    lines: list[tuple[str, str | None]] = [] if score == "0.00" else [(score, None)]
    wrong_predictions = {colour: row[kind] for kind, colour in _WRONG.items() if row[kind] != row["label"]}
    return lines + [(names[label] if label >= 0 else "?", colour) for colour, label in wrong_predictions.items()]


def _draw(
    axes: Axes,
    shown: pd.DataFrame,
    images: dict[int, np.ndarray],
    texts: Sequence[Sequence[tuple[str, str | None]]],
    step: float,
    names: Sequence[str],
) -> None:
    """Draw images of width 1 on one pair of axes, `step` from one row to the next, and the classes above all."""
    brightest = max(int(image.max()) for image in images.values())
    for row, lines in zip(shown.to_dict("records"), texts, strict=True):
        left, top = row["column"] * (1 + _GAP), -row["row"] * step
        axes.imshow(images[row["id"]], cmap="gray", vmin=0, vmax=brightest, extent=(left, left + 1, top - 1, top))
        for number, (text, colour) in enumerate(lines[::-1]):
            box = {"facecolor": colour, "edgecolor": "none", "pad": 1}
            look: dict[str, Any] = {"color": "white", "weight": "bold", "bbox": box} if colour else {}
            axes.text(left + 0.5, top + (number + 0.5) * _LINE, text, ha="center", va="center", fontsize=7, **look)
    above = step - 1 + 0.5 * _LINE
    for column, label in dict(zip(shown["column"], shown["label"], strict=True)).items():
        middle = column * (1 + _GAP) + 0.5
        axes.text(middle, above, names[label], ha="center", va="center", fontsize=8, weight="bold")
    columns = shown["column"].max() + 1
    lowest = -shown["row"].max() * step - 1.05
    axes.set(xlim=(-_GAP / 2, columns * (1 + _GAP) - _GAP / 2), ylim=(lowest, above + _LINE))
    axes.set_aspect("equal")
    axes.axis("off")
