"""Picture: rank correlation of every estimator with the ground truth, and the ceiling that its noise sets."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from turnover.config.datasets import FACTS
from turnover.experiments.plots.style import COLOURS, panel
from turnover.experiments.validation.estimates import TITLES
from turnover.experiments.validation.plot_style import dataset_names
from turnover.experiments.validation.truth import Truth

_PARTS = {"all": ("", COLOURS["easy"], -0.15), "clean": ("_clean", COLOURS["difficult"], 0.15)}


def agreement(table: pd.DataFrame, truths: Mapping[str, Truth]) -> tuple[Figure, str, list[str]]:
    """A panel for each data set, a row for each estimator, the best ones on top; title and notes with it."""
    known = table[table["spearman"].notna()].copy()
    several = known["networks"].where(known["estimator"] == "memorization", 0)
    known["row"] = [
        TITLES[name] + (f", {count} networks" if count else "")
        for name, count in zip(known["estimator"], several, strict=True)
    ]
    best = known.groupby("row")["spearman"].max().sort_values()
    places = {name: place for place, name in enumerate(best.index)}
    datasets = dataset_names(known)
    picture, axes = plt.subplots(
        1,
        len(datasets),
        figsize=(4.2 + 2.6 * len(datasets), 1.2 + 0.27 * len(best)),
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for number, (one, dataset) in enumerate(zip(axes[0], datasets, strict=True)):
        panel(one, "abc"[number], FACTS[dataset].title)
        here = known[known["dataset"] == dataset]
        for part, (suffix, colour, shift) in _PARTS.items():
            for row in here.to_dict("records"):
                place = places[row["row"]] + shift
                values = [row[f"spearman{suffix}{end}"] for end in ("", "_low", "_high")]
                single = row["seeds"] == 1 and row["runs"] > 1
                one.plot(values[1:], [place, place], color=colour, linewidth=0.9, alpha=0.7)
                one.plot(values[0], place, "o", color=colour, markersize=4.5, fillstyle="none" if single else "full")
            limit = truths[dataset].ceiling("spearman", "probability", part)
            one.axvline(limit, color=colour, linestyle="--", linewidth=0.9)
        one.set_xlabel("Spearman correlation with\nground-truth memorization")
    axes[0, 0].set_yticks(range(len(best)), best.index)
    for part, (_, colour, _) in _PARTS.items():
        words = "all examples" if part == "all" else "right labels alone"
        axes[0, 0].plot([], [], "o", color=colour, markersize=4.5, label=words)
    axes[0, 0].plot([], [], "o", color=COLOURS["muted"], fillstyle="none", markersize=4.5, label="one run")
    axes[0, 0].plot([], [], "o", color=COLOURS["muted"], markersize=4.5, label="mean score of all runs")
    axes[0, 0].plot([], [], "--", color=COLOURS["muted"], label="noise ceiling")
    picture.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    runs = int(known["runs"].max())
    lines = [
        f"Of up to {runs} runs, or disjoint parts of one ensemble. Lines: 95 % intervals, over examples and, for one "
        "run, over seeds too. Ground truth: share of networks right about an example, trained on it minus not trained "
        "on it. Ensembles train the ground truth's own networks on 70 % of the examples, the others train on all.",
    ]
    return picture, "Which score agrees with memorization as it is measured by many networks?", lines
