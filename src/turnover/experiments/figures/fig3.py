"""Figure 3: how real and random labels are learnt together (a, c), and what test accuracy does meanwhile (b)."""

import math
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
    tenth,
)
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel

_EASY, _DIFFICULT = "easy (real labels)", "difficult (random labels)"
_CONTROL = "difficult, other labels (never trained)"  # the difficult images with labels never trained on
_TEST = "all test examples"
_WRONG = "difficult, labels that are wrong"
_TRAIN = {"easy": _EASY, "difficult": _DIFFICULT, "all": "all", "control": _CONTROL}


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return the curves of runs that differ in their seed."""
    tables = [rows(curves(sources, "train", subset, METRIC), "a", name) for subset, name in _TRAIN.items()]
    tables.append(rows(curves(sources, "test", "all", METRIC), "b", _TEST))
    tables.append(rows(curves(sources, "train", "difficult", "label_lead"), "c", _WRONG))  # older runs have none
    return Plotted(pd.concat(tables, ignore_index=True))


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the measures of claims 3a to 3c; the gain of wrong labels is NaN where it was not recorded."""
    drawn = panels(numbers)
    train, test = drawn["a"], drawn["b"][_TEST]
    return {
        "label_gain": by_seed(early_gain, drawn["c"][_WRONG]) if "c" in drawn else [math.nan] * test.shape[1],
        "epochs_ahead": by_seed(epochs_ahead, train[_EASY], train[_DIFFICULT]),
        "easy_highest": by_seed(highest, train[_EASY]),
        "early_gain": by_seed(early_gain, train[_DIFFICULT]),
        "over_control": by_seed(gain_over, train[_DIFFICULT], train[_CONTROL]),
        "fall": falls(test),
        "peak_epoch": by_seed(peak_epoch, test),
        "peak_accuracy": by_seed(highest, test),
    }


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw all panels and the key of the first."""
    classes = DATASETS[configs[0].dataset.name].classes
    drawn, peaks = panels(numbers), measures(numbers)
    below, share, height = ("c", 0.9, 6.8) if "c" in drawn else ("key", 0.2, 4.6)
    picture, mosaic = plt.subplot_mosaic(
        [["a", "b"], [below, "key"]], figsize=(8.5, height), height_ratios=[1, share], layout="constrained"
    )
    left, right = mosaic["a"], mosaic["b"]
    panel(left, "a", "training accuracy")
    subset_lines(left, drawn["a"], list(_TRAIN.values())[:3])
    line(left, drawn["a"][_CONTROL], _CONTROL, COLOURS["random"], "-.")
    accuracy_axes(left, classes)
    key(mosaic["key"], left.get_legend_handles_labels()[0], columns=1 if "c" in drawn else 3)
    panel(right, "b", "test accuracy")
    _test(right, drawn["b"][_TEST], peaks["peak_epoch"], peaks["peak_accuracy"])
    accuracy_axes(right, classes)
    if "c" in drawn:
        _lead(mosaic["c"], drawn["c"][_WRONG])
    return picture


def _lead(axes: Axes, lead: pd.DataFrame) -> None:
    """Draw by how much wrong labels that are trained on lead those that are not, and the epoch of the measure."""
    panel(axes, "c", "wrong labels over other wrong classes")
    line(axes, lead, _WRONG, COLOURS["difficult"], "--")
    axes.axhline(0, color=COLOURS["muted"], linewidth=1, zorder=1)
    early = tenth(lead.index)
    axes.axvline(early, color=COLOURS["muted"], linewidth=1, linestyle=":", zorder=1)
    axes.annotate(
        "a tenth of the epochs", (early, lead.to_numpy().max()), (4, -4), textcoords="offset points", fontsize=8
    )
    axes.margins(x=0)
    axes.set(xlabel="epoch (full network, at its end; 0: before training)", ylabel="log p, mean difference (nats)")


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
