"""Forgetting: exposure and loss of planted texts, epoch by epoch after they were last trained on."""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from turnover.config.run import RunConfig
from turnover.config.text_options import Planting
from turnover.experiments.plots.curves import BAND, band
from turnover.experiments.plots.figure import Plotted
from turnover.experiments.plots.notes import Source
from turnover.experiments.plots.style import COLOURS, panel, shades

_LATER = 10  # epochs after the last copy, where one number decides
_CHANCE = 1 / math.log(2)  # bits, the mean of log2(codes) - log2(rank) over ranks that are as probable as each other


def tabulate(sources: Sequence[Source]) -> Plotted:
    """Return a row for each planted text, seed and epoch: kind, copies, since, exposure, gain.

    since: epochs after the last copy. gain: mean loss of held-out texts minus its own, in nats a token.
    """
    return Plotted(pd.concat([_rows(source) for source in sources], ignore_index=True))


def _rows(source: Source) -> pd.DataFrame:
    planting = source.config.planting
    assert isinstance(planting, Planting)
    assert planting.until is not None
    table = pd.read_parquet(source.folder / "scores.parquet")
    held_out = table[table["split"] == "test"].groupby("epoch")["loss"].mean()
    planted = table[table["kind"] != "text"]
    planted = planted.assign(gain=planted["epoch"].map(held_out) - planted["loss"], seed=source.config.seed)
    planted = planted.assign(since=planted["epoch"] - planting.until)
    return planted[["seed", "id", "kind", "copies", "since", "exposure", "gain"]]


def measures(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Return the measures of the claim, a value for each seed."""
    values: dict[str, list[float]] = {"left": [], "learnt": [], "lost_half": [], "loss_kept": []}
    for _, of_seed in numbers.groupby("seed"):
        canaries, sentences = (of_seed[of_seed["kind"] == kind] for kind in ("canary", "duplicate"))
        exposure = canaries.pivot(index="id", columns="since", values="exposure")
        often = canaries.loc[canaries["copies"] == canaries["copies"].max(), "id"]
        learnt = exposure[exposure.index.isin(often)] - _CHANCE  # what was hardly learnt cannot be forgotten
        gain = sentences[sentences["copies"] > 1].groupby("since")["gain"].mean()
        later = min(_LATER, int(exposure.columns.max()))
        values["left"].append(float(learnt[later].mean() / learnt[0].mean()))
        values["learnt"].append(float(learnt[0].mean()))
        values["lost_half"].append(float((learnt[later] <= learnt[0] / 2).mean()))
        values["loss_kept"].append(float(gain[later] / gain[0]))
    return values


def draw(numbers: pd.DataFrame, configs: Sequence[RunConfig]) -> Figure:
    """Draw exposure of canaries and gain in loss of sentences over epochs, a line for each number of copies."""
    counts = sorted(numbers["copies"].unique())
    picture, panels = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    shown = (
        ("canary", "exposure", "exposure of canaries", "exposure (bits)"),
        ("duplicate", "gain", "repeated sentences", "cheaper than held-out texts,\nnats a token"),
    )
    for axes, letter, (kind, value, title, unit) in zip(panels, "ab", shown, strict=True):
        panel(axes, letter, title)
        mine = numbers[numbers["kind"] == kind]
        for count, colour in zip(counts, shades(len(counts)), strict=True):
            of_count = mine[mine["copies"] == count].groupby(["seed", "since"])[value].mean().reset_index()
            band(axes, of_count.groupby("since")[value], colour, marker="o", markersize=3, label=f"{count}")
        axes.axvline(0, color=COLOURS["muted"], linewidth=0.8, linestyle=":")
        axes.set_xlabel("epochs since it was last trained on")
        axes.set_ylabel(unit)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].axhline(_CHANCE, color=COLOURS["muted"], linewidth=1, linestyle="--", label="by chance")
    panels[0].legend(fontsize=7, handles=panels[0].lines[-1:], loc="upper right")
    panels[1].legend(
        fontsize=7, title=f"copies\n({BAND})", title_fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5)
    )
    return picture
