"""Figure 3: how real and random labels are learnt together (a), and what test accuracy does meanwhile (b)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from turnover.config.datasets import DATASETS
from turnover.experiments.plots.curves import curves, line
from turnover.experiments.plots.figure import Drawn, FigureConfig
from turnover.experiments.plots.learning_curves import (
    METRIC,
    SUBSETS,
    accuracy_axes,
    by_seed,
    claim,
    early_gain,
    epochs_ahead,
    falls,
    gain_over,
    highest,
    key,
    peak_epoch,
    subset_lines,
)
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel

_NAMES = ("easy (real labels)", "difficult (random labels)", "all")


def draw(figure: FigureConfig, sources: Sequence[Source]) -> Drawn:
    """Panels, plotted curves and claims 3a to 3c from runs that differ in their seed."""
    classes = DATASETS[sources[0].config.dataset.name].classes
    train = {subset: curves(sources, "train", subset, METRIC) for subset in SUBSETS}
    test = curves(sources, "test", "all", METRIC)
    control = curves(sources, "train", "control", METRIC)  # the difficult images with labels never trained on
    peaks = {"peak_epoch": by_seed(peak_epoch, test), "peak_accuracy": [float(value) for value in test.max()]}

    picture, places = plt.subplot_mosaic(
        [["a", "b"], ["key", "key"]], figsize=(8.5, 4.6), height_ratios=[1, 0.2], layout="constrained"
    )
    left, right = places["a"], places["b"]
    panel(left, "a", "training accuracy")
    numbers = subset_lines(left, "a", train, _NAMES)
    name = "difficult, other labels (never trained)"
    numbers.append(line(left, control, panel="a", name=name, colour=COLOURS["random"], style="-."))
    accuracy_axes(left, classes)
    key(places["key"], left.get_legend_handles_labels()[0], columns=3)
    panel(right, "b", "test accuracy")
    numbers.append(_test(right, test, peaks))
    accuracy_axes(right, classes)

    claims = [
        claim(
            "3a",
            figure.claims["3a"],
            {
                "epochs_ahead": by_seed(epochs_ahead, train["easy"], train["difficult"]),
                "easy_highest": by_seed(highest, train["easy"]),
            },
        ),
        claim(
            "3b",
            figure.claims["3b"],
            {
                "early_gain": by_seed(early_gain, train["difficult"]),
                "over_control": by_seed(gain_over, train["difficult"], control),
            },
        ),
        claim("3c", figure.claims["3c"], {"fall": falls(test), **peaks}),
    ]
    return Drawn(picture, pd.concat(numbers, ignore_index=True), claims)


def _test(axes: Axes, test: pd.DataFrame, peaks: dict[str, list[float]]) -> pd.DataFrame:
    """The test accuracy, and an inset that enlarges it from the first seed's peak down."""
    drawn = line(axes, test, panel="b", name="all test examples", colour=COLOURS["all"])
    floor = 0.22 if test.iloc[-1].mean() > 0.75 else 0.52  # where no curve is
    zoom = axes.inset_axes((0.4, floor, 0.58, 0.4))
    line(zoom, test, panel="b", name="", colour=COLOURS["all"])
    epochs, heights = peaks["peak_epoch"], peaks["peak_accuracy"]
    zoom.scatter(epochs, heights, s=16, color=COLOURS["difficult"], zorder=3, clip_on=False)
    highest, lowest = max(heights), float(test[test.index >= min(epochs)].to_numpy().min())
    height = max(highest - lowest, 0.02)
    zoom.set_ylim(highest - 1.3 * height, highest + 0.1 * height)
    zoom.set_xlim(0, test.index[-1])
    zoom.tick_params(labelsize=7)
    zoom.set_title("enlarged; dots: the peak of each seed", fontsize=8, loc="left")
    return drawn
