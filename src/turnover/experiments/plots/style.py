"""One look for every figure: colours that colour-blind readers can distinguish, units on axes, settings underneath."""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from turnover.common.files import replacing

# Okabe and Ito (2008), and a wine red of Tol (2021); the same thing has the same colour in every figure
COLOURS = {
    "all": "#000000",
    "easy": "#0072B2",
    "difficult": "#D55E00",
    "random": "#E69F00",
    "own": "#009E73",
    "flipped": "#CC79A7",
    "fresh": "#56B4E9",
    "constant": "#882255",
    "muted": "#BBBBBB",
}

RC: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # text stays text in the pdf
    "svg.hashsalt": "turnover",
}


@contextmanager
def style() -> Iterator[None]:
    """Set the house style for the length of the block, drawn without a screen."""
    mpl.use("Agg")
    with plt.rc_context(RC):
        yield


def finish(figure: Figure, title: str, notes: list[str]) -> None:
    """Write the title above, and underneath what a reader must know: data, model, scale, seeds, what was reduced."""
    notes = [line for note in notes for line in textwrap.wrap(note, width=int(19 * figure.get_figwidth()))]
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    height = figure.get_figheight()
    space = (0.17 * len(notes) + 0.08) / height
    for axes in figure.axes:
        axes.set_axisbelow(True)
    figure.get_layout_engine().set(rect=(0, space, 1, 1 - space - 0.02))  # type: ignore[union-attr,call-arg]
    figure.text(0.01, 0.06 / height, "\n".join(notes), fontsize=7, color="#444444", va="bottom", linespacing=1.5)


def save(figure: Figure, path: Path) -> None:
    """Write path.png and path.pdf, each all or nothing, and close the figure."""
    for kind in ("png", "pdf"):
        # no time of making in the file: the same numbers give the same bytes
        metadata: Any = {"CreationDate": None} if kind == "pdf" else {}
        with replacing(path.with_name(f"{path.name}.{kind}")) as temporary:
            figure.savefig(temporary, format=kind, metadata=metadata)
        figure.set_layout_engine("none")  # what the png has settled is the pdf's layout too; it takes long
    plt.close(figure)


def shades(count: int) -> list[str]:
    """Return so many colours of viridis; its end can hardly be seen on white."""
    return [to_hex(colour) for colour in mpl.colormaps["viridis"](np.linspace(0, 0.88, count))]


def panel(axes: Axes, letter: str, title: str) -> None:
    """Write a panel's letter and what it shows."""
    axes.set_title(f"({letter}) {title}")
