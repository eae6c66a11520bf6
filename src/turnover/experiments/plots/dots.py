"""Points of several seeds on named lines: the mean, and how far the lowest and the highest seed are from it."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from turnover.experiments.plots.style import COLOURS

# of what is right of training examples: words, colour, marker
SHARES = {
    "clean": ("clean examples right", "all", "s"),
    "wrong": ("wrong labels fitted", "difficult", "o"),
    "true": ("wrong labels given their true label", "easy", "^"),
}


def dots(
    axes: Axes,
    lines: Sequence[str],
    values: Mapping[str, pd.Series],
    words: str,
    colour: str,
    marker: str,
    shift: float = 0.0,
) -> None:
    """Draw the mean and the range of the values by seed of each line that has some, the first one on top.

    Args:
        lines: their names.
        shift: how far above its line a point is.
    """
    there = [(len(lines) - 1 - place + shift, values[line]) for place, line in enumerate(lines) if line in values]
    means = np.array([each.mean() for _, each in there])
    beyond = np.array([means - [each.min() for _, each in there], [each.max() for _, each in there] - means])
    places = [place for place, _ in there]
    axes.errorbar(means, places, xerr=beyond.clip(min=0), fmt=marker, color=COLOURS[colour], markersize=5, label=words)


def named(axes: Axes, words: Sequence[str]) -> None:
    """Write the names of the lines, the first one on top."""
    axes.set_yticks(range(len(words)), words[::-1])
