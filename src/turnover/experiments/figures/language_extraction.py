"""Extraction: from how many of its tokens a text is given back whole, by copies and by the size of the model."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turnover.config.options import GPTConfig
from turnover.config.run import RunConfig
from turnover.experiments.plots.curves import BAND, band
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel, shades
from turnover.runs.store.tables import read_scores

PREFIX = 8  # tokens that are given, where one number decides
_LEFT = 8  # tokens that must be left, or giving back the rest shows little
_LONGEST = 24


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return what is given back from every prefix: dim, seed, copies (0: held out), prefix, sentences, share."""
    return Plotted(pd.DataFrame([row for source in sources for row in _rows(source)]))


def _rows(source: Source) -> list[dict[str, float]]:
    model = source.config.model
    assert isinstance(model, GPTConfig)
    table = read_scores(source.folder)
    sentences = table[(table["kind"] != "canary") & ((table["kind"] == "duplicate") | (table["copies"] == 1))]
    copies = sentences["copies"].where(sentences["split"] == "train", 0)
    rows = []
    for count, texts in sentences.groupby(copies):
        for prefix in range(_LONGEST + 1):
            long = texts[texts["tokens"] - prefix >= _LEFT]
            about = {"dim": model.dim, "seed": source.config.seed, "copies": int(str(count)), "prefix": prefix}
            share = float((long["prefix"] <= prefix).mean()) if len(long) else np.nan
            rows.append(about | {"sentences": len(long), "share": share})
    return rows


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the measures of the claims, a value for each seed: of the middle size, and of the largest and smallest."""
    shares = {name: table["share"].tolist() for name, table in _of_middle_size(numbers).items()}
    at = numbers[numbers["prefix"] == PREFIX]
    sizes = sorted(at["dim"].unique())
    repeated = at[at["copies"] > 1].groupby(["dim", "seed"])["share"].mean()
    return shares | {"of_size": (repeated[sizes[-1]] - repeated[sizes[0]]).tolist()}


def items(numbers: pd.DataFrame) -> dict[str, int]:
    """Return of how many sentences the shares are, over all seeds, as each has other ones."""
    return {name: int(table["sentences"].sum()) for name, table in _of_middle_size(numbers).items()}


def _of_middle_size(numbers: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows at the middle size and the prefix that decides, a row for each seed, by the measure."""
    at = numbers[numbers["prefix"] == PREFIX].sort_values("seed")
    sizes = sorted(at["dim"].unique())
    middle = at[at["dim"] == sizes[len(sizes) // 2]]
    copies = {"most": middle["copies"].max(), "once": 1, "held_out": 0}
    return {name: middle[middle["copies"] == count] for name, count in copies.items()}


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw a panel for each size, a line for each number of copies."""
    sizes, counts = sorted(numbers["dim"].unique()), sorted(numbers["copies"].unique())
    picture, panels = plt.subplots(
        1, len(sizes), figsize=(1 + 3 * len(sizes), 4.8), layout="constrained", sharey=True, squeeze=False
    )
    for axes, letter, size in zip(panels[0], "abcdef", sizes, strict=False):
        panel(axes, letter, f"{size} channels a token")
        _lines(axes, numbers[numbers["dim"] == size], counts)
    panels[0, 0].set_ylabel(f"share given back whole\n(of those with {_LEFT} tokens left)")
    panels[0, 0].legend(fontsize=7, title=f"copies; {BAND}", title_fontsize=7, loc="upper left")
    return picture


def _lines(axes: Axes, table: pd.DataFrame, counts: Sequence[int]) -> None:
    colours = [COLOURS["muted"], *shades(len(counts) - 1)]
    for count, colour in zip(counts, colours, strict=True):
        mine = table[table["copies"] == count]
        label = f"{count}" if count else "held out"
        band(axes, mine.groupby("prefix")["share"], colour, label=label, linestyle="-" if count else "--")
    axes.axvline(PREFIX, color=COLOURS["muted"], linewidth=0.8, linestyle=":")
    axes.set_xlabel("tokens that are given")
    axes.set_ylim(-0.02, 1.02)
