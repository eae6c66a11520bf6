"""Figure 1: the mechanism. Own and flipped sub-network of one example, and the masks of many, all real masks."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from turnover.config.run import RunConfig
from turnover.core.masks import mask
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel

_INPUTS, _HIDDEN, _OUTPUTS = 5, (8, 8), 3
_EXAMPLE = 7
_SHOWN = 16  # examples and units of the mask matrix


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return the masks of the first examples, for which no run is needed."""
    ids = torch.arange(_SHOWN)
    own = [mask(ids, units, layer, seed=0).numpy() for layer, units in enumerate(_HIDDEN)]  # [examples, units] a layer
    rows = [
        {"example": int(example), "layer": layer, "unit": unit, "own": bool(bits[example, unit])}
        for layer, bits in enumerate(own)
        for example in ids
        for unit in range(bits.shape[1])
    ]
    return Plotted(pd.DataFrame(rows))


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw two schematic sub-networks of example 7 and the mask matrix of the first examples."""
    picture, axes = plt.subplots(1, 3, figsize=(8.5, 3.7), layout="constrained", width_ratios=[1, 1, 0.9])
    mine = numbers[numbers["example"] == _EXAMPLE]
    own = [layer["own"].to_numpy() for _, layer in mine.groupby("layer")]
    panel(axes[0], "a", f"own sub-network of example {_EXAMPLE}")
    _network(axes[0], own, COLOURS["own"], "trained by the example; loss(own)")
    panel(axes[1], "b", f"flipped sub-network of example {_EXAMPLE}")
    _network(axes[1], [~units for units in own], COLOURS["flipped"], "never trained by it; loss(flipped)")
    panel(axes[2], "c", "masks of 16 examples")
    _matrix(axes[2], mask(torch.arange(_SHOWN), _SHOWN, 0, seed=0).numpy())
    score = "memorization score  =  loss(flipped) - loss(own)"
    axes[0].text(3.75, -6.4, score, ha="center", va="top", fontsize=10, in_layout=False)
    return picture


def _network(axes: Axes, active: list[np.ndarray], colour: str, text: str) -> None:
    """Draw units as circles, layer by layer; only active ones have edges."""
    layers = [np.ones(_INPUTS, dtype=bool), *active, np.ones(_OUTPUTS, dtype=bool)]
    heights = [[(len(layer) - 1) / 2 - i for i in range(len(layer))] for layer in layers]
    for x in range(len(layers) - 1):
        for y0, on in zip(heights[x], layers[x], strict=True):
            for y1, next_on in zip(heights[x + 1], layers[x + 1], strict=True):
                if on and next_on:
                    axes.plot([x, x + 1], [y0, y1], color=colour, linewidth=0.5, alpha=0.6, zorder=1)
    for x, layer in enumerate(layers):
        hidden = 0 < x < len(layers) - 1
        for y, on in zip(heights[x], layer, strict=True):
            face = ("white" if not on else colour) if hidden else COLOURS["all"]
            edge = COLOURS["muted"] if hidden and not on else face
            axes.scatter(x, y, s=70, facecolor=face, edgecolor=edge, linewidth=1.0, zorder=2)
    names = ["input", *(f"hidden {i + 1}" for i in range(len(active))), "logits"]
    for x, name in enumerate(names):
        axes.text(x, -4.6, name, ha="center", va="top", fontsize=8)
    axes.text(1.5, 4.5, text, ha="center", fontsize=8, color="#444444")
    axes.set(xlim=(-0.4, 3.4), ylim=(-7.2, 5.2))
    axes.axis("off")


def _matrix(axes: Axes, bits: np.ndarray) -> None:
    axes.imshow(bits, cmap=ListedColormap([COLOURS["flipped"], COLOURS["own"]]), aspect="equal", alpha=0.85)
    axes.axhline(_EXAMPLE - 0.5, color=COLOURS["all"], linewidth=1)
    axes.axhline(_EXAMPLE + 0.5, color=COLOURS["all"], linewidth=1)
    axes.set(
        xlabel="unit of hidden layer 1", ylabel="example id", xticks=range(0, _SHOWN, 5), yticks=range(0, _SHOWN, 5)
    )
    axes.grid(False)
    for kind in ("own", "flipped"):
        axes.scatter([], [], marker="s", color=COLOURS[kind], label=kind)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2, fontsize=8, handletextpad=0.3)
