"""Repetition: exposure of canaries, and how much of repeated sentences a language model has by heart, by copies."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from turnover.config.run import RunConfig
from turnover.config.text_options import Planting
from turnover.experiments.plots.curves import BAND, band
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel
from turnover.runs.store.tables import read_scores
from turnover.stats.agreement import partial_spearman, spearman

_COMPARED = (5.0, 10.0)  # bits of exact exposure: below, all are near chance; above, sampled exposure is extrapolated
_SHOWN = ["kind", "copies", "tokens", "exposure", "exposure_sampled", "accuracy"]


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return a row for each planted text of each seed."""
    tables = []
    for source in sources:
        table = read_scores(source.folder)
        tables.append(table.loc[table["kind"] != "text", _SHOWN].reset_index().assign(seed=source.config.seed))
    return Plotted(pd.concat(tables, ignore_index=True))


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the measures of the claims, a value for each seed."""
    names = ("rank", "bits", "sampled_rank", "sampled_difference", "extrapolated", "by_length")
    values: dict[str, list[float]] = {name: [] for name in names}
    for _, of_seed in numbers.groupby("seed"):
        canaries, sentences = (of_seed[of_seed["kind"] == kind] for kind in ("canary", "duplicate"))
        copies, exposure, sampled = (canaries[name].to_numpy() for name in ("copies", "exposure", "exposure_sampled"))
        once = np.ones(len(canaries))
        by_copies = canaries.groupby("copies")["exposure"].median()
        difference = pd.Series(np.abs(exposure - sampled))
        low, high = _COMPARED
        values["rank"].append(spearman(copies, exposure)(once))
        values["bits"].append(float(by_copies.iloc[-1] - by_copies.iloc[0]))
        far = exposure >= low
        values["sampled_rank"].append(
            spearman(exposure[far], sampled[far])(np.ones(far.sum())) if far.any() else np.nan
        )
        values["sampled_difference"].append(float(difference[(exposure >= low) & (exposure < high)].median()))
        values["extrapolated"].append(float(difference[exposure >= high].median()))
        held = (sentences[name].to_numpy() for name in ("copies", "accuracy", "tokens"))
        values["by_length"].append(partial_spearman(*held))
    return values


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw exposure by copies, sampled against exact exposure, and exact memorization by copies."""
    planting = configs[0].planting
    assert isinstance(planting, Planting)
    canaries, sentences = (numbers[numbers["kind"] == kind] for kind in ("canary", "duplicate"))
    most = planting.digits * np.log2(10)
    picture, (by_copies, sampled, known) = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
    panel(by_copies, "a", "exposure of canaries")
    _dots(by_copies, canaries, "exposure", COLOURS["difficult"])
    by_copies.axhline(most, color=COLOURS["muted"], linewidth=1, label="no code is more probable")
    by_copies.set_ylim(top=1.3 * most)  # room for the legend
    by_copies.set_ylabel("exposure (bits)")
    by_copies.legend(fontsize=7, title=f"points: texts; {BAND}", title_fontsize=7, loc="upper left")
    panel(sampled, "b", "sampled and exact exposure")
    sampled.plot([0, most], [0, most], color=COLOURS["muted"], linewidth=1)
    sampled.plot(canaries["exposure"], canaries["exposure_sampled"], ".", color=COLOURS["difficult"], markersize=4)
    sampled.set_xlabel("exact exposure (bits)")
    sampled.set_ylabel("from 500 codes (bits)")
    panel(known, "c", "exact memorization of sentences")
    _dots(known, sentences, "accuracy", COLOURS["easy"])
    known.set_ylim(0, 1.02)
    known.set_ylabel("share of tokens right")
    return picture


def _dots(axes: Axes, table: pd.DataFrame, value: str, colour: str) -> None:
    counts = sorted(table["copies"].unique())
    places = {count: place for place, count in enumerate(counts)}
    spread = (table.groupby(["seed", "copies"]).cumcount() % 8 - 3.5) / 30
    axes.plot(table["copies"].map(places) + spread, table[value], ".", color=colour, alpha=0.35, markersize=4)
    means = table.groupby(["seed", "copies"])[value].mean().reset_index()
    band(axes, means.assign(copies=means["copies"].map(places)).groupby("copies")[value], colour)
    axes.set_xticks(range(len(counts)), [f"{count:g}" for count in counts])
    axes.set_xlabel("copies in the training text")
