"""Figure 3: how real and random labels are learnt together (a), and what test accuracy does meanwhile (b)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turnover.config.datasets import DATASETS
from turnover.config.run import RunConfig
from turnover.experiments.plots.curves import METRIC, accuracy_axes, curves, key, line, panels, rows, subset_lines
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.learning_curves import (
    by_seed,
    early_gain,
    epochs_ahead,
    falls,
    gain_over,
    highest,
    peak_epoch,
)
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel

_EASY, _DIFFICULT = "easy (real labels)", "difficult (random labels)"
_CONTROL = "difficult, other labels (never trained)"  # the difficult images with labels never trained on
_TEST = "all test examples"
_TRAIN = {"easy": _EASY, "difficult": _DIFFICULT, "all": "all", "control": _CONTROL}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return the curves of runs that differ in their seed."""
    tables = [rows(curves(sources, "train", subset, METRIC), "a", name) for subset, name in _TRAIN.items()]
    tables.append(rows(curves(sources, "test", "all", METRIC), "b", _TEST))
    return Plotted(pd.concat(tables, ignore_index=True))


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the measures of claims 3a to 3c."""
    drawn = panels(numbers)
    train, test = drawn["a"], drawn["b"][_TEST]
    return {
        "epochs_ahead": by_seed(epochs_ahead, train[_EASY], train[_DIFFICULT]),
        "easy_highest": by_seed(highest, train[_EASY]),
        "early_gain": by_seed(early_gain, train[_DIFFICULT]),
        "over_control": by_seed(gain_over, train[_DIFFICULT], train[_CONTROL]),
        "fall": falls(test),
        "peak_epoch": by_seed(peak_epoch, test),
        "peak_accuracy": by_seed(highest, test),
    }


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw both panels and their key."""
    classes = DATASETS[configs[0].dataset.name].classes
    drawn, peaks = panels(numbers), measures(numbers)
    picture, mosaic = plt.subplot_mosaic(
        [["a", "b"], ["key", "key"]], figsize=(8.5, 4.6), height_ratios=[1, 0.2], layout="constrained"
    )
    left, right = mosaic["a"], mosaic["b"]
    panel(left, "a", "training accuracy")
    subset_lines(left, drawn["a"], list(_TRAIN.values())[:3])
    line(left, drawn["a"][_CONTROL], _CONTROL, COLOURS["random"], "-.")
    accuracy_axes(left, classes)
    key(mosaic["key"], left.get_legend_handles_labels()[0], columns=3)
    panel(right, "b", "test accuracy")
    _test(right, drawn["b"][_TEST], peaks["peak_epoch"], peaks["peak_accuracy"])
    accuracy_axes(right, classes)
    return picture


def _test(axes: Axes, test: pd.DataFrame, epochs: Sequence[float], heights: Sequence[float]) -> None:
    """Draw the test accuracy, and an inset that enlarges it from the first seed's peak down."""
    line(axes, test, _TEST, COLOURS["all"])
    floor = 0.22 if test.iloc[-1].mean() > 0.75 else 0.52  # where no curve is
    zoom = axes.inset_axes((0.4, floor, 0.58, 0.4))
    line(zoom, test, "", COLOURS["all"])
    zoom.scatter(epochs, heights, s=16, color=COLOURS["difficult"], zorder=3, clip_on=False)
    top, lowest = max(heights), float(test[test.index >= min(epochs)].to_numpy().min())
    height = max(top - lowest, 0.02)
    zoom.set_ylim(top - 1.3 * height, top + 0.1 * height)
    zoom.set_xlim(0, test.index[-1])
    zoom.tick_params(labelsize=7)
    zoom.set_title("enlarged; dots: the peak of each seed", fontsize=8, loc="left")
