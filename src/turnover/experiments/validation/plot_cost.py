"""Picture: agreement with the ground truth against the cost of training."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from turnover.config.datasets import FACTS
from turnover.experiments.plots.style import COLOURS, panel
from turnover.experiments.validation.plot_style import LOOKS, dataset_names
from turnover.experiments.validation.truth import Truth


def cost(table: pd.DataFrame, truths: Mapping[str, Truth]) -> tuple[Figure, str, list[str]]:
    """A panel for each data set, a mark for each estimator and budget; title and notes with it."""
    known = table[table["spearman"].notna() & table["estimator"].isin(LOOKS)]
    datasets = dataset_names(known)
    picture, axes = plt.subplots(
        1, len(datasets), figsize=(2.2 + 2.9 * len(datasets), 5.0), sharey=True, layout="constrained", squeeze=False
    )
    for number, (one, dataset) in enumerate(zip(axes[0], datasets, strict=True)):
        panel(one, "abc"[number], FACTS[dataset].title)
        for name, look in LOOKS.items():
            mine = known[(known["dataset"] == dataset) & (known["estimator"] == name)].sort_values("cost")
            one.plot(mine["cost"], mine["spearman"], color=look.colour, marker=look.mark, markersize=5, label=look.name)
        limit = truths[dataset].ceiling("spearman", "probability", "all")
        one.axhline(limit, color=COLOURS["all"], linestyle="--", linewidth=0.8, label="noise ceiling")
        one.set_xscale("log")
        one.set_xlabel("cost (trainings of the ordinary network)")
    axes[0, 0].set_ylabel("Spearman correlation with\nground-truth memorization")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    picture.legend(handles, labels, loc="outside right center", fontsize=8)
    lines = [
        "Lines join one run with the mean score of all runs, and ensembles of more and more networks. Cost: arithmetic "
        "of training until the score is known; a network twice as wide counts twice, gradient passes count too.",
    ]
    return picture, "What does agreement with the ground truth cost?", lines
