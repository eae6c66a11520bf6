"""What people look at first in a score table: how its scores are distributed, and the examples that score highest."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turnover.errors import RefusedInput
from turnover.experiments.plots.style import COLOURS, RC

_ROW = 10  # images
_WIDTHS = (7, 3)  # of the histogram and the learning curve
_PREDICTIONS = ("prediction", "flipped_prediction")  # of networks that were not trained on the example, or of all


def plot(table: pd.DataFrame, images: Any = None, *, highest: int = 30, classes: Sequence[str] | None = None) -> Figure:
    """Draw the distribution of the scores of a table, its learning curve, and the images that score highest.

    Needs matplotlib, as `pip install 'turnover[experiments]'` has it.

    Args:
        table: what `memorization` or `score` returned; with a boolean column `corrupted`, these are drawn apart. The
            curve is its `attrs["curve"]`, which tables of `memorization` by one network for each seed have.
        images: of all examples, in the order of the table: bytes, or any floats.  # [n, height, width] or with channels
            before or after these two, one or three
        highest: how many images.
        classes: names of the classes, by their number.

    Returns:
        A figure. Over each image stand its label, its prediction, if the table has one, and its score.

    Raises:
        RefusedInput: a table without scores, images of other examples.
    """
    if not isinstance(table, pd.DataFrame):
        raise RefusedInput(f"table is a {type(table).__name__}: give the scores first, turnover.plot(table, images)")
    if "score" not in table:
        raise RefusedInput(f"table has no column 'score', only {', '.join(map(str, table.columns))}")
    if highest < 1:
        raise RefusedInput(f"highest = {highest}: show 1 image at least, or leave images out")
    scores = pd.Series(table["score"].to_numpy(dtype=float)).replace([np.inf, -np.inf], np.nan).dropna()
    if scores.empty:
        raise RefusedInput(f"none of {len(table)} examples has a score that is a number: there is nothing to draw")
    first = scores.nlargest(highest).index  # positions
    pixels = None if images is None else _pixels(images, len(table), first.to_numpy())
    curve = table.attrs.get("curve")
    rows = 0 if pixels is None else -(-len(first) // _ROW)
    with plt.rc_context(RC):
        figure = Figure(figsize=(9, 2.8 + 1.15 * rows), layout="constrained")  # no notebook shows it twice
        grid = figure.add_gridspec(rows + 1, _ROW, height_ratios=[2.4, *[1.0] * rows])
        first_row = grid[0, :].subgridspec(
            1, 1 if curve is None else 2, width_ratios=None if curve is None else _WIDTHS
        )
        axes = figure.add_subplot(first_row[0])
        _distribution(axes, table.iloc[scores.index])
        if curve is not None:
            _curve(figure.add_subplot(first_row[1]), curve)
        over = "label → prediction" if any(name in table for name in _PREDICTIONS) else "label"
        without = f" ({len(table) - len(scores):,} have none)" if len(scores) < len(table) else ""
        highest_ones = f", and the highest ones: {over}" if rows else ""
        axes.set_title(f"Scores of {len(table):,} examples{without}{highest_ones}")
        for number, position in enumerate(first if pixels is not None else ()):
            assert pixels is not None
            image = figure.add_subplot(grid[1 + number // _ROW, number % _ROW])
            image.imshow(pixels[number], cmap="gray_r" if pixels.ndim == 3 else None)
            image.set_axis_off()
            image.set_title(_words(table.iloc[position], classes), fontsize=7, loc="center")
    return figure


def _distribution(axes: Axes, table: pd.DataFrame) -> None:
    scores = table["score"].to_numpy(dtype=float)
    parts = {"": np.ones(len(scores), dtype=bool)}
    if "corrupted" in table:
        wrong = table["corrupted"].to_numpy(dtype=bool)
        parts = {"right labels": ~wrong, "wrong labels": wrong}
    bins = np.histogram_bin_edges(scores, 60).tolist()
    for (name, part), colour in zip(parts.items(), (COLOURS["easy"], COLOURS["difficult"]), strict=False):
        axes.hist(scores[part], bins, color=colour, alpha=0.7, label=name or None)
    axes.set(yscale="log", xlabel="score", ylabel="examples")
    if len(parts) > 1:
        axes.legend()


def _curve(axes: Axes, curve: dict[str, list[float]]) -> None:
    for (name, values), colour in zip(curve.items(), (COLOURS["difficult"], COLOURS["easy"]), strict=False):
        axes.plot(range(1, len(values) + 1), values, color=colour, label=name, marker="." if len(values) == 1 else "")
    axes.set(xlabel="epoch", ylim=(0, None))
    axes.set_title("Training")
    axes.legend()


def _pixels(images: Any, count: int, rows: np.ndarray) -> np.ndarray:
    """Return these images as matplotlib takes them.  # [rows, height, width], any range, or [rows, height, width, 3]"""
    try:
        pixels = images.detach().cpu().numpy() if isinstance(images, torch.Tensor) else np.asarray(images)
    except ValueError as error:  # of several sizes
        raise RefusedInput(f"images make no array: {error}; give pictures of one size") from None
    if not pixels.ndim or pixels.dtype.kind not in "buif":
        raise RefusedInput(
            f"images are a {type(images).__name__}: give an array or tensor of pixels [n, height, width]"
        )
    if len(pixels) != count:
        raise RefusedInput(f"images are {len(pixels)}, and the table has {count} examples: give all, in its order")
    if pixels.ndim == 4 and pixels.shape[1] in (1, 3):
        pixels = np.moveaxis(pixels, 1, 3)
    if pixels.ndim == 4 and pixels.shape[3] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim != 3 and not (pixels.ndim == 4 and pixels.shape[3] == 3):
        raise RefusedInput(
            f"images have shape {pixels.shape}: allowed: [n, height, width], with 1 or 3 channels perhaps"
        )
    if pixels.ndim == 3 or pixels.dtype == np.uint8:
        return pixels[rows]
    low, high = float(np.nanmin(pixels)), float(np.nanmax(pixels))  # normalised ones too
    return np.nan_to_num((pixels[rows] - low) / (high - low)) if high > low else np.zeros_like(pixels[rows])


def _words(row: pd.Series, classes: Sequence[str] | None) -> str:
    preferred = next((row[name] for name in _PREDICTIONS if name in row), None)
    values = [value for value in (row.get("label"), preferred) if value is not None]
    return " → ".join(_name(value, classes) for value in values) + f"\n{row['score']:.2g}"


def _name(value: Any, classes: Sequence[str] | None) -> str:
    if classes is not None:
        try:
            return classes[int(value)]
        except (IndexError, KeyError, ValueError):
            raise RefusedInput(f"classes have no name for {value}: give one for each class, by its number") from None
    return value if isinstance(value, str) else f"{value:g}"
